"""Writing formulas as loop-IR expressions: an `Emitter` names values, a `Scalar` gives them operators."""

import math
from collections.abc import Callable
from dataclasses import field

from graphc.core.dtypes import DType, float32, float64, int32, int64, uint32, uint64
from graphc.core.records import dataclass
from graphc.kernel.ir import (
    Binary,
    BinaryOp,
    Bitcast,
    Cast,
    Compare,
    CompareOp,
    Const,
    Expr,
    Fma,
    Let,
    Select,
    Stmt,
    Unary,
    UnaryOp,
    Var,
)

Emit = Callable[[Expr], Expr]
"""Gives a value a name in the block being built and returns the variable."""


@dataclass(slots=True)
class Emitter:
    """An `Emit` that collects `Let`s named prefix0, prefix1, ... in `statements`."""

    prefix: str = "m"
    statements: list[Stmt] = field(default_factory=list)

    def __call__(self, value: Expr) -> Expr:
        if isinstance(value, Var | Const):
            return value
        var = Var(f"{self.prefix}{len(self.statements)}", value.dtype)
        self.statements.append(Let(var, value))
        return var


Number = bool | int | float


@dataclass(frozen=True, slots=True)
class Scalar:
    """A named value with operators; Python numbers beside it take its dtype."""

    expr: Expr
    emit: Emit

    @property
    def dtype(self) -> DType:
        return self.expr.dtype

    def constant(self, value: Number, dtype: DType | None = None) -> "Scalar":
        """A constant of this value's dtype, or another."""
        return Scalar(_constant(value, dtype or self.dtype), self.emit)

    def _new(self, expr: Expr) -> "Scalar":
        return Scalar(self.emit(expr), self.emit)

    def _lift(self, other: "Scalar | Number") -> Expr:
        return other.expr if isinstance(other, Scalar) else _constant(other, self.dtype)

    def _binary(self, op: BinaryOp, other: "Scalar | Number") -> "Scalar":
        return self._new(Binary(op, self.expr, self._lift(other)))

    def _compare(self, op: CompareOp, other: "Scalar | Number") -> "Scalar":
        return self._new(Compare(op, self.expr, self._lift(other)))

    def _unary(self, op: UnaryOp) -> "Scalar":
        return self._new(Unary(op, self.expr))

    def __add__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("add", other)

    def __sub__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> "Scalar":
        return self.constant(other) - self

    def __mul__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("mul", other)

    def __truediv__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> "Scalar":
        return self.constant(other) / self

    def __mod__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("rem", other)

    def __and__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("and", other)

    def __or__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("or", other)

    def __xor__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("xor", other)

    def __lshift__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("shl", other)

    def __rshift__(self, other: "Scalar | Number") -> "Scalar":
        return self._binary("shr", other)

    def __neg__(self) -> "Scalar":
        return self._unary("neg")

    def __abs__(self) -> "Scalar":
        return self._unary("abs")

    def __lt__(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("lt", other)

    def __le__(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("le", other)

    def __gt__(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("gt", other)

    def __ge__(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("ge", other)

    def equals(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("eq", other)

    def differs(self, other: "Scalar | Number") -> "Scalar":
        return self._compare("ne", other)

    def at_least(self, other: "Scalar | Number") -> "Scalar":
        """The larger one; NaN stays."""
        return self._binary("max", other)

    def at_most(self, other: "Scalar | Number") -> "Scalar":
        """The smaller one; NaN stays."""
        return self._binary("min", other)

    def rint(self) -> "Scalar":
        return self._unary("rint")

    def to(self, dtype: DType) -> "Scalar":
        """Converted to another dtype."""
        return self if dtype == self.dtype else self._new(Cast(self.expr, dtype))

    def bits_as(self, dtype: DType) -> "Scalar":
        """The same bits as another dtype."""
        return self._new(Bitcast(self.expr, dtype))

    def select(self, on_true: "Scalar | Number", on_false: "Scalar | Number") -> "Scalar":
        """`on_true if self else on_false`; at least one side is a `Scalar`."""
        like = on_true if isinstance(on_true, Scalar) else on_false
        assert isinstance(like, Scalar)
        return self._new(Select(self.expr, like._lift(on_true), like._lift(on_false)))


def _constant(value: Number, dtype: DType) -> Const:
    if not dtype.is_float:
        return Const(value, dtype)
    return Const(float(dtype.numpy.type(value)) if value == value else math.nan, dtype)  # one NaN, equal to itself


def fma(a: Scalar, b: Scalar | Number, c: Scalar | Number) -> Scalar:
    """`a * b + c` rounded once."""
    return Scalar(a.emit(Fma(a.expr, a._lift(b), a._lift(c))), a.emit)


def polynomial(x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """Horner's scheme with fma; constant coefficient first."""
    total = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = fma(total, x, coefficient)
    return total


# ------------------------------------------------------------------------------------------------------ float formats


@dataclass(frozen=True, slots=True)
class Format:
    """The layout of a float dtype."""

    dtype: DType
    signed: DType
    unsigned: DType
    mantissa: int
    bias: int

    def power_of_two(self, exponent: Scalar) -> Scalar:
        """2**exponent for an exponent (of dtype `signed`) of a normal number."""
        return ((exponent + self.bias) << self.mantissa).bits_as(self.dtype)

    def biased_power(self, exponent: Scalar, apart: int = 0) -> Scalar:
        """2**(n + apart) of a normal number, where the lowest bits of `exponent` hold n + 2 * bias."""
        return ((exponent - (self.bias - apart)) << self.mantissa).bits_as(self.dtype)

    def scale(self, x: Scalar, exponent: Scalar) -> Scalar:
        """`x * 2**n` for x near 1, rounded once, with overflow and gradual underflow; `exponent` as above."""
        half = exponent >> 1  # the bias in it, and half of n
        first, second = (part << self.mantissa for part in (half, exponent - half))
        return x * first.bits_as(self.dtype) * second.bits_as(self.dtype)

    def with_sign(self, magnitude: Scalar, sign: Scalar) -> Scalar:
        """`magnitude` (not negative) with the sign bit of `sign`."""
        top = sign.bits_as(self.unsigned) & (1 << (self.dtype.bits - 1))
        return (magnitude.bits_as(self.unsigned) | top).bits_as(self.dtype)


FORMATS: dict[DType, Format] = {
    float32: Format(float32, int32, uint32, 23, 127),
    float64: Format(float64, int64, uint64, 52, 1023),
}
