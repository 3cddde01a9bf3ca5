"""Loop-IR expressions to CUDA C++.

In: an expression and a `Scope`, which says where buffers lie. Out: text of one C++ expression with the same bits.
Integers wrap, but for what counts: sums and products of counters whose largest value fits 32 bits, positions in memory
among them, are plain arithmetic of that width, which a GPU is twice as fast at.
"""

from dataclasses import dataclass, field
from typing import assert_never

from graphc.core.dtypes import DType, int64, uint32
from graphc.core.errors import BackendError
from graphc.kernel.ir import (
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Compare,
    Const,
    DotPair,
    Expr,
    Fma,
    Load,
    Select,
    Unary,
    Var,
)
from graphc_cupy.spelling import BINARY, COMPARE, UNARY, constant, fill, kind_of, memory

LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class Place:
    """Where a buffer lies.

    is_scalar: a variable instead of an array. held: how many of the first indices say which thread has an element; it
    has only the rest of the shape.
    """

    text: str
    is_scalar: bool = False
    held: int = 0


@dataclass(slots=True)
class Scope:
    """What names mean at the current point of a function."""

    places: dict[str, Place] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of variables
    counters: dict[str, int] = field(default_factory=dict)  # variables of 32 bits that count loops, and their extents
    fetched: dict[Load, str] = field(default_factory=dict)  # what other threads hold, read beforehand

    def value(self, expr: Expr) -> str:
        """The text of an expression, whatever stands around it."""
        text = self.text(expr)
        return text[1:-1] if _is_wrapped(text) else text

    def text(self, expr: Expr) -> str:
        """The text of an expression as an operand: a name, a literal, a call, or something in parentheses."""
        if isinstance(expr, Binary | Var) and self._counts(expr):
            return f"((i64){self.place(expr)})"
        match expr:
            case Const(value, dtype):
                text = constant(value, dtype)
                return text if text[0] not in "(-" else f"({text})"
            case Var(name):
                return self.names[name]
            case Load():
                return self._load(expr)
            case Unary(op, x):
                return f"({fill(UNARY, op, x.dtype, self.text(x))})"
            case Binary(op, lhs, rhs):
                return self._binary(expr, op, lhs, rhs)
            case Compare(op_, lhs, rhs):
                spell = self.place if self._counts(lhs) and self._counts(rhs) else self.text
                return f"({spell(lhs)} {COMPARE[op_]} {spell(rhs)})"
            case Select(cond, on_true, on_false):
                return f"({self.text(cond)} ? {self.text(on_true)} : {self.text(on_false)})"
            case Cast(x, dtype):
                return self._cast(x, dtype)
            case Bitcast(x, dtype):
                return self._bitcast(x, dtype)
            case Fma(a, b, c):
                return self._fma(expr, a, b, c)
            case DotPair(a, b, c):
                return f"gc_dot_pair({self.value(a)}, {self.value(b)}, {self.value(c)})"
            case _:
                assert_never(expr)

    def _counts(self, expr: Expr) -> bool:
        """Whether an expression is made of counters and numbers, and nothing on the way leaves 32 bits."""
        return self._most(expr) < LIMIT

    def _most(self, expr: Expr) -> int:
        """The largest absolute value of an expression of counters and numbers, or of a part of it; else `LIMIT`."""
        match expr:
            case Const(value, dtype):
                return min(abs(int(value)), LIMIT) if dtype == int64 else LIMIT
            case Var(name):
                return max(self.counters.get(name, LIMIT + 1) - 1, 0)
            case Binary("add" | "sub", lhs, rhs):
                return min(self._most(lhs) + self._most(rhs), LIMIT)
            case Binary("mul", lhs, rhs):
                left, right = self._most(lhs), self._most(rhs)
                return LIMIT if LIMIT in (left, right) else min(max(left, 1) * max(right, 1), LIMIT)
            case Binary("div" | "rem", lhs, Const(value, dtype)) if value > 0 and dtype == int64:
                return self._most(lhs)
            case _:
                return LIMIT

    # -------------------------------------------------------------------------------------------------- operations

    def _binary(self, expr: Expr, op: str, lhs: Expr, rhs: Expr) -> str:
        if op in ("div", "rem") and isinstance(rhs, Const) and rhs.dtype.is_integer and rhs.value not in (0, -1):
            return f"({self.text(lhs)} {'/' if op == 'div' else '%'} {self.text(rhs)})"
        return f"({fill(BINARY, op, expr.dtype, self.text(lhs), self.text(rhs))})"

    def _fma(self, expr: Expr, a: Expr, b: Expr, c: Expr) -> str:
        if expr.dtype.is_float:
            return f"gc_fma({self.value(a)}, {self.value(b)}, {self.value(c)})"
        return self._binary(expr, "add", Binary("mul", a, b), c)

    def _cast(self, x: Expr, dtype: DType) -> str:
        text = self.text(x)
        if x.dtype == dtype:
            return text
        if dtype.is_half:
            return f"gc_to_{dtype.short}({text})"
        if x.dtype.is_half:
            return f"gc_from_{x.dtype.short}({text})"
        if dtype.is_bool:
            return f"({text} != 0)"
        if x.dtype.is_float and dtype.is_integer:
            return f"gc_whole<{kind_of(dtype)}>({text})"
        return f"(({kind_of(dtype)}){text})"

    def _bitcast(self, x: Expr, dtype: DType) -> str:
        text = self.text(x)
        if x.dtype == dtype:
            return text
        if x.dtype.is_float and not x.dtype.is_half:
            return f"(({kind_of(dtype)})gc_bits({text}))"
        if dtype.is_float and not dtype.is_half:
            return f"gc_float((u{dtype.bits}){text})"
        return f"(({kind_of(dtype)}){text})"

    # ------------------------------------------------------------------------------------------------------ memory

    def _load(self, load: Load) -> str:
        if load in self.fetched:
            return self.fetched[load]
        if load.buffer.is_view:
            assert load.dtype == uint32
            return f"gc_pair({self.places[load.buffer.name].text} + 2 * {self.position(load.buffer, load.index)})"
        text = self.element(load.buffer, load.index)
        return f"({text} != 0)" if load.dtype.is_bool else text

    def element(self, buffer: Buffer, index: tuple[Expr, ...]) -> str:
        """An element as something that can be assigned to."""
        place = self.places.get(buffer.name)
        if place is None:
            raise BackendError(f"{buffer.name} is not visible in its phase")
        if place.held:
            buffer = Buffer(buffer.name, buffer.dtype, buffer.shape[place.held :], buffer.space)
            index = index[place.held :]
        return place.text if place.is_scalar else f"{place.text}[{self.position(buffer, index, bare=True)}]"

    def stored(self, value: Expr) -> str:
        """A value as it is kept in memory."""
        return f"({memory(value.dtype)}){self.text(value)}" if value.dtype.is_bool else self.value(value)

    def position(self, buffer: Buffer, index: tuple[Expr, ...], bare: bool = False) -> str:
        """The number of an element in its buffer. In bounds, it and its parts are no larger than the buffer."""
        wide = "" if buffer.size < LIMIT else "(i64)"
        terms: list[str] = []
        stride = 1
        for expr, extent in zip(reversed(index), reversed(buffer.shape), strict=True):
            text = f"{wide}{self.place(expr)}"
            if extent != 1 and text != "0":
                terms.append(text if stride == 1 else f"{text} * {stride}")
            stride *= extent
        total = " + ".join(reversed(terms)) or "0"
        if len(terms) == 1 and bare and _is_wrapped(total):
            return total[1:-1]
        return total if bare or (len(terms) < 2 and " * " not in total) else f"({total})"

    def place(self, expr: Expr) -> str:
        """An index: of 32 bits where it counts, else of 64."""
        if expr.dtype != int64:
            return f"((i64){self.text(expr)})"
        match expr:
            case Binary("add" | "sub" | "mul" as op, lhs, rhs) if not self._counts(expr):
                symbol = {"add": "+", "sub": "-", "mul": "*"}[op]
                return f"((i64){self.place(lhs)} {symbol} {self.place(rhs)})"
            case _ if not self._counts(expr):
                return self.text(expr)
            case Const(value):
                return str(value) if value >= 0 else f"({value})"
            case Var(name):
                return self.names[name]
            case Binary("add" | "sub" | "mul" as op, lhs, rhs):
                symbol = {"add": "+", "sub": "-", "mul": "*"}[op]
                return f"({self.place(lhs)} {symbol} {self.place(rhs)})"
            case Binary("div" | "rem" as op, lhs, Const(value)):
                return f"({self.place(lhs)} {'/' if op == 'div' else '%'} {value})"
            case _:
                return self.text(expr)


def _is_wrapped(text: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    if not text.startswith("("):
        return False
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return at == len(text) - 1
    return False
