"""erf and erfc.

Near 0 `erf(x) = x + x P(x**2)`. On the right tail `erfc(x) = exp(-x**2) R(t) / (1 + 2 x)` with
t = (x - c) / (x + c), the form of Shepherd and Laframboise (1981), so its relative accuracy survives; x**2 is carried
with its rounding error.
float32 erfc is computed in float64 and rounded; float32 erf, which is on the path of GELU, is not.
"""

from graphc.core.dtypes import float32, float64
from graphc.kernel.math import coefficients as table
from graphc.kernel.math.exponential import exp_parts
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial

_CENTRE = 2.5


def erf(x: Scalar) -> Scalar:
    size = abs(x)
    if x.dtype == float32:
        square = size * size
        near = fma(size, polynomial(square, table.ERF_32), size)
        q, exponent, _ = exp_parts(-polynomial(size.at_most(4), table.ERF_TAIL_32))
        power = FORMATS[float32].biased_power(exponent)
        far = 1 - fma(power, q, power)
    else:
        near = fma(size, polynomial(size * size, table.ERF_64), size)
        far = 1 - _tail(size.at_most(6.5), table.ERFC_64, ())
    return FORMATS[x.dtype].with_sign((size < 1).select(near, far), x)


def erfc(x: Scalar) -> Scalar:
    if x.dtype == float32:
        return _erfc(x.to(float64), table.ERF_32, table.ERFC_32, table.EXP_32).to(float32)
    return _erfc(x, table.ERF_64, table.ERFC_64, ())


def _erfc(x: Scalar, near: tuple[float, ...], far: tuple[float, ...], exp_terms: tuple[float, ...]) -> Scalar:
    size = abs(x)
    centre = 1 - fma(x, polynomial(x * x, near), x)
    tail = _tail(size.at_least(0.5).at_most(28), far, exp_terms)
    return (size < 0.5).select(centre, (x < 0).select(2 - tail, tail))


def _tail(x: Scalar, terms: tuple[float, ...], exp_terms: tuple[float, ...]) -> Scalar:
    """erfc(x) for x in [0.5, 28]."""
    square = x * x
    error = fma(x, x, -square)
    q, exponent, _ = exp_parts(-square, -error, exp_terms)
    factor = polynomial((x - _CENTRE) / (x + _CENTRE), terms) / fma(x, 2, 1)
    return FORMATS[float64].scale(fma(factor, q, factor), exponent)
