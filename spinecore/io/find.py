"""Films from files and folders, and the names their outputs get."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from spinecore.io.errors import UsageError

RASTER_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff",
    ".bmp", ".webp", ".jp2", ".j2k", ".jpx", ".pgm",
)  # fmt: skip
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUFFIXES = RASTER_SUFFIXES + DICOM_SUFFIXES
LONGEST_NAME = 240  # bytes of a stem
RESULT_FOLDERS = ("masks", "overlays", "json", "levels", "maps")  # of measure, segment and screen
RESULT_FILES = ("evaluation.png",)
NO_FILMS = (".csv", ".json", ".html", ".htm", ".md")  # beside films everywhere: not worth a word
NO_FILM_NAMES = ("dicomdir", "thumbs.db", "desktop.ini")  # tables of contents: of a disc, of a folder
KINDS_SHOWN = 6
_RUN_RECORD = re.compile(r'"schema"\s*:\s*"spinecore\.')


@dataclass(frozen=True)
class FilmSource:
    """Where a film lies and what it is called in every output."""

    path: Path
    film: str  # relative POSIX path with extension: the "film" column
    stem: str  # the same without extension, unique in the run: masks/<stem>.png


@dataclass
class _LeftOut:
    """What a search has passed over and owes a word about."""

    results: dict[Path, Path] = field(default_factory=dict)  # folders of earlier runs: resolved -> as met
    others: dict[Path, str] = field(default_factory=dict)  # resolved file -> kind

    def notices(self) -> list[str]:
        """One line each, for the terminal."""
        lines: list[str] = []
        if self.results:
            places = ", ".join(map(str, list(self.results.values())[:KINDS_SHOWN]))
            more = _and_more(len(self.results) - KINDS_SHOWN, "folders")
            lines.append(f"left out the masks and overlays of earlier runs in {places}{more}")
        if self.others:
            kinds = sorted(Counter(self.others.values()).items(), key=lambda item: (-item[1], item[0]))
            listed = ", ".join(f"{kind} {count}" for kind, count in kinds[:KINDS_SHOWN])
            more = _and_more(len(kinds) - KINDS_SHOWN, "kinds")
            lines.append(
                f"skipped {len(self.others)} other file{'s' * (len(self.others) > 1)} ({listed}{more})"
            )
        return lines


def _and_more(count: int, what: str) -> str:
    return f" and {count} more {what}" if count > 0 else ""


def find_films(
    paths: Sequence[str | Path],
    exclude: Path | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[FilmSource]:
    """Every film under ``paths``, sorted, each file once; subfolders are mirrored in the names.

    Folders are searched recursively for ``SUFFIXES`` (and DICOM by the DICM preamble of a file without an
    extension); hidden files and folders are passed over, symbolic links followed once (the film keeps its own
    name where that is found too). A file named directly is taken whatever it is called. Links that lead
    nowhere and folders that cannot be opened are listed: reading them gives the reason. Films under
    ``exclude`` (the output folder) are left out, and so are masks and overlays of earlier runs; ``notice`` is
    called with one line on those, and one on files of other kinds. Raises :class:`UsageError` for a path that
    does not exist, and for devices and pipes.
    """
    roots: list[Path] = []
    found: dict[Path, tuple[Path, Path]] = {}
    barred = None if exclude is None else exclude.resolve()
    left = _LeftOut()
    for given in paths:
        path = Path(given)
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if not path.is_dir() and not path.is_file():  # reading it might never end
            raise UsageError(f"{path}: a device or pipe, no file; save the film to a file and give that")
        root = path if path.is_dir() else path.parent
        for file in _walk(path, barred, left) if path.is_dir() else iter([path]):
            real = Path(os.path.realpath(file))
            known = found.get(real)
            if barred is not None and barred in real.parents:
                continue
            if known is None or (known[1].is_symlink() and not file.is_symlink()):
                found[real] = (root, file)
        roots.append(root)
    left.others = {file: kind for file, kind in left.others.items() if file not in found}
    if notice is not None:
        for line in left.notices():
            notice(line)
    labels = root_labels(roots)
    names = [relative_name(file, root, labels[root.resolve()]) for root, file in found.values()]
    stems = unique_stems(names, film_stem)
    sources = [
        FilmSource(file, name, stem)
        for (_, file), name, stem in zip(found.values(), names, stems, strict=True)
    ]
    return sorted(sources, key=lambda source: source.film)


def _walk(folder: Path, barred: Path | None, left: _LeftOut) -> Iterator[Path]:
    visited: set[Path] = set()
    closed: list[str] = []
    for current, folders, files in os.walk(
        folder, followlinks=True, onerror=lambda error: closed.append(error.filename)
    ):
        real = Path(current).resolve()
        if real in visited or real == barred:  # a link back to a folder already walked, or the output folder
            folders.clear()
            continue
        visited.add(real)
        ours: tuple[str, ...] = ()
        if holds_results(real):
            left.results.setdefault(real, Path(current))
            ours = RESULT_FOLDERS + RESULT_FILES
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in ours)
        for name in sorted(files):
            file = Path(current) / name
            if name.startswith(".") or name in ours or not _is_reachable(file):
                continue
            if _looks_like_film(file):
                yield file
            elif file.suffix.lower() not in NO_FILMS and name.lower() not in NO_FILM_NAMES:
                left.others[Path(os.path.realpath(file))] = _kind(file)
    if os.fspath(folder) in closed:
        raise UsageError(f"{folder}: cannot be opened; check its permissions")
    yield from map(Path, closed)


def _is_reachable(file: Path) -> bool:
    """A file, or a link to nothing, which is worth a word; no pipe and no device."""
    return file.is_file() or (file.is_symlink() and not file.exists())


def holds_results(folder: Path) -> bool:
    """Whether a run of this package wrote into ``folder``, or one is writing there or was killed."""
    try:
        with (folder / "run.json").open(encoding="utf-8") as stream:
            return _RUN_RECORD.search(stream.read(200)) is not None
    except (OSError, UnicodeDecodeError):
        return (folder / ".running").is_file() and (folder / "json").is_dir()


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    return "no extension" if suffix == "" or suffix[1:].isdigit() else suffix


def _looks_like_film(file: Path) -> bool:
    suffix = file.suffix.lower()
    if file.name.upper() == "DICOMDIR":  # the table of contents of a disc, DICOM itself but no film
        return False
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


def film_stem(name: str) -> str:
    """The name without the extension of a film; any other ending belongs to the name."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in SUFFIXES  # "1.2.840.113" keeps its last number
    return str(path.with_suffix("")) if known else str(path)
