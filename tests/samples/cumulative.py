"""Cumulative ops."""

from collections.abc import Iterator
from math import prod

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.cumulative import CUMULATIVE, CumulativeAttrs
from tests.samples.arrays import RTOL, edges, generator, random_array
from tests.samples.sample import Sample

_RUNS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((7,), 0),
    ((3, 5), 0),
    ((3, 5), 1),
    ((2, 6, 3), 1),
    ((40, 100), 0),
    ((20, 30), 1),
    ((2, 1200), 1),
    ((3000,), 0),
    ((1300, 3), 0),
    ((20, 1100), 1),
    ((1100, 70), 0),
    ((3, 0), 1),
    ((0, 3), 1),
    ((1, 1), 0),
)


def cumulative() -> Iterator[Sample]:
    for op in CUMULATIVE:
        kinds = (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8)
        if op.name == "linear_recurrence":
            kinds = dtypes.FLOATS
        for dtype in kinds:
            for shape, axis in _RUNS:
                if prod(shape) > 4000 and dtype is not dtypes.float32:
                    continue
                rng = generator(op.name, dtype, shape)
                low, high = (0.99, 1.01) if op.name == "cumprod" and dtype.is_float else (-3, 3)
                arrays = [random_array(rng, shape, dtype, low, high)]
                if op.name == "linear_recurrence":
                    arrays.insert(0, random_array(rng, shape, dtype, -0.9, 0.9))
                exact = op.name in ("cummax", "cummin") or not dtype.is_float
                small = dtype is dtypes.float64 and 0 < arrays[0].size <= 40
                chosen = tuple(range(len(arrays))) if small else ()
                for reverse in (False, True):
                    attrs = CumulativeAttrs(axis, reverse)
                    name = f"{dtype.short}{list(shape)}{axis}{'-reverse' if reverse else ''}"
                    rtol = 0 if exact else 4 * RTOL[dtype]
                    yield Sample(op.name, name, tuple(arrays), attrs, rtol=rtol, differentiate=chosen)
        if op.name in ("cummax", "cummin"):
            yield Sample(op.name, "edges", (edges(dtypes.float32),), CumulativeAttrs(0))
            yield Sample(op.name, "edges-reverse", (edges(dtypes.float32),), CumulativeAttrs(0, True))
            yield Sample(op.name, "bool", (np.array([[True, False], [False, True]]),), CumulativeAttrs(1))
