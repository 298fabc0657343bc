"""``index.html``: one self-contained page of a run, the most doubtful films first."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from spinecore.io.atomic import write_atomic
from spinecore.io.errors import FilmError
from spinecore.measure.layout import load_result, output_path
from spinecore.measure.result import FilmResult
from spinecore.report import theme
from spinecore.report.flags import flag_words
from spinecore.report.summary import RunCounts, count_run
from spinecore.report.thumbnails import LARGE_THUMB_HEIGHT, THUMB_HEIGHT, thumbnail_uri
from spinecore.spine.curves import DEFINITIONS, SEVERITY_CUT_OFFS_DEG, Curve

FEW = 4  # films shown large


@dataclass(frozen=True)
class Truth:
    """What is known to be true of a film: major angle a definition, and where it was taken from."""

    cobb_deg: Mapping[str, float]


@dataclass(frozen=True)
class PageText:
    """What differs between the page of a run and the demonstration's."""

    title: str = "Spine measurements"
    subtitle: str = ""
    truths: Mapping[str, Truth] = field(default_factory=dict)  # by film
    by_doubt: bool = True  # else by name
    bending: Container[str] = ()  # films that count in no figure: nobody stands on them
    # Tables of films that belong together: title, note, columns, text (columns that hold words), rows.
    tables: Callable[[Iterable[FilmResult]], Sequence[Mapping[str, Any]]] | None = None


def write_page(
    out: Path,
    results: Callable[[], Iterable[FilmResult]],
    run: Mapping[str, Any],
    text: PageText | None = None,
) -> None:
    """Write ``out/index.html``. ``results`` is walked several times; thumbnails are made one by one."""
    import jinja2

    text = text or PageText()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinecore.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["flag_words"] = flag_words
    environment.filters["url"] = _relative_url
    environment.filters["degrees"] = theme.degrees
    template = environment.get_template("index.html.j2")
    order = _order(results(), by_doubt=text.by_doubt)
    counts = count_run(results(), text.bending)
    stream = template.generate(
        text=text,
        run=run,
        tables=() if text.tables is None else text.tables(results()),
        counts=counts,
        cards=_cards(out, order, text),
        failures=lambda: (result for result in results() if not result.measured),
        rows=lambda: _number_rows(results()),
        definitions=theme.DEFINITION_WORDS,
        cut_offs=SEVERITY_CUT_OFFS_DEG,
        aid_sentence=theme.AID_SENTENCE,
        histogram=_histogram(counts),
        few=counts.measured <= FEW,
    )

    def write(file: IO[bytes]) -> None:
        for chunk in stream:
            file.write(chunk.encode("utf-8"))

    write_atomic(out / "index.html", write)


def _order(results: Iterable[FilmResult], *, by_doubt: bool) -> list[str]:
    """Stems of the measured films."""
    measured = [
        (-result.doubt if by_doubt else 0.0, result.film, result.stem)
        for result in results
        if result.measured
    ]
    return [stem for _, _, stem in sorted(measured)]


def _cards(out: Path, order: list[str], text: PageText) -> Iterator[dict[str, Any]]:
    """One card a measured film, in the given order of stems, each record read when its turn comes."""
    height = LARGE_THUMB_HEIGHT if len(order) <= FEW else THUMB_HEIGHT
    for place, stem in enumerate(order):
        result = load_result(out, stem)
        if result is None:
            raise FilmError(
                f"{out / output_path('json', stem)}: was removed or changed while the page was made"
            )
        film = result.film
        yield {
            "place": place,
            "film": result,
            "thumb": thumbnail_uri(out, result, height),
            "major": result.primary_curves[0] if result.primary_curves else None,
            "tables": [
                _definition_table(result, name, text.truths.get(film)) for name in _primary_first(result)
            ],
            "truth": text.truths.get(film),
        }


def _primary_first(result: FilmResult) -> list[str]:
    return sorted(DEFINITIONS, key=lambda name: name != result.primary)


def _definition_table(result: FilmResult, definition: str, truth: Truth | None) -> dict[str, Any]:
    curves = result.curves.get(definition, ())
    return {
        "definition": definition,
        "primary": definition == result.primary,
        "curves": [(curve, _range(curve)) for curve in curves],
        "truth": None if truth is None else truth.cobb_deg.get(definition),
    }


def _range(curve: Curve) -> str:
    """Angles that end vertebrae one level away would give: how much the choice of levels matters."""
    if not curve.alternatives:
        return ""
    others = [other.cobb_deg for other in curve.alternatives] + [curve.cobb_deg]
    return f"{min(others):.0f} to {max(others):.0f}\u00b0"


def _number_rows(results: Iterable[FilmResult]) -> Iterator[tuple[FilmResult, int, Curve]]:
    for result in results:
        for number, curve in enumerate(result.primary_curves, start=1):
            yield result, number, curve


def _histogram(counts: RunCounts, width: float = 10.0) -> list[dict[str, Any]]:
    """Bars of the distribution of major angles in steps of ten degrees."""
    if len(counts.angles) < 8:
        return []
    top = int(max(counts.angles) // width)
    bins = [0] * (top + 1)
    for angle in counts.angles:
        bins[int(angle // width)] += 1
    most = max(bins)
    return [
        {"low": int(index * width), "count": count, "percent": 100.0 * count / most}
        for index, count in enumerate(bins)
    ]


def _relative_url(path: str) -> str:
    return quote(path)
