"""pow: exp(y log|x|), with the logarithm carried to about 65 bits in float64; float32 goes through float64."""

from math import inf, nan

from graphc.core.dtypes import float32, float64, int32
from graphc.kernel.math import coefficients as table
from graphc.kernel.math.exponential import exp, exp_clamped, exp_parts
from graphc.kernel.math.logarithm import log, normalised
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial


def power(x: Scalar, y: Scalar) -> Scalar:
    """C's pow, special values included."""
    size = abs(x)
    if x.dtype == float32:
        magnitude = exp(log(size.to(float64)) * y.to(float64)).to(float32)
    else:
        magnitude = _power64(size, y)
    whole = y.rint().equals(y)
    half = y * 0.5
    odd = whole & half.rint().differs(half)
    layout = FORMATS[x.dtype]
    sign = odd.select(x.bits_as(layout.unsigned) & (1 << (x.dtype.bits - 1)), 0)
    signed = (magnitude.bits_as(layout.unsigned) | sign).bits_as(x.dtype)
    undefined = (x < 0) & (x > -inf) & whole.equals(False)
    one = y.equals(0) | x.equals(1) | (x.equals(-1) & abs(y).equals(inf))
    return one.select(1, undefined.select(nan, signed))


def _fast_two_sum(a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    """a + b exactly, for |a| >= |b| or a == 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def _times(a: tuple[Scalar, Scalar], b: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    """Product of two unevaluated sums, to about 104 bits."""
    high = a[0] * b[0]
    return high, fma(a[0], b[0], -high) + fma(a[0], b[1], a[1] * b[0])


def _log_sum(x: Scalar) -> tuple[Scalar, Scalar]:
    """log(x) as high + low, x positive and finite."""
    m, k = normalised(x)
    count = k.to(int32).to(float64)
    f = m - 1
    divisor = f + 2
    rest = f - (divisor - 2)  # what rounding took from the divisor
    s = f / divisor
    s_low = (fma(-s, divisor, f) - s * rest) / divisor
    z = s * s
    z_low = fma(s, s, -z) + s * s_low * 2
    # log(1 + f) = 2 s + s**3 (2/3 + z R(z))
    tail = z * polynomial(z, table.ATANH5_64)
    thirds, thirds_low = table.TWO_THIRDS_64
    weight = tail + thirds
    weight_low = (thirds - weight) + tail + thirds_low
    cube = _times((s, s_low), (z, z_low))
    high, low = _times(cube, (weight, weight_low))
    high, carry = _fast_two_sum(s * 2, high)
    low = carry + (low + s_low * 2)
    ln2, ln2_low = table.LN2_SHORT
    total, carry = _fast_two_sum(count * ln2, high)
    return _fast_two_sum(total, carry + fma(count, ln2_low, low))


def _power64(size: Scalar, y: Scalar) -> Scalar:
    high, low = _log_sum(size)
    ordinary = (size > 0) & (size < inf)
    special = size.equals(0).select(size.constant(-inf), size)
    high = ordinary.select(high, special)
    product = high * y
    inside = exp_clamped(product)
    rest = fma(high, y, -product) + low * y
    kept = (inside.equals(product) & ordinary & (abs(y) < inf)).select(rest, 0)
    q, exponent, _ = exp_parts(inside, kept)
    return FORMATS[float64].scale(q + 1, exponent)
