"""One table of samples per primitive: inputs, attributes, tolerances. Forward, gradient and backend tests all read it.

A sample is one application of an op. `ulp` bounds the distance between a backend and the op's meaning, in units in the
last place of the result dtype; 0 means the same bits (NaN payloads and signs of NaN aside).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

import numpy as np

import graphc.graph.ops  # noqa: F401  registers the primitives
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import NO_ATTRS, Attrs, Graph, Op, TensorType, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.cumulative import CUMULATIVE, CumulativeAttrs
from graphc.graph.ops.custom import CheckpointAttrs, CustomJvpAttrs, CustomVjpAttrs, LinearCallAttrs
from graphc.graph.ops.elementwise import DTypeAttrs
from graphc.graph.ops.indexing import SCATTER_NAMES, GatherAttrs
from graphc.graph.ops.linalg import FullAttrs, TriangleAttrs
from graphc.graph.ops.movement import (
    AxesAttrs,
    AxisAttrs,
    BroadcastAttrs,
    PadAttrs,
    ShapeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from graphc.graph.ops.reduction import ArgAttrs
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs, WindowsAttrs
from graphc.graph.ops.sorting import SortAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs, ShuffleAttrs
from graphc.graph.ops.structural import CallAttrs, FusionAttrs
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from graphc.graph.registry import lookup
from graphc.transform import autodiff


@dataclass(frozen=True)
class Sample:
    """One application. `differentiate`: operands checked against finite differences (float64 samples only)."""

    op: str
    name: str
    inputs: tuple[np.ndarray, ...]
    attrs: Attrs = NO_ATTRS
    ulp: float = 0
    rtol: float = 0  # relative to the largest magnitude of the result: sums and products of many terms
    differentiate: tuple[int, ...] = field(default=())

    @property
    def id(self) -> str:
        return f"{self.op}-{self.name}"


def graph_of(*samples: Sample) -> Graph:
    """One graph that applies each sample's op to inputs of its types; inputs and outputs in order of the samples."""
    builder = GraphBuilder(samples[0].op)
    outputs: list[Value] = []
    for sample in samples:
        operands = [builder.input(TensorType(x.shape, dtypes.dtype(x.dtype))) for x in sample.inputs]
        outputs += builder.add(lookup(sample.op), operands, sample.attrs)
    return builder.build(outputs)


SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (7,), (3, 5), (2, 0, 3), (2, 3, 17), (100,))
_EDGE = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 2.5, 1e-8, 3.0, 100.0, -100.0, 1e30, -1e30, np.inf, -np.inf, np.nan)


def _generator(*seed: object) -> np.random.Generator:
    return np.random.default_rng(_stable(seed))


def _stable(seed: tuple[object, ...]) -> int:
    """A seed that does not depend on Python's per-process string hashing."""
    value = 0
    for character in repr(tuple(map(str, seed))):
        value = (value * 131 + ord(character)) % 2**32
    return value


def edges(dtype: DType) -> np.ndarray:
    """Special values of a dtype."""
    kind = dtype.numpy
    if dtype.is_bool:
        return np.array([True, False])
    if dtype.is_float:
        info = gnp.finfo(dtype)
        tiny = float(info.smallest_subnormal)
        extra = (float(info.max), float(info.min), float(info.tiny), -float(info.tiny), tiny, -tiny, float(info.eps))
        with np.errstate(over="ignore"):
            return np.array([*_EDGE, *extra]).astype(kind)
    info_int = np.iinfo(kind)
    values = [0, 1, 2, 3, 7, info_int.max, info_int.max - 1, info_int.min, info_int.min + 1]
    if dtype.kind == "int":
        values += [-1, -2, -3, -7]
    return np.array(values, kind)


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: DType, low: float, high: float) -> np.ndarray:
    """Uniform values in [low, high] of any dtype."""
    if dtype.is_bool:
        return np.asarray(rng.random(tuple(shape)) < 0.5)
    values = rng.uniform(low, high, tuple(shape))
    if dtype.is_integer:
        values = np.clip(np.round(values), np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max)
    return np.asarray(values).astype(dtype.numpy)


# ------------------------------------------------------------------------------------------------------ elementwise


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
_WIDE = (-3.0, 3.0)

_ELEMENTWISE: dict[str, _Row] = {
    "neg": _Row((_WIDE,), _SIGNED, smooth=True),
    "abs": _Row((_WIDE,), _N, smooth=True),
    "sign": _Row((_WIDE,), _N),
    "exp": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "expm1": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "log": _Row(((0.1, 5.0),), _F, 2, 2, smooth=True),
    "log1p": _Row(((-0.9, 5.0),), _F, 2, 2, smooth=True),
    "sqrt": _Row(((0.1, 5.0),), _F, smooth=True),
    "sin": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "cos": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "atan": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "tanh": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "erf": _Row((_WIDE,), _F, 2, 4, smooth=True),
    "erfc": _Row((_WIDE,), _F, 2, 4, smooth=True),
    "sigmoid": _Row((_WIDE,), _F, 2, 2, smooth=True),
    "floor": _Row((_WIDE,), _F),
    "ceil": _Row((_WIDE,), _F),
    "trunc": _Row((_WIDE,), _F),
    "round": _Row((_WIDE,), _F),
    "is_finite": _Row((_WIDE,), _F),
    "not": _Row((_WIDE,), _B),
    "stop_gradient": _Row((_WIDE,), dtypes.ALL),
    "saved": _Row((_WIDE,), dtypes.ALL, smooth=True),
    "add": _Row((_WIDE, _WIDE), _N, smooth=True),
    "sub": _Row((_WIDE, _WIDE), _N, smooth=True),
    "mul": _Row((_WIDE, _WIDE), _N, smooth=True),
    "div": _Row((_WIDE, (0.5, 3.0)), _N, smooth=True),
    "rem": _Row((_WIDE, (0.5, 3.0)), _N, smooth=True),
    "pow": _Row(((0.2, 3.0), _WIDE), _F, 2, 4, smooth=True),
    "max": _Row((_WIDE, _WIDE), dtypes.ALL, smooth=True),
    "min": _Row((_WIDE, _WIDE), dtypes.ALL, smooth=True),
    "and": _Row(((0, 100), (0, 100)), _B),
    "or": _Row(((0, 100), (0, 100)), _B),
    "xor": _Row(((0, 100), (0, 100)), _B),
    "shift_left": _Row(((0, 100), (0, 7)), _I),
    "shift_right": _Row(((-100, 100), (0, 7)), _I),
    **{name: _Row((_WIDE, _WIDE), dtypes.ALL) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def _elementwise() -> Iterator[Sample]:
    for name, row in _ELEMENTWISE.items():
        for dtype in row.accepted:
            # one rounding of a half type hides errors of float32, but for results near the middle of two
            ulp = min(row.ulp32, 1) if dtype.is_half else row.ulp32 if dtype is dtypes.float32 else row.ulp64
            rng = _generator(name, dtype)
            for shape in SHAPES if dtype in (dtypes.float32, dtypes.bool_) else ((7,), (3, 17)):
                arrays = [random_array(rng, shape, dtype, low, high) for low, high in row.ranges]
                yield Sample(name, f"{dtype.short}{list(shape)}", tuple(arrays), ulp=ulp)
            if name not in ("shift_left", "shift_right", "rem"):
                yield Sample(name, f"{dtype.short}-edges", _edge_inputs(len(row.ranges), dtype), ulp=ulp)
            if row.smooth and dtype is dtypes.float64:
                arrays = [random_array(rng, (4,), dtype, low, high) for low, high in row.ranges]
                both = tuple(range(len(arrays)))
                yield Sample(name, "gradient", tuple(arrays), ulp=ulp, differentiate=both)
    yield from _strided()


def _edge_inputs(arity: int, dtype: DType) -> tuple[np.ndarray, ...]:
    """All pairs of special values for two operands, the list itself for one."""
    values = edges(dtype)
    if arity == 1:
        return (values,)
    left, right = np.meshgrid(values, values, indexing="ij")
    return (np.ascontiguousarray(left).reshape(-1), np.ascontiguousarray(right).reshape(-1))


def _strided() -> Iterator[Sample]:
    """Inputs that are views: negative and non-unit strides, transposed, broadcast (stride 0)."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for name, view in (
        ("reversed", base[::-1, ::-1]),
        ("stepped", base[::2, 1::3]),
        ("transposed", base.T),
        ("stride0", np.broadcast_to(base[0], (3, 6))),
    ):
        yield Sample("add", f"strided-{name}", (view, np.array(view) + 1))


def _select_and_casts() -> Iterator[Sample]:
    rng = _generator("select")
    for dtype in dtypes.ALL:
        for shape in ((), (7,), (3, 5)):
            condition = random_array(rng, shape, dtypes.bool_, 0, 1)
            arrays = [random_array(rng, shape, dtype, *_WIDE) for _ in range(2)]
            chosen = (1, 2) if dtype is dtypes.float64 else ()
            yield Sample("select", f"{dtype.short}{list(shape)}", (condition, *arrays), differentiate=chosen)
    for source in dtypes.ALL:
        for target in dtypes.ALL:
            values = edges(source)
            chosen = (0,) if source is target is dtypes.float64 else ()
            smooth = random_array(rng, (5,), source, *_WIDE) if chosen else values
            attrs = DTypeAttrs(target)
            yield Sample("cast", f"{source.short}-{target.short}", (smooth,), attrs, differentiate=chosen)
    for source, target in (
        *(("bfloat16", "uint16"), ("int16", "bfloat16"), ("float16", "uint16"), ("bfloat16", "float16")),
        *(("float32", "uint32"), ("int32", "float32"), ("float64", "int64"), ("uint64", "float64")),
    ):
        kind = dtypes.dtype(source)
        yield Sample("bitcast", f"{source}-{target}", (edges(kind),), DTypeAttrs(dtypes.dtype(target)))


# ---------------------------------------------------------------------------------------------------------- complex


def complex_array(rng: np.random.Generator, shape: Sequence[int], dtype: DType, low: float, high: float) -> np.ndarray:
    """Both parts uniform in [low, high)."""
    parts = (random_array(rng, shape, dtype.part, low, high) for _ in range(2))
    return np.asarray(sum(factor * part for factor, part in zip((1, 1j), parts, strict=True)), dtype.numpy)


def _complex_edges(dtype: DType) -> np.ndarray:
    """All pairs of special values."""
    real, imag = _edge_inputs(2, dtype.part)
    found = np.empty(real.shape, dtype.numpy)
    found.real, found.imag = real, imag
    return found


_COMPLEX_RTOL = {dtypes.complex64: 4e-6, dtypes.complex128: 2e-14}
_COMPLEX_UNARY = ("neg", "abs", "exp", "log", "sqrt", "sin", "cos", "tanh", "stop_gradient", "saved", "real", "imag")
_COMPLEX_BINARY = ("add", "sub", "mul", "div", "pow", "eq", "ne")
_BY_PARTS = frozenset({"neg", "stop_gradient", "saved", "real", "imag", "add", "sub", "eq", "ne"})  # exact


def _complex_elementwise() -> Iterator[Sample]:
    for dtype in dtypes.COMPLEX:
        for name in (*_COMPLEX_UNARY, *_COMPLEX_BINARY):
            rng = _generator("complex", name, dtype)
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
                special = _complex_edges(dtype)
                yield Sample(name, f"{dtype.short}-edges", (special, special[::-1].copy())[:arity])
        parts = _edge_inputs(2, dtype.part)
        yield Sample("complex", f"{dtype.short}-edges", parts)
        smooth_parts = tuple(random_array(_generator(dtype), (5,), dtype.part, -2, 2) for _ in range(2))
        chosen = (0, 1) if dtype is dtypes.complex128 else ()
        yield Sample("complex", f"{dtype.short}", smooth_parts, differentiate=chosen)
    axis = np.array([1, -1, 1j, -1j, 1e-30, 1e30j, 1e-20 + 1e-22j], np.complex64)
    for name in ("abs", "log", "sqrt"):
        yield Sample(name, "c64-far", (np.concatenate([axis, -axis]),), rtol=4e-6)
    far = np.array([200 + 1j, -200 + 1j, 12 - 3j, -8 + 0.5j, 0, 3j], np.complex64)
    yield Sample("tanh", "c64-far", (far,), rtol=4e-6)
    huge = np.array([1e30 + 1e30j, 1e-30j, 1e-30, 3, 4j, 1e25 - 1j], np.complex64)
    yield Sample("div", "c64-far", (far + 1, huge), rtol=4e-6)


def _complex_others() -> Iterator[Sample]:
    for dtype in dtypes.COMPLEX:
        rng, rtol = _generator("complex", dtype), _COMPLEX_RTOL[dtype]
        chosen = dtype is dtypes.complex128
        pair = tuple(complex_array(rng, (3, 5), dtype, -3, 3) for _ in range(2))
        condition = random_array(rng, (3, 5), dtypes.bool_, 0, 1)
        yield Sample("select", f"{dtype.short}", (condition, *pair), differentiate=(1, 2) if chosen else ())
        for source in dtypes.EVERY:
            values = _complex_edges(source) if source.is_complex else edges(source)
            yield Sample("cast", f"{source.short}-{dtype.short}", (values,), DTypeAttrs(dtype))
        yield Sample("cast", f"{dtype.short}-bool", (_complex_edges(dtype),), DTypeAttrs(dtypes.bool_))
        for op, name, shapes, attrs in _movement_rows():
            arrays = tuple(complex_array(rng, shape, dtype, -9, 9) for shape in shapes)
            yield Sample(op, f"{name}-{dtype.short}", arrays, attrs)
        for shape, axes in _REDUCED:
            x = complex_array(rng, shape, dtype, -1, 1)
            small = (0,) if chosen and 0 < x.size <= 40 else ()
            name = f"{dtype.short}{list(shape)}{list(axes)}"
            yield Sample("reduce_sum", name, (x,), AxesAttrs(axes), rtol=rtol * 10, differentiate=small)
            x = complex_array(rng, shape, dtype, 0.69, 0.72)
            yield Sample("reduce_prod", name, (x,), AxesAttrs(axes), rtol=rtol * 100, differentiate=small)
        for name, left, right, attrs in _DOTS:
            arrays = tuple(complex_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            both = (0, 1) if chosen and arrays[0].size <= 60 else ()
            yield Sample("dot_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol * 3, differentiate=both)
        x, updates = complex_array(rng, (5, 3), dtype, -3, 3), complex_array(rng, (4, 3), dtype, -3, 3)
        indices = np.array([0, 4, 2, 4])
        yield Sample("gather", f"{dtype.short}", (x, indices), GatherAttrs(0), differentiate=(0,) if chosen else ())
        for op in ("scatter", "scatter_add"):
            both = (0, 2) if chosen else ()
            yield Sample(op, f"{dtype.short}", (x, indices, updates), GatherAttrs(0), rtol=1e-6, differentiate=both)


# --------------------------------------------------------------------------------------------------------- movement


def _movement_rows() -> Iterator[tuple[str, str, list[tuple[int, ...]], Attrs]]:
    yield "reshape", "split", [(6, 4)], ShapeAttrs((2, 3, 4))
    yield "reshape", "merge", [(2, 3, 4)], ShapeAttrs((24,))
    yield "reshape", "regroup", [(6, 4)], ShapeAttrs((8, 3))
    yield "reshape", "empty", [(0, 3)], ShapeAttrs((3, 0))
    yield "reshape", "scalar", [(1, 1)], ShapeAttrs(())
    yield "transpose", "2d", [(3, 5)], TransposeAttrs((1, 0))
    yield "transpose", "3d", [(2, 3, 4)], TransposeAttrs((2, 0, 1))
    yield "transpose", "0d", [()], TransposeAttrs(())
    yield "transpose", "wide", [(33, 18)], TransposeAttrs((1, 0))
    yield "broadcast", "rows", [(3,)], BroadcastAttrs((4, 3), (1,))
    yield "broadcast", "columns", [(4,)], BroadcastAttrs((4, 3), (0,))
    yield "broadcast", "ones", [(1, 3)], BroadcastAttrs((4, 3), (0, 1))
    yield "broadcast", "scalar", [()], BroadcastAttrs((2, 17), ())
    yield "broadcast", "empty", [(1,)], BroadcastAttrs((0,), (0,))
    yield "slice", "part", [(5, 7)], SliceAttrs((1, 2), (4, 7), (1, 1))
    yield "slice", "stepped", [(9, 4)], SliceAttrs((1, 0), (9, 4), (3, 2))
    yield "slice", "empty", [(5,)], SliceAttrs((2,), (2,), (1,))
    yield "pad", "both", [(3, 4), ()], PadAttrs((1, 0), (2, 3), (0, 0))
    yield "pad", "interior", [(3,), ()], PadAttrs((1,), (1,), (2,))
    yield "pad", "empty", [(0,), ()], PadAttrs((2,), (1,), (0,))
    yield "concatenate", "rows", [(2, 3), (1, 3), (0, 3)], AxisAttrs(0)
    yield "concatenate", "columns", [(2, 3), (2, 5)], AxisAttrs(1)
    yield "concatenate", "one", [(4,)], AxisAttrs(0)
    yield "reverse", "all", [(3, 4)], AxesAttrs((0, 1))
    yield "reverse", "last", [(2, 17)], AxesAttrs((1,))


def _movement() -> Iterator[Sample]:
    for op, name, shapes, attrs in _movement_rows():
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int16, dtypes.bool_):
            rng = _generator(op, name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -9, 9) for shape in shapes)
            chosen = tuple(range(len(arrays))) if dtype is dtypes.float64 else ()
            yield Sample(op, f"{name}-{dtype.short}", arrays, attrs, differentiate=chosen)


# ---------------------------------------------------------------------------------------- reductions, contractions

_RTOL = {dtypes.bfloat16: 2.0**-8, dtypes.float16: 2.0**-11, dtypes.float32: 1e-5, dtypes.float64: 1e-13}
_REDUCED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
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


def _reductions() -> Iterator[Sample]:
    for op in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8):
            for shape, axes in _REDUCED:
                rng = _generator(op, dtype, shape)
                low, high = (0.9, 1.1) if op == "reduce_prod" and dtype.is_float else (-3, 3)
                x = random_array(rng, shape, dtype, low, high)
                exact = op in ("reduce_max", "reduce_min") or not dtype.is_float
                rtol = 0 if exact else _RTOL[dtype]
                chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 40 else ()
                name = f"{dtype.short}{list(shape)}{list(axes)}"
                yield Sample(op, name, (x,), AxesAttrs(axes), rtol=rtol, differentiate=chosen)
    for op in ("reduce_max", "reduce_min"):
        yield Sample(op, "edges", (np.stack([edges(dtypes.float32), np.ones(24, np.float32)]),), AxesAttrs((1,)))
        yield Sample(op, "bool", (np.array([[True, False], [False, False]]),), AxesAttrs((1,)))
    for op in ("argmax", "argmin"):
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int8):
            for shape, axis in (((7,), 0), ((3, 50), 1), ((50, 3), 0), ((2, 3, 4), 1)):
                x = random_array(_generator(op, dtype, shape), shape, dtype, -4, 4)
                ties = np.round(x)  # equal values: the first index must win
                yield Sample(op, f"{dtype.short}{list(shape)}", (ties.astype(x.dtype),), ArgAttrs(axis))
        yield Sample(op, "nan", (np.array([1, np.nan, 3, np.nan], np.float32),), ArgAttrs(0))


_DOTS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], DotAttrs], ...] = (
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


def _contractions() -> Iterator[Sample]:
    for name, left, right, attrs in _DOTS:
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32):
            rng = _generator("dot", name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            rtol = _RTOL.get(dtype, 0)
            if dtype.is_half:
                wide = replace(attrs, dtype=dtypes.float32)
                yield Sample("dot_general", f"{name}-{dtype.short}-f32", arrays, wide, rtol=_RTOL[dtypes.float32])
            small = dtype is dtypes.float64 and arrays[0].size <= 200
            chosen = (0, 1) if small else ()
            yield Sample("dot_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol, differentiate=chosen)


# ---------------------------------------------------------------------------------------------------------- windows

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


def _sliding() -> Iterator[Sample]:
    for n, (shape, *rows) in enumerate(_SLIDES):
        for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int16, dtypes.bool_):
            x = random_array(_generator("windows", n, dtype), shape, dtype, -9, 9)
            chosen: tuple[int, ...] = (0,) if dtype is dtypes.float64 else ()
            yield Sample("windows", f"{n}-{dtype.short}", (x,), WindowsAttrs(*rows), differentiate=chosen)
    for name, left, right, attrs in _CONVS:
        for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int32):
            rng = _generator("conv", name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -2, 2) for shape in (left, right))
            rtol = _RTOL.get(dtype, 0)
            if dtype is dtypes.bfloat16:
                wide = replace(attrs, dtype=dtypes.float32)
                yield Sample("conv_general", f"{name}-bf16-f32", arrays, wide, rtol=_RTOL[dtypes.float32])
            small = dtype is dtypes.float64 and arrays[0].size <= 300
            chosen = (0, 1) if small else ()
            yield Sample("conv_general", f"{name}-{dtype.short}", arrays, attrs, rtol=rtol, differentiate=chosen)
    special = np.array([[[1.0, np.inf, -0.0, np.nan, 2.0]]], np.float32)
    weights = np.array([[[np.inf, 0.0, -1.0]]], np.float32)
    yield Sample("conv_general", "edges", (special, weights), replace(_CONV_1D, low=(1,), high=(1,)))
    for reducer in ("sum", "max", "min"):
        for name, shape, dims, widths in _POOLS:
            for dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8):
                x = random_array(_generator(reducer, name, dtype), shape, dtype, -3, 3)
                rtol = _RTOL.get(dtype, 0) if reducer == "sum" else 0
                finite = reducer == "sum" or name not in ("holes", "outside")  # the extreme of nothing is infinite
                chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 120 and finite else ()
                pool = ReduceWindowAttrs(reducer, dims, *widths)
                label = f"{reducer}-{name}-{dtype.short}"
                yield Sample("reduce_window", label, (x,), pool, rtol=rtol, differentiate=chosen)
        pool = ReduceWindowAttrs(reducer, (0,), (2,), (1,), (1,), (0,), (1,), (1,))
        if reducer != "sum":
            yield Sample("reduce_window", f"{reducer}-edges", (edges(dtypes.float32),), pool)
            yield Sample("reduce_window", f"{reducer}-bool", (np.array([True, False, False]),), pool)


# ------------------------------------------------------------------------------------------- indexing and sources


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


def _index_dtypes(dtype: DType) -> tuple[DType, ...]:
    """All of them with one dtype, one with the others."""
    return (dtypes.int32, dtypes.int64, dtypes.uint8) if dtype is dtypes.float32 else (dtypes.int64,)


def _indexing() -> Iterator[Sample]:
    rng = _generator("indexing")
    for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32):
        for index_dtype in _index_dtypes(dtype):
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
                    rtol = 0 if not combines else 1e-6 if not dtype.is_half else _RTOL[dtype]
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


def _windows() -> Iterator[Sample]:
    rng = _generator("windows")
    kinds = (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.bool_)
    for dtype in kinds:
        for index_dtype in _index_dtypes(dtype):
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


def _cumulative() -> Iterator[Sample]:
    for op in CUMULATIVE:
        kinds = (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.uint8)
        if op.name == "linear_recurrence":
            kinds = dtypes.FLOATS
        for dtype in kinds:
            for shape, axis in _RUNS:
                if prod(shape) > 4000 and dtype is not dtypes.float32:
                    continue
                rng = _generator(op.name, dtype, shape)
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
                    rtol = 0 if exact else 4 * _RTOL[dtype]
                    yield Sample(op.name, name, tuple(arrays), attrs, rtol=rtol, differentiate=chosen)
        if op.name in ("cummax", "cummin"):
            yield Sample(op.name, "edges", (edges(dtypes.float32),), CumulativeAttrs(0))
            yield Sample(op.name, "edges-reverse", (edges(dtypes.float32),), CumulativeAttrs(0, True))
            yield Sample(op.name, "bool", (np.array([[True, False], [False, True]]),), CumulativeAttrs(1))


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


def _sorting() -> Iterator[Sample]:
    for op in ("sort", "argsort"):
        for dtype in dtypes.ALL:
            for shape, axis in _SORTED:
                if prod(shape) > 4000 and dtype not in (dtypes.float32, dtypes.int64, dtypes.uint8):
                    continue
                x = random_array(_generator(op, dtype, shape), shape, dtype, -50, 50)
                if dtype.is_float and x.size > 5:
                    x = np.where(np.arange(x.size).reshape(shape) % 2, x, np.round(x)).astype(x.dtype)  # equal ones
                chosen = (0,) if op == "sort" and dtype is dtypes.float64 and 0 < x.size <= 40 else ()
                distinct = np.random.default_rng(0).permutation(x.size).reshape(shape).astype(x.dtype)
                for descending in (False, True):
                    name = f"{dtype.short}{list(shape)}{axis}{'-descending' if descending else ''}"
                    values = distinct if chosen else x
                    yield Sample(op, name, (values,), SortAttrs(axis, descending), differentiate=chosen)
            for descending in (False, True):
                values = np.resize(_generator(dtype).permutation(edges(dtype)), (2, 300))
                name = f"{dtype.short}-edges{'-descending' if descending else ''}"
                yield Sample(op, f"{name}-short", (values[:, :40].copy(),), SortAttrs(1, descending))
                yield Sample(op, f"{name}-long", (values,), SortAttrs(1, descending))


_MATRICES: tuple[tuple[int, ...], ...] = ((1, 1), (3, 3), (2, 3, 4, 4), (40, 40), (70, 70), (0, 3, 3), (2, 0, 0))


def _linalg() -> Iterator[Sample]:
    for dtype in (dtypes.float32, dtypes.float64):
        for shape in _MATRICES:
            rng = _generator("linalg", dtype, shape)
            x = random_array(rng, shape, dtype, -1, 1)
            positive = np.matmul(x, np.swapaxes(x, -1, -2)) + np.eye(shape[-1], dtype=dtype.numpy)
            small = dtype is dtypes.float64 and 0 < x.size <= 96
            name, rtol = f"{dtype.short}{list(shape)}", 20 * _RTOL[dtype]
            yield Sample("cholesky", name, (positive,), rtol=rtol, differentiate=(0,) if small else ())
            yield Sample("lu", name, (x,), rtol=20 * rtol, differentiate=(0,) if small else ())
            for count in (1, 5, 70) if shape[-1] < 70 else (3,):
                b = random_array(rng, (*shape[:-1], count), dtype, -1, 1)
                for attrs in _TRIANGLES if count == 5 else _TRIANGLES[:1]:
                    label = f"{name}x{count}{_name_of(attrs)}"
                    chosen = (0, 1) if small and count == 5 and x.size <= 9 else ()
                    yield Sample("triangular_solve", label, (positive, b), attrs, rtol=rtol, differentiate=chosen)
        for shape in ((1, 1), (4, 4), (5, 4), (4, 5), (2, 3, 4, 2), (40, 30), (0, 3, 3)):
            x = random_array(_generator("library", dtype, shape), shape, dtype, -1, 1)
            chosen = (0,) if dtype is dtypes.float64 and 0 < x.size <= 16 else ()
            name, rtol = f"{dtype.short}{list(shape)}", 100 * _RTOL[dtype]
            for full in (False, True):
                label, square = f"{name}{'-full' if full else ''}", shape[-1] == shape[-2]
                has = chosen if square or not full else ()
                if full and abs(shape[-1] - shape[-2]) > 1:
                    continue  # any vectors that fit complete a factor
                yield Sample("svd", label, (x,), FullAttrs(full), rtol=rtol, differentiate=has)
                has = has if shape[-2] >= shape[-1] else ()
                yield Sample("qr", label, (x,), FullAttrs(full), rtol=rtol, differentiate=has)
            if square:
                yield Sample("eigh", name, (x,), rtol=rtol, differentiate=chosen)
    broken = np.stack([np.eye(3), np.diag([1.0, np.nan, 2.0]), np.diag([1.0, np.inf, 2.0])])
    for op in ("qr", "svd", "eigh"):
        yield Sample(op, "not-finite", (broken,), FullAttrs() if op != "eigh" else NO_ATTRS)
    indefinite = np.stack([np.eye(3), -np.eye(3), np.full((3, 3), np.nan), np.diag([1.0, np.inf, 1.0])])
    yield Sample("cholesky", "not-positive", (indefinite,), rtol=0)
    yield Sample("cholesky", "one-triangle", (np.array([[4.0, np.nan], [2.0, 3.0]]),), rtol=_RTOL[dtypes.float64])
    yield Sample("lu", "singular", (np.array([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 4.0]]]),))
    yield Sample("lu", "exchanges", (np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [-5.0, 1.0, 1.0]]),))
    yield Sample("triangular_solve", "singular", (np.zeros((2, 2)), np.ones((2, 1))), TriangleAttrs())


def _sparse() -> Iterator[Sample]:
    for dtype in (dtypes.float32, dtypes.float64):
        for rows, columns, count, width in ((4, 3, 7, 2), (5, 4, 0, 3), (3, 2, 5, 1), (20, 30, 90, 70), (2, 3, 4, 0)):
            rng = _generator("sparse", dtype, rows, width)
            data, dense = (random_array(rng, s, dtype, -1, 1) for s in ((count,), (columns, width)))
            inner = np.sort(rng.integers(0, count + 1, rows - 1))
            indptr = np.array([0, *inner, count], np.int32)
            indices = rng.integers(0, columns, count, dtype=np.int32)
            small = dtype is dtypes.float64 and 0 < count < 10 and width > 0
            arrays, chosen = (data, indices, indptr, dense), (0, 3) if small else ()
            name = f"{dtype.short}{rows}x{columns}x{width}"
            yield Sample("csr_dot", name, arrays, rtol=_RTOL[dtype], differentiate=chosen)
    outside = (np.ones(2), np.array([-1, 9]), np.array([-3, 1, 8], np.int64), np.arange(6.0).reshape(3, 2))
    yield Sample("csr_dot", "outside", outside)


_TRIANGLES = tuple(TriangleAttrs(*flags) for flags in product((True, False), (False, True), (False, True)))


def _name_of(attrs: TriangleAttrs) -> str:
    words = ("lower" if attrs.lower else "upper", attrs.transposed and "transposed", attrs.unit and "unit")
    return "".join(f"-{word}" for word in words if word)


def _sources() -> Iterator[Sample]:
    for dtype in dtypes.ALL:
        yield Sample("constant", dtype.short, (), ConstantAttrs(edges(dtype)))
        if not dtype.is_bool:
            yield Sample("iota", dtype.short, (), IotaAttrs((3, 5), dtype, 1))
    yield Sample("constant", "0d", (), ConstantAttrs(np.array(2.5, np.float32)))
    yield Sample("constant", "empty", (), ConstantAttrs(np.zeros((0, 3), np.float32)))
    yield Sample("iota", "rows", (), IotaAttrs((20, 2), dtypes.int64, 0))
    key = np.array([0x12345678, 0x9ABCDEF0], np.uint32)
    for shape in ((), (0,), (1,), (7,), (3, 5), (100,)):
        yield Sample("random_bits", f"{list(shape)}", (key,), ShapeAttrs(shape))
    keys = _generator("keys").integers(0, 2**32, (3, 2, 2), dtype=np.uint32)
    for rows, shape in (((3, 2), (3, 2)), ((3, 2), (3, 2, 7)), ((3,), (3, 5)), ((3,), (3, 2, 30)), ((3,), (3, 0))):
        yield Sample(
            "random_bits",
            f"keys{list(rows)}{list(shape)}",
            (keys if rows == (3, 2) else keys[:, 0],),
            ShapeAttrs(shape),
        )


def _structural() -> Iterator[Sample]:
    builder = GraphBuilder("body")
    x = builder.input(TensorType((3,), dtypes.float64), "x")
    y = builder.add1(lookup("tanh"), [x])
    body = builder.build([y, builder.add1(lookup("mul"), [x, y])])
    inputs = (np.array([0.5, -1.0, 2.0]),)
    yield Sample("call", "two-results", inputs, CallAttrs(body), ulp=4, differentiate=(0,))
    yield Sample("fusion", "two-results", inputs, FusionAttrs(body, "map"), ulp=4)
    forward, linear = autodiff.linearize(body, [True])
    residuals = len(linear.inputs) - 1
    backward = autodiff.transpose(linear, [False] * residuals + [True])
    rule = autodiff.jvp(body, [True])
    for name, rules in (
        ("custom_jvp", CustomJvpAttrs(body, rule, 0)),
        ("custom_vjp", CustomVjpAttrs(body, forward, backward, 0)),
        ("checkpoint", CheckpointAttrs(body, (False,))),
    ):
        yield Sample(name, "two-results", inputs, rules, ulp=4, differentiate=(0,))
    yield Sample("custom_jvp", "no rule", inputs, CustomJvpAttrs(body, None, 0), ulp=4)
    rng = _generator("custom")
    arrays = tuple(random_array(rng, (3,), dtypes.float64, -2, 2) for _ in range(residuals + 1))
    every = tuple(range(residuals + 1))
    yield Sample(
        "linear_call", "both", arrays, LinearCallAttrs(linear, backward, residuals), ulp=4, differentiate=every
    )
    late = tuple(i < residuals for i in every)
    yield Sample("checkpoint", "late", arrays, CheckpointAttrs(linear, late), ulp=4, differentiate=every)
    for dtype in (dtypes.float64, dtypes.int32):
        arrays = tuple(random_array(rng, shape, dtype, -3, 3) for shape in ((3, 5), (7,), ()))
        chosen = (0,) if dtype.is_float else ()
        yield Sample("barrier", dtype.short, arrays, differentiate=chosen)


def _region(name: str, inputs: Sequence[TensorType], fn: Callable[..., Sequence[Value]]) -> Graph:
    """A graph of `fn(compose, *inputs)`."""
    builder = GraphBuilder(name)
    values = [builder.input(type, f"x{k}") for k, type in enumerate(inputs)]
    return builder.build(list(fn(Compose(builder), *values)))


def _control() -> Iterator[Sample]:
    row, number, flag = TensorType((3,), dtypes.float64), TensorType((), dtypes.int64), TensorType((), dtypes.bool_)
    w, h = np.array([0.5, -1.0, 0.25]), np.array([0.3, 0.1, -0.7])
    xs = np.linspace(-1, 1, 12).reshape(4, 3)

    def step(c: Compose, w: Value, h: Value, x: Value) -> Sequence[Value]:
        new = c(lookup("tanh"), c.add(c.mul(w, h), x))
        return new, c.mul(new, x)

    body = _region("step", [row] * 3, step)
    for length, reverse in ((4, False), (4, True), (1, False), (0, False)):
        attrs = ScanAttrs(body, 1, 1, length, reverse, False)
        yield Sample(
            "scan", f"{length}{'-reverse' * reverse}", (w, h, xs[:length]), attrs, ulp=16, differentiate=(0, 1, 2)
        )
    for count, reverse in ((3, False), (2, True), (-1, False), (9, True)):
        attrs = ScanAttrs(body, 1, 1, 4, reverse, True)
        inputs = (np.array(count), w, h, xs)
        name = f"counted-{count}{'-reverse' * reverse}"
        yield Sample("scan", name, inputs, attrs, ulp=16, differentiate=(1, 2, 3))
    swap = _region("swap", [row, row], lambda c, a, b: (b, a, a))
    yield Sample("scan", "swap", (w, h), ScanAttrs(swap, 0, 2, 3, False, False), differentiate=(0, 1))

    below = _region("below", [number, number, row], lambda c, n, i, h: (c(lookup("lt"), i, n),))
    assert below.output_types == (flag,)

    def doubled(c: Compose, n: Value, i: Value, h: Value) -> Sequence[Value]:
        return c.add(i, c.scalar(1, dtypes.int64)), c.mul(h, h)

    def taped(c: Compose, n: Value, i: Value, h: Value) -> Sequence[Value]:
        return *doubled(c, n, i, h), h

    plain = WhileAttrs(below, _region("doubled", [number, number, row], doubled), 1)
    bounded = WhileAttrs(below, _region("taped", [number, number, row], taped), 1, 3)
    for n in (0, 1, 3):
        inputs = (np.array(n), np.array(0), h)
        yield Sample("while", f"{n}", inputs, plain)
        yield Sample("while", f"bound-{n}", inputs, bounded, differentiate=(2,))

    first = _region("first", [row, row], lambda c, x, y: (c.mul(x, y), x))
    second = _region("second", [row, row], lambda c, x, y: (c(lookup("sin"), y), c.add(x, y)))
    third = _region("third", [row, row], lambda c, x, y: (y, c.mul(y, y)))
    for index in (0, 1, 2, -5, 5):
        inputs = (np.array(index, np.int32), w, h)
        yield Sample("branch", f"{index}", inputs, BranchAttrs((first, second, third)), ulp=4, differentiate=(1, 2))


_FAMILIES: tuple[Callable[[], Iterator[Sample]], ...] = (
    _elementwise,
    _select_and_casts,
    _complex_elementwise,
    _complex_others,
    _movement,
    _reductions,
    _contractions,
    _sliding,
    _indexing,
    _windows,
    _cumulative,
    _sorting,
    _linalg,
    _sparse,
    _sources,
    _structural,
    _control,
)

SAMPLES: tuple[Sample, ...] = tuple(sample for family in _FAMILIES for sample in family())


def samples_of(op: Op) -> list[Sample]:
    """The rows of one primitive."""
    return [sample for sample in SAMPLES if sample.op == op.name]


def ulp_distance(got: np.ndarray, want: np.ndarray) -> float:
    """Largest distance in units in the last place; NaN matches NaN, and infinities must match exactly."""
    if got.size == 0:
        return 0.0
    if got.dtype.kind == "c":
        return max(ulp_distance(got.real.copy(), want.real.copy()), ulp_distance(got.imag.copy(), want.imag.copy()))
    if not dtypes.holds_floats(got):
        return 0.0 if np.array_equal(got, want) else np.inf
    integer = np.dtype(f"i{got.dtype.itemsize}")
    keys = []
    for array in (got, want):
        bits = np.ascontiguousarray(array).reshape(array.shape).view(integer).astype(object)
        keys.append(np.where(bits >= 0, bits, np.iinfo(integer).min - bits))
    distance = np.abs(keys[0] - keys[1])
    nan = np.isnan(got) & np.isnan(want)
    odd = np.isnan(got) != np.isnan(want)
    return float(np.max(np.where(nan, 0, np.where(odd, np.inf, distance))))


def assert_matches(sample: Sample, got: np.ndarray, want: np.ndarray) -> None:
    """`got` agrees with the meaning within the sample's bounds."""
    assert got.shape == want.shape, sample.id
    assert got.dtype == want.dtype, sample.id
    if sample.rtol and got.size:
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        scale = max(float(np.max(np.abs(want.astype(wide)))), 1e-30)
        error = float(np.max(np.abs(got.astype(wide) - want.astype(wide)))) / scale
        assert error <= sample.rtol, f"{sample.id}: relative error {error}"
        return
    distance = ulp_distance(got, want)
    assert distance <= sample.ulp, f"{sample.id}: {distance} ulp\n got {got}\nwant {want}"
