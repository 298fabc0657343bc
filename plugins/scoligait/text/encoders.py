"""Texts to numbers: hashed words and letter groups, or a sentence encoder from a local folder."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinecore.nn import sentences
from spinecore.registry import PluginError

from ..config import ScoliGaitConfig
from ..errors import GaitError

LETTERS = (3, 4)
Encode = Callable[[Sequence[str]], NDArray[Any]]


@lru_cache(maxsize=100_000)
def _number(piece: str, vocabulary: int) -> int:
    digest = hashlib.blake2b(piece.encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "little") % (vocabulary - 1)


def pieces(text: str) -> list[str]:
    """Words, pairs of words and groups of 3 and 4 letters, so that inflected words of any language share
    some.
    """
    words = re.findall(r"\w+", text.lower())
    found = [f"w:{w}" for w in words] + [f"p:{a} {b}" for a, b in itertools.pairwise(words)]
    for word in words:
        marked = f"<{word}>"
        found += [marked[i : i + n] for n in LETTERS for i in range(len(marked) - n + 1)]
    return found


def hashed(texts: Sequence[str], vocabulary: int, length: int) -> NDArray[np.int64]:
    """(N, length) token numbers 1..vocabulary - 1, 0 after the end; the same on every machine.

    A text with more pieces than `length` keeps an even share of them.
    """
    out = np.zeros((len(texts), length), dtype=np.int64)
    for row, text in zip(out, texts, strict=True):
        numbers = [_number(p, vocabulary) for p in pieces(text)]
        if len(numbers) > length:
            numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, length).astype(int)]
        row[: len(numbers)] = numbers
    return out


class SentenceEncoder(sentences.SentenceEncoder):
    """A transformers model from a local folder (all-MiniLM-L6-v2 in the paper); nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        try:
            super().__init__(folder)
        except PluginError as e:
            raise GaitError(str(e)) from e


def text_encoder(config: ScoliGaitConfig, folder: Path | None) -> Encode:
    """Texts to what the model's text branch takes: the built-in tokens, or vectors by the model in `folder`.

    Raises:
        GaitError: a model trained on vectors without its folder, or one of another width.

    """
    if config.text == "hashed":
        return lambda texts: hashed(texts, config.vocabulary, config.text_length)
    if folder is None:
        raise GaitError("this model reads sentence vectors; give the sentence encoder's folder")
    encoder = SentenceEncoder(folder)
    width = encoder(["width"]).shape[1]
    if width != config.text_width:
        raise GaitError(f"{folder}: gives vectors of {width} numbers; the model takes {config.text_width}")
    return encoder
