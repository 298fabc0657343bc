"""Readers of the known sets on files that cannot be read, and the counts of the real sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from spinecore.plugins.dsrsd_net.data.assistments import load_assistments
from spinecore.plugins.dsrsd_net.data.digits import load_digits
from spinecore.plugins.dsrsd_net.data.gait import load_gait
from spinecore.plugins.dsrsd_net.data.oulad import load_oulad
from spinecore.plugins.dsrsd_net.errors import TableError


def test_missing_files_say_which_folder_is_meant(tmp_path: Path) -> None:
    for load in (load_oulad, load_digits, load_gait):
        with pytest.raises(TableError, match=r"no such file.*give the folder"):
            load(tmp_path)


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "grf.npz", feature=np.zeros(3))
    with pytest.raises(TableError, match=r"grf.npz.*label"):
        load_gait(tmp_path)
    (tmp_path / "grf.npz").write_text("no archive")
    with pytest.raises(TableError, match=r"grf.npz.*official"):
        load_gait(tmp_path)
    (tmp_path / "mfeat-fou.csv").write_text("\n")
    with pytest.raises(TableError, match=r"mfeat-fou.csv: holds 0 rows"):
        load_digits(tmp_path, ("fou",))


@pytest.mark.parametrize("header", ["", "a,b,c,class\n", "0,1,2,0\n"])
def test_a_header_of_names_or_numbers_is_no_numeral(tmp_path: Path, header: str) -> None:
    for view in ("fou", "zer"):
        (tmp_path / f"mfeat-{view}.csv").write_text(header + "0.5,1,2,0\n0,1,3,4\n")
    samples = load_digits(tmp_path, ("fou", "zer"))
    assert samples.inputs[0].tolist() == [[0.5, 1, 2], [0, 1, 3]]
    assert samples.outcomes == ("0", "4")


def test_views_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mfeat-fou.csv").write_text("0.5,1,0\n0.1,3,4\n")
    (tmp_path / "mfeat-zer.csv").write_text("0.5,1,4\n0.1,3,0\n")
    with pytest.raises(TableError, match=r"mfeat-zer.csv: rows do not pair"):
        load_digits(tmp_path, ("fou", "zer"))


def real(name: str) -> Path:
    folder = Path(os.environ.get("SPINECORE_DATA", "")) / name
    if not os.environ.get("SPINECORE_DATA") or not folder.is_dir():
        pytest.skip(f"SPINECORE_DATA names no folder that holds the set {name}")
    return folder


def test_the_real_sets_have_the_counts_of_their_papers() -> None:
    digits = load_digits(real("mfeat"))
    assert [x.shape for x in digits.inputs] == [(2000, 76), (2000, 47), (2000, 6)]
    gait = load_gait(real("gait_grf"))
    assert (len(gait), len(gait.group.unique()), len(gait.outcomes)) == (775, 155, 4)
    oulad = load_oulad(real("oulad"))
    assert len(oulad) == 21_333
    repeated = real("knowledge_tracing") / "assist2009_pid"
    kept = load_assistments(repeated, limit=200)
    every = load_assistments(repeated, limit=200, drop_repeats=False)
    assert 0.05 < 1 - int((kept.steps >= 0).sum()) / int((every.steps >= 0).sum()) < 0.35
