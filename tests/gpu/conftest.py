"""`--device cuda` runs these tests on every GPU; without it the CPU stands in, which tests the tests.

With the stand-in the CUDA kernels are the emulated ones; Triton's run in their interpreter in a process that
has TRITON_INTERPRET=1, and what needs a GPU itself (marker `gpu`) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from gpu_checks import stand_in
from gpu_checks.processors import Processor, processors


def _backends(device: str) -> list[str]:
    if device == "cuda":
        return ["cuda", "triton"]
    return ["triton"] if stand_in.interpreted() else ["cuda"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    device = metafunc.config.getoption("--device")
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _backends(device))
    if "processor" in metafunc.fixturenames:
        found = processors(device)
        metafunc.parametrize("processor", found, ids=[str(each.device) for each in found])


@pytest.fixture(autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-in where there is no GPU; on one, what a test leaves in its queue fails that test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cuda = request.config.getoption("--device") == "cuda"
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # the references' convolutions too
    if not cuda:
        stand_in.install(monkeypatch.setattr)
    yield
    if cuda:
        for processor in processors("cuda"):
            processor.settle()
    torch.set_num_threads(threads)


@pytest.fixture
def first(request: pytest.FixtureRequest) -> Processor:
    """One device."""
    return processors(request.config.getoption("--device"))[0]
