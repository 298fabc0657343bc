"""Tests of the core set its instruction set and torch's threads; the next one starts with neither changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from spinecore import _native


@pytest.fixture(autouse=True)
def keep_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module with ``THREADS`` runs on as many where a test does not choose itself."""
    core = _native.core()
    isa, threads = core.selected_isa(), torch.get_num_threads()
    torch.set_num_threads(getattr(request.module, "THREADS", threads))
    yield
    core.set_isa(isa)
    torch.set_num_threads(threads)
