"""Strings. They are always known while a model is imported: what is made of them is computed at once."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from graphc.api import Array, UnsupportedError
from graphc_onnx.ops.common import only
from graphc_onnx.table import Row


def _texts(items: object) -> np.ndarray:
    return np.asarray(items, object)


def _concat(x: Array, y: Array) -> Array:
    return _texts(np.asarray(x) + np.asarray(y))


def _split(x: Array, *, delimiter: str | None = None, maxsplit: int | None = None) -> tuple[Array, ...]:
    """Pieces along a new last dim, filled up with empty strings, and how many there are."""
    strings = np.asarray(x)
    pieces = [str(text).split(delimiter or None, -1 if maxsplit is None else maxsplit) for text in strings.ravel()]
    longest = max(map(len, pieces), default=0)
    filled = np.full((strings.size, longest), "", object)
    for row, found in enumerate(pieces):
        filled[row, : len(found)] = found
    counts = np.asarray([len(found) for found in pieces], np.int64).reshape(strings.shape)
    return filled.reshape((*strings.shape, longest)), counts


_CASES: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}


def _normalise(
    x: Array,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: tuple[str, ...] = (),
) -> Array:
    """Stop words are left out, then the case is changed; one empty string where nothing is left."""
    only("case_change_action", case_change_action, "NONE", "LOWER", "UPPER")
    if locale not in ("", "en_US"):
        raise UnsupportedError(f"attribute locale={locale!r} is not supported")
    strings = np.asarray(x)
    fold: Callable[[str], str] = str if is_case_sensitive else str.lower
    banned = {fold(word) for word in stopwords}
    kept = [str(word) for word in strings.ravel() if fold(str(word)) not in banned]
    changed = [_CASES[case_change_action](word) for word in kept]
    return _texts(changed or [""]).reshape((-1,) if strings.ndim == 1 else (1, -1))


def _full_match(x: Array, *, pattern: str) -> Array:
    strings = np.asarray(x)
    found = [re.fullmatch(pattern, str(text)) is not None for text in strings.ravel()]
    return np.asarray(found, bool).reshape(strings.shape)


ROWS = [
    Row("StringConcat", 20, _concat, known=(0, 1)),
    Row("StringSplit", 20, _split, known=(0,)),
    Row("StringNormalizer", 10, _normalise, known=(0,)),
    Row("RegexFullMatch", 20, _full_match, known=(0,)),
]
