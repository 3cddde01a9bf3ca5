"""How gamma draws move with their shape parameter: the derivative by which expectations of them are differentiated.

Of a draw x with distribution function F(x; a) and density p it is -(dF/da) / p, the slope of the quantile function
(M. Figurnov, S. Mohamed and A. Mnih, "Implicit reparameterization gradients", NeurIPS 2018). With the digamma function
psi it is x times

    sum over n >= 0 of x^n / (a (a + 1) ... (a + n)) (psi(a + n + 1) - log x), all terms of one sign where x is small,
    integral over s >= 0 of exp(d a s - x (exp(d s) - 1)) (s + d (log x - psi(a))), with d the sign of log x - psi(a),

the second of which comes from d/da of the integral of the density from 0 to x, or from x on, whichever has one sign.
All of it in float64, to about twelve digits.
"""

from functools import cache

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import movement, reduction
from graphc.tracing.bind import bind1
from graphc.tracing.context import Array, ArrayLike

_SPLIT = 2.0  # the series below, the integral above
_TERMS = 30
_NODES = 40
_DEPTH = 38.0  # the integral ends where the exponential is e^-38
_SHIFT = 10  # psi is expanded around infinity this much farther out
_BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760)


def _add(x: ArrayLike, y: ArrayLike) -> Array:
    return bind1(ops.add, x, y)


def _sub(x: ArrayLike, y: ArrayLike) -> Array:
    return bind1(ops.sub, x, y)


def _mul(x: ArrayLike, y: ArrayLike) -> Array:
    return bind1(ops.mul, x, y)


def _div(x: ArrayLike, y: ArrayLike) -> Array:
    return bind1(ops.div, x, y)


def digamma(a: Array) -> Array:
    """The derivative of the logarithm of the gamma function, for a > 0 in float64."""
    far = _add(a, float(_SHIFT))
    inverse = _div(1.0, far)
    square = _mul(inverse, inverse)
    series: ArrayLike = 0.0
    for coefficient in reversed(_BERNOULLI):
        series = _mul(_add(series, coefficient), square)
    total = _sub(_sub(bind1(ops.log, far), _mul(inverse, 0.5)), series)
    for k in range(_SHIFT):
        total = _sub(total, _div(1.0, _add(a, float(k))))
    return total


def log_slope(a: Array, log_x: Array) -> Array:
    """d log(x) / da, both float64 of one shape, for a > 0."""
    psi = digamma(a)
    near = bind1(ops.min_, log_x, float(np.log(_SPLIT)))
    far = bind1(ops.max_, log_x, float(np.log(_SPLIT)))
    is_small = bind1(ops.lt, log_x, float(np.log(_SPLIT)))
    return bind1(ops.select, is_small, _series(a, psi, near), _integral(a, psi, far))


def _series(a: Array, psi: Array, log_x: Array) -> Array:
    x = bind1(ops.exp, log_x)
    term = _div(1.0, a)
    psi = _add(psi, term)
    total = _mul(term, _sub(psi, log_x))
    for n in range(1, _TERMS):
        inverse = _div(1.0, _add(a, float(n)))
        term = _mul(term, _mul(x, inverse))
        psi = _add(psi, inverse)
        total = _add(total, _mul(term, _sub(psi, log_x)))
    return total


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Points in (0, 1) and their weights, Gauss and Legendre's."""
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    return (points + 1) / 2, weights / 2


def _integral(a: Array, psi: Array, log_x: Array) -> Array:
    x, distance = bind1(ops.exp, log_x), _sub(log_x, psi)
    side = bind1(ops.select, bind1(ops.lt, distance, 0.0), np.float64(-1.0), np.float64(1.0))
    end = bind1(ops.stop_gradient, _end(a, x, side))
    points, weights = (movement.reshape(each, (_NODES, *(1 for _ in a.shape))) for each in _nodes())
    s = _mul(points, movement.expand_dims(end, 0))
    a, x, side, distance = (movement.expand_dims(each, 0) for each in (a, x, side, distance))
    turned = _mul(side, s)
    height = bind1(ops.exp, _sub(_mul(a, turned), _mul(x, bind1(ops.expm1, turned))))
    inside = _mul(_mul(height, _add(s, _mul(side, distance))), weights)
    return _mul(end, reduction.sum(inside, 0, dtypes.float64, False))


def _end(a: Array, x: Array, side: Array) -> Array:
    """The s > 0 with `x (exp(d s) - 1) - d a s == _DEPTH`: that of the parabola, then Newton's steps."""
    steep = bind1(ops.max_, _mul(side, _sub(x, a)), 0.0)
    root = bind1(ops.sqrt, _add(_mul(steep, steep), _mul(x, 2 * _DEPTH)))
    s = _div(2 * _DEPTH, _add(steep, root))
    for _ in range(4):
        turned = _mul(side, s)
        grown = bind1(ops.expm1, turned)
        depth = _sub(_sub(_mul(x, grown), _mul(a, turned)), _DEPTH)
        slope = _mul(side, _sub(_add(_mul(x, grown), x), a))
        s = _sub(s, _div(depth, slope))
    return s
