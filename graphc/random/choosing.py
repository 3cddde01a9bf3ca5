"""`choice`: elements drawn with or without replacement, each as likely as the others or with given weights.

Weights are made whole numbers before they are added up, so that what is drawn does not depend on the order of sums.
"""

import math

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.cumulative import cumulative_sum
from graphc.numpy.sorting import argsort, searchsorted
from graphc.random.continuous import gumbel
from graphc.random.discrete import randint
from graphc.random.floats import unit
from graphc.random.keys import Shape, checked
from graphc.random.logarithm import log
from graphc.random.permutations import shuffle
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, with_line
from graphc.tracing.spec import is_int


def choice(
    key: ArrayLike,
    x: ArrayLike,
    shape: Shape = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
) -> Array:
    """Numbers below a Python int (int64), or slices of an array along an axis, drawn at random.

    replace: whether one may be drawn more than once. p: how likely each is, a vector of floats that are not negative
    and add up to 1; one below 2**-40 of the largest may count as 0. Without replacement they are drawn one after the
    other among those that are left, as likely as they are then.

    Raises `ArgumentError` for more draws than there are things to draw, and for a p, known while tracing, that is
    negative, not finite, 0 for too many, or does not add up to 1. A traced p is not checked: it is taken for weights,
    which are divided by their sum; what is drawn with negative ones, NaN, or only zeros has no meaning.

    >>> import graphc as gc
    >>> sorted(gc.random.choice(gc.random.key(0), 3, (3,), replace=False).tolist())
    [0, 1, 2]
    """
    extents = movement.as_extents("choice", shape)
    array = None if is_int(x) else as_array(x)
    position = 0 if array is None else movement.normal_axis("choice", axis, len(array.shape))
    n = int(x) if array is None else array.shape[position]  # type: ignore[arg-type]
    _check_count(n, math.prod(extents), replace)
    if p is None:
        found = randint(key, extents, 0, n, "int64") if replace else _first_shuffled(key, n, extents)
    else:
        weights = _weights(p, n, math.prod(extents), replace)
        found = _by_weight(key, weights, extents) if replace else _in_turn(key, weights, extents)
    return found if array is None else indexing.take(array, found, position, mode="clip")


def _check_count(n: int, count: int, replace: bool) -> None:
    if count > n and not (replace and n > 0):
        raise ArgumentError(with_line(f"choice: {count} draws out of {n}{'' if replace else ' without replacement'}"))


def _weights(p: ArrayLike, n: int, count: int, replace: bool) -> Array:
    """In [0, 1] in float64, the largest 1."""
    given = as_array(p)
    if not dtype_of(given).is_float:
        raise DTypeError(with_line(f"choice: p holds floats, not {dtype_of(given)}"))
    if given.shape != (n,):
        raise ShapeError(with_line(f"choice: p of shape {list(given.shape)} for {n} elements"))
    if not isinstance(given, TracedValue):
        eps = float(dtypes.finfo(dtype_of(given)).eps)
        _check_known(given.astype(np.float64), math.sqrt(eps), count, replace)
    wide = to_dtype(given, dtypes.float64)
    return bind1(ops.div, wide, reduction.max(wide, None, False))


def _check_known(p: np.ndarray, tolerance: float, count: int, replace: bool) -> None:
    if not np.isfinite(p).all() or (p < 0).any():
        raise ArgumentError(with_line("choice: p has elements that are negative or not finite"))
    needed = min(count, 1) if replace else count
    if (p > 0).sum() < needed:
        raise ArgumentError(with_line(f"choice: {(p > 0).sum()} elements of p are above 0, {needed} are needed"))
    if abs(float(p.sum()) - 1) > tolerance:
        raise ArgumentError(with_line(f"choice: p adds up to {p.sum():.6g}, not to 1; divide it by its sum"))


def _first_shuffled(key: ArrayLike, n: int, shape: tuple[int, ...]) -> Array:
    count = math.prod(shape)
    if not count:
        return to_dtype(randint(key, shape, 0, 1), dtypes.int64)
    positions = movement.reshape(np.arange(count, dtype=np.uint32), shape)
    return to_dtype(shuffle(key, positions, n), dtypes.int64)


def _by_weight(key: ArrayLike, weights: Array, shape: tuple[int, ...]) -> Array:
    """Where a number below the sum of the weights falls."""
    bits = min(52, 62 - weights.shape[0].bit_length())  # the sum stays below 2**62
    whole = to_dtype(bind1(ops.mul, weights, 2.0**bits), dtypes.int64)
    ends = cumulative_sum(whole, 0)
    total = reduction.sum(whole, None, None, False)
    fraction = unit(checked("choice", key), shape, dtypes.float64)
    place = to_dtype(bind1(ops.mul, fraction, to_dtype(total, dtypes.float64)), dtypes.int64)
    place = bind1(ops.min_, place, bind1(ops.sub, total, 1))  # rounding may reach the sum
    return searchsorted(ends, place, side="right")


def _in_turn(key: ArrayLike, weights: Array, shape: tuple[int, ...]) -> Array:
    """The largest of log(weight) + Gumbel noise is a draw, the next largest one among the rest, and so on (Vieira)."""
    smallest = float(np.finfo(np.float64).tiny)
    logs = log(bind1(ops.max_, weights, smallest), dtypes.float64)
    scores = bind1(ops.add, logs, gumbel(key, weights.shape, dtypes.float64))
    scores = bind1(ops.select, bind1(ops.lt, weights, smallest), -math.inf, scores)
    order = argsort(scores, 0, descending=True)
    return movement.reshape(movement.slice_axis(order, 0, 0, math.prod(shape)), shape)
