"""The gamma distribution (Marsaglia and Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000), and
beta and Dirichlet, which are made of it.

Their method proposes a cubed normal and accepts it 95 times in 100 or more often. Here there are eight proposals for
every draw and the first accepted one is taken, so there is no loop whose length depends on data, and a draw depends on
its place and the key alone. Once in 3e10 draws, or more seldom, none is accepted; then it is alpha - 1/3.

Parameters may be traced. Draws are differentiated with respect to them as quantiles are (`gamma_slope`).
"""

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import indices_along
from graphc.random.antilogarithm import exp_below_one
from graphc.random.continuous import normal
from graphc.random.floats import float_dtype, open_unit, working
from graphc.random.gamma_slope import log_slope
from graphc.random.keys import Shape, checked, split
from graphc.random.logarithm import log
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, broadcast_shape, broadcast_to, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, with_line
from graphc.tracing.derivative import with_derivative
from graphc.tracing.tracer import DTypeLike

_PROPOSALS = 8


def gamma(key: ArrayLike, alpha: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = "float32") -> Array:
    """Gamma with shape parameter `alpha`, above 0, and scale 1. `shape` is that of alpha, or one it broadcasts to.

    It can be differentiated with respect to alpha. Where a traced alpha is not above 0 and finite, the draw is NaN.

    >>> import graphc as gc
    >>> x = gc.random.gamma(gc.random.key(0), 9.0, (1000,))
    >>> bool(abs(x.mean() - 9) < 0.5)
    True
    """
    wanted = float_dtype("gamma", dtype)
    known = parameter("gamma", "alpha", alpha)
    extents = _extents("gamma", "alpha", known, shape)

    def draw(key: Array, alpha: Array) -> Array:
        first, second = _factors(key, alpha, extents, working(wanted))
        drawn = first if second is None else bind1(ops.mul, first, exp_below_one(second, working(wanted)))
        return to_dtype(_or_nan(drawn, alpha), wanted)

    def rule(key: Array, alpha: Array, tangent: Array) -> tuple[Array, Array]:
        drawn = draw(key, alpha)
        wide = to_dtype(drawn, dtypes.float64)
        slope = bind1(ops.mul, wide, log_slope(broadcast_to(alpha, extents), _log_of(wide)))
        return drawn, to_dtype(bind1(ops.mul, tangent, slope), wanted)

    return with_derivative("gamma", draw, rule, checked("gamma", key), known)


def beta(key: ArrayLike, a: ArrayLike, b: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = "float32") -> Array:
    """Beta with parameters `a` and `b`, above 0; `shape` is what they broadcast to, or one they both broadcast to.

    It can be differentiated with respect to both.

    >>> import graphc as gc
    >>> x = gc.random.beta(gc.random.key(0), 2.0, 6.0, (1000,))
    >>> bool(abs(x.mean() - 0.25) < 0.02)
    True
    """
    wanted = float_dtype("beta", dtype)
    first, second = promoted("beta", (parameter("beta", "a", a), parameter("beta", "b", b)))
    common = broadcast_to(first, broadcast_shape("beta", (first.shape, second.shape)))
    extents = _extents("beta", "a and b", common, shape)
    keys = split(checked("beta", key), 2)
    logs = [_log_gamma(indexing.getitem(keys, i), each, extents, wanted) for i, each in enumerate((first, second))]
    lead = bind1(ops.sub, *logs)
    ratio = exp_below_one(bind1(ops.min_, lead, bind1(ops.neg, lead)), working(wanted))
    share = bind1(ops.div, bind1(ops.select, bind1(ops.ge, lead, 0.0), 1.0, ratio), bind1(ops.add, ratio, 1.0))
    return to_dtype(share, wanted)


def dirichlet(key: ArrayLike, alpha: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = "float32") -> Array:
    """Dirichlet with parameters `alpha`, above 0, along the last axis: draws of that length that add up to 1.

    `shape` is that of alpha, or one it broadcasts to, the last axis included.

    It can be differentiated with respect to alpha.

    >>> import graphc as gc
    >>> x = gc.random.dirichlet(gc.random.key(0), [1.0, 2.0, 5.0], (1000, 3))
    >>> bool(abs(x.mean(axis=0) - [0.125, 0.25, 0.625]).max() < 0.03)
    True
    """
    wanted = float_dtype("dirichlet", dtype)
    known = parameter("dirichlet", "alpha", alpha)
    extents = _extents("dirichlet", "alpha", known, shape)
    if not extents or extents[-1] != known.shape[-1]:
        raise ArgumentError(with_line(f"dirichlet: alpha of shape {list(known.shape)} for draws of {list(extents)}"))
    logs = _log_gamma(checked("dirichlet", key), known, extents, wanted)
    largest = bind1(ops.stop_gradient, reduction.max(logs, -1, True))
    parts = exp_below_one(bind1(ops.sub, logs, largest), working(wanted))
    return to_dtype(bind1(ops.div, parts, _sum(parts)), wanted)


def _sum(x: Array) -> Array:
    """Along the last axis, which stays: halves are added, then the halves of that, in an order that is the same
    everywhere.
    """
    axis = len(x.shape) - 1
    while x.shape[axis] > 1:
        half = (x.shape[axis] + 1) // 2
        low, high = movement.slice_axis(x, axis, 0, half), movement.slice_axis(x, axis, half, x.shape[axis])
        more = [0] * axis + [half - high.shape[axis]]
        x = bind1(ops.add, low, movement.pad_constant(high, [0] * (axis + 1), more, 0))
    return x


def parameter(name: str, called: str, value: ArrayLike) -> Array:
    """A parameter in float64. Raises `ArgumentError` for a known one that is not above 0 and finite."""
    given = as_array(value)
    kind = dtype_of(given)
    if kind.is_bool or kind.is_complex:
        raise DTypeError(with_line(f"random.{name}: {called} holds floats or whole numbers, not {kind}"))
    wide = to_dtype(given, dtypes.float64)
    if isinstance(wide, TracedValue) or bool((np.isfinite(wide) & (wide > 0)).all()):
        return wide
    raise ArgumentError(with_line(f"random.{name}: {called} must be above 0 and finite"))


def _extents(name: str, called: str, known: Array, shape: Shape | None) -> tuple[int, ...]:
    extents = known.shape if shape is None else movement.as_extents(name, shape)
    if broadcast_shape(name, (known.shape, extents)) != extents:
        raise ArgumentError(with_line(f"{name}: {called} of shape {list(known.shape)} for draws of {list(extents)}"))
    return extents


def _or_nan(drawn: Array, alpha: Array) -> Array:
    if not isinstance(alpha, TracedValue):
        return drawn
    usable = bind1(ops.and_, bind1(ops.gt, alpha, 0.0), bind1(ops.lt, alpha, np.inf))
    return bind1(ops.select, usable, drawn, np.nan)


def _log_of(x: Array) -> Array:
    """The logarithm, of 0 that of the smallest number above it."""
    return bind1(ops.log, bind1(ops.max_, x, float(np.finfo(np.float64).tiny)))


def _log_gamma(key: Array, alpha: Array, extents: tuple[int, ...], wanted: DType) -> Array:
    """The logarithm of a draw, which does not underflow for a small alpha."""
    kind = working(wanted)

    def draw(key: Array, alpha: Array) -> Array:
        first, second = _factors(key, alpha, extents, kind)
        drawn = log(first, kind)
        return _or_nan(drawn if second is None else bind1(ops.add, drawn, second), alpha)

    def rule(key: Array, alpha: Array, tangent: Array) -> tuple[Array, Array]:
        drawn = draw(key, alpha)
        slope = log_slope(broadcast_to(alpha, extents), to_dtype(drawn, dtypes.float64))
        return drawn, to_dtype(bind1(ops.mul, tangent, slope), kind)

    return with_derivative("log_gamma", draw, rule, key, alpha)


def _factors(key: Array, alpha: Array, extents: tuple[int, ...], kind: DType) -> tuple[Array, Array | None]:
    """A draw for alpha, or for alpha + 1 where that is below 1; and the logarithm of what it is then multiplied with, a
    power of a uniform number. None: it is 1 everywhere.
    """
    keys = split(key, 3)
    streams = [indexing.getitem(keys, i) for i in range(3)]
    is_small = bind1(ops.lt, alpha, 1.0)
    raised = bind1(ops.add, alpha, to_dtype(is_small, dtypes.float64))
    drawn = _above_one(streams[0], streams[1], raised, extents, kind)
    if not isinstance(is_small, TracedValue) and not is_small.any():
        return drawn, None
    inverse = bind1(ops.select, is_small, bind1(ops.div, 1.0, alpha), 0.0)
    return drawn, bind1(ops.mul, log(open_unit(streams[2], extents, kind), kind), to_dtype(inverse, kind))


def _above_one(first: Array, second: Array, alpha: Array, shape: tuple[int, ...], kind: DType) -> Array:
    """For alpha >= 1, in float64."""
    lowered = bind1(ops.sub, alpha, 1 / 3)
    centre = to_dtype(lowered, kind)
    width = to_dtype(bind1(ops.div, 1.0, bind1(ops.sqrt, bind1(ops.mul, lowered, 9.0))), kind)
    proposals = (_PROPOSALS, *shape)
    x = normal(first, proposals, kind)
    root = bind1(ops.add, bind1(ops.mul, x, width), 1.0)
    cube = bind1(ops.mul, root, bind1(ops.mul, root, root))
    usable = bind1(ops.ge, cube, float(np.finfo(kind.name).tiny))
    cube = bind1(ops.select, usable, cube, 1.0)
    slack = bind1(ops.add, bind1(ops.sub, 1.0, cube), log(cube, kind))
    limit = bind1(ops.add, bind1(ops.mul, bind1(ops.mul, x, x), 0.5), bind1(ops.mul, slack, centre))
    below = bind1(ops.lt, log(open_unit(second, proposals, kind), kind), limit)
    accepted = bind1(ops.and_, usable, below)
    earliest = movement.expand_dims(reduction.argmax(accepted, 0), 0)
    taken = bind1(ops.and_, accepted, bind1(ops.eq, indices_along(proposals, 0, dtypes.int64), earliest))
    size = reduction.sum(bind1(ops.select, taken, cube, 0.0), 0, None, False)  # of one term and zeros
    return bind1(ops.mul, bind1(ops.select, bind1(ops.gt, size, 0.0), size, 1.0), centre)
