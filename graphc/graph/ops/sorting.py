"""Sorting along an axis: sort gives the elements, argsort the places they come from, in ascending order or descending;
arg_top_k gives the first k of these places.

NaN is the largest element. All are stable: equal elements stay in order. Places take -0 and +0 for equal; sort,
whose other equal elements cannot be told apart, puts -0 before +0.
"""

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class SortAttrs(Attrs):
    axis: int
    descending: bool = False


@dataclass(frozen=True, slots=True)
class TopAttrs(Attrs):
    """The first `k` in descending order (largest) or ascending order."""

    axis: int
    k: int
    largest: bool = True


def _check(name: str, x: TensorType, attrs: Attrs) -> None:
    assert isinstance(attrs, SortAttrs | TopAttrs)
    if not 0 <= attrs.axis < x.rank:
        raise ShapeError(f"{name}: axis {attrs.axis} is outside {x}")
    if x.dtype.is_complex:
        raise DTypeError(f"{name}: {x.dtype} is not accepted, complex numbers have no order")


def _infer_sort(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    _check("sort", types[0], attrs)
    return (types[0],)


def _infer_argsort(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    _check("argsort", types[0], attrs)
    return (types[0].with_dtype(dtypes.int64),)


def _infer_top(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    (x,) = types
    _check("arg_top_k", x, attrs)
    assert isinstance(attrs, TopAttrs)
    if not 0 <= attrs.k <= x.shape[attrs.axis]:
        raise ShapeError(f"arg_top_k: k is {attrs.k}, axis {attrs.axis} of {x} has {x.shape[attrs.axis]} elements")
    shape = (*x.shape[: attrs.axis], attrs.k, *x.shape[attrs.axis + 1 :])
    return (x.with_shape(shape).with_dtype(dtypes.int64),)


def _order(attrs: SortAttrs, x: np.ndarray, zeros_differ: bool) -> np.ndarray:
    plain = dtypes.widened(x)
    if attrs.descending:  # stable: the last of equal elements is sorted first, and then turned around
        plain = np.flip(plain, attrs.axis)
    keys = [np.signbit(plain) ^ True, plain] if zeros_differ and plain.dtype.kind == "f" else [plain]
    order = np.lexsort([np.moveaxis(key, attrs.axis, -1) for key in keys], axis=-1)
    order = np.moveaxis(order, -1, attrs.axis)
    if not attrs.descending:
        return np.asarray(order)
    return np.asarray(np.flip(x.shape[attrs.axis] - 1 - order, attrs.axis))


def _sort(attrs: SortAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    if x.size == 0:
        return (x,)
    return (np.take_along_axis(x, _order(attrs, x, zeros_differ=True), attrs.axis),)


def _argsort(attrs: SortAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    if x.size == 0:
        return (np.zeros(x.shape, np.int64),)
    return (_order(attrs, x, zeros_differ=False).astype(np.int64),)


def _arg_top_k(attrs: TopAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    (order,) = _argsort(SortAttrs(attrs.axis, attrs.largest), x)
    return (np.take(order, np.arange(attrs.k), attrs.axis),)


sort = register("sort", "index", _infer_sort, _sort, SortAttrs)
argsort = register("argsort", "index", _infer_argsort, _argsort, SortAttrs)
arg_top_k = register("arg_top_k", "index", _infer_top, _arg_top_k, TopAttrs)

SORTS = (sort, argsort)
SORTING = (*SORTS, arg_top_k)
SORTING_NAMES = frozenset(op.name for op in SORTING)
