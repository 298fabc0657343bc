"""The configurations of the Triton kernels are what the rule chooses from compiled figures."""

from __future__ import annotations

import json

import pytest
from emulation import ptx, resources

pytest.importorskip("triton", reason="triton is not installed")

from emulation import sweep
from emulation.sweep import Figures, worth

SHIPPED = json.loads(sweep.PATH.read_text())
# Each operator once, each architecture once.
SAMPLED = list(zip(sweep.OPERATORS, resources.ARCHITECTURES, strict=True))


def test_every_operator_has_every_architecture() -> None:
    assert {(op, kernel) for op, kernels in SHIPPED.items() for kernel in kernels} == set(sweep.OPERATORS)
    for (operator, kernel), (_, _, candidates) in sweep.OPERATORS.items():
        rows = SHIPPED[operator][kernel]
        assert set(rows) == {str(architecture) for architecture in resources.ARCHITECTURES}
        assert all(row in candidates for row in rows.values())


@pytest.mark.gpu_less
@pytest.mark.parametrize(("names", "architecture"), SAMPLED, ids=lambda value: str(value))
def test_the_shipped_one_is_the_chosen_one(names: tuple[str, str], architecture: int) -> None:
    """`python -m emulation.sweep` writes the file anew."""
    if ptx.nvcc() is None:
        pytest.skip("no nvcc")
    operator, kernel = names
    assert SHIPPED[operator][kernel][str(architecture)] == sweep.chosen(operator, kernel, architecture)


def test_the_rule() -> None:
    """No spilling first, then two blocks, then long steps; of streams, enough under way."""
    deep, short = {"depth": 32, "num_warps": 4}, {"depth": 16, "num_warps": 4}
    good = Figures(registers=100, spilled=False, shared=20000, blocks=4, warps=16)
    few = good._replace(blocks=2, warps=8)
    assert worth(deep, [few]) > worth(short, [good])
    assert worth(deep, [good, good._replace(blocks=1, warps=4)]) < worth(short, [few])
    assert worth(deep, [good, good._replace(spilled=True)]) < worth(short, [few])
    assert worth(deep, [good._replace(blocks=0, warps=0)]) < worth(short, [few])
    assert worth(deep, [good]) > worth(deep, [few])
    stream = {"elements": 1024, "num_warps": 4}
    assert worth(stream, [few]) < worth(stream | {"elements": 4096}, [few])
    assert worth(stream, [good._replace(blocks=8, warps=32)]) > worth(stream | {"elements": 4096}, [few])
    many = good._replace(blocks=8, warps=32)
    assert worth(stream | {"elements": 2048}, [many]) > worth(stream, [many])
