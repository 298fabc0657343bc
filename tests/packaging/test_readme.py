from __future__ import annotations

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    x, y = names["x"], names["y"]
    assert isinstance(x, torch.Tensor)
    assert isinstance(y, torch.Tensor)
    assert y.shape == x.shape
    assert torch.isfinite(y).all()


def test_it_never_recommends_the_other_package_of_that_name() -> None:
    assert not re.search(r"pip install spinecore(?!-torch)", README)


def test_its_first_screen_shows_the_picture_and_the_two_commands() -> None:
    first = README.splitlines()[:14]
    assert any(line.startswith("![") for line in first)
    assert any(line.startswith("make demo") for line in first)
    assert any(line.startswith("make test") for line in first)
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (Path(__file__).parents[2] / link).is_file(), link
