"""Reductions, and the places of extremes."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.ops.reduction import ArgAttrs
from tests.samples.arrays import RTOL, edges, generator, random_array
from tests.samples.sample import Sample

REDUCED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((7,), (0,)),
    ((), ()),
    ((3, 5), (1,)),
    ((3, 5), (0,)),
    ((3, 5), (0, 1)),
    ((2, 3, 4), (0, 2)),
    ((2, 33, 3), (1,)),
    ((4, 100), (1,)),
    ((100, 4), (0,)),
    ((3000,), (0,)),
    ((3, 0), (1,)),
    ((0, 3), (1,)),
)


def reductions() -> Iterator[Sample]:
    for op in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8):
            for shape, axes in REDUCED:
                rng = generator(op, dtype, shape)
                low, high = (0.9, 1.1) if op == "reduce_prod" and dtype.is_float else (-3, 3)
                x = random_array(rng, shape, dtype, low, high)
                exact = op in ("reduce_max", "reduce_min") or not dtype.is_float
                rtol = 0 if exact else RTOL[dtype]
                chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 40 else ()
                name = f"{dtype.short}{list(shape)}{list(axes)}"
                yield Sample(op, name, (x,), AxesAttrs(axes), rtol=rtol, differentiate=chosen)
    for op in ("reduce_max", "reduce_min"):
        yield Sample(op, "edges", (np.stack([edges(dtypes.float32), np.ones(24, np.float32)]),), AxesAttrs((1,)))
        yield Sample(op, "bool", (np.array([[True, False], [False, False]]),), AxesAttrs((1,)))
    for op in ("argmax", "argmin"):
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int8):
            for shape, axis in (((7,), 0), ((3, 50), 1), ((50, 3), 0), ((2, 3, 4), 1)):
                x = random_array(generator(op, dtype, shape), shape, dtype, -4, 4)
                ties = np.round(x)  # equal values: the first index must win
                yield Sample(op, f"{dtype.short}{list(shape)}", (ties.astype(x.dtype),), ArgAttrs(axis))
        yield Sample(op, "nan", (np.array([1, np.nan, 3, np.nan], np.float32),), ArgAttrs(0))
