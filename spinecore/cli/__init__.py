"""The ``spinecore`` command. Every command lies in a file of its own; heavy imports happen inside it."""

from __future__ import annotations

from spinecore.cli.app import main

__all__ = ["main"]
