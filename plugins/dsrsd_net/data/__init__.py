"""Readers of data sets: official files in, `Samples` out, with what was known then and nothing later."""
