"""Studies: DSRSD-Net beside its baselines on one data set, five seeds, one table."""
