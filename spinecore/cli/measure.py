"""``spinecore measure``: films in, angles and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spinecore.io.find import FilmSource
    from spinecore.io.positions import FilmPosition
    from spinecore.measure.readers import Reader
    from spinecore.measure.run import RunSummary
    from spinecore.report.page import PageText

DEFINITION_HELP = "How angles are drawn: srs_endplate, aasce_midbody, centerline_tangent, or all."
POSITIONS_HELP = (
    "CSV of film, patient, position (standing, bending, image-left, image-right): flexibility and curve type."
)


def measure(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Films or folders (searched recursively).")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for all results.")],
    model: Annotated[str | None, typer.Option(help="Model that reads the films [default: r2mf_net].")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights file or training run [default: shipped].")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(help="Corners from a file: vertebrae.csv, or landmarks.csv of an AASCE folder."),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of spine masks named like the films.")] = None,
    definition: Annotated[str | None, typer.Option(help=DEFINITION_HELP)] = None,
    positions: Annotated[Path | None, typer.Option(help=POSITIONS_HELP)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the same film, options and weights have given.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Lose what OUT holds of films that are not in this run.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Measure films: tables, masks, overlays and one page that shows the most doubtful films first.

    Exit code: 0 all measured, 3 some failed, 2 nothing to do or wrong usage.
    """
    from spinecore.io.errors import UsageError
    from spinecore.io.find import SUFFIXES, find_films

    _check_sources(paths, out, model, weights, landmarks, masks)
    sources = find_films(paths, exclude=out, notice=_notice)
    if not sources:
        looked = ", ".join(str(path) for path in paths)
        raise UsageError(
            f"no films in {looked}; looked for {', '.join(SUFFIXES)} and DICOM without extension"
        )
    command = {
        "paths": [str(path) for path in paths],
        "model": model,
        "weights": None if weights is None else str(weights),
        "landmarks": None if landmarks is None else str(landmarks),
        "masks": None if masks is None else str(masks),
        "definition": definition,
        "positions": None if positions is None else str(positions),
        "resume": resume,
        "device": device,
    }
    summary = run_measure(sources, out, command, resume=resume, overwrite=overwrite)
    raise typer.Exit(summary.exit_code)


def _check_sources(
    paths: list[Path],
    out: Path,
    model: str | None,
    weights: Path | None,
    landmarks: Path | None,
    masks: Path | None,
) -> None:
    from spinecore.io.errors import UsageError

    readers = [
        name
        for name, given in (
            ("--model/--weights", model is not None or weights is not None),
            ("--landmarks", landmarks is not None),
            ("--masks", masks is not None),
        )
        if given
    ]
    if len(readers) > 1:
        raise UsageError(f"{' and '.join(readers)} exclude each other: only one can read the films")
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out} is a file; give a folder")
    if any(path.is_dir() and path.resolve() == out.resolve() for path in paths):
        raise UsageError(f"-o {out} is also a folder of films; give another folder for the results")
    inside = next((path for path in paths if out.resolve() in path.resolve().parents), None)
    if inside is not None:
        raise UsageError(f"{inside} lies inside -o {out}; give another folder for the results")


def _refuse_results_of_others(sources: list[FilmSource], out: Path, *, resume: bool) -> None:
    from spinecore.io.errors import UsageError
    from spinecore.measure.layout import films_of_others

    if others := films_of_others(out, sources, resume=resume):
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise UsageError(
            f"-o {out} holds results of films that are not in this run, or have changed since ({shown}); "
            "give another folder, or --overwrite to lose them"
        )


def _positions(path: str | None, sources: list[FilmSource]) -> dict[str, FilmPosition] | None:
    """Patient and position by film; films that are not listed are left out."""
    from spinecore.io.errors import FilmError, UsageError
    from spinecore.io.positions import read_positions

    if path is None:
        return None
    films = [source.film for source in sources]
    table = read_positions(path, films)
    try:
        found = {film: table.find(film) for film in films if table.lists(film)}
    except FilmError as error:
        raise UsageError(error.reason) from None
    if not found:
        raise UsageError(f"{path}: lists none of the films of this run, for example {films[0]}")
    if absent := table.unused():
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        _notice(f"{path} lists films that are not in this run: {', '.join(absent[:3])}{more}")
    return found


def _notice(text: str) -> None:
    from rich.console import Console

    from spinecore.cli.terminal import shown

    Console(stderr=True).print(shown(text), highlight=False, soft_wrap=True, style="dim")


def open_reader(command: dict[str, Any], sources: list[FilmSource]) -> Reader:
    """The reader that the options of ``measure`` ask for, for these films."""
    from spinecore.cli.environment import core_state
    from spinecore.io.errors import UsageError
    from spinecore.measure.model_reader import DEFAULT_MODEL, load_model_reader
    from spinecore.measure.readers import LandmarkReader, MaskReader

    if command["landmarks"] is not None:
        return LandmarkReader(Path(command["landmarks"]), sources)
    if command["masks"] is not None:
        return MaskReader(Path(command["masks"]), sources)
    if problem := core_state().get("isa_error"):  # it would fail every film
        raise UsageError(f"{problem}, or unset it")
    return load_model_reader(command["model"] or DEFAULT_MODEL, command["weights"], command["device"])


def run_measure(
    sources: list[FilmSource],
    out: Path,
    command: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool = False,
    page_text: PageText | None = None,
) -> RunSummary:
    """Load the reader once, measure with a progress bar, write tables, page and run.json."""
    import time
    from datetime import UTC, datetime

    from rich.console import Console

    from spinecore.cli.progress import film_progress
    from spinecore.io.atomic import write_json
    from spinecore.io.errors import UsageError
    from spinecore.io.positions import STANDING
    from spinecore.measure.lock import only_run
    from spinecore.measure.options import MeasureOptions, package_version
    from spinecore.measure.patients import measure_patients, remove_patients, write_patients
    from spinecore.measure.provenance import run_record
    from spinecore.measure.run import run_films
    from spinecore.report.overlay import write_overlay
    from spinecore.report.page import PageText, write_page
    from spinecore.report.patients import patient_tables

    definition = command["definition"]
    if definition is None:
        definition = "centerline_tangent" if command["masks"] is not None else "aasce_midbody"
    options = MeasureOptions(definition)
    if command["masks"] is not None and options.primary != "centerline_tangent" and definition != "all":
        raise UsageError(f"--masks give no vertebrae: --definition {definition} cannot be measured on them")
    positions = _positions(command["positions"], sources)
    started, begin = datetime.now(UTC), time.perf_counter()
    reader = open_reader(command, sources)
    load_seconds = time.perf_counter() - begin
    with only_run(out):
        if not overwrite:
            _refuse_results_of_others(sources, out, resume=resume)
        with film_progress(len(sources)) as on_film:
            summary = run_films(
                sources, reader, options, out, resume=resume, draw=write_overlay, on_film=on_film
            )
        record = run_record(summary, options, reader.info, started, load_seconds, command)
        write_json(out / "run.json", record)
        if positions is None:
            remove_patients(out)
        else:
            write_patients(out, measure_patients(positions, summary.results()))
            page_text = PageText(
                bending={film for film, entry in positions.items() if entry.position != STANDING},
                tables=lambda results: patient_tables(measure_patients(positions, results)),
            )
        source = {"model": "read by", "landmarks": "corners from", "masks": "masks from"}[reader.info.kind]
        done = summary.measured + summary.failed
        films = f"{done} film{'' if summary.planned == 1 else 's'}"
        page = {
            "subtitle": f"{films}, {source} {reader.info.name}, {started.astimezone():%Y-%m-%d %H:%M}",
            "warning": f"Interrupted: {summary.planned - done} of {summary.planned} films are not measured. "
            "Run the command again with --resume."
            if summary.interrupted
            else "",
            "footer": f"spinecore-torch {package_version()}; versions, options and timings are in run.json.",
        }
        write_page(out, summary.results, page, page_text)
    _report(Console(stderr=True), summary)
    return summary


def _report(console: Any, summary: RunSummary) -> None:
    parts = [f"[green]{summary.measured} measured[/]"]
    if summary.reused:
        parts[0] += f" ({summary.reused} kept from before)"
    if summary.failed:
        parts.append(f"[red]{summary.failed} failed[/] (reasons in films.csv)")
    if summary.interrupted:
        parts.append(f"[yellow]interrupted, {summary.planned - len(summary.stems)} left[/]: --resume goes on")
    if summary.removed:
        parts.append(f"{summary.removed} of an earlier run removed from there")
    if summary.duplicates:
        parts.append(f"[yellow]{summary.duplicates} the same file as another[/] under a second name")
    console.print(", ".join(parts) + f" in {summary.seconds:.1f} s", highlight=False)
    console.print(f"report: {summary.out / 'index.html'}", highlight=False, markup=False, soft_wrap=True)
