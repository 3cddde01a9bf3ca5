"""Complex numbers, through every op that takes them."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.graph.ops.elementwise import DTypeAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.movement import AxesAttrs
from tests.samples.arrays import complex_array, complex_edges, edge_inputs, edges, generator, random_array
from tests.samples.contraction import DOTS
from tests.samples.movement import movement_rows
from tests.samples.reduction import REDUCED
from tests.samples.sample import Sample

_COMPLEX_RTOL = {dtypes.complex64: 4e-6, dtypes.complex128: 2e-14}
_COMPLEX_UNARY = ("neg", "abs", "exp", "log", "sqrt", "sin", "cos", "tanh", "stop_gradient", "saved", "real", "imag")
_COMPLEX_UNARY += ("expm1", "log1p", "asin", "acos", "atan")
_COMPLEX_BINARY = ("add", "sub", "mul", "div", "pow", "eq", "ne")
_BY_PARTS = frozenset({"neg", "stop_gradient", "saved", "real", "imag", "add", "sub", "eq", "ne"})  # exact


def complex_elementwise() -> Iterator[Sample]:
    for dtype in dtypes.COMPLEX:
        for name in (*_COMPLEX_UNARY, *_COMPLEX_BINARY):
            rng = generator("complex", name, dtype)
            arity = 1 if name in _COMPLEX_UNARY else 2
            rtol = 0.0 if name in _BY_PARTS else _COMPLEX_RTOL[dtype]
            smooth = dtype is dtypes.complex128 and name not in ("eq", "ne", "stop_gradient", "saved")
            for shape in ((), (0,), (7,), (3, 17)):
                arrays = tuple(complex_array(rng, shape, dtype, 0.3, 2.5) for _ in range(arity))
                chosen = tuple(range(arity)) if smooth and shape == (7,) else ()
                yield Sample(name, f"{dtype.short}{list(shape)}", arrays, rtol=rtol, differentiate=chosen)
            around = complex_array(rng, (40,), dtype, -2, 2), complex_array(rng, (40,), dtype, -2, 2)
            yield Sample(name, f"{dtype.short}-around-0", around[:arity], rtol=rtol)
            if name in _BY_PARTS:
                special = complex_edges(dtype)
                yield Sample(name, f"{dtype.short}-edges", (special, special[::-1].copy())[:arity])
        parts = edge_inputs(2, dtype.part)
        yield Sample("complex", f"{dtype.short}-edges", parts)
        smooth_parts = tuple(random_array(generator(dtype), (5,), dtype.part, -2, 2) for _ in range(2))
        chosen = (0, 1) if dtype is dtypes.complex128 else ()
        yield Sample("complex", f"{dtype.short}", smooth_parts, differentiate=chosen)
    axis = np.array([1, -1, 1j, -1j, 1e-30, 1e30j, 1e-20 + 1e-22j], np.complex64)
    for name in ("abs", "log", "sqrt"):
        yield Sample(name, "c64-far", (np.concatenate([axis, -axis]),), rtol=4e-6)
    far = np.array([200 + 1j, -200 + 1j, 12 - 3j, -8 + 0.5j, 0, 3j], np.complex64)
    yield Sample("tanh", "c64-far", (far,), rtol=4e-6)
    huge = np.array([1e30 + 1e30j, 1e-30j, 1e-30, 3, 4j, 1e25 - 1j], np.complex64)
    yield Sample("div", "c64-far", (far + 1, huge), rtol=4e-6)


def complex_others() -> Iterator[Sample]:
    for dtype in dtypes.COMPLEX:
        rng, rtol = generator("complex", dtype), _COMPLEX_RTOL[dtype]
        chosen = dtype is dtypes.complex128
        pair = tuple(complex_array(rng, (3, 5), dtype, -3, 3) for _ in range(2))
        condition = random_array(rng, (3, 5), dtypes.bool_, 0, 1)
        yield Sample("select", f"{dtype.short}", (condition, *pair), differentiate=(1, 2) if chosen else ())
        for source in dtypes.EVERY:
            values = complex_edges(source) if source.is_complex else edges(source)
            yield Sample("cast", f"{source.short}-{dtype.short}", (values,), DTypeAttrs(dtype))
        yield Sample("cast", f"{dtype.short}-bool", (complex_edges(dtype),), DTypeAttrs(dtypes.bool_))
        for op, name, shapes, attrs in movement_rows():
            arrays = tuple(complex_array(rng, shape, dtype, -9, 9) for shape in shapes)
            yield Sample(op, f"{name}-{dtype.short}", arrays, attrs)
        for shape, axes in REDUCED:
            x = complex_array(rng, shape, dtype, -1, 1)
            small = (0,) if chosen and 0 < x.size <= 40 else ()
            name = f"{dtype.short}{list(shape)}{list(axes)}"
            yield Sample("reduce_sum", name, (x,), AxesAttrs(axes), rtol=rtol * 10, differentiate=small)
            x = complex_array(rng, shape, dtype, 0.69, 0.72)
            yield Sample("reduce_prod", name, (x,), AxesAttrs(axes), rtol=rtol * 100, differentiate=small)
        for name, left, right, attrs in DOTS:
            arrays = tuple(complex_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            both = (0, 1) if chosen and arrays[0].size <= 60 else ()
            yield Sample("dot_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol * 3, differentiate=both)
        x, updates = complex_array(rng, (5, 3), dtype, -3, 3), complex_array(rng, (4, 3), dtype, -3, 3)
        for shape, axis, reverse in (((2, 5), 1, False), ((19, 2), 0, True), ((3, 0), 1, False)):
            name, attrs = f"{dtype.short}{list(shape)}{axis}{reverse}", CumulativeAttrs(axis, reverse)
            a, b = complex_array(rng, shape, dtype, 0.6, 0.75), complex_array(rng, shape, dtype, -1, 1)
            first, both = ((0,), (0, 1)) if chosen and shape == (2, 5) else ((), ())
            yield Sample("cumprod", name, (a,), attrs, rtol=rtol * 20, differentiate=first)
            yield Sample("linear_recurrence", name, (a, b), attrs, rtol=rtol * 20, differentiate=both)
        indices = np.array([0, 4, 2, 4])
        yield Sample("gather", f"{dtype.short}", (x, indices), GatherAttrs(0), differentiate=(0,) if chosen else ())
        for op in ("scatter", "scatter_add"):
            both = (0, 2) if chosen else ()
            yield Sample(op, f"{dtype.short}", (x, indices, updates), GatherAttrs(0), rtol=1e-6, differentiate=both)
