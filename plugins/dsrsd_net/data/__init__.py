"""Readers of data sets: official files in, `Samples` out, with what was known at the time and nothing later."""
