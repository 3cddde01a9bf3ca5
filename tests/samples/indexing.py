"""Gather, scatters, and the index of a shuffle."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.indexing import SCATTER_NAMES, GatherAttrs
from graphc.graph.ops.source import ShuffleAttrs
from tests.samples.arrays import RTOL, edges, generator, index_dtypes, random_array
from tests.samples.sample import Sample

# x, axis, batch dims, indices
_GATHERED: tuple[tuple[tuple[int, ...], int, int, tuple[int, ...]], ...] = (
    ((5, 3), 0, 0, (4,)),
    ((3, 5), 1, 0, (2, 2)),
    ((6,), 0, 0, ()),
    ((4, 2), 0, 0, (0,)),
    ((7, 20), 0, 0, (9,)),
    ((3, 5), 1, 1, (3, 4)),
    ((2, 3, 5, 4), 2, 1, (2, 3)),
    ((2, 1, 6), 2, 2, (2, 1)),
    ((2, 3, 5), 2, 2, (2, 3, 2, 3)),
)


def indexing() -> Iterator[Sample]:
    rng = generator("indexing")
    for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32):
        for index_dtype in index_dtypes(dtype):
            for shape, axis, batch, index_shape in _GATHERED:
                x = random_array(rng, shape, dtype, -3, 3)
                indices = rng.integers(0, shape[axis], index_shape).astype(index_dtype.numpy)
                attrs = GatherAttrs(axis, batch)
                name = f"{dtype.short}{list(shape)}{batch or ''}-{index_dtype.short}{list(index_shape)}"
                chosen = (0,) if dtype is dtypes.float64 else ()
                yield Sample("gather", name, (x, indices), attrs, differentiate=chosen)
                updated = shape[:axis] + index_shape[batch:] + shape[axis + 1 :]
                updates = random_array(rng, updated, dtype, -3, 3)
                arrays = (x, indices, updates)
                for op in sorted(SCATTER_NAMES):
                    combines = op in ("scatter_add", "scatter_mul") and dtype.is_float
                    rtol = 0 if not combines else 1e-6 if not dtype.is_half else RTOL[dtype]
                    chosen = (0, 2) if dtype is dtypes.float64 else ()
                    yield Sample(op, name, arrays, attrs, rtol=rtol, differentiate=chosen)
    outside = np.array([-1, 0, 5, 100, -100], np.int64)
    x = random_array(rng, (5, 2), dtypes.float32, -3, 3)
    yield Sample("gather", "outside", (x, outside), GatherAttrs(0))
    updates = random_array(rng, (5, 2), dtypes.float32, -3, 3)
    special = np.resize(edges(dtypes.float32), (40,))
    places = np.arange(40) % 7
    for op in sorted(SCATTER_NAMES):
        yield Sample(op, "outside", (x, outside, updates), GatherAttrs(0), rtol=1e-6)
        odd = np.resize(edges(dtypes.float32)[::-1], (7,))
        yield Sample(op, "edges", (odd, places, special), GatherAttrs(0))
        if op not in ("scatter_add", "scatter_mul"):
            booleans = (np.array([True, False, False]), np.array([0, 1, 1]), np.array([False, True, True]))
            yield Sample(op, "bool", booleans, GatherAttrs(0))
    for n in (1, 2, 17, 1000):
        keys = rng.integers(0, 2**32, (30, 2), dtype=np.uint32)
        yield Sample("shuffle_index", f"n{n}", (np.arange(n, dtype=np.uint32), keys), ShuffleAttrs(n))
    keys = rng.integers(0, 2**32, (2, 24, 2), dtype=np.uint32)
    places = np.broadcast_to(np.arange(9, dtype=np.uint32), (2, 9))
    yield Sample("shuffle_index", "rows", (places, keys), ShuffleAttrs(9))
