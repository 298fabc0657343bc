"""Recordings of walks from files: poses, motion capture, video."""

from __future__ import annotations

from .find import Recording, find_recordings
from .read import read_recording

__all__ = ["Recording", "find_recordings", "read_recording"]
