from __future__ import annotations

import signal
import sys

import pytest
from command_line import Run

from spinecore.cli import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; returns exit code and everything printed."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["spinecore", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        signal.signal(signal.SIGTERM, before)
        printed = capsys.readouterr()
        code = end.value.code
        return (code if isinstance(code, int) else 0), printed.out + printed.err

    return call
