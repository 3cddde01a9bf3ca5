"""Reductions over axes. `axis` is None (all), an int or a tuple; `keepdims` leaves reduced axes with extent 1."""

from graphc.core import dtypes
from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import elementwise, movement, reduction
from graphc.tracing.array.reduction import Axis
from graphc.tracing.bind import as_array, bind1, dtype_of, is_scalar, same_kind
from graphc.tracing.context import Array, ArrayLike
from graphc.tracing.spec import static_size
from graphc.tracing.tracer import DTypeLike


def _dtype(dtype: DTypeLike | None) -> dtypes.DType | None:
    return None if dtype is None else dtypes.dtype(dtype)


def sum(x: ArrayLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> Array:
    """The sum; bool and small integers are added as 64-bit integers.

    >>> import graphc.numpy as gnp
    >>> gnp.sum([[1.0, 2.0], [3.0, 4.0]], axis=0).tolist()
    [4.0, 6.0]
    """
    return reduction.sum(x, axis, _dtype(dtype), keepdims)


def prod(x: ArrayLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> Array:
    """The product; bool and small integers are multiplied as 64-bit integers.

    >>> import graphc.numpy as gnp
    >>> float(gnp.prod([2.0, 3.0]))
    6.0
    """
    return reduction.prod(x, axis, _dtype(dtype), keepdims)


def mean(x: ArrayLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> Array:
    """The sum divided by the count; integers give float32.

    >>> import graphc.numpy as gnp
    >>> gnp.mean([[1.0, 2.0], [3.0, 4.0]], axis=1, keepdims=True).tolist()
    [[1.5], [3.5]]
    """
    return reduction.mean(x, axis, _dtype(dtype), keepdims)


def var(
    x: ArrayLike, axis: Axis = None, ddof: float = 0, keepdims: bool = False, correction: float | None = None
) -> Array:
    """The variance, in two passes; the divisor is the count less `correction` (NumPy's `ddof`).

    >>> import graphc.numpy as gnp
    >>> float(gnp.var([1.0, 3.0])), float(gnp.var([1.0, 3.0], correction=1))
    (1.0, 2.0)
    """
    return reduction.var(x, axis, ddof if correction is None else correction, keepdims)


def std(
    x: ArrayLike, axis: Axis = None, ddof: float = 0, keepdims: bool = False, correction: float | None = None
) -> Array:
    """The square root of `var`.

    >>> import graphc.numpy as gnp
    >>> float(gnp.std([1.0, 3.0]))
    1.0
    """
    return reduction.std(x, axis, ddof if correction is None else correction, keepdims)


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest element, NaN if there is one. Raises `ShapeError` for an empty axis.

    >>> import graphc.numpy as gnp
    >>> gnp.max([[1, 5], [3, 4]], axis=1).tolist()
    [5, 4]
    """
    return reduction.max(x, axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest element, NaN if there is one. Raises `ShapeError` for an empty axis.

    >>> import graphc.numpy as gnp
    >>> gnp.min([[1, 5], [3, 4]], axis=1).tolist()
    [1, 3]
    """
    return reduction.min(x, axis, keepdims)


def ptp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest less the smallest element.

    >>> import graphc.numpy as gnp
    >>> int(gnp.ptp([1, 5, 3]))
    4
    """
    return bind1(ops.sub, reduction.max(x, axis, keepdims), reduction.min(x, axis, keepdims))


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index (int64) of the first largest element along an axis, of the flattened array without one.

    >>> import graphc.numpy as gnp
    >>> gnp.argmax([[1, 5], [7, 4]], axis=1).tolist()
    [1, 0]
    """
    return reduction.argmax(x, axis, keepdims)


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """Index (int64) of the first smallest element along an axis, of the flattened array without one.

    >>> import graphc.numpy as gnp
    >>> int(gnp.argmin([3, 1, 2]))
    1
    """
    return reduction.argmin(x, axis, keepdims)


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether some element is not 0; bool.

    >>> import graphc.numpy as gnp
    >>> bool(gnp.any([False, True]))
    True
    """
    return reduction.any(x, axis, keepdims)


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether no element is 0; bool.

    >>> import graphc.numpy as gnp
    >>> bool(gnp.all([False, True]))
    False
    """
    return reduction.all(x, axis, keepdims)


def count_nonzero(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """How many elements are not 0; int64.

    >>> import graphc.numpy as gnp
    >>> int(gnp.count_nonzero([0, 3, 4]))
    2
    """
    return reduction.sum(elementwise.logical(x), axis, None, keepdims)


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """`log(sum(exp(x)))` without overflow: the largest element is taken out first. Floats.

    >>> import graphc.numpy as gnp
    >>> round(float(gnp.logsumexp([1000.0, 1000.0])), 3)
    1000.693
    """
    array = as_array(x)
    axes = movement.normal_axes("logsumexp", axis, len(array.shape))
    largest = bind1(ops.stop_gradient, reduction.max(array, axes, True))
    shift = bind1(ops.select, bind1(ops.is_finite, largest), largest, 0.0)
    total = reduction.sum(bind1(ops.exp, bind1(ops.sub, array, shift)), axes, None, True)
    result = bind1(ops.add, bind1(ops.log, total), shift)
    return result if keepdims else movement.squeeze(result, axes)


def average(x: ArrayLike, axis: Axis = None, weights: ArrayLike | None = None, keepdims: bool = False) -> Array:
    """The mean, weighted by an array that broadcasts to x.

    >>> import graphc.numpy as gnp
    >>> float(gnp.average([1.0, 3.0], weights=[3.0, 1.0]))
    1.5
    """
    if weights is None:
        return reduction.mean(x, axis, None, keepdims)
    array = as_array(x)
    spread = movement.broadcast_to(as_array(weights), array.shape)
    weighted = reduction.sum(bind1(ops.mul, array, spread), axis, None, keepdims)
    return bind1(ops.div, weighted, reduction.sum(spread, axis, None, keepdims))


def diff(
    x: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike | None = None, append: ArrayLike | None = None
) -> Array:
    """Differences of neighbours along an axis, `n` times; of `prepend`, x and `append` in a row. Of bool: `!=`.

    >>> import graphc.numpy as gnp
    >>> gnp.diff([1.0, 4.0, 9.0]).tolist()
    [3.0, 5.0]
    """
    array = as_array(x)
    n = static_size("diff", "n", n, 0)
    position = movement.normal_axis("diff", axis, len(array.shape))
    parts = [_beside(array, prepend, position), [array], _beside(array, append, position)]
    array = movement.concatenate([part for listed in parts for part in listed], position)
    minus = ops.ne if dtype_of(array).is_bool else ops.sub
    for _ in range(n):
        extent = array.shape[position]
        later = movement.slice_axis(array, position, 1 if extent else 0, extent)
        earlier = movement.slice_axis(array, position, 0, extent - 1 if extent else 0)
        array = bind1(minus, later, earlier)
    return array


def _beside(x: Array, more: ArrayLike | None, axis: int) -> list[Array]:
    """What stands before or after x along an axis; a number stands in each row."""
    if more is None:
        return []
    given = same_kind("diff", more, dtype_of(x)) if is_scalar(more) else as_array(more)
    if given.shape:
        return [given]
    return [movement.broadcast_to(given, tuple(1 if d == axis else extent for d, extent in enumerate(x.shape)))]
