"""``spinecore segment``: lumbar MRI in, masks, named levels, their sizes and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from spinecore.io.volume import VolumeSource
    from spinecore.segment.run import ScanReader, ScanSummary

DEFAULT_MODEL = "atm_net"


def segment(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Scans or folders (searched recursively).")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for all results.")],
    model: Annotated[str, typer.Option(help="Model that segments.")] = DEFAULT_MODEL,
    weights: Annotated[
        Path | None, typer.Option(help="Weights file or training run [default: shipped].")
    ] = None,
    prompts: Annotated[
        str,
        typer.Option(help="generic, or predicted: a second pass that is told what the first has found."),
    ] = "generic",
    reference: Annotated[
        Path | None, typer.Option(help="Folder of mask pictures named like the slices, to compare with.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the same scan, options and weights have given.")
    ] = False,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="For DICOM series: a DICOM SEG beside the NIfTI mask.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Segment sagittal lumbar MRI: vertebrae, discs and canal, level by level, with heights and widths.

    PNG, JPEG and TIFF slices, NIfTI, MHA, NRRD, folders of DICOM series. Masks lie in the geometry of their
    source. Exit code: 0 all segmented, 3 some failed, 2 nothing to do or wrong usage.
    """
    from spinecore.io.errors import UsageError
    from spinecore.io.volume import PICTURES, VOLUMES, find_volumes

    _check_places(paths, out)
    sources = find_volumes(paths, exclude=out)
    if not sources:
        looked = ", ".join(str(path) for path in paths)
        raise UsageError(
            f"no scans in {looked}; looked for {', '.join((*PICTURES, *VOLUMES))} and DICOM series"
        )
    command: dict[str, Any] = {
        "paths": [str(path) for path in paths],
        "model": model,
        "weights": None if weights is None else str(weights),
        "prompts": prompts,
        "reference": None if reference is None else str(reference),
        "resume": resume,
        "dicom_seg": dicom_seg,
        "device": device,
    }
    summary = run_segment(sources, out, command)
    raise typer.Exit(summary.exit_code)


def _check_places(paths: list[Path], out: Path) -> None:
    from spinecore.io.errors import UsageError

    if out.exists() and not out.is_dir():
        raise UsageError(f"-o {out} is a file; give a folder")
    for path in paths:
        if path.resolve() == out.resolve() or out.resolve() in path.resolve().parents:
            raise UsageError(f"{path} is or lies inside -o {out}; give another folder for the results")


def open_reader(command: dict[str, Any], sources: list[VolumeSource]) -> tuple[ScanReader, dict[str, Any]]:
    """The network that the options ask for, and what run.json says about it."""
    from spinecore.io.dicom_seg import require_highdicom
    from spinecore.io.errors import UsageError
    from spinecore.measure.model_reader import choose_device
    from spinecore.nn.prepared import freeze
    from spinecore.registry import create_model, list_models, model_spec
    from spinecore.segment.reference import Reference
    from spinecore.segment.run import ScanReader
    from spinecore.weights import checksum, read_card, resolve_weights

    if command["dicom_seg"]:
        require_highdicom()
    name, prompts = command["model"], command["prompts"]
    spec = model_spec(name)
    if spec.task != "mri" or spec.reader is None:
        known = ", ".join(list_models("mri")) or "none"
        raise UsageError(f"model {name!r} segments no MRI (task {spec.task}); models that do: {known}")
    path = resolve_weights(spec, "shipped" if command["weights"] is None else command["weights"])
    device = choose_device(command["device"])
    network = create_model(name, weights=path)
    freeze(network)  # nobody else has it
    try:
        slices: Any = spec.load("reader")(network, device, prompts)
    except ValueError as error:
        raise UsageError(f"--prompts: {error}") from None
    digest = checksum(path)
    compared = None if command["reference"] is None else Reference(Path(command["reference"]), sources)
    info = {
        "name": name,
        "prompts": prompts,
        "device": device,
        "weights": path.name,
        "weights_sha256": digest,
        "provenance": spec.provenance,
        "card": read_card(path),
    }
    algorithm = f"spinecore {name}" if command["dicom_seg"] else ""
    return ScanReader(slices, f"{name}:{digest}:{prompts}", compared, algorithm), info


def run_segment(
    sources: list[VolumeSource], out: Path, command: dict[str, Any], title: str = "Lumbar MRI"
) -> ScanSummary:
    """Load the network once, segment with a progress bar, write tables, page and run.json."""
    import time
    from datetime import UTC, datetime

    from rich.console import Console

    from spinecore.cli.progress import film_progress
    from spinecore.io.atomic import write_json
    from spinecore.measure.lock import only_run
    from spinecore.measure.options import package_version
    from spinecore.report.lumbar_overlay import write_lumbar_overlay
    from spinecore.report.lumbar_page import write_lumbar_page
    from spinecore.segment.provenance import run_record
    from spinecore.segment.run import run_scans

    started, begin = datetime.now(UTC), time.perf_counter()
    reader, info = open_reader(command, sources)
    load_seconds = time.perf_counter() - begin
    with only_run(out):
        with film_progress(len(sources), "segmenting", "scans") as on_scan:
            summary = run_scans(
                sources, reader, out, resume=command["resume"], draw=write_lumbar_overlay, on_scan=on_scan
            )
        write_json(out / "run.json", run_record(summary, info, started, load_seconds, command))
        scans = f"{summary.segmented + summary.failed} scan{'' if summary.planned == 1 else 's'}"
        page = {
            "subtitle": f"{scans}, segmented by {info['name']}, {started.astimezone():%Y-%m-%d %H:%M}",
            "footer": f"spinecore-torch {package_version()}; versions, options and timings are in run.json.",
        }
        write_lumbar_page(out, summary.results, page, title)
    _report(Console(stderr=True), summary)
    return summary


def _report(console: Any, summary: ScanSummary) -> None:
    parts = [f"[green]{summary.segmented} segmented[/]"]
    if summary.reused:
        parts[0] += f" ({summary.reused} kept from before)"
    if summary.failed:
        parts.append(f"[red]{summary.failed} failed[/] (reasons in scans.csv)")
    if summary.interrupted:
        parts.append(f"[yellow]interrupted, {summary.planned - len(summary.stems)} left[/]: --resume goes on")
    if summary.removed:
        parts.append(f"{summary.removed} of an earlier run removed from there")
    console.print(", ".join(parts) + f" in {summary.seconds:.1f} s", highlight=False)
    console.print(f"report: {summary.out / 'index.html'}", highlight=False, markup=False, soft_wrap=True)
