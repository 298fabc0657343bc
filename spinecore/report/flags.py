"""Quality flags in words a reader of the page or the overlay understands; tables keep the short codes."""

from __future__ import annotations

from collections.abc import Iterable

WORDS = {
    "polarity-suspect": "bone may be dark: the film may be inverted",
    "presentation-lut-conflict": "the file contradicts itself about black and white",
    "voi-unusable": "the window stored in the file shows nothing and was left out",
    "body-part-other": "the file names another part of the body",
    "window-cuts-film": "the window stored in the file cuts off much of the film and was left out",
    "non-square-pixels": "pixels are not square; angles are those in square ones",
    "resolution-uneven": "the file names unequal resolutions across and down, which were left out",
    "aspect-unusual": "unusual width for a film of the whole spine",
    "small-image": "few pixels: angles are coarse",
    "low-contrast": "little contrast",
    "colour-image": "a colour picture, read as grey",
    "transparency-ignored": "transparent parts were taken as film",
    "exif-rotated": "turned upright as the camera's note says",
    "landmarks-repaired": "corners were listed out of order and have been sorted",
    "top-level-suspect": "the first vertebra may have another level",
    "levels-suspect": "level names do not follow the spine",
    "levels-uncertain": "levels may be shifted by one",
    "spine-doubtful": "most vertebrae are weak: this may not be an upright film of the spine",
    "levels-unknown": "levels are not known",
    "major-spans-curves": "the largest angle spans curves to both sides; look at its end vertebrae",
    "no-vertebrae": "no vertebrae found",
    "no-discs": "no discs found",
    "no-canal": "no canal found",
    "no-agreement": "the reference mask could not be compared",
    "no-dicom-seg": "the series cannot be referred to by a DICOM SEG",
    "landmarks-outside-film": "corners lie outside the film",
    "vertebrae-incomplete": "not all vertebrae were found",
}


def flag_words(flags: Iterable[str]) -> str:
    """All flags as one phrase; a code without words (from another reader) is shown as it is."""
    return "; ".join(_words(flag) for flag in flags)


def _words(flag: str) -> str:
    kind, _, number = flag.partition(":")
    if kind == "low-confidence":
        return f"{number} weak vertebra{'' if number == '1' else 'e'}"
    if kind == "vertebrae":
        return f"{number} of 17 vertebrae"
    return WORDS.get(flag, flag)
