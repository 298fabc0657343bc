"""One run a folder, also in the moment in which another one ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spinecore.io.errors import UsageError
from spinecore.measure import lock


def test_a_file_taken_away_between_opening_and_locking_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there
        return
    take = lock._take

    def late(descriptor: int) -> None:
        (tmp_path / ".running").unlink()  # the run before ends
        (tmp_path / ".running").touch()  # and a third begins
        take(descriptor)

    monkeypatch.setattr(lock, "_take", late)
    with pytest.raises(UsageError, match="another run is writing into"), lock.only_run(tmp_path):
        pytest.fail("two runs would write into one folder")
    assert (tmp_path / ".running").exists(), "the third run's"


def test_the_folder_is_free_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.only_run(tmp_path / "out"):
            assert (tmp_path / "out" / ".running").exists()
        assert not (tmp_path / "out" / ".running").exists()
