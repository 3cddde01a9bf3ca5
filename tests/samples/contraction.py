"""Products of arrays."""

from collections.abc import Iterator
from dataclasses import replace

from graphc.core import dtypes
from graphc.graph.ops.contraction import DotAttrs
from tests.samples.arrays import RTOL, generator, random_array
from tests.samples.sample import Sample

DOTS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], DotAttrs], ...] = (
    ("nn", (3, 4), (4, 5), DotAttrs((1,), (0,))),
    ("nt", (3, 4), (5, 4), DotAttrs((1,), (1,))),
    ("tn", (4, 3), (4, 5), DotAttrs((0,), (0,))),
    ("tt", (4, 3), (5, 4), DotAttrs((0,), (1,))),
    ("inner", (7,), (7,), DotAttrs((0,), (0,))),
    ("outer", (3,), (5,), DotAttrs((), ())),
    ("matvec", (9, 17), (17,), DotAttrs((1,), (0,))),
    ("vecmat", (17,), (17, 9), DotAttrs((0,), (0,))),
    ("batch", (2, 3, 4), (2, 4, 5), DotAttrs((2,), (1,), (0,), (0,))),
    ("batch-swapped", (3, 2, 4), (4, 5, 2), DotAttrs((2,), (0,), (1,), (2,))),
    ("two-contracted", (2, 3, 4), (3, 4, 5), DotAttrs((1, 2), (0, 1))),
    ("empty-k", (3, 0), (0, 5), DotAttrs((1,), (0,))),
    ("empty-m", (0, 4), (4, 5), DotAttrs((1,), (0,))),
    ("odd", (13, 37), (37, 29), DotAttrs((1,), (0,))),
    ("tile", (64, 48), (48, 96), DotAttrs((1,), (0,))),
    ("tile-nt", (65, 33), (67, 33), DotAttrs((1,), (1,))),
    ("tile-tn", (33, 65), (33, 67), DotAttrs((0,), (0,))),
    ("square-nt", (6, 6), (6, 6), DotAttrs((1,), (1,))),
    ("square-tn", (6, 6), (6, 6), DotAttrs((0,), (0,))),
    ("prime-rows", (67, 20), (20, 64), DotAttrs((1,), (0,))),
    ("prime-columns", (64, 20), (20, 71), DotAttrs((1,), (0,))),
    ("long-k", (2, 5000), (5000, 3), DotAttrs((1,), (0,))),
)


def contractions() -> Iterator[Sample]:
    for name, left, right, attrs in DOTS:
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32):
            rng = generator("dot", name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            rtol = RTOL.get(dtype, 0)
            if dtype.is_half:
                wide = replace(attrs, dtype=dtypes.float32)
                yield Sample("dot_general", f"{name}-{dtype.short}-f32", arrays, wide, rtol=RTOL[dtypes.float32])
            small = dtype is dtypes.float64 and arrays[0].size <= 200
            chosen = (0, 1) if small else ()
            yield Sample("dot_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol, differentiate=chosen)
