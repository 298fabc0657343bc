"""The error a user can act on."""

from __future__ import annotations

from spinecore.registry import PluginError


class TableError(PluginError):
    """A table, a description of modalities or an option that cannot work; names the file, the value, the
    remedy.
    """
