"""The arctangent.

atan(x) = atan(c) + atan((x - c) / (1 + c x)), after the interval of |x| with c = 0, 1/2, 1, 3/2 or infinity, so that
the argument of the polynomial stays below 7/16 and is small where the sum is small (fdlibm's s_atan.c, Sun, 1993).
"""

from graphc.kernel.math import coefficients as table
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial


def atan(x: Scalar) -> Scalar:
    bits = x.dtype.bits
    terms, centres = (table.ATAN_32, table.ATAN_AT_32) if bits == 32 else (table.ATAN_64, table.ATAN_AT_64)
    size = abs(x)
    steps = (
        (7 / 16, fma(size, 2, -1), size + 2),  # c = 1/2, the quotient expanded by 2
        (11 / 16, size - 1, size + 1),  # c = 1
        (19 / 16, size - 1.5, fma(size, 1.5, 1)),  # c = 3/2
        (39 / 16, size.constant(-1), size),  # c = infinity
    )
    above, below, high, low = size, size.constant(1), size.constant(0), size.constant(0)
    for (start, numerator, denominator), (centre, rest) in zip(steps, centres, strict=True):
        there = size >= start
        above, below = there.select(numerator, above), there.select(denominator, below)
        high, low = there.select(centre, high), there.select(rest, low)
    r = above / below
    z = r * r
    return FORMATS[x.dtype].with_sign(high + (r + fma(r * z, polynomial(z, terms), low)), x)
