"""Sums, products, extremes and norms over axes; arg-extremes; softmax and its kin; cumulative sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array
from graphc.nn import functional as F
from graphc_onnx.ops.common import Ints, cast, dtype_of, in_float32, integers, is_float, normal, size
from graphc_onnx.table import Row

Reduction = Callable[[Array, Ints, bool], Array]


def _reduction(reduce: Reduction) -> Callable[..., Array]:
    """With the axes as an operand (newer opsets) or an attribute; without axes all are meant, or none."""

    def function(
        x: Array,
        axes_operand: Array | None = None,
        *,
        axes: Ints | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Array:
        given = integers(axes_operand if axes is None else axes) if axes or axes_operand is not None else []
        rank = len(x.shape)
        if not given and noop_with_empty_axes:
            return reduce(x, (), bool(keepdims))
        wanted = tuple(normal(axis, rank) for axis in given) or tuple(range(rank))
        return reduce(x, wanted, bool(keepdims))

    return function


def _sum(x: Array, axes: Ints, keepdims: bool) -> Array:
    if not axes:
        return x
    return cast(gnp.sum(x, axis=axes, keepdims=keepdims), dtype_of(x))


def _mean(x: Array, axes: Ints, keepdims: bool) -> Array:
    if is_float(x):
        return gnp.mean(x, axis=axes, keepdims=keepdims)
    count = size([x.shape[axis] for axis in axes])
    return gnp.floor_divide(_sum(x, axes, keepdims), count)


def _prod(x: Array, axes: Ints, keepdims: bool) -> Array:
    return cast(gnp.prod(x, axis=axes, keepdims=keepdims), dtype_of(x)) if axes else x


def _extreme(reduce: Callable[..., Array], of_bools: Callable[..., Array], largest: bool) -> Reduction:
    def function(x: Array, axes: Ints, keepdims: bool) -> Array:
        if not axes:
            return x
        if dtype_of(x) == np.bool_:
            return of_bools(x, axis=axes, keepdims=keepdims)
        if size([x.shape[axis] for axis in axes]) == 0:
            kept = [(1 if keepdims else 0) if d in axes else e for d, e in enumerate(x.shape)]
            shape = kept if keepdims else [e for d, e in enumerate(x.shape) if d not in axes]
            return gnp.full(tuple(shape), _worst(x, largest), dtype_of(x))
        return reduce(x, axis=axes, keepdims=keepdims)

    return function


def _worst(x: Array, largest: bool) -> float | int:
    """What every other element beats."""
    if is_float(x):
        return -math.inf if largest else math.inf
    limits = gnp.iinfo(dtype_of(x))
    return int(limits.min if largest else limits.max)


def _l1(x: Array, axes: Ints, keepdims: bool) -> Array:
    return _sum(gnp.abs(x), axes, keepdims)


def _sum_square(x: Array, axes: Ints, keepdims: bool) -> Array:
    return _sum(gnp.multiply(x, x), axes, keepdims)


def _l2(x: Array, axes: Ints, keepdims: bool) -> Array:
    total = _sum_square(x if is_float(x) else cast(x, np.float64), axes, keepdims)
    return cast(gnp.sqrt(total), dtype_of(x))


def _log_sum(x: Array, axes: Ints, keepdims: bool) -> Array:
    return gnp.log(_sum(x, axes, keepdims))


def _log_sum_exp(x: Array, axes: Ints, keepdims: bool) -> Array:
    if not axes:
        return x
    if size([x.shape[axis] for axis in axes]) == 0:
        return _log_sum(gnp.exp(x), axes, keepdims)
    return gnp.logsumexp(x, axis=axes, keepdims=keepdims)


def _arg(choose: Callable[..., Array]) -> Callable[..., Array]:
    def function(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        place = normal(axis, len(x.shape))
        if not select_last_index:
            return cast(choose(x, axis=place, keepdims=bool(keepdims)), np.int64)
        found = choose(gnp.flip(x, axis=place), axis=place, keepdims=bool(keepdims))
        return gnp.subtract(x.shape[place] - 1, cast(found, np.int64))

    return function


REDUCTIONS: list[tuple[str, Reduction]] = [
    ("ReduceSum", _sum),
    ("ReduceMean", _mean),
    ("ReduceProd", _prod),
    ("ReduceMax", _extreme(gnp.max, gnp.any, largest=True)),
    ("ReduceMin", _extreme(gnp.min, gnp.all, largest=False)),
    ("ReduceL1", _l1),
    ("ReduceL2", _l2),
    ("ReduceSumSquare", _sum_square),
    ("ReduceLogSum", _log_sum),
    ("ReduceLogSumExp", _log_sum_exp),
]

# ------------------------------------------------------------------------------------------------------------ softmax


def _flattened(function: Callable[[Array, int], Array]) -> Callable[..., Array]:
    """Before opset 13: over all dims from `axis` on."""

    def old(x: Array, *, axis: int = 1) -> Array:
        place = normal(axis, len(x.shape))
        flat = gnp.reshape(x, (size(x.shape[:place]), size(x.shape[place:])))
        return gnp.reshape(function(flat, 1), x.shape)

    return old


def _along(function: Callable[[Array, int], Array]) -> Callable[..., Array]:
    def new(x: Array, *, axis: int = -1) -> Array:
        return function(x, normal(axis, len(x.shape)))

    return new


def _hardmax(x: Array, axis: int) -> Array:
    winner = gnp.argmax(x, axis=axis, keepdims=True)
    return cast(gnp.equal(gnp.indices_along(x.shape, axis), winner), dtype_of(x))


SOFTMAX = [
    row
    for name, function in (
        ("Softmax", in_float32(F.softmax)),
        ("LogSoftmax", in_float32(F.log_softmax)),
        ("Hardmax", _hardmax),
    )
    for row in (Row(name, 1, _flattened(function), until=12), Row(name, 13, _along(function)))
]

# --------------------------------------------------------------------------------------------------------- cumulative


def _cumulative(running: Callable[..., Array], neutral: int) -> Callable[..., Array]:
    def function(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
        place = normal(integers(axis)[0], len(x.shape))
        ordered = gnp.flip(x, axis=place) if reverse else x
        if exclusive:
            first = gnp.full_like(_front(ordered, place, 1), neutral)
            ordered = gnp.concatenate([first, _front(ordered, place, x.shape[place] - 1)], axis=place)
        total = cast(running(ordered, axis=place), dtype_of(x))
        return gnp.flip(total, axis=place) if reverse else total

    return function


def _front(x: Array, axis: int, count: int) -> Array:
    return x[(slice(None),) * axis + (slice(0, count),)]


ROWS = [
    *(Row(name, 1, _reduction(reduce), known=(1,)) for name, reduce in REDUCTIONS),
    Row("ArgMax", 1, _arg(gnp.argmax)),
    Row("ArgMin", 1, _arg(gnp.argmin)),
    *SOFTMAX,
    Row("CumSum", 11, _cumulative(gnp.cumulative_sum, 0), known=(1,)),
    Row("CumProd", 26, _cumulative(gnp.cumulative_prod, 1), known=(1,)),
]
