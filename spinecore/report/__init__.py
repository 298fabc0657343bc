"""Overlays, the page of a run, and the figures of an evaluation."""
