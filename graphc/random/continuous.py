"""Continuous distributions: each is its quantile function of uniform numbers, so one draw takes one or two words.

All results are identical on every backend: they are made of operations that IEEE 754 defines exactly (add, multiply,
divide, square root, bits), with a logarithm of our own.
"""

import math

import numpy as np

from graphc.core.errors import ArgumentError
from graphc.graph.ops import elementwise as ops
from graphc.random.floats import float_dtype, open_unit, signed_tail, smallest_tail, unit, working
from graphc.random.keys import Shape, checked
from graphc.random.logarithm import log
from graphc.random.normal_quantile import normal_quantile
from graphc.tracing.array import elementwise, movement
from graphc.tracing.bind import as_array, bind1, is_scalar, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_advice
from graphc.tracing.tracer import DTypeLike


def uniform(
    key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32", low: ArrayLike = 0.0, high: ArrayLike = 1.0
) -> Array:
    """Uniform in [low, high): multiples of 2**-24 (float32), 2**-53 (float64), 2**-8 (bfloat16) or 2**-11
    (float16), then scaled.

    >>> import graphc as gc
    >>> x = gc.random.uniform(gc.random.key(0), (100,))
    >>> bool((0 <= x).all() and (x < 1).all())
    True
    """
    wanted = float_dtype("uniform", dtype)
    fraction = unit(checked("uniform", key), movement.as_extents("uniform", shape), wanted)
    if is_scalar(low) and is_scalar(high) and (low, high) == (0, 1):
        return to_dtype(fraction, wanted)
    first, last = as_array(low, working(wanted)), as_array(high, working(wanted))
    scaled = to_dtype(bind1(ops.add, bind1(ops.mul, fraction, bind1(ops.sub, last, first)), first), wanted)
    first, last = to_dtype(first, wanted), to_dtype(last, wanted)
    return bind1(ops.select, bind1(ops.lt, scaled, last), scaled, first)  # rounding may reach `high`


def normal(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard normal, at most 6.3 (float32) or 9.1 (float64) from 0.

    >>> import graphc as gc
    >>> x = gc.random.normal(gc.random.key(0), (1000,))
    >>> bool(abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1)
    True
    """
    wanted = float_dtype("normal", dtype)
    kind = working(wanted)
    negative, tail = signed_tail(checked("normal", key), movement.as_extents("normal", shape), kind)
    return to_dtype(_signed(negative, normal_quantile(tail, kind, smallest_tail(kind))), wanted)


def laplace(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard Laplace: exponential in both directions.

    >>> import graphc as gc
    >>> gc.random.laplace(gc.random.key(0), (2,)).shape
    (2,)
    """
    wanted = float_dtype("laplace", dtype)
    kind = working(wanted)
    negative, tail = signed_tail(checked("laplace", key), movement.as_extents("laplace", shape), kind)
    return to_dtype(_signed(negative, bind1(ops.neg, log(bind1(ops.mul, tail, 2.0), kind))), wanted)


def logistic(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard logistic, whose distribution function is the sigmoid.

    >>> import graphc as gc
    >>> gc.random.logistic(gc.random.key(0), (2,)).shape
    (2,)
    """
    wanted = float_dtype("logistic", dtype)
    kind = working(wanted)
    negative, tail = signed_tail(checked("logistic", key), movement.as_extents("logistic", shape), kind)
    return to_dtype(_signed(negative, log(bind1(ops.div, bind1(ops.sub, 1.0, tail), tail), kind)), wanted)


def truncated_normal(
    key: ArrayLike, lower: float = -2.0, upper: float = 2.0, shape: Shape = (), dtype: DTypeLike = "float32"
) -> Array:
    """Standard normal given that it lies in [lower, upper], which are Python numbers.

    >>> import graphc as gc
    >>> x = gc.random.truncated_normal(gc.random.key(0), -1.0, 1.0, (1000,))
    >>> bool(abs(x).max() <= 1)
    True
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        if not isinstance(bound, int | float | np.integer | np.floating):
            raise ArgumentError(
                with_line(
                    f"truncated_normal: {name} must be a Python number, known while tracing, "
                    f"got {bound!r:.60}{static_advice(bound)}"
                )
            )
    if not lower < upper:
        raise ArgumentError(with_line(f"truncated_normal: lower={lower} is not below upper={upper}"))
    wanted = float_dtype("truncated_normal", dtype)
    kind = working(wanted)
    fraction = unit(checked("truncated_normal", key), movement.as_extents("truncated_normal", shape), kind)
    low, high = _normal_distribution(lower), _normal_distribution(upper)
    below = bind1(ops.add, bind1(ops.mul, fraction, high - low), low)
    above = bind1(ops.sub, 1.0, below)
    smallest = float(np.finfo(kind.name).tiny)
    size = normal_quantile(bind1(ops.max_, bind1(ops.min_, below, above), smallest), kind, smallest)
    signed = _signed(bind1(ops.lt, below, 0.5), size)
    return elementwise.clip(to_dtype(signed, wanted), lower, upper)


def exponential(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Exponential with mean 1.

    >>> import graphc as gc
    >>> bool(gc.random.exponential(gc.random.key(0), (10,)).min() > 0)
    True
    """
    wanted = float_dtype("exponential", dtype)
    kind = working(wanted)
    fraction = open_unit(checked("exponential", key), movement.as_extents("exponential", shape), kind)
    return to_dtype(bind1(ops.neg, log(fraction, kind)), wanted)


def gumbel(key: ArrayLike, shape: Shape = (), dtype: DTypeLike = "float32") -> Array:
    """Standard Gumbel, `-log(-log(u))`: the largest of `logits + gumbel` is a sample of softmax(logits).

    >>> import graphc as gc
    >>> gc.random.gumbel(gc.random.key(0), (2,)).shape
    (2,)
    """
    wanted = float_dtype("gumbel", dtype)
    kind, extents = working(wanted), movement.as_extents("gumbel", shape)
    return to_dtype(bind1(ops.neg, log(exponential(key, extents, kind), kind)), wanted)


def _signed(negative: Array, size: Array) -> Array:
    return bind1(ops.select, negative, bind1(ops.neg, size), size)


def _normal_distribution(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
