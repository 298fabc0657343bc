"""Models that ship with spinecore. Each registers through the entry-point group `spinecore.models`."""
