"""Slices at places that data decides."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from tests.samples.arrays import generator, index_dtypes, random_array
from tests.samples.sample import Sample

# x, dims with a start, sizes, starts
_WINDOWS: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((7,), (0,), (3,), (2,)),
    ((7, 20), (0,), (1,), (6,)),
    ((5, 4, 3), (0, 2), (2, 2), (-4, 100)),
    ((5, 4, 3), (1,), (4,), (1,)),
    ((3, 5), (0, 1), (0, 2), (1, 1)),
    ((3, 5), (), (), ()),
    ((1, 33), (0, 1), (1, 17), (0, 9)),
)


def windows() -> Iterator[Sample]:
    rng = generator("windows")
    kinds = (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.bool_)
    for dtype in kinds:
        for index_dtype in index_dtypes(dtype):
            for number, (shape, dims, sizes, starts) in enumerate(_WINDOWS):
                if index_dtype is dtypes.uint8 and min(starts, default=0) < 0:
                    continue
                x = random_array(rng, shape, dtype, -3, 3)
                places = tuple(np.array(start, index_dtype.numpy) for start in starts)
                name = f"{dtype.short}-{index_dtype.short}-{number}"
                chosen = (0,) if dtype is dtypes.float64 else ()
                yield Sample("dynamic_slice", name, (x, *places), WindowAttrs(dims, sizes), differentiate=chosen)
                window = list(shape)
                for dim, size in zip(dims, sizes, strict=True):
                    window[dim] = size
                update = random_array(rng, window, dtype, -3, 3)
                chosen = (0, 1) if dtype is dtypes.float64 else ()
                arrays = (x, update, *places)
                yield Sample("dynamic_update_slice", name, arrays, DimsAttrs(dims), differentiate=chosen)
