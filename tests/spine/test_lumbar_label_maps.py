from __future__ import annotations

import numpy as np
import pytest

from spinecore.spine.lumbar.column import CANAL, DISCS, VERTEBRAE
from spinecore.spine.lumbar.label_maps import LABEL_MAPS, MRSPINESEG, SPIDER, to_classes


def test_numbers_as_the_papers_give_them() -> None:
    assert SPIDER[1] == (VERTEBRAE, "L5")
    assert SPIDER[5] == (VERTEBRAE, "L1")
    assert SPIDER[6] == SPIDER[106] == (VERTEBRAE, "T12")
    assert SPIDER[100] == (CANAL, "")
    assert SPIDER[201] == (DISCS, "L5/S1")
    assert SPIDER[206] == (DISCS, "T12/L1")
    assert SPIDER[25] == (VERTEBRAE, "")
    assert [MRSPINESEG[n].level for n in range(1, 20)] == [
        *("S", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9"),
        *("L5/S1", "L4/L5", "L3/L4", "L2/L3", "L1/L2", "T12/L1", "T11/T12", "T10/T11", "T9/T10"),
    ]
    assert {label.structure for label in MRSPINESEG.values()} == {0, VERTEBRAE, DISCS}
    assert set(LABEL_MAPS) == {"spider", "mrspineseg"}


def test_labels_become_classes_and_unknown_ones_are_named() -> None:
    labels = np.array([[0, 1, 105], [100, 201, 225]])
    assert to_classes(labels, SPIDER).tolist() == [[0, VERTEBRAE, VERTEBRAE], [CANAL, DISCS, DISCS]]
    assert to_classes(np.array([1, 2, 19]), MRSPINESEG).tolist() == [0, VERTEBRAE, DISCS]
    with pytest.raises(ValueError, match=r"\[20, 76\]"):
        to_classes(np.array([0, 76, 20, 3]), MRSPINESEG)
