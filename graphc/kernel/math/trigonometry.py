"""sin and cos, right for every argument.

From |x| >= pi/4 on, x * 2/pi modulo 4 is computed in integers from as many bits of 2/pi as matter (Payne and Hanek,
1983): the quadrant is its integer part, the rest times pi/2 the reduced argument. Below, x is its own reduced argument.
"""

from itertools import pairwise
from math import inf, nan, pi

from graphc.core.dtypes import float32, float64, int64, uint32, uint64
from graphc.kernel.math import coefficients as table
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial

_LOW = (1 << 32) - 1


def sin(x: Scalar) -> Scalar:
    return _trigonometric(x, 0)


def cos(x: Scalar) -> Scalar:
    return _trigonometric(x, 1)


def _trigonometric(x: Scalar, shift: int) -> Scalar:
    """sin(x + shift pi / 2): sine or cosine of the reduced |x|, with a sign."""
    layout = FORMATS[x.dtype]
    size = abs(x)
    reduced, low, quadrant = _reduce32(size) if x.dtype == float32 else _reduce64(size)
    direct = size < pi / 4
    reduced = direct.select(size, reduced)
    low = None if low is None else direct.select(0, low)
    quadrant = direct.select(0, quadrant) + shift
    value = (quadrant & 1).equals(0).select(_sine(reduced, low), _cosine(reduced, low))
    sign = ((quadrant & 2) >> 1) << (x.dtype.bits - 1)
    if shift == 0:
        sign = sign ^ (x.bits_as(layout.unsigned) & (1 << (x.dtype.bits - 1)))
    result = (value.bits_as(layout.unsigned) ^ sign).bits_as(x.dtype)
    return (size < inf).select(result, nan)


def _sine(r: Scalar, low: Scalar | None) -> Scalar:
    z = r * r
    if low is None:
        return fma(r * z, polynomial(z, table.SIN_32), r)
    correction = fma(z * -0.5, low, low)  # low * cos(r)
    return r + fma(r * z, polynomial(z, table.SIN_64), correction)


def _cosine(r: Scalar, low: Scalar | None) -> Scalar:
    z = r * r
    if low is None:
        return fma(z, fma(polynomial(z, table.COS_32), z, -0.5), 1)
    half = z * 0.5
    main = 1 - half
    rounding = (1 - main) - half
    return main + (rounding + fma(z * z, polynomial(z, table.COS_64), -(r * low)))


def _window(words: list[Scalar], position: Scalar, count: int) -> list[Scalar]:
    """words[position], ..., words[position + count - 1]: one round of selects per bit of `position`."""
    reach = len(words) - count
    for bit in reversed(range(reach.bit_length())):
        step = 1 << bit
        reach = min(reach, step - 1)
        chosen = (position & step).differs(0)
        kept = range(min(reach + count, len(words)))
        words = [chosen.select(words[i + step], words[i]) if i + step < len(words) else words[i] for i in kept]
    return words


def _reduce32(size: Scalar) -> tuple[Scalar, None, Scalar]:
    bits = size.bits_as(uint32)
    mantissa = ((bits & 0x7FFFFF) | 0x800000).to(uint64)
    place = (bits >> 23) - 120  # bits before the window, counted from 32 zeros ahead of 2/pi
    halves = [0, *(part for word in table.TWO_OVER_PI[:4] for part in (word >> 32, word & _LOW))][:8]
    words = [word.to(uint64) for word in _window([bits.constant(w) for w in halves], place >> 5, 4)]
    offset = (place & 31).to(uint64)
    limbs = [(((a << 32) | b) << offset) >> 32 for a, b in pairwise(words)]
    product = ((mantissa * limbs[0]) << 32) + mantissa * limbs[1] + ((mantissa * limbs[2]) >> 32)
    quadrant = (product + (1 << 61)) >> 62
    fraction = (product - (quadrant << 62)).bits_as(int64).to(float64)
    return (fraction * (pi / 2 * 2.0**-62)).to(float32), None, quadrant.to(uint32)


def _reduce64(size: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    bits = size.bits_as(uint64)
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    place = (bits >> 52) - 1013  # bits before the window, counted from 64 zeros ahead of 2/pi
    words = _window([bits.constant(word) for word in (0, *table.TWO_OVER_PI)], place >> 6, 4)
    offset = place & 63
    back = 63 - offset
    shifted = [(a << offset) | ((b >> 1) >> back) for a, b in pairwise(words)]
    limbs = [part for word in reversed(shifted) for part in (word & _LOW, word >> 32)]  # low limb first
    low, high = mantissa & _LOW, mantissa >> 32
    result: list[Scalar] = []
    carry = (low * limbs[0]) >> 32
    for upper, lower in zip(limbs[1:], limbs):
        a, b = low * upper, high * lower
        total = carry + (a & _LOW) + (b & _LOW)
        result.append(total & _LOW)
        carry = (total >> 32) + (a >> 32) + (b >> 32)
    # result[1:] are 128 bits: 2 before the point, 126 after it
    top = (result[4] << 32) | result[3]
    quadrant = (top + (1 << 61)) >> 62
    top = top - (quadrant << 62)
    mask = (top.bits_as(int64) >> 63).bits_as(uint64)  # all ones when the fraction is negative
    top = top ^ mask
    parts = [top >> 32, top & _LOW, (result[2] ^ mask) & _LOW, (result[1] ^ mask) & _LOW]
    d3, d2, d1, d0 = (part.bits_as(int64).to(float64) for part in parts)
    first = d3 * 2.0**32
    head = first + d2
    tail = (d2 - (head - first)) + fma(d1, 2.0**32, d0) * 2.0**-64
    total, rest = head + tail, tail - ((head + tail) - head)
    half_pi, half_pi_low = (part * 2.0**-62 for part in table.HALF_PI_64)
    r = total * half_pi
    r_low = fma(total, half_pi, -r) + fma(total, half_pi_low, rest * half_pi)
    negative = mask.differs(0)
    return negative.select(-r, r), negative.select(-r_low, r_low), quadrant
