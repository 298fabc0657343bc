"""The operators' CUDA kernels on the CPU, in the place of those of a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

import pytest
import torch
from emulation import sources

from spinecore import _native
from spinecore.ops import _device

Use = Callable[[ModuleType], None]


@pytest.fixture(scope="session")
def emulated_scse_gate() -> ModuleType:
    return sources.operator_module("scse_gate", "emulated_scse_gate")


@pytest.fixture(scope="session")
def emulated_covariance() -> ModuleType:
    return sources.operator_module("covariance_decorrelation", "emulated_covariance")


@pytest.fixture
def as_the_core(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Lets the package's Python call a module built here instead of its core, with tensors of the CPU."""

    def use(module: ModuleType) -> None:
        monkeypatch.setattr(_native, "core", lambda: module)
        monkeypatch.setattr(_device, "stream_of", lambda _x: nullcontext(0))
        monkeypatch.setattr(_device, "capability", lambda _x: (8, 0))

    return use


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with _one_thread():
        yield


@pytest.fixture
def tf32_allowed() -> Iterator[None]:
    """Torch may multiply float32 in tf32 meanwhile."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)
