"""Movement primitives: reshape, transpose, broadcast, slice, pad, concatenate, reverse. No element is computed."""

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class ShapeAttrs(Attrs):
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransposeAttrs(Attrs):
    """result dim i is operand dim permutation[i]."""

    permutation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BroadcastAttrs(Attrs):
    """Operand dim i becomes result dim dims[i] (increasing); it has that extent or 1. Other result dims are new."""

    shape: tuple[int, ...]
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SliceAttrs(Attrs):
    """Elements start, start + step, ... below stop, per dim; steps are positive."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PadAttrs(Attrs):
    """low and high elements added per dim (not negative), and `interior` ones between neighbours."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AxisAttrs(Attrs):
    axis: int


@dataclass(frozen=True, slots=True)
class AxesAttrs(Attrs):
    axes: tuple[int, ...]


def _reshape(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ShapeAttrs)
    result = types[0].with_shape(attrs.shape)
    if result.size != types[0].size or any(extent < 0 for extent in attrs.shape):
        raise ShapeError(f"reshape: {types[0]} has {types[0].size} elements, {list(attrs.shape)} needs {result.size}")
    return (result,)


reshape = register("reshape", "movement", _reshape, lambda a, x: (x.reshape(a.shape),), ShapeAttrs)


def _transpose(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, TransposeAttrs)
    if sorted(attrs.permutation) != list(range(types[0].rank)):
        raise ShapeError(f"transpose: {list(attrs.permutation)} is not a permutation of the dims of {types[0]}")
    return (types[0].with_shape(tuple(types[0].shape[d] for d in attrs.permutation)),)


transpose = register(
    "transpose", "movement", _transpose, lambda a, x: (np.transpose(x, a.permutation),), TransposeAttrs
)


def _broadcast(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, BroadcastAttrs)
    (x,) = types
    fits = len(attrs.dims) == x.rank and list(attrs.dims) == sorted(set(attrs.dims))
    fits = fits and all(0 <= d < len(attrs.shape) for d in attrs.dims)
    if not fits or any(e not in (1, attrs.shape[d]) for e, d in zip(x.shape, attrs.dims, strict=True)):
        raise ShapeError(f"broadcast: {x} does not fit {list(attrs.shape)} at dims {list(attrs.dims)}")
    return (x.with_shape(attrs.shape),)


def _broadcast_meaning(attrs: BroadcastAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    aligned = [1] * len(attrs.shape)
    for extent, dim in zip(x.shape, attrs.dims, strict=True):
        aligned[dim] = extent
    return (np.broadcast_to(x.reshape(aligned), attrs.shape),)


broadcast = register("broadcast", "movement", _broadcast, _broadcast_meaning, BroadcastAttrs)


def _slice(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, SliceAttrs)
    (x,) = types
    if not len(attrs.start) == len(attrs.stop) == len(attrs.step) == x.rank:
        raise ShapeError(f"slice: bounds for {len(attrs.start)} dims, operand is {x}")
    for extent, start, stop, step in zip(x.shape, attrs.start, attrs.stop, attrs.step, strict=True):
        if not (0 <= start <= stop <= extent and step >= 1):
            raise ShapeError(f"slice: [{start}:{stop}:{step}] is outside {x}")
    shape = (-(-(stop - start) // step) for start, stop, step in zip(attrs.start, attrs.stop, attrs.step, strict=True))
    return (x.with_shape(tuple(shape)),)


def _slice_meaning(attrs: SliceAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x[tuple(slice(a, b, s) for a, b, s in zip(attrs.start, attrs.stop, attrs.step, strict=True))],)


slice_ = register("slice", "movement", _slice, _slice_meaning, SliceAttrs)


def _pad(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, PadAttrs)
    x, value = types
    if value.rank != 0 or value.dtype != x.dtype:
        raise DTypeError(f"pad: the padding value must be a {x.dtype} scalar, got {value}")
    if not len(attrs.low) == len(attrs.high) == len(attrs.interior) == x.rank:
        raise ShapeError(f"pad: widths for {len(attrs.low)} dims, operand is {x}")
    if min((*attrs.low, *attrs.high, *attrs.interior), default=0) < 0:
        raise ShapeError("pad: widths must not be negative")
    shape = (
        low + high + extent + max(extent - 1, 0) * interior
        for extent, low, high, interior in zip(x.shape, attrs.low, attrs.high, attrs.interior, strict=True)
    )
    return (x.with_shape(tuple(shape)),)


def _pad_meaning(attrs: PadAttrs, x: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, ...]:
    dtype = dtypes.dtype(x.dtype)
    (result_type,) = _pad((TensorType(x.shape, dtype), TensorType((), dtype)), attrs)
    result = np.full(result_type.shape, value, x.dtype)
    window = tuple(
        slice(low, low + extent + max(extent - 1, 0) * interior, interior + 1)
        for extent, low, interior in zip(x.shape, attrs.low, attrs.interior, strict=True)
    )
    result[window] = x
    return (result,)


pad = register("pad", "movement", _pad, _pad_meaning, PadAttrs)


def _concatenate(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, AxisAttrs)
    if not types:
        raise ShapeError("concatenate: needs at least one operand")
    first = types[0]
    if not 0 <= attrs.axis < first.rank:
        raise ShapeError(f"concatenate: axis {attrs.axis} is outside {first}")
    for t in types[1:]:
        if t.dtype != first.dtype:
            raise DTypeError(f"concatenate: dtypes differ, {first} and {t}")
        others = [(a, b) for d, (a, b) in enumerate(zip(first.shape, t.shape, strict=False)) if d != attrs.axis]
        if t.rank != first.rank or any(a != b for a, b in others):
            raise ShapeError(f"concatenate: shapes differ outside axis {attrs.axis}, {first} and {t}")
    shape = list(first.shape)
    shape[attrs.axis] = sum(t.shape[attrs.axis] for t in types)
    return (first.with_shape(tuple(shape)),)


concatenate = register("concatenate", "movement", _concatenate, lambda a, *xs: (np.concatenate(xs, a.axis),), AxisAttrs)


def _reverse(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, AxesAttrs)
    if any(not 0 <= axis < types[0].rank for axis in attrs.axes) or len(set(attrs.axes)) != len(attrs.axes):
        raise ShapeError(f"reverse: axes {list(attrs.axes)} do not fit {types[0]}")
    return (types[0],)


reverse = register("reverse", "movement", _reverse, lambda a, x: (np.flip(x, a.axes),), AxesAttrs)
