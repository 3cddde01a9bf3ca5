"""Elementwise ops: every dtype over shapes and all pairs of special values, views, select, casts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.ops.elementwise import DTypeAttrs, WithinAttrs
from tests.samples.arrays import SHAPES, WIDE, edge_inputs, edges, generator, random_array
from tests.samples.sample import Sample


@dataclass(frozen=True)
class _Row:
    """Ranges per operand for ordinary samples, error bounds in ulp, and whether the op has a derivative there."""

    ranges: tuple[tuple[float, float], ...]
    accepted: tuple[DType, ...]
    ulp32: float = 0
    ulp64: float = 0
    smooth: bool = False


_F, _N, _I, _B = dtypes.FLOATS, dtypes.NUMERIC, dtypes.INTEGERS, (dtypes.bool_, *dtypes.INTEGERS)
_SIGNED = (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, *_F)


_ELEMENTWISE: dict[str, _Row] = {
    "neg": _Row((WIDE,), _SIGNED, smooth=True),
    "abs": _Row((WIDE,), _N, smooth=True),
    "sign": _Row((WIDE,), _N),
    "exp": _Row((WIDE,), _F, 2, 2, smooth=True),
    "expm1": _Row((WIDE,), _F, 2, 2, smooth=True),
    "log": _Row(((0.1, 5.0),), _F, 2, 2, smooth=True),
    "log1p": _Row(((-0.9, 5.0),), _F, 2, 2, smooth=True),
    "sqrt": _Row(((0.1, 5.0),), _F, smooth=True),
    "sin": _Row((WIDE,), _F, 2, 2, smooth=True),
    "cos": _Row((WIDE,), _F, 2, 2, smooth=True),
    "atan": _Row((WIDE,), _F, 2, 2, smooth=True),
    "tanh": _Row((WIDE,), _F, 2, 2, smooth=True),
    "erf": _Row((WIDE,), _F, 2, 4, smooth=True),
    "erfc": _Row((WIDE,), _F, 2, 4, smooth=True),
    "sigmoid": _Row((WIDE,), _F, 2, 2, smooth=True),
    "floor": _Row((WIDE,), _F),
    "ceil": _Row((WIDE,), _F),
    "trunc": _Row((WIDE,), _F),
    "round": _Row((WIDE,), _F),
    "is_finite": _Row((WIDE,), _F),
    "not": _Row((WIDE,), _B),
    "stop_gradient": _Row((WIDE,), dtypes.ALL),
    "saved": _Row((WIDE,), dtypes.ALL, smooth=True),
    "add": _Row((WIDE, WIDE), _N, smooth=True),
    "sub": _Row((WIDE, WIDE), _N, smooth=True),
    "mul": _Row((WIDE, WIDE), _N, smooth=True),
    "div": _Row((WIDE, (0.5, 3.0)), _N, smooth=True),
    "rem": _Row((WIDE, (0.5, 3.0)), _N, smooth=True),
    "pow": _Row(((0.2, 3.0), WIDE), _F, 2, 4, smooth=True),
    "max": _Row((WIDE, WIDE), dtypes.ALL, smooth=True),
    "min": _Row((WIDE, WIDE), dtypes.ALL, smooth=True),
    "and": _Row(((0, 100), (0, 100)), _B),
    "or": _Row(((0, 100), (0, 100)), _B),
    "xor": _Row(((0, 100), (0, 100)), _B),
    "shift_left": _Row(((0, 100), (-2, 70)), _I),
    "shift_right": _Row(((-100, 100), (-2, 70)), _I),
    **{name: _Row((WIDE, WIDE), dtypes.ALL) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def elementwise() -> Iterator[Sample]:
    for name, row in _ELEMENTWISE.items():
        for dtype in row.accepted:
            # one rounding of a half type hides errors of float32, but for results near the middle of two
            ulp = min(row.ulp32, 1) if dtype.is_half else row.ulp32 if dtype is dtypes.float32 else row.ulp64
            rng = generator(name, dtype)
            for shape in SHAPES if dtype in (dtypes.float32, dtypes.bool_) else ((7,), (3, 17)):
                arrays = [random_array(rng, shape, dtype, low, high) for low, high in row.ranges]
                yield Sample(name, f"{dtype.short}{list(shape)}", tuple(arrays), ulp=ulp)
            if name not in ("shift_left", "shift_right", "rem"):
                yield Sample(name, f"{dtype.short}-edges", edge_inputs(len(row.ranges), dtype), ulp=ulp)
            if row.smooth and dtype is dtypes.float64:
                arrays = [random_array(rng, (4,), dtype, low, high) for low, high in row.ranges]
                both = tuple(range(len(arrays)))
                yield Sample(name, "gradient", tuple(arrays), ulp=ulp, differentiate=both)
    yield from strided()


def strided() -> Iterator[Sample]:
    """Inputs that are views: negative and non-unit strides, transposed, broadcast (stride 0)."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for name, view in (
        ("reversed", base[::-1, ::-1]),
        ("stepped", base[::2, 1::3]),
        ("transposed", base.T),
        ("stride0", np.broadcast_to(base[0], (3, 6))),
    ):
        yield Sample("add", f"strided-{name}", (view, np.array(view) + 1))


def select_and_casts() -> Iterator[Sample]:
    rng = generator("select")
    for dtype in dtypes.ALL:
        for shape in ((), (7,), (3, 5)):
            condition = random_array(rng, shape, dtypes.bool_, 0, 1)
            arrays = [random_array(rng, shape, dtype, *WIDE) for _ in range(2)]
            chosen = (1, 2) if dtype is dtypes.float64 else ()
            yield Sample("select", f"{dtype.short}{list(shape)}", (condition, *arrays), differentiate=chosen)
    for source in dtypes.ALL:
        for target in dtypes.ALL:
            values = edges(source)
            chosen = (0,) if source is target is dtypes.float64 else ()
            smooth = random_array(rng, (5,), source, *WIDE) if chosen else values
            attrs = DTypeAttrs(target)
            yield Sample("cast", f"{source.short}-{target.short}", (smooth,), attrs, differentiate=chosen)
    for source, target in (
        *(("bfloat16", "uint16"), ("int16", "bfloat16"), ("float16", "uint16"), ("bfloat16", "float16")),
        *(("float32", "uint32"), ("int32", "float32"), ("float64", "int64"), ("uint64", "float64")),
    ):
        kind = dtypes.dtype(source)
        yield Sample("bitcast", f"{source}-{target}", (edges(kind),), DTypeAttrs(dtypes.dtype(target)))
    for dtype in dtypes.INTEGERS:
        yield Sample("within", dtype.short, (edges(dtype),), WithinAttrs(-2, 3, "place"))
