"""Functions of complex numbers as formulas on real and imaginary parts: what `complexes` writes for each op.

Each operation of a formula rounds once, in the order that is written. Branch cuts and special values (signed zeros,
infinities, NaN) are those of C99, annex G, which the array API standard has too. What overflows does so late.

The inverse functions are those of W. Kahan, "Branch cuts for complex elementary functions, or much ado about nothing's
sign bit", 1987.
"""

from math import exp, log, pi

from graphc.core import dtypes
from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Value
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.elementwise import DTypeAttrs

Pair = tuple[Value, Value]

_INF, _NAN = float("inf"), float("nan")


@dataclass(frozen=True, slots=True)
class _Limits:
    """Of a float dtype: where exponentials are taken in two steps; from where on tanh is 1; from where on the square of
    a number swallows 1; below which size numbers are scaled before their root is taken, and the root of the scale; what
    splits a number into halves of its digits.
    """

    exponent: float
    tanh: float
    large: float
    small: float
    root_of_scale: float
    split: float


_LIMITS = {
    dtypes.float32: _Limits(64.0, 11.0, 2.0**14, 2.0**-100, 2.0**25, 2.0**12 + 1),
    dtypes.float64: _Limits(512.0, 22.0, 2.0**28, 2.0**-960, 2.0**54, 2.0**27 + 1),
}


@dataclass(frozen=True, slots=True)
class Reals:
    """Real formulas that several complex ones share."""

    c: Compose

    def less(self, x: Value, y: Value) -> Value:
        return self.c(ops.lt, x, y)

    def below(self, x: Value, number: float) -> Value:
        return self.less(x, self.c.like(x, number))

    def above(self, x: Value, number: float) -> Value:
        return self.less(self.c.like(x, number), x)

    def plus(self, x: Value, number: float) -> Value:
        return self.c.add(x, self.c.like(x, number))

    def is_zero(self, x: Value) -> Value:
        return self.c.eq(x, self.c.like(x, 0))

    def is_infinite(self, x: Value) -> Value:
        return self.c.eq(self.abs(x), self.c.like(x, _INF))

    def is_finite(self, x: Value) -> Value:
        return self.c(ops.is_finite, x)

    def both(self, x: Value, y: Value) -> Value:
        return self.c(ops.and_, x, y)

    def either(self, x: Value, y: Value) -> Value:
        return self.c(ops.or_, x, y)

    def choose(self, condition: Value, number: float, otherwise: Value) -> Value:
        return self.c.select(condition, self.c.like(otherwise, number), otherwise)

    def abs(self, x: Value) -> Value:
        return self.c(ops.abs_, x)

    def sqrt(self, x: Value) -> Value:
        return self.c(ops.sqrt, x)

    def exp(self, x: Value) -> Value:
        return self.c(ops.exp, x)

    def is_negative(self, x: Value) -> Value:
        """Whether the sign is minus, that of -0 too."""
        whole = dtypes.int32 if x.dtype is dtypes.float32 else dtypes.int64
        return self.below(self.c(ops.bitcast, x, attrs=DTypeAttrs(whole)), 0)

    def with_sign(self, size: Value, of: Value) -> Value:
        return self.c.select(self.is_negative(of), self.c.neg(size), size)

    def larger(self, a: Value, b: Value) -> tuple[Value, Value]:
        """The larger of |a| and |b|, and what the smaller is to it; 1 where they are equal, 0 and infinite ones too."""
        c = self.c
        x, y = self.abs(a), self.abs(b)
        m, n = c(ops.max_, x, y), c(ops.min_, x, y)
        return m, self.choose(c.eq(m, n), 1.0, c.div(n, m))

    def larger_or_infinite(self, a: Value, b: Value) -> tuple[Value, Value]:
        """`larger`; where one of them is infinite, infinite and 0, whatever the other one is."""
        m, r = self.larger(a, b)
        infinite = self.either(self.is_infinite(a), self.is_infinite(b))
        return self.choose(infinite, _INF, m), self.choose(infinite, 0.0, r)

    def size(self, a: Value, b: Value) -> Value:
        c = self.c
        m, r = self.larger_or_infinite(a, b)
        return c.mul(m, self.sqrt(self.plus(c.mul(r, r), 1.0)))

    def angle(self, b: Value, a: Value) -> Value:
        """atan2(b, a)"""
        c = self.c
        m, r = self.larger(a, b)
        t = c(ops.atan, c.select(self.is_zero(m), m, r))
        t = c.select(self.less(self.abs(a), self.abs(b)), c.sub(c.like(t, pi / 2), t), t)
        return self.with_sign(c.select(self.is_negative(a), c.sub(c.like(t, pi), t), t), b)

    def is_tiny(self, a: Value, b: Value) -> Value:
        """Where the square of a + ib is nothing beside 1."""
        return self.below(self.c(ops.max_, self.abs(a), self.abs(b)), 1 / _LIMITS[a.dtype].large)

    def scaled_exp(self, x: Value) -> Pair:
        """Two numbers whose product is e^x; the product with a sine of something may not overflow where e^x does."""
        c, limit = self.c, _LIMITS[x.dtype].exponent
        far = self.above(x, limit)
        return self.exp(c.select(far, self.plus(x, -limit), x)), self.choose(far, exp(limit), c.like(x, 1))

    def sinh_cosh(self, x: Value) -> tuple[Value, Value, Value]:
        """sinh(x) and cosh(x), both to be multiplied with the third number."""
        c, limit = self.c, _LIMITS[x.dtype].exponent
        size = self.abs(x)
        far = self.above(size, limit)
        less = c(ops.expm1, c.select(far, self.plus(size, -limit), size))
        e = self.plus(less, 1.0)
        inverse = self.choose(far, 0.0, c.div(c.like(e, 1), e))
        near = c.add(less, c.div(less, e))
        sinh = c.scale(c.select(self.below(size, 1.0), near, c.sub(e, inverse)), 0.5)
        return self.with_sign(sinh, x), c.scale(c.add(e, inverse), 0.5), self.choose(far, exp(limit), c.like(x, 1))

    def asinh_of_twice(self, x: Value) -> Value:
        """asinh(2x)"""
        c, limit = self.c, _LIMITS[x.dtype].large
        size = self.abs(x)
        far = self.above(size, limit)
        near = c.scale(c(ops.min_, size, c.like(x, limit)), 2.0)
        square = c.mul(near, near)
        grown = c.add(near, c.div(square, self.plus(self.sqrt(self.plus(square, 1.0)), 1.0)))
        found = c(ops.log1p, c.select(far, self.plus(size, -1.0), grown))
        found = c.select(far, self.plus(found, 2 * log(2.0)), found)
        return c.select(self.is_zero(x), x, self.with_sign(found, x))

    def square(self, x: Value) -> Pair:
        """x^2 and what rounding took from it (T. J. Dekker, "A floating-point technique", 1971)."""
        c = self.c
        spread = c.scale(x, _LIMITS[x.dtype].split)
        high = c.sub(spread, c.sub(spread, x))
        low = c.sub(x, high)
        whole = c.mul(x, x)
        rest = c.sub(c.mul(high, high), whole)
        rest = c.add(rest, c.scale(c.mul(high, low), 2.0))
        return whole, c.add(rest, c.mul(low, low))

    def sum(self, x: Value, y: Value) -> Pair:
        """x + y and what rounding took from it."""
        c = self.c
        whole = c.add(x, y)
        second = c.sub(whole, x)
        return whole, c.add(c.sub(x, c.sub(whole, second)), c.sub(y, second))


# ------------------------------------------------------------------------------------------------------- arithmetic


def product(c: Compose, x: Pair, y: Pair) -> Pair:
    (a, b), (p, q) = x, y
    return c.sub(c.mul(a, p), c.mul(b, q)), c.add(c.mul(a, q), c.mul(b, p))


def quotient(c: Compose, x: Pair, y: Pair) -> Pair:
    """Smith's: by the larger part of the divisor."""
    (a, b), (p, q) = x, y
    reals = Reals(c)
    swapped = reals.less(reals.abs(p), reals.abs(q))
    large, small = c.select(swapped, q, p), c.select(swapped, p, q)
    r = c.select(reals.is_zero(large), large, c.div(small, large))
    divisor = c.add(large, c.mul(small, r))
    first, second = c.select(swapped, b, a), c.select(swapped, a, b)
    imaginary = c.sub(second, c.mul(first, r))
    imaginary = c.select(swapped, c.neg(imaginary), imaginary)
    return c.div(c.add(first, c.mul(second, r)), divisor), c.div(imaginary, divisor)


def square_root(c: Compose, a: Value, b: Value) -> Pair:
    """The real part is not negative. Numbers are scaled by a power of four."""
    reals, limits = Reals(c), _LIMITS[a.dtype]
    tiny = reals.below(reals.larger(a, b)[0], limits.small)
    scale = reals.choose(tiny, limits.root_of_scale**2, c.like(a, 0.25))
    back = reals.choose(tiny, 1 / limits.root_of_scale, c.like(a, 2.0))
    x, y = reals.abs(c.mul(a, scale)), reals.abs(c.mul(b, scale))
    t = reals.sqrt(c.add(c.scale(x, 0.5), c.scale(reals.size(x, y), 0.5)))
    nothing, left, endless = reals.is_zero(t), reals.is_negative(a), reals.is_infinite(b)
    other = c.mul(c.div(y, c.add(t, t)), back)
    t = c.mul(t, back)
    real = c.select(nothing, t, c.select(left, other, t))
    imaginary = c.select(nothing, b, reals.with_sign(c.select(left, t, other), b))
    return reals.choose(endless, _INF, real), c.select(endless, b, imaginary)


# --------------------------------------------------------------------------------------- exponentials and logarithms


def _endless(reals: Reals, a: Value, b: Value) -> Value:
    """Where a is infinite, and b is no angle."""
    return reals.both(reals.is_infinite(a), reals.c(ops.not_, reals.is_finite(b)))


def exponential(c: Compose, a: Value, b: Value) -> Pair:
    """e^a (cos b, sin b)"""
    reals = Reals(c)
    size, power = reals.scaled_exp(a)
    endless = _endless(reals, a, b)
    cosine = reals.choose(endless, 1.0, c(ops.cos, b))
    sine = reals.choose(endless, 0.0, c(ops.sin, b))
    imaginary = c.mul(c.mul(size, sine), power)
    return c.mul(c.mul(size, cosine), power), c.select(reals.is_zero(b), b, imaginary)


def exponential_less_one(c: Compose, a: Value, b: Value) -> Pair:
    """((e^a - 1) cos b - 2 sin(b/2)^2, e^a sin b)"""
    reals = Reals(c)
    endless = _endless(reals, a, b)
    half = reals.choose(endless, 0.0, c(ops.sin, c.scale(b, 0.5)))
    cosine = reals.choose(endless, 1.0, c(ops.cos, b))
    near = c.sub(c.mul(c(ops.expm1, a), cosine), c.scale(c.mul(half, half), 2.0))
    real, imaginary = exponential(c, a, b)
    far = reals.above(reals.abs(a), _LIMITS[a.dtype].exponent)
    return c.select(far, reals.plus(real, -1.0), near), imaginary


def _logarithm_of_size(reals: Reals, a: Value, b: Value, excess: Value) -> Value:
    """log |a + ib|, where `excess` is a^2 + b^2 - 1, as exact as it matters where it is small."""
    c = reals.c
    m, r = reals.larger_or_infinite(a, b)
    near = reals.both(reals.below(reals.abs(excess), 0.5), reals.below(m, 2.0))
    rest = c.scale(c(ops.log1p, c.select(near, excess, c.mul(r, r))), 0.5)
    return c.select(near, rest, c.add(c(ops.log, m), rest))


def logarithm(c: Compose, a: Value, b: Value) -> Pair:
    """(log m + log1p((n/m)^2) / 2, atan2(b, a)) with the larger part m and the smaller n; near size 1 log1p(|z|^2 - 1)
    / 2, whose squares are taken with twice the digits.
    """
    reals = Reals(c)
    x, y = reals.abs(a), reals.abs(b)
    (m, m_rest), (n, n_rest) = reals.square(c(ops.max_, x, y)), reals.square(c(ops.min_, x, y))
    total, rest = reals.sum(reals.plus(m, -1.0), n)
    excess = c.add(total, c.add(rest, c.add(m_rest, n_rest)))
    return _logarithm_of_size(reals, a, b, excess), reals.angle(b, a)


def logarithm_of_one_more(c: Compose, a: Value, b: Value) -> Pair:
    """log(1 + z), near 0 as log1p(2a + a^2 + b^2) / 2, whose squares are taken with twice the digits."""
    reals = Reals(c)
    (x, x_rest), (y, y_rest) = reals.square(a), reals.square(b)
    total, rest = reals.sum(c.scale(a, 2.0), y)
    total, more = reals.sum(total, x)
    excess = c.add(total, c.add(c.add(rest, more), c.add(x_rest, y_rest)))
    moved = reals.plus(a, 1.0)
    return _logarithm_of_size(reals, moved, b, excess), reals.angle(b, moved)


def power(c: Compose, x: Pair, y: Pair) -> Pair:
    """exp(y log x); x^0 is 1, and 0^y is 0."""
    reals = Reals(c)
    is_zero, is_one = (reals.both(*map(reals.is_zero, each)) for each in (x, y))
    base = reals.choose(is_zero, 1.0, x[0])
    real, imaginary = exponential(c, *product(c, y, logarithm(c, base, x[1])))
    real = reals.choose(is_one, 1.0, reals.choose(is_zero, 0.0, real))
    return real, reals.choose(reals.either(is_one, is_zero), 0.0, imaginary)


# ------------------------------------------------------------------------------------------------ sine and its family


def _sinh(c: Compose, a: Value, b: Value) -> Pair:
    """(sinh a cos b, cosh a sin b)"""
    reals = Reals(c)
    sinh, cosh, power = reals.sinh_cosh(a)
    no_angle = c(ops.not_, reals.is_finite(b))
    fixed = reals.both(no_angle, reals.either(reals.is_zero(a), reals.is_infinite(a)))
    cosine = reals.choose(fixed, 1.0, c(ops.cos, b))
    imaginary = c.mul(c.mul(cosh, c(ops.sin, b)), power)
    return c.mul(c.mul(sinh, cosine), power), c.select(reals.is_zero(b), b, imaginary)


def _cosh(c: Compose, a: Value, b: Value) -> Pair:
    """(cosh a cos b, sinh a sin b)"""
    reals = Reals(c)
    sinh, cosh, power = reals.sinh_cosh(a)
    cosine = reals.choose(_endless(reals, a, b), 1.0, c(ops.cos, b))
    no_angle = c(ops.not_, reals.is_finite(b))
    sine = reals.choose(reals.both(no_angle, reals.is_zero(a)), 1.0, c(ops.sin, b))
    imaginary = c.mul(c.mul(sinh, sine), power)
    return c.mul(c.mul(cosh, cosine), power), c.select(reals.is_zero(b), reals.with_sign(b, a), imaginary)


def sine(c: Compose, a: Value, b: Value) -> Pair:
    """-i sinh(iz): (sin a cosh b, cos a sinh b)"""
    imaginary, real = _sinh(c, b, a)
    return real, imaginary


def cosine(c: Compose, a: Value, b: Value) -> Pair:
    """cosh(iz): (cos a cosh b, -sin a sinh b)"""
    return _cosh(c, c.neg(b), a)


def hyperbolic_tangent(c: Compose, a: Value, b: Value) -> Pair:
    """Kahan's, which does not overflow."""
    reals, limit = Reals(c), _LIMITS[a.dtype].tanh
    sine, cosine = c(ops.sin, b), c(ops.cos, b)
    far = reals.above(reals.abs(a), limit)
    s, _, _ = reals.sinh_cosh(reals.choose(far, 0.0, a))
    t = c.div(sine, cosine)
    beta = reals.plus(c.mul(t, t), 1.0)
    rho = reals.sqrt(reals.plus(c.mul(s, s), 1.0))
    divisor = reals.plus(c.mul(c.mul(beta, s), s), 1.0)
    both = reals.choose(_endless(reals, a, b), 0.0, c.mul(sine, cosine))
    rest = c.scale(c.mul(both, reals.exp(c.scale(reals.abs(a), -2.0))), 4.0)
    real = c.select(far, reals.with_sign(c.like(a, 1), a), c.div(c.mul(c.mul(beta, rho), s), divisor))
    no_value = reals.both(reals.is_finite(a), c(ops.not_, reals.is_finite(b)))
    real = c.select(reals.is_zero(a), a, reals.choose(no_value, _NAN, real))
    return real, c.select(reals.is_zero(b), b, c.select(far, rest, c.div(t, divisor)))


# ------------------------------------------------------------------------------------------------- inverse functions


@dataclass(frozen=True, slots=True)
class _Roots:
    """(p, q) is the root of 1 - z and (u, v) that of 1 + z, and all four halved but for u and v."""

    c: Compose
    p: Value
    half_p: Value
    half_q: Value
    u: Value
    v: Value

    @staticmethod
    def of(c: Compose, a: Value, b: Value) -> "_Roots":
        p, q = square_root(c, c.sub(c.like(a, 1), a), c.neg(b))
        u, v = square_root(c, Reals(c).plus(a, 1.0), b)
        return _Roots(c, p, c.scale(p, 0.5), c.scale(q, 0.5), u, v)

    def half_real(self) -> Value:
        """Half the real part of their product."""
        c = self.c
        return c.sub(c.mul(self.half_p, self.u), c.mul(self.half_q, self.v))

    def imaginary_angle(self, a: Value, b: Value) -> Value:
        """asinh of the imaginary part of the product of the second with the conjugate of the first."""
        c, reals = self.c, Reals(self.c)
        half = c.sub(c.mul(self.half_p, self.v), c.mul(self.half_q, self.u))
        endless = reals.either(reals.is_infinite(a), reals.is_infinite(b))
        found = c.select(endless, reals.with_sign(c.like(b, _INF), b), reals.asinh_of_twice(half))
        return c.select(reals.is_tiny(a, b), b, found)


def arcsine(c: Compose, a: Value, b: Value) -> Pair:
    """(atan(a / Re(p u)), asinh(Im(conj(p) u))) with p and u the roots of 1 - z and 1 + z"""
    reals, roots = Reals(c), _Roots.of(c, a, b)
    endless = reals.either(reals.is_infinite(a), reals.is_infinite(b))
    real = c(ops.atan, c.div(c.scale(a, 0.5), roots.half_real()))
    far = reals.with_sign(reals.angle(reals.abs(a), reals.abs(b)), a)
    unchanged = reals.either(reals.is_zero(a), reals.is_tiny(a, b))
    return c.select(unchanged, a, c.select(endless, far, real)), roots.imaginary_angle(a, b)


def arccosine(c: Compose, a: Value, b: Value) -> Pair:
    """(2 atan(Re p / Re u), -asinh(Im(conj(p) u))) with p and u the roots of 1 - z and 1 + z"""
    reals, roots = Reals(c), _Roots.of(c, a, b)
    endless = reals.either(reals.is_infinite(a), reals.is_infinite(b))
    real = c.scale(c(ops.atan, c.div(roots.p, roots.u)), 2.0)
    real = c.select(endless, reals.angle(reals.abs(b), a), reals.choose(reals.is_zero(a), pi / 2, real))
    return real, c.neg(roots.imaginary_angle(a, b))


def arctangent(c: Compose, a: Value, b: Value) -> Pair:
    """-i atanh(iz), of which the real part is log1p(4x / ((1 - x)^2 + y^2)) / 4, and the imaginary one half the angle
    of (1 - x)(1 + x) - y^2 + 2iy; far from 0 they are Re(1 / z) and half the angle of 2iy - |z|^2.
    """
    reals, limit = Reals(c), _LIMITS[a.dtype].large
    x, y = reals.abs(b), reals.abs(a)
    m, r = reals.larger_or_infinite(x, y)
    far, endless = reals.above(m, limit), reals.is_infinite(m)
    less, more = c.sub(c.like(x, 1), x), reals.plus(x, 1.0)
    divisor = c.add(c.mul(less, less), c.mul(y, y))
    pole = reals.both(reals.is_zero(less), reals.below(y, 1 / limit))
    inside = c.select(pole, reals.plus(c.div(c.like(y, 2), y), -1.0), c.div(c.scale(x, 4.0), divisor))
    near = c.mul(c(ops.log1p, inside), reals.choose(pole, 0.5, c.like(x, 0.25)))
    grown = c.mul(m, reals.plus(c.mul(r, r), 1.0))
    beyond = c.div(c.div(x, m), grown)
    size = reals.choose(endless, 0.0, c.select(far, beyond, near))
    across = c.select(far, c.div(y, m), y)
    along = c.select(far, c.neg(grown), c.sub(c.mul(less, more), c.mul(y, y)))
    angle = c.scale(reals.angle(c.scale(across, 2.0), along), 0.5)
    angle = c.select(c.eq(y, y), reals.choose(endless, pi / 2, angle), y)
    return reals.with_sign(angle, a), c.select(reals.is_zero(b), b, reals.with_sign(size, b))
