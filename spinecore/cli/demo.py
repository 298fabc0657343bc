"""``spinecore demo``: three phantom films of one patient to a report with truth beside measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spinecore.spine.phantom import PhantomFilm

FILM_HEIGHT, FILM_WIDTH = 1536, 640
READER_NOISE_PX = 1.5  # spread of the simulated hand that marks the corners; our choice
KIND = "double"
LUMBAR_SLICES = 3


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for films and report.")],
    seed: Annotated[int, typer.Option(min=0, help="Another patient; some are read less well.")] = 57,
    corners: Annotated[
        bool,
        typer.Option("--corners", help="Measure on corners marked by a simulated hand, not by the model."),
    ] = False,
    mri: Annotated[bool, typer.Option("--mri", help="Three lumbar MRI slices instead of films.")] = False,
) -> None:
    """Draw one patient standing and bending to both sides, measure, and show truth beside measurement.

    Needs no data and no network. Without shipped weights the corners are those of a simulated hand.
    """
    if mri:
        raise typer.Exit(_lumbar(out, seed))
    from spinecore.cli.measure import run_measure
    from spinecore.io.find import find_films
    from spinecore.spine.phantom import phantom_patient

    patient = phantom_patient(seed, height=FILM_HEIGHT, width=FILM_WIDTH, kind=KIND)
    films, marked = out / "films", out / "marked_corners.csv"
    _write_films(films, patient)
    by_hand = corners or not _model_ready()
    if by_hand:
        _mark_corners(marked, patient, seed)
    command: dict[str, Any] = {
        "paths": [str(films)],
        "model": None,
        "weights": None,
        "landmarks": str(marked) if by_hand else None,
        "masks": None,
        "definition": None,
        "positions": None,
        "resume": False,
        "device": "auto",
    }
    summary = run_measure(
        find_films([films]),
        out,
        command,
        resume=False,
        overwrite=True,  # OUT is the demonstration's own
        page_text=_page_text(patient, by_hand),
    )
    raise typer.Exit(summary.exit_code)


def _lumbar(out: Path, seed: int) -> int:
    """Draw lumbar slices, segment them with the shipped network and compare with what was drawn."""
    import numpy as np
    from PIL import Image

    from spinecore.cli.segment import DEFAULT_MODEL, run_segment
    from spinecore.io.volume import find_volumes
    from spinecore.spine.phantom.lumbar import lumbar_phantom

    slices, truth = out / "slices", out / "drawn"
    for folder in (slices, truth):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(LUMBAR_SLICES):
        phantom = lumbar_phantom(seed + number)
        Image.fromarray((phantom.pixels * 255.0 + 0.5).astype(np.uint8)).save(slices / f"{number + 1}.png")
        Image.fromarray(phantom.mask).save(truth / f"{number + 1}.png")
    command: dict[str, Any] = {
        "paths": [str(slices)],
        "model": DEFAULT_MODEL,
        "weights": None,
        "prompts": "generic",
        "reference": str(truth),
        "resume": False,
        "dicom_seg": False,
        "device": "auto",
    }
    title = "Demonstration: three drawn slices of lumbar spines"
    return run_segment(find_volumes([slices]), out, command, title).exit_code


def _model_ready() -> bool:
    from spinecore.cli.models import has_weights
    from spinecore.measure.model_reader import DEFAULT_MODEL
    from spinecore.registry import list_models, model_spec

    return DEFAULT_MODEL in list_models("film") and has_weights(model_spec(DEFAULT_MODEL))


def _write_films(folder: Path, patient: dict[str, PhantomFilm]) -> None:
    """As 16-bit PNG, so that the demonstration walks the same way as a clinic's export."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for position, film in patient.items():
        Image.fromarray((film.pixels * 65535.0 + 0.5).astype(np.uint16)).save(folder / f"{position}.png")


def _mark_corners(
    path: Path, patient: dict[str, PhantomFilm], seed: int, noise_px: float = READER_NOISE_PX
) -> None:
    import numpy as np

    from spinecore.io.atomic import write_csv
    from spinecore.io.landmarks import VERTEBRAE_COLUMNS

    noise = np.random.default_rng(seed)
    rows: list[tuple[object, ...]] = []
    for position, film in patient.items():
        shaken = film.vertebrae.corners + noise.normal(0.0, noise_px, film.vertebrae.corners.shape)
        for level, corners in zip(film.vertebrae.levels, shaken, strict=True):
            rows.append((f"{position}.png", level, 1.0, *(f"{value:.3f}" for value in corners.ravel())))
    write_csv(path, VERTEBRAE_COLUMNS, rows)


def _page_text(patient: dict[str, PhantomFilm], by_hand: bool) -> Any:
    from spinecore.report.page import PageText, Truth
    from spinecore.report.triad import triad_table

    read = (
        f"corners marked by a simulated hand (spread {READER_NOISE_PX:g} pixels)"
        if by_hand
        else "read by the shipped model: films it has not seen; phantoms of other seeds were part of its "
        "training. On real films it is farther off, as its card says"
    )
    return PageText(
        title="Demonstration: one phantom patient, three films",
        subtitle=f"Drawn films with known angles, {read}.",
        truths={f"{position}.png": Truth(film.cobb_deg) for position, film in patient.items()},
        by_doubt=False,
        tables=lambda results: [
            triad_table({position: film.vertebrae for position, film in patient.items()}, results)
        ],
    )
