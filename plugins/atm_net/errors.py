"""The error a user can act on."""

from __future__ import annotations

from spinecore.registry import PluginError


class SliceError(PluginError):
    """A slice, a mask or an option that cannot work; names the file, the value, the remedy."""
