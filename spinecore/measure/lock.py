"""One run at a time writes into an output folder: two would remove each other's results."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spinecore.io.errors import UsageError

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # some network shares have no locks


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Hold ``out`` for this process; the system lets go when the process ends, however it ends.

    Raises :class:`UsageError` while another run holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    place = out / ".running"
    with place.open("w") as stream:
        try:
            _take(stream.fileno())
            if not _still_there(stream.fileno(), place):  # the run that has just ended took it away
                raise BlockingIOError(errno.EAGAIN, "removed meanwhile")
        except OSError as error:
            if error.errno in _TAKEN:
                raise UsageError(
                    f"another run is writing into {out}; wait for it, or give another folder with -o"
                ) from None
            if error.errno not in _UNSUPPORTED:
                raise
        try:
            yield
        finally:
            if sys.platform != "win32":  # an open file cannot be removed there
                place.unlink(missing_ok=True)


def _still_there(descriptor: int, place: Path) -> bool:
    """Whether the file that is locked is the one that others will find."""
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False


def _take(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
