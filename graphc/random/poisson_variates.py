"""The Poisson distribution: below 10 by its distribution function, from 10 on by rejection (W. Hoermann, "The
transformed rejection method for generating Poisson random variables", Insurance: Mathematics and Economics 12, 1993).

There are 16 proposals for every draw, of which one in five or fewer is rejected, and the first accepted one is taken;
once in 1e11 draws, or more seldom, none is, and the draw is the mean without its fraction. All of it is exact
arithmetic in float64 with a logarithm of our own, so that draws are the same everywhere.
"""

import math

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import indices_along
from graphc.random.antilogarithm import exp_below_one
from graphc.random.floats import open_unit, unit
from graphc.random.keys import Shape, checked, split
from graphc.random.logarithm import log
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, broadcast_shape, broadcast_to, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, with_line
from graphc.tracing.tracer import DTypeLike

_SPLIT = 10.0
_LAST = 46  # a draw with a mean below 10 is larger once in 1e15 times
_PROPOSALS = 16
_LARGEST = 2.0**62  # of a mean; above it a draw has no whole number of 64 bits
_SHIFT = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def poisson(key: ArrayLike, mean: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = "int32") -> Array:
    """Poisson with this mean, not below 0: whole numbers, the largest of `dtype` where they are too large for it.

    `shape` is that of the mean, or one it broadcasts to. Where a traced mean is below 0 or NaN, the draw is 0.

    >>> import graphc as gc
    >>> x = gc.random.poisson(gc.random.key(0), 3.0, (1000,))
    >>> bool(abs(x.mean() - 3) < 0.2)
    True
    """
    wanted = dtypes.dtype(dtype)
    if not wanted.is_integer:
        raise DTypeError(with_line(f"random.poisson: draws whole numbers, not {wanted}"))
    wide = to_dtype(as_array(mean), dtypes.float64)
    extents = wide.shape if shape is None else movement.as_extents("poisson", shape)
    if broadcast_shape("poisson", (wide.shape, extents)) != extents:
        raise ArgumentError(with_line(f"poisson: a mean of shape {list(wide.shape)} for draws of {list(extents)}"))
    if not isinstance(wide, TracedValue) and not ((wide >= 0) & (wide <= _LARGEST)).all():
        raise ArgumentError(with_line("random.poisson: the mean must not be below 0, nor above 2**62"))
    keys = split(checked("poisson", key), 3)
    streams = [indexing.getitem(keys, i) for i in range(3)]
    is_small = bind1(ops.lt, wide, _SPLIT)
    known = not isinstance(is_small, TracedValue)
    small = _small(streams[0], bind1(ops.min_, bind1(ops.max_, wide, 0.0), _SPLIT), extents)
    if known and is_small.all():
        return to_dtype(small, wanted)
    large = _large(streams[1], streams[2], bind1(ops.min_, bind1(ops.max_, wide, _SPLIT), _LARGEST), extents)
    if known and not is_small.any():
        return to_dtype(large, wanted)
    drawn = bind1(ops.select, bind1(ops.ge, wide, _SPLIT), large, small)
    return to_dtype(bind1(ops.select, bind1(ops.gt, wide, 0.0), drawn, 0.0), wanted)


def _small(key: Array, mean: Array, shape: tuple[int, ...]) -> Array:
    """How many values of the distribution function are not above a uniform number."""
    fraction = unit(key, shape, dtypes.float64)
    probability = exp_below_one(bind1(ops.neg, mean), dtypes.float64)
    below, count = probability, broadcast_to(as_array(0.0, dtypes.float64), shape)
    for k in range(_LAST):
        count = bind1(ops.add, count, to_dtype(bind1(ops.ge, fraction, below), dtypes.float64))
        probability = bind1(ops.div, bind1(ops.mul, probability, mean), float(k + 1))
        below = bind1(ops.add, below, probability)
    return count


def _log_factorial(k: Array) -> Array:
    """log k!, by Stirling's series for k + 9 and the product of the numbers between."""
    far = bind1(ops.add, k, float(_SHIFT + 1))
    product = bind1(ops.add, k, 1.0)
    for step in range(2, _SHIFT + 1):
        product = bind1(ops.mul, product, bind1(ops.add, k, float(step)))
    inverse = bind1(ops.div, 1.0, far)
    square = bind1(ops.mul, inverse, inverse)
    series: ArrayLike = _STIRLING[-1]
    for coefficient in reversed(_STIRLING[:-1]):
        series = bind1(ops.add, bind1(ops.mul, series, square), coefficient)
    main = bind1(ops.mul, bind1(ops.sub, far, 0.5), log(far, dtypes.float64))
    rest = bind1(ops.add, bind1(ops.sub, 0.5 * math.log(2 * math.pi), far), bind1(ops.mul, series, inverse))
    return bind1(ops.sub, bind1(ops.add, main, rest), log(product, dtypes.float64))


def _large(first: Array, second: Array, mean: Array, shape: tuple[int, ...]) -> Array:
    """The method called PTRS."""
    proposals, kind = (_PROPOSALS, *shape), dtypes.float64
    b = bind1(ops.add, bind1(ops.mul, bind1(ops.sqrt, mean), 2.53), 0.931)
    a = bind1(ops.sub, bind1(ops.mul, b, 0.02483), 0.059)
    scale = bind1(ops.add, bind1(ops.div, 1.1328, bind1(ops.sub, b, 3.4)), 1.1239)
    quick = bind1(ops.sub, 0.9277, bind1(ops.div, 3.6224, bind1(ops.sub, b, 2.0)))
    u = bind1(ops.sub, open_unit(first, proposals, kind), 0.5)
    v = open_unit(second, proposals, kind)
    edge = bind1(ops.max_, bind1(ops.sub, 0.5, bind1(ops.abs_, u)), 2.0**-60)
    spread = bind1(ops.add, bind1(ops.div, bind1(ops.add, a, a), edge), b)
    k = bind1(ops.floor, bind1(ops.add, bind1(ops.add, bind1(ops.mul, spread, u), mean), 0.43))
    inside = bind1(ops.ge, k, 0.0)
    k = bind1(ops.max_, k, 0.0)
    at_once = bind1(ops.and_, bind1(ops.ge, edge, 0.07), bind1(ops.le, v, quick))
    never = bind1(ops.and_, bind1(ops.lt, edge, 0.013), bind1(ops.gt, v, edge))
    divisor = bind1(ops.add, bind1(ops.div, a, bind1(ops.mul, edge, edge)), b)
    height = log(bind1(ops.div, bind1(ops.mul, v, scale), divisor), kind)
    limit = bind1(ops.sub, bind1(ops.sub, bind1(ops.mul, k, log(mean, kind)), mean), _log_factorial(k))
    below = bind1(ops.and_, bind1(ops.le, height, limit), bind1(ops.not_, never))
    accepted = bind1(ops.and_, inside, bind1(ops.or_, at_once, below))
    earliest = movement.expand_dims(reduction.argmax(accepted, 0), 0)
    taken = bind1(ops.and_, accepted, bind1(ops.eq, indices_along(proposals, 0, dtypes.int64), earliest))
    found = reduction.sum(bind1(ops.select, taken, k, 0.0), 0, None, False)  # of one term and zeros
    any_taken = reduction.any(taken, 0, False)
    return bind1(ops.select, any_taken, found, bind1(ops.floor, mean))
