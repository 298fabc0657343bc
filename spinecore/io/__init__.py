"""Films in, tables out: readers of radiographs, landmarks and masks."""
