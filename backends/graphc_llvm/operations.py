"""Scalar operations of the loop IR on values of any number of lanes: `y = op(x)` becomes one instruction or a few.

Operands are brought to the same number of lanes first. Sums and products of integers that an address may take as they
are stay `Linear`, without an instruction.
"""

from collections.abc import Callable

from graphc.core.dtypes import DType, bool_
from graphc.core.errors import BackendError
from graphc_llvm import arithmetic
from graphc_llvm.builder import Builder
from graphc_llvm.host import has_dot_instruction
from graphc_llvm.tables import BINARY, COMPARE, ROUNDING, lookup
from graphc_llvm.types import register, scalar, suffix
from graphc_llvm.values import Linear, Value, add, emitted, linear, product, spread


def _together(b: Builder, *values: Value) -> tuple[int, list[str]]:
    """The registers of operands brought to the same number of lanes."""
    lanes = max(value.lanes for value in values)
    return lanes, [spread(b, value, lanes) for value in values]


def _apply(b: Builder, spelling: str, dtype: DType, lanes: int, operands: list[str]) -> str:
    kind = register(dtype, lanes)
    if not spelling.startswith("llvm."):
        return b.emit(f"{spelling} {kind} {', '.join(operands)}")
    return b.call(f"{spelling}.{suffix(dtype, lanes)}", kind, [(kind, text) for text in operands])


def unary(b: Builder, op: str, x: Value) -> Value:
    """`op(x)`."""
    lanes, (text,) = _together(b, x)
    dtype = x.dtype
    kind = register(dtype, lanes)
    if op == "neg":
        zero = "0" if lanes == 1 else "zeroinitializer"
        result = b.emit(f"fneg {kind} {text}" if dtype.is_float else f"sub {kind} {zero}, {text}")
    elif op == "not":
        ones = "true" if dtype.is_bool else "-1"
        result = b.emit(f"xor {kind} {text}, {ones if lanes == 1 else f'splat ({scalar(dtype)} {ones})'}")
    elif op == "abs" and dtype.is_float:
        result = _apply(b, "llvm.fabs", dtype, lanes, [text])
    elif op == "abs" and dtype.kind == "int":
        result = b.call(f"llvm.abs.{suffix(dtype, lanes)}", kind, [(kind, text), ("i1", "false")])
    elif op == "abs" or not (spelling := lookup(ROUNDING, op, dtype)):
        return x  # unsigned numbers are their own size; integers are already whole
    else:
        result = _apply(b, spelling, dtype, lanes, [text])
    return Value(dtype, result, lanes)


def binary(b: Builder, op: str, x: Value | Linear, y: Value | Linear) -> Value | Linear:
    """`op(x, y)`, linear where that is known."""
    if op in ("add", "sub", "mul") and (sum_ := _sum(b, op, linear(x), linear(y))) is not None:
        return sum_
    return _operation(b, op, emitted(b, x), emitted(b, y))


def _sum(b: Builder, op: str, x: Linear | None, y: Linear | None) -> Linear | None:
    if x is None or y is None:
        return None
    return product(b, x, y) if op == "mul" else add(x, y, 1 if op == "add" else -1)


def _operation(b: Builder, op: str, x: Value, y: Value) -> Value:
    lanes, (lhs, rhs) = _together(b, x, y)
    if op in ("div", "rem") and x.dtype.is_integer:
        result = arithmetic.divide(b, op, x.dtype, lanes, lhs, rhs, y.known)
        return Value(x.dtype, result, lanes)
    if op in ("max", "min") and x.dtype.is_float and lhs.startswith("%") and rhs.startswith("%"):
        return Value(x.dtype, arithmetic.extremum(b, op, x.dtype, lanes, lhs, rhs), lanes)
    spelling = lookup(BINARY, op, x.dtype)
    if not spelling:
        raise BackendError(f"{op}: not defined on {x.dtype}")
    return Value(x.dtype, _apply(b, spelling, x.dtype, lanes, [lhs, rhs]), lanes)


def compare(b: Builder, op: str, x: Value, y: Value) -> Value:
    """A bool for each lane."""
    lanes, (lhs, rhs) = _together(b, x, y)
    result = b.emit(f"{lookup(COMPARE, op, x.dtype)} {register(x.dtype, lanes)} {lhs}, {rhs}")
    return Value(bool_, result, lanes)


def select(b: Builder, cond: Value, x: Value, y: Value) -> Value:
    """`x` where `cond` holds, else `y`."""
    lanes, (lhs, rhs) = _together(b, x, y)
    lanes = max(lanes, cond.lanes)
    lhs, rhs = (spread(b, v, lanes) for v in (x, y)) if lanes > 1 else (lhs, rhs)
    mask = "i1" if cond.uniform else f"<{lanes} x i1>"
    kind = register(x.dtype, lanes)
    return Value(x.dtype, b.emit(f"select {mask} {cond.text}, {kind} {lhs}, {kind} {rhs}"), lanes)


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """`x * y + z`, rounded once."""
    lanes, texts = _together(b, x, y, z)
    if z.dtype.is_float:
        return Value(z.dtype, _apply(b, "llvm.fma", z.dtype, lanes, texts), lanes)
    return emitted(b, binary(b, "add", binary(b, "mul", x, y), z))


def dot_pair(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """`graphc.kernel.ir.DotPair`, one instruction where the processor has it."""
    lanes, texts = _together(b, x, y, z)
    dot = arithmetic.dot_instruction if has_dot_instruction(lanes) else arithmetic.dot_pair
    return Value(z.dtype, dot(b, lanes, *texts), lanes)


def convert(b: Builder, how: Callable[[Builder, DType, DType, int, str], str], x: Value, dtype: DType) -> Value:
    """A cast or bit cast; nothing where `x` is of that dtype."""
    if x.dtype == dtype:
        return x
    lanes, (text,) = _together(b, x)
    return Value(dtype, how(b, x.dtype, dtype, lanes, text), lanes)
