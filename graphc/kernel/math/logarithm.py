"""log and log1p.

`x = 2**k (1 + f)` with 1 + f in [sqrt(1/2), sqrt(2)), so that no cancellation happens for x near 1, and
`log(x) = k ln 2 + f + small(f)`.
"""

from math import inf, nan

from graphc.core.dtypes import DType, float32, float64, int32
from graphc.kernel.math import coefficients as table
from graphc.kernel.math.scalar import FORMATS, Scalar, fma, polynomial

_LN2: dict[DType, tuple[float, float]] = {float32: table.LN2_32, float64: table.LN2_64}
_ROOT_HALF: dict[DType, int] = {float32: 0x3F3504F3, float64: 0x3FE6A09E667F3BCD}  # bits of sqrt(1/2)


def decompose(x: Scalar) -> tuple[Scalar, Scalar]:
    """(m, k) with x = m 2**k, m in [sqrt(1/2), sqrt(2)), k a signed integer; x positive, normal and finite."""
    layout = FORMATS[x.dtype]
    root = _ROOT_HALF[x.dtype]
    above = x.bits_as(layout.signed) - root
    fraction = (above & ((1 << layout.mantissa) - 1)) + root
    return fraction.bits_as(x.dtype), above >> layout.mantissa


def normalised(x: Scalar) -> tuple[Scalar, Scalar]:
    """`decompose` for denormals too."""
    layout = FORMATS[x.dtype]
    lift = layout.mantissa + 1
    tiny = x < 2.0 ** (1 - layout.bias)
    m, k = decompose(tiny.select(x * 2.0**lift, x))
    return m, k - tiny.select(k.constant(lift), 0)


def _small(f: Scalar) -> Scalar:
    """log(1 + f) - f."""
    square = f * f
    if f.dtype == float32:
        return square * fma(polynomial(f, table.LOG_32), f, -0.5)
    # s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - s f + 2 (atanh(s) - s), and s f = f**2 / 2 - s f**2 / 2
    s = f / (f + 2)
    z = s * s
    half = square * 0.5
    return fma(s, fma(z, polynomial(z, table.ATANH_64), half), -half)


def _combine(f: Scalar, k: Scalar) -> Scalar:
    high, low = _LN2[f.dtype]
    count = k.to(int32).to(f.dtype)
    return fma(count, high, f + fma(count, low, _small(f)))


def _specials(x: Scalar, result: Scalar) -> Scalar:
    """-inf at 0, NaN below, infinity and NaN as they are."""
    special = x.equals(0).select(x.constant(-inf), (x > 0).select(x, nan))
    return ((x > 0) & (x < inf)).select(result, special)


def log(x: Scalar) -> Scalar:
    m, k = normalised(x)
    return _specials(x, _combine(m - 1, k))


def log1p(x: Scalar) -> Scalar:
    """The rounding error of 1 + x, exact by TwoSum, is added to f; so f is x itself near 0."""
    layout = FORMATS[x.dtype]
    total = x + 1
    other = total - x
    error = (x - (total - other)) + (1 - other)
    m, k = decompose(total)
    f = fma(error, layout.power_of_two(-k.at_most(layout.bias - 27)), m - 1)
    result = _specials(total, _combine(f, k))
    return (abs(x) < 2.0 ** -(layout.mantissa + 2)).select(x, result)
