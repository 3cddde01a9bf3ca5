"""Windows, convolutions and reductions over windows."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs, WindowsAttrs
from tests.samples.arrays import RTOL, edges, generator, random_array
from tests.samples.sample import Sample

# x, dims, size, stride, dilation
_SLIDES: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ((7,), (0,), (3,), (1,), (1,)),
    ((2, 9), (1,), (2,), (2,), (1,)),
    ((2, 9), (1,), (3,), (2,), (2,)),
    ((6, 2, 20), (0, 2), (2, 3), (1, 3), (3, 1)),
    ((3, 4), (0, 1), (3, 1), (1, 2), (1, 1)),
    ((2, 3), (1,), (4,), (1,), (1,)),
    ((3, 0), (1,), (1,), (1,), (1,)),
)
_CONV_1D = ConvAttrs((1,), (1,), (2,), (2,), (1,), (0,), (0,), (1,), (1,))
_CONV_2D = ConvAttrs((1,), (1,), (2, 3), (2, 3), (1, 1), (0, 0), (0, 0), (1, 1), (1, 1))
_Dims = tuple[int, ...]
# stride, padding and dilations by the number of dims
_ONES: dict[int, tuple[_Dims, _Dims, _Dims, _Dims, _Dims]] = {
    n: ((1,) * n, (1,) * n, (1,) * n, (1,) * n, (1,) * n) for n in (1, 2, 3)
}
_CONVS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], ConvAttrs], ...] = (
    ("plain", (2, 3, 9), (4, 3, 3), _CONV_1D),
    ("one-tap", (2, 3, 9), (4, 3, 1), replace(_CONV_1D, stride=(2,))),
    ("padded", (1, 2, 5), (2, 2, 3), replace(_CONV_1D, low=(2,), high=(1,))),
    ("cut", (1, 2, 8), (2, 2, 3), replace(_CONV_1D, low=(-2,), high=(-1,))),
    ("stride", (2, 2, 11), (3, 2, 3), replace(_CONV_1D, stride=(2,), low=(1,), high=(1,))),
    ("dilated", (1, 2, 9), (2, 2, 3), replace(_CONV_1D, rhs_dilation=(2,), low=(2,), high=(2,))),
    ("holes", (1, 2, 5), (2, 2, 3), replace(_CONV_1D, lhs_dilation=(2,), low=(2,), high=(1,))),
    ("holes-only", (1, 2, 5), (2, 2, 1), replace(_CONV_1D, lhs_dilation=(3,), stride=(2,), low=(1,))),
    ("all", (1, 2, 6), (2, 2, 4), replace(_CONV_1D, lhs_dilation=(4,), rhs_dilation=(2,), stride=(3,), low=(5,))),
    ("too-short", (1, 2, 2), (2, 2, 3), _CONV_1D),
    ("empty", (0, 2, 5), (2, 2, 3), _CONV_1D),
    ("empty-k", (2, 0, 5), (2, 0, 3), _CONV_1D),
    ("2d", (2, 3, 6, 5), (4, 3, 3, 2), replace(_CONV_2D, low=(1, 0), high=(1, 1), stride=(2, 1))),
    ("2d-wide", (1, 4, 9, 20), (5, 4, 3, 3), replace(_CONV_2D, low=(1, 1), high=(1, 1))),
    ("2d-swapped", (6, 5, 3, 2), (3, 2, 4, 3), ConvAttrs((2,), (3,), (1, 0), (1, 0), *_ONES[2])),
    ("3d", (1, 2, 4, 4, 4), (2, 2, 2, 2, 2), ConvAttrs((1,), (1,), (2, 3, 4), (2, 3, 4), *_ONES[3])),
    ("no-dims", (3, 4), (4, 5), ConvAttrs((1,), (0,), (), (), (), (), (), (), ())),
    ("groups", (2, 3, 2, 7), (3, 4, 2, 3), ConvAttrs((2,), (2,), (3,), (3,), *_ONES[1], (1,), (0,))),
    ("depthwise", (2, 5, 20), (5, 3), ConvAttrs((), (), (2,), (1,), (1,), (1,), (1,), (1,), (1,), (1,), (0,))),
    ("flipped", (2, 3, 6, 5), (4, 3, 3, 2), replace(_CONV_2D, low=(1, 0), high=(1, 1), stride=(2, 1), flipped=True)),
    ("flipped-holes", (1, 2, 6), (2, 2, 4), replace(_CONV_1D, lhs_dilation=(3,), stride=(2,), low=(5,), flipped=True)),
    ("flipped-long", (1, 2, 5002), (2, 2, 5000), replace(_CONV_1D, flipped=True)),
    ("long-features", (1, 600, 9), (2, 600, 9), replace(_CONV_1D, low=(4,), high=(4,))),
    ("long-taps", (1, 2, 5002), (2, 2, 5000), _CONV_1D),
    ("prime-taps", (1, 1, 4999), (2, 1, 4999), replace(_CONV_1D, low=(1,), high=(1,))),
)
_POOLS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]], ...] = (
    ("plain", (2, 9), (1,), ((3,), (1,), (0,), (0,), (1,), (1,))),
    ("apart", (2, 9), (1,), ((2,), (2,), (0,), (0,), (1,), (1,))),
    ("padded", (3, 8), (1,), ((3,), (2,), (1,), (1,), (1,), (1,))),
    ("cut", (3, 8), (1,), ((2,), (1,), (-2,), (-1,), (1,), (1,))),
    ("dilated", (9, 3), (0,), ((3,), (1,), (1,), (2,), (1,), (2,))),
    ("holes", (2, 5), (1,), ((3,), (2,), (1,), (1,), (3,), (1,))),
    ("2d", (2, 6, 7), (1, 2), ((2, 3), (2, 1), (0, 1), (0, 1), (1, 1), (1, 1))),
    ("2d-wide", (3, 12, 36), (1, 2), ((3, 3), (2, 2), (1, 1), (1, 1), (1, 1), (1, 1))),
    ("many", (2, 10, 11), (1, 2), ((9, 9), (1, 1), (1, 0), (0, 1), (1, 1), (1, 1))),
    ("outside", (2, 2), (1,), ((1,), (1,), (2,), (1,), (1,), (1,))),
    ("no-dims", (2, 3), (), ((), (), (), (), (), ())),
    ("empty", (0, 5), (1,), ((2,), (1,), (0,), (0,), (1,), (1,))),
    ("too-short", (2, 2), (1,), ((3,), (1,), (0,), (0,), (1,), (1,))),
)


def sliding() -> Iterator[Sample]:
    for n, (shape, *rows) in enumerate(_SLIDES):
        for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int16, dtypes.bool_):
            x = random_array(generator("windows", n, dtype), shape, dtype, -9, 9)
            chosen: tuple[int, ...] = (0,) if dtype is dtypes.float64 else ()
            yield Sample("windows", f"{n}-{dtype.short}", (x,), WindowsAttrs(*rows), differentiate=chosen)
    for name, left, right, attrs in _CONVS:
        for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int32):
            rng = generator("conv", name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            rtol = RTOL.get(dtype, 0)
            if dtype is dtypes.bfloat16:
                wide = replace(attrs, dtype=dtypes.float32)
                yield Sample("conv_general", f"{name}-bf16-f32", arrays, wide, rtol=RTOL[dtypes.float32])
            small = dtype is dtypes.float64 and arrays[0].size <= 300
            chosen = (0, 1) if small else ()
            yield Sample("conv_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol, differentiate=chosen)
    special = np.array([[[1.0, np.inf, -0.0, np.nan, 2.0]]], np.float32)
    weights = np.array([[[np.inf, 0.0, -1.0]]], np.float32)
    yield Sample("conv_general", "edges", (special, weights), replace(_CONV_1D, low=(1,), high=(1,)))
    for reducer in ("sum", "max", "min"):
        for name, shape, dims, widths in _POOLS:
            for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8):
                x = random_array(generator(reducer, name, dtype), shape, dtype, -3, 3)
                rtol = RTOL.get(dtype, 0) if reducer == "sum" else 0
                finite = reducer == "sum" or name not in ("holes", "outside")  # the extreme of nothing is infinite
                chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 120 and finite else ()
                pool = ReduceWindowAttrs(reducer, dims, *widths)
                label = f"{reducer}-{name}-{dtype.short}"
                yield Sample("reduce_window", label, (x,), pool, rtol=rtol, differentiate=chosen)
        pool = ReduceWindowAttrs(reducer, (0,), (2,), (1,), (1,), (0,), (1,), (1,))
        if reducer != "sum":
            yield Sample("reduce_window", f"{reducer}-edges", (edges(dtypes.float32),), pool)
            yield Sample("reduce_window", f"{reducer}-bool", (np.array([True, False, False]),), pool)
