"""Text of others (file names, reasons) made safe for the terminal."""

from __future__ import annotations


def shown(text: str) -> str:
    """No markup of ours, and no control characters out of a file name."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
