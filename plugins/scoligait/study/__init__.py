"""Studies on public gait: the whole way from raw files to a table."""
