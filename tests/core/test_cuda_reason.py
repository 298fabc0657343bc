"""Why the CUDA kernels are off, in words that say what would turn them on."""

from __future__ import annotations

from spinecore import _native


def test_the_reason_why_cuda_is_off_says_what_would_turn_it_on() -> None:
    facts = _native.info()
    reason = _native.cuda_unavailable_reason()
    if facts["cuda_devices"]:
        assert reason is None
    elif facts["cuda_built"]:
        assert "driver" in str(reason)
    else:
        assert "SPINECORE_CUDA=ON" in str(reason)
