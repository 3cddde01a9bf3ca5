"""Reductions: sum, product, maximum, minimum over axes; argmax and argmin over one axis. Reduced axes disappear.

A reduction of a half type adds up in float32 and rounds its result once.
"""

from collections.abc import Callable

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, Op, TensorType
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.registry import register


def _infer(name: str, accepted: tuple[DType, ...]) -> Callable[..., tuple[TensorType, ...]]:
    def infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
        assert isinstance(attrs, AxesAttrs)
        (x,) = types
        if list(attrs.axes) != sorted(set(attrs.axes)) or any(not 0 <= a < x.rank for a in attrs.axes):
            raise ShapeError(f"{name}: axes {list(attrs.axes)} do not fit {x}")
        if x.dtype not in accepted:
            raise DTypeError(f"{name}: {x.dtype} is not accepted, only {', '.join(d.name for d in accepted)}")
        return (x.with_shape(tuple(e for d, e in enumerate(x.shape) if d not in attrs.axes)),)

    return infer


def limits(dtype: DType) -> tuple[bool | int | float, bool | int | float]:
    """The smallest and largest value of a dtype: what max and min give for an empty set."""
    if dtype.is_bool:
        return False, True
    if dtype.is_float:
        return -np.inf, np.inf
    info = np.iinfo(dtype.numpy.name)
    return int(info.min), int(info.max)


def _wide(x: np.ndarray) -> np.ndarray:
    """What the oracle adds up: closer to the true value."""
    if x.dtype.kind == "c":
        return x.astype(np.complex128)
    return x.astype(np.float64) if dtypes.holds_floats(x) else x


def _reduce(
    name: str, accepted: tuple[DType, ...], numpy: Callable[..., np.ndarray], initial: Callable[[DType], object]
) -> Op:
    def meaning(attrs: AxesAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
        if not attrs.axes:
            return (x,)
        with np.errstate(all="ignore"):
            wide = _wide(x)
            start = np.array(initial(dtypes.dtype(x.dtype)), wide.dtype)
            return (np.asarray(numpy(wide, axis=attrs.axes, initial=start)).astype(x.dtype),)

    return register(name, "reduction", _infer(name, accepted), meaning, AxesAttrs)


def _largest(x: np.ndarray, axis: tuple[int, ...], initial: np.ndarray) -> np.ndarray:
    """-0 is less than 0."""
    found = np.maximum.reduce(x, axis=axis, initial=initial)
    if x.dtype.kind != "f":
        return found
    zero = np.where(np.any((x == 0) & ~np.signbit(x), axis=axis), 0.0, -0.0)
    return np.where(found == 0, zero, found)


def _smallest(x: np.ndarray, axis: tuple[int, ...], initial: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "f":
        return np.asarray(np.minimum.reduce(x, axis=axis, initial=initial))
    return -_largest(-x, axis, -initial)


_SUMMED = (*dtypes.NUMERIC, *dtypes.COMPLEX)
reduce_sum = _reduce("reduce_sum", _SUMMED, lambda x, **k: np.sum(x, dtype=x.dtype, **k), lambda _: 0)
reduce_prod = _reduce("reduce_prod", _SUMMED, lambda x, **k: np.prod(x, dtype=x.dtype, **k), lambda _: 1)
reduce_max = _reduce("reduce_max", dtypes.ALL, _largest, lambda d: limits(d)[0])
reduce_min = _reduce("reduce_min", dtypes.ALL, _smallest, lambda d: limits(d)[1])


@dataclass(frozen=True, slots=True)
class ArgAttrs(Attrs):
    axis: int


def _arg(name: str, numpy: Callable[..., np.ndarray]) -> Op:
    def infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
        assert isinstance(attrs, ArgAttrs)
        (x,) = types
        if not 0 <= attrs.axis < x.rank:
            raise ShapeError(f"{name}: axis {attrs.axis} is outside {x}")
        if x.shape[attrs.axis] == 0:
            raise ShapeError(f"{name}: axis {attrs.axis} of {x} is empty")
        if x.dtype.is_bool:
            raise DTypeError(f"{name}: bool is not accepted, cast to an integer")
        if x.dtype.is_complex:
            raise DTypeError(f"{name}: {x.dtype} is not accepted, complex numbers have no order")
        shape = tuple(e for d, e in enumerate(x.shape) if d != attrs.axis)
        return (TensorType(shape, dtypes.int64),)

    def meaning(attrs: ArgAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
        return (np.asarray(numpy(dtypes.widened(x), axis=attrs.axis)).astype(np.int64),)

    return register(name, "reduction", infer, meaning, ArgAttrs)


# The first extreme element in index order; the first NaN if there is one.
argmax = _arg("argmax", np.argmax)
argmin = _arg("argmin", np.argmin)
