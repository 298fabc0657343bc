from __future__ import annotations

import subprocess
import sys

import pytest

from spinecore.spine.selfcheck import LIMIT_DEG, Check, run_selfcheck


@pytest.mark.parametrize("seed", range(5))
def test_every_check_passes(seed: int) -> None:
    checks = run_selfcheck(seed)
    assert len(checks) > 40
    assert [check.name for check in checks if not check.ok] == []
    assert len({check.name for check in checks}) == len(checks)


def test_a_wrong_angle_fails() -> None:
    assert not Check("off", 30.0, 30.0 + 1.01 * LIMIT_DEG).ok
    assert Check("on", 30.0, 30.0 - 0.99 * LIMIT_DEG).ok


def test_the_geometry_imports_numpy_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import spinecore.spine.selfcheck; "
        "heavy = {'scipy', 'torch', 'PIL', 'skimage', 'matplotlib'} & (set(sys.modules) - before); "
        "print(sorted(heavy))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
