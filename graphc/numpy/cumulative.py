"""Sums, products and extremes of the elements up to each one along an axis. `reverse`: from each one on. `exclusive`:
without the element itself.
"""

from graphc.core import dtypes
from graphc.core.errors import ShapeError
from graphc.graph.ir import Op
from graphc.graph.ops import cumulative as ops
from graphc.graph.ops import elementwise
from graphc.graph.ops.cumulative import CumulativeAttrs
from graphc.graph.ops.reduction import limits
from graphc.numpy.binary import where
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, Scalar, with_line
from graphc.tracing.spec import DEFAULT_FLOAT
from graphc.tracing.tracer import DTypeLike


def _flat(x: ArrayLike, axis: int | None) -> Array:
    return movement.reshape(x, -1) if axis is None else as_array(x)


def _axis(name: str, x: Array, axis: int | None) -> int:
    if axis is None:
        if len(x.shape) != 1:
            raise ShapeError(with_line(f"{name}: an array of rank {len(x.shape)} needs an axis"))
        axis = 0
    return movement.normal_axis(name, axis, len(x.shape))


def _accumulated(x: ArrayLike, dtype: DTypeLike | None) -> Array:
    """As the dtype asked for; without one bool and small integers as 64-bit integers."""
    array = as_array(x)
    if dtype is not None:
        return to_dtype(array, dtypes.dtype(dtype))
    kind = dtype_of(array)
    if kind.is_inexact:
        return array
    return to_dtype(array, dtypes.uint64 if kind.kind == "uint" else dtypes.int64)


def shifted(x: Array, axis: int, reverse: bool, start: Scalar) -> Array:
    """What x is one place before in the direction of the axis; `start` at the first place."""
    extent = x.shape[axis]
    if extent == 0:
        return x
    low, high = [0] * len(x.shape), [0] * len(x.shape)
    (high if reverse else low)[axis] = 1
    padded = movement.pad_constant(x, low, high, start)
    return movement.slice_axis(padded, axis, 1, extent + 1) if reverse else movement.slice_axis(padded, axis, 0, extent)


def _run(name: str, op: Op, x: Array, axis: int | None, reverse: bool, exclusive: bool, start: Scalar) -> Array:
    position = _axis(name, x, axis)
    found = bind1(op, x, attrs=CumulativeAttrs(position, reverse))
    return shifted(found, position, reverse, start) if exclusive else found


def cumulative_sum(
    x: ArrayLike,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
    *,
    reverse: bool = False,
    exclusive: bool = False,
) -> Array:
    """Sums of the elements up to and including each one, along an axis; include_initial: begins with 0.

    >>> import graphc.numpy as gnp
    >>> gnp.cumulative_sum([1.0, 2.0, 3.0]).tolist()
    [1.0, 3.0, 6.0]
    >>> gnp.cumulative_sum([1.0, 2.0, 3.0], include_initial=True).tolist()
    [0.0, 1.0, 3.0, 6.0]
    """
    found = _run("cumulative_sum", ops.cumsum, _accumulated(x, dtype), axis, reverse, exclusive, 0)
    return _with_initial(found, axis, 0) if include_initial else found


def cumulative_prod(
    x: ArrayLike,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
    *,
    reverse: bool = False,
    exclusive: bool = False,
) -> Array:
    """Products of the elements up to and including each one, along an axis; include_initial: begins with 1.

    >>> import graphc.numpy as gnp
    >>> gnp.cumulative_prod([1.0, 2.0, 3.0]).tolist()
    [1.0, 2.0, 6.0]
    """
    found = _run("cumulative_prod", ops.cumprod, _accumulated(x, dtype), axis, reverse, exclusive, 1)
    return _with_initial(found, axis, 1) if include_initial else found


def _with_initial(x: Array, axis: int | None, start: Scalar) -> Array:
    low = [0] * len(x.shape)
    low[_axis("cumulative", x, axis)] = 1
    return movement.pad_constant(x, low, [0] * len(low), start)


def cumsum(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Array:
    """`cumulative_sum`, of the flattened array without an axis.

    >>> import graphc.numpy as gnp
    >>> gnp.cumsum([[1, 2], [3, 4]]).tolist()
    [1, 3, 6, 10]
    """
    return cumulative_sum(_flat(x, axis), axis, dtype)


def cumprod(x: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None) -> Array:
    """`cumulative_prod`, of the flattened array without an axis.

    >>> import graphc.numpy as gnp
    >>> gnp.cumprod([[1, 2], [3, 4]]).tolist()
    [1, 2, 6, 24]
    """
    return cumulative_prod(_flat(x, axis), axis, dtype)


def cummax(x: ArrayLike, axis: int | None = None, *, reverse: bool = False, exclusive: bool = False) -> Array:
    """The largest of the elements up to and including each one; NaN from the first NaN on.

    >>> import graphc.numpy as gnp
    >>> gnp.cummax([1, 3, 2]).tolist()
    [1, 3, 3]
    """
    array = as_array(x)
    return _run("cummax", ops.cummax, array, axis, reverse, exclusive, limits(dtype_of(array))[0])


def cummin(x: ArrayLike, axis: int | None = None, *, reverse: bool = False, exclusive: bool = False) -> Array:
    """The smallest of the elements up to and including each one; NaN from the first NaN on.

    >>> import graphc.numpy as gnp
    >>> gnp.cummin([2, 3, 1]).tolist()
    [2, 2, 1]
    """
    array = as_array(x)
    return _run("cummin", ops.cummin, array, axis, reverse, exclusive, limits(dtype_of(array))[1])


def linear_recurrence(factors: ArrayLike, terms: ArrayLike, axis: int = -1, *, reverse: bool = False) -> Array:
    """`h[i] = factors[i] * h[i - 1] + terms[i]` along an axis; `h` begins with the first term.

    >>> import graphc.numpy as gnp
    >>> gnp.linear_recurrence([0.5, 0.5, 0.5], [8.0, 0.0, 1.0]).tolist()
    [8.0, 4.0, 3.0]
    """
    a, b = promoted("linear_recurrence", (factors, terms))
    return bind1(ops.linear_recurrence, a, b, attrs=CumulativeAttrs(_axis("linear_recurrence", b, axis), reverse))


def cumlogsumexp(x: ArrayLike, axis: int | None = None, *, reverse: bool = False) -> Array:
    """`log(cumulative_sum(exp(x)))`, without overflow: sums are relative to the largest element so far.

    >>> import graphc.numpy as gnp
    >>> gnp.cumlogsumexp([1000.0, 1000.0]).round(3).tolist()
    [1000.0, 1000.6929931640625]
    """
    array = as_array(x)
    array = array if dtype_of(array).is_float else to_dtype(array, DEFAULT_FLOAT)
    position = _axis("cumlogsumexp", array, axis)
    largest = bind1(elementwise.stop_gradient, cummax(array, position, reverse=reverse))
    before = shifted(largest, position, reverse, -float("inf"))
    base = where(bind1(elementwise.is_finite, largest), largest, 0.0)
    terms = bind1(elementwise.exp, bind1(elementwise.sub, array, base))
    factors = bind1(elementwise.exp, bind1(elementwise.sub, before, base))
    sums = linear_recurrence(factors, terms, position, reverse=reverse)
    return bind1(elementwise.add, base, bind1(elementwise.log, sums))
