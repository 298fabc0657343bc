"""Films from files and folders, and the names their outputs get."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spinecore.io.errors import UsageError

RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUFFIXES = RASTER_SUFFIXES + DICOM_SUFFIXES
LONGEST_NAME = 240  # bytes of a stem


@dataclass(frozen=True)
class FilmSource:
    """Where a film lies and what it is called in every output."""

    path: Path
    film: str  # relative POSIX path with extension: the "film" column
    stem: str  # the same without extension, unique in the run: masks/<stem>.png


def find_films(paths: Sequence[str | Path], exclude: Path | None = None) -> list[FilmSource]:
    """Every film under ``paths``, sorted, each file once; subfolders are mirrored in the names.

    Folders are searched recursively for PNG, JPEG, TIFF and DICOM (by extension, or by the DICM preamble of a
    file without one); hidden files and folders are passed over, symbolic links followed once (the film keeps
    its own name where that is found too). A file named directly is taken whatever it is called. Links that
    lead nowhere and folders that cannot be opened are listed: reading them gives the reason. Films under
    ``exclude`` (the output folder) are left out. Raises :class:`UsageError` for a path that does not
    exist, and for devices and pipes.
    """
    roots: list[Path] = []
    found: dict[Path, tuple[Path, Path]] = {}
    barred = None if exclude is None else exclude.resolve()
    for given in paths:
        path = Path(given)
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if not path.is_dir() and not path.is_file():  # reading it might never end
            raise UsageError(f"{path}: a device or pipe, no file; save the film to a file and give that")
        root = path if path.is_dir() else path.parent
        for file in _walk(path) if path.is_dir() else iter([path]):
            real = Path(os.path.realpath(file))
            known = found.get(real)
            if barred is not None and barred in real.parents:
                continue
            if known is None or (known[1].is_symlink() and not file.is_symlink()):
                found[real] = (root, file)
        roots.append(root)
    labels = root_labels(roots)
    names = [relative_name(file, root, labels[root.resolve()]) for root, file in found.values()]
    stems = unique_stems(names, _stem)
    sources = [
        FilmSource(file, name, stem)
        for (_, file), name, stem in zip(found.values(), names, stems, strict=True)
    ]
    return sorted(sources, key=lambda source: source.film)


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[Path] = set()
    closed: list[str] = []
    for current, folders, files in os.walk(
        folder, followlinks=True, onerror=lambda error: closed.append(error.filename)
    ):
        real = Path(current).resolve()
        if real in visited:  # a link back to a folder already walked
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(current) / name
            if not name.startswith(".") and _is_reachable(file) and _looks_like_film(file):
                yield file
    if os.fspath(folder) in closed:
        raise UsageError(f"{folder}: cannot be opened; check its permissions")
    yield from map(Path, closed)


def _is_reachable(file: Path) -> bool:
    """A file, or a link to nothing, which is worth a word; no pipe and no device."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def _looks_like_film(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        return True
    # PACS exports often have no extension, or a UID whose last number looks like one.
    return (suffix == "" or suffix[1:].isdigit()) and has_dicom_preamble(file)


def has_dicom_preamble(file: Path) -> bool:
    """True when bytes 128..131 are ``DICM``."""
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def root_labels(roots: Sequence[Path]) -> dict[Path, str]:
    """Of resolved roots, the shortest trailing path parts that tell them apart; a single one needs none."""
    distinct = sorted({root.resolve() for root in roots})
    if len(distinct) <= 1:
        return dict.fromkeys(distinct, "")
    for depth in range(1, max(len(root.parts) for root in distinct) + 1):
        labels = ["/".join(part for part in root.parts[-depth:] if part != root.anchor) for root in distinct]
        if len({_fold(label) for label in labels}) == len(distinct):
            return dict(zip(distinct, labels, strict=True))
    raise UsageError("the given folders cannot be told apart by name; measure them in separate runs")


def relative_name(file: Path, root: Path, label: str) -> str:
    """Below its root, with the root's label before it."""
    relative = file.relative_to(root).as_posix()
    name = f"{label}/{relative}" if label else relative
    # A name written under another encoding holds bytes that are no UTF-8: tables show them as \xff.
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _fold(name: str) -> str:
    # Two names that differ in case or in Unicode composition are one file on macOS and Windows.
    return unicodedata.normalize("NFC", name).casefold()


def unique_stems(names: Sequence[str], stem_of: Callable[[str], str]) -> list[str]:
    """``a.png`` -> ``a``; files that share a stem carry their extension: ``a_png``, ``a_jpg``."""
    plain = [stem_of(name) for name in names]
    counts = Counter(_fold(stem) for stem in plain)
    taken = {folded for folded, count in counts.items() if count == 1}
    result: list[str] = []
    for name, stem in zip(names, plain, strict=True):
        if counts[_fold(stem)] > 1:
            base = stem + PurePosixPath(name).suffix.replace(".", "_")
            stem, number = base, 2
            while _fold(stem) in taken:
                stem, number = f"{base}_{number}", number + 1
            taken.add(_fold(stem))
        result.append(_shortened(stem))
    return result


def _shortened(stem: str) -> str:
    """File systems end a name at 255 bytes: one that leaves no room for ``.json`` ends in a hash instead."""
    folder, slash, name = stem.rpartition("/")
    if len(name.encode()) <= LONGEST_NAME:
        return stem
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name.encode()[: LONGEST_NAME - 9].decode(errors="ignore")
    return f"{folder}{slash}{kept}~{digest}"


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    known = path.suffix.lower() in SUFFIXES  # "1.2.840.113" keeps its last number
    return str(path.with_suffix("")) if known else str(path)
