"""exp, exp2, expm1, sigmoid and tanh.

`x = n ln 2 + r` with |r| <= ln(2) / 2, and `exp(r) = 1 + r + r**2 Q(r)`. n comes from adding 1.5 * 2**mantissa, which
leaves the nearest integer in the low bits. Twice the bias is added with it, so that shifts make powers of two of it:
the bits above leave at the top.
"""

from math import e, log2

from graphc.core.dtypes import DType, float32, float64
from graphc.core.records import dataclass
from graphc.kernel.math import coefficients as table
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial


@dataclass(frozen=True, slots=True)
class _Constants:
    exp: tuple[float, ...]
    exp2: tuple[float, ...]
    tanh: tuple[float, ...]
    ln2: tuple[float, float]
    lowest: float  # exp is 0 below
    highest: float  # exp is infinite above
    minus_one: float  # expm1 is -1 below
    tanh_one: float  # tanh is 1 above


_CONSTANTS: dict[DType, _Constants] = {
    float32: _Constants(table.EXP_32, table.EXP2_32, table.TANH_32, table.LN2_32, -104.0, 89.0, -20.0, 10.0),
    float64: _Constants(table.EXP_64, table.EXP2_64, table.TANH_64, table.LN2_64, -746.0, 710.0, -40.0, 20.0),
}
TANH_SPLIT = 0.75


def nearest_integer(x: Scalar, factor: float) -> tuple[Scalar, Scalar]:
    """`x * factor` rounded to an integer n, as a float, and for `Format.scale` and `Format.biased_power`."""
    layout = FORMATS[x.dtype]
    magic = 1.5 * 2.0**layout.mantissa + 2 * layout.bias
    shifted = fma(x, factor, magic)
    return shifted - magic, shifted.bits_as(layout.signed)


def exp_parts(x: Scalar, extra: Scalar | None = None, terms: tuple[float, ...] = ()) -> tuple[Scalar, Scalar, Scalar]:
    """(q, n, r) with exp(x + extra) = (1 + q) * 2**n, for x where exp neither overflows nor underflows to 0; n is as
    `nearest_integer` gives it."""
    constants = _CONSTANTS[x.dtype]
    count, exponent = nearest_integer(x, log2(e))
    high, low = constants.ln2
    r = fma(count, -low, fma(count, -high, x))
    if extra is not None:
        r = r + extra
    return fma(r * r, polynomial(r, terms or constants.exp), r), exponent, r


def exp_clamped(x: Scalar) -> Scalar:
    """x, moved to where exp has a result just beyond overflow or underflow."""
    constants = _CONSTANTS[x.dtype]
    return x.at_least(constants.lowest).at_most(constants.highest)


def exp(x: Scalar) -> Scalar:
    q, exponent, _ = exp_parts(exp_clamped(x))
    return FORMATS[x.dtype].scale(q + 1, exponent)


def exp2(x: Scalar) -> Scalar:
    layout = FORMATS[x.dtype]
    inside = x.at_least(-(layout.bias + layout.mantissa + 2)).at_most(layout.bias + 2)
    count, exponent = nearest_integer(inside, 1.0)
    r = inside - count
    return layout.scale(fma(r, polynomial(r, _CONSTANTS[x.dtype].exp2), 1), exponent)


def expm1(x: Scalar) -> Scalar:
    """`2 (2**(n-1) q + (2**(n-1) - 1/2))`, halves so that 2**n does not overflow; x itself where x**2 is negligible."""
    layout, constants = FORMATS[x.dtype], _CONSTANTS[x.dtype]
    q, exponent, _ = exp_parts(x.at_least(constants.minus_one).at_most(constants.highest))
    half = layout.biased_power(exponent, -1)
    result = fma(half, q, half - 0.5) * 2
    return (abs(x) < 2.0 ** -(layout.mantissa + 2)).select(x, result)


def sigmoid(x: Scalar) -> Scalar:
    """`1 / (1 + exp(-x))`, or `exp(x) / (1 + exp(x))` for negative x, which keeps tiny results.

    The quotient is corrected by its remainder and by the rounding error of 1 + exp.
    """
    small = exp(-abs(x))
    divisor = small + 1
    rounding = small - (divisor - 1)
    top = (x < 0).select(small, 1)
    inverse = 1 / divisor
    quotient = top * inverse
    remainder = fma(-quotient, rounding, fma(-quotient, divisor, top))
    return fma(remainder, inverse, quotient)


def tanh(x: Scalar) -> Scalar:
    """An odd polynomial near 0, else `1 - 2 / (exp(2 |x|) + 1)`."""
    layout, constants = FORMATS[x.dtype], _CONSTANTS[x.dtype]
    size = abs(x)
    square = size * size
    near = fma(size * square, polynomial(square, constants.tanh), size)
    twice = size.at_most(constants.tanh_one) * 2
    q, exponent, _ = exp_parts(twice)
    power = layout.biased_power(exponent)
    far = 1 - size.constant(2) / (fma(power, q, power) + 1)
    return layout.with_sign((size < TANH_SPLIT).select(near, far), x)
