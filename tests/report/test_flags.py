from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spinecore.io
from spinecore.report.flags import WORDS, flag_words
from spinecore.report.theme import degrees
from spinecore.spine.curves import severity_of


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ""),
        (("low-confidence:1",), "1 weak vertebra"),
        (("low-confidence:3", "vertebrae:9"), "3 weak vertebrae; 9 of 17 vertebrae"),
        (("of-another-reader",), "of-another-reader"),
    ],
)
def test_words(flags: tuple[str, ...], words: str) -> None:
    assert flag_words(flags) == words


def test_every_flag_set_in_reading_and_measuring_has_words() -> None:
    package = Path(spinecore.io.__file__).parent.parent
    sources = [path.read_text() for name in ("io", "measure") for path in (package / name).glob("*.py")]
    found = {flag for text in sources for flag in re.findall(r'flags\.append\(\s*"([a-z-]+)"', text)}
    found |= {flag for text in sources for flag in re.findall(r'flags = \["([a-z-]+)"\]', text)}
    assert len(found) >= 10
    assert found <= set(WORDS)


@given(st.floats(0, 180))
def test_shown_angles_agree_with_the_severity_beside_them(angle: float) -> None:
    shown = float(degrees(angle).rstrip("\u00b0"))
    assert abs(shown - angle) <= 0.1
    assert severity_of(shown) == severity_of(angle)


@pytest.mark.parametrize(
    ("angle", "shown"), [(9.96, "9.9"), (10.0, "10.0"), (24.97, "24.9"), (31.96, "32.0")]
)
def test_shown_angles_by_example(angle: float, shown: str) -> None:
    assert degrees(angle) == f"{shown}\u00b0"
