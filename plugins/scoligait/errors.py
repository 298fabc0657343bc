"""The error a user can act on."""

from __future__ import annotations

from spinecore.registry import PluginError


class GaitError(PluginError):
    """A recording, an option or a split that cannot work; names the file, the value, the remedy."""
