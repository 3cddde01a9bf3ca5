"""Sorts."""

from collections.abc import Iterator
from math import prod

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.sorting import SortAttrs, TopAttrs
from tests.samples.arrays import edges, generator, random_array
from tests.samples.sample import Sample

_SORTED: tuple[tuple[tuple[int, ...], int], ...] = (
    ((7,), 0),
    ((1,), 0),
    ((3, 5), 0),
    ((3, 5), 1),
    ((2, 6, 3), 1),
    ((20, 33), 1),
    ((2, 300), 1),
    ((300, 3), 0),
    ((3, 0), 1),
    ((0, 3), 1),
)


def sorting() -> Iterator[Sample]:
    for op in ("sort", "argsort"):
        for dtype in dtypes.ALL:
            for shape, axis in _SORTED:
                if prod(shape) > 4000 and dtype not in (dtypes.float32, dtypes.int64, dtypes.uint8):
                    continue
                x = random_array(generator(op, dtype, shape), shape, dtype, -50, 50)
                if dtype.is_float and x.size > 5:
                    x = np.where(np.arange(x.size).reshape(shape) % 2, x, np.round(x)).astype(x.dtype)  # equal ones
                chosen = (0,) if op == "sort" and dtype is dtypes.float64 and 0 < x.size <= 40 else ()
                distinct = np.random.default_rng(0).permutation(x.size).reshape(shape).astype(x.dtype)
                for descending in (False, True):
                    name = f"{dtype.short}{list(shape)}{axis}{'-descending' if descending else ''}"
                    values = distinct if chosen else x
                    yield Sample(op, name, (values,), SortAttrs(axis, descending), differentiate=chosen)
            for descending in (False, True):
                values = np.resize(generator(dtype).permutation(edges(dtype)), (2, 300))
                name = f"{dtype.short}-edges{'-descending' if descending else ''}"
                yield Sample(op, f"{name}-short", (values[:, :40].copy(),), SortAttrs(1, descending))
                yield Sample(op, f"{name}-long", (values,), SortAttrs(1, descending))


def selection() -> Iterator[Sample]:
    for dtype in dtypes.ALL:
        values = np.resize(generator(dtype).permutation(edges(dtype)), (2, 150))
        for k, largest in ((0, True), (5, True), (20, False), (100, True)):
            yield Sample("arg_top_k", f"{dtype.short}-{k}", (values,), TopAttrs(1, k, largest))
        yield Sample("arg_top_k", f"{dtype.short}-columns", (values.T.copy(),), TopAttrs(0, 3))
    yield Sample("arg_top_k", "empty", (np.ones((3, 0), np.float32),), TopAttrs(1, 0))
