"""Lowering of elementwise primitives: one row each, from operand expressions to the result's expression.

On half types each op computes in float32 and rounds its result, whatever it is fused with; rows see float32 only, but
for the ops that move bits.
"""

from collections.abc import Callable, Sequence

import numpy as np

from graphc.core.dtypes import bool_
from graphc.graph.ir import Attrs, Node
from graphc.graph.ops.elementwise import DTypeAttrs
from graphc.kernel.ir import Binary, BinaryOp, Bitcast, Compare, CompareOp, Const, Expr, Select, Unary, UnaryOp
from graphc.kernel.lower.emit import Emitter, Pull, PullRule
from graphc.kernel.lower.expr import Index, computing, const, convert
from graphc.kernel.math import expand

Row = Callable[[Emitter, Attrs, Sequence[Expr]], Expr]


def _unary(op: UnaryOp) -> Row:
    return lambda _, __, args: Unary(op, args[0])


def _binary(op: BinaryOp) -> Row:
    return lambda _, __, args: Binary(op, args[0], args[1])


def _shift(op: BinaryOp) -> Row:
    """A count outside of the width (also a negative one) shifts everything out: the loop IR has no such counts."""

    def row(emitter: Emitter, _: Attrs, args: Sequence[Expr]) -> Expr:
        x, count = args
        width = x.dtype.bits
        if isinstance(count, Const) and 0 <= count.value < width:
            return Binary(op, x, count)
        is_signed = x.dtype.kind == "int"
        inside: Expr = Compare("lt", count, const(width, count.dtype))
        if is_signed:
            inside = Binary("and", inside, Compare("ge", count, const(0, count.dtype)))
        inside = emitter.let(inside)
        if is_signed and op == "shr":
            return Binary(op, x, Select(inside, count, const(width - 1, count.dtype)))
        zero = const(0, x.dtype)
        return Select(inside, Binary(op, x, Select(inside, count, zero)), zero)

    return row


def _compare(op: CompareOp) -> Row:
    return lambda _, __, args: Compare(op, args[0], args[1])


def _math(name: str) -> Row:
    return lambda emitter, _, args: expand(name, tuple(args), emitter.let)


def _abs(emitter: Emitter, _: Attrs, args: Sequence[Expr]) -> Expr:
    return args[0] if args[0].dtype.kind == "uint" else Unary("abs", args[0])


def _sign(emitter: Emitter, _: Attrs, args: Sequence[Expr]) -> Expr:
    (x,) = args
    zero, one = const(0, x.dtype), const(1, x.dtype)
    if x.dtype.kind == "uint":
        return Select(Compare("gt", x, zero), one, zero)
    nan_or_zero = Select(Compare("eq", x, zero), zero, x) if x.dtype.is_float else zero
    return Select(Compare("gt", x, zero), one, Select(Compare("lt", x, zero), const(-1, x.dtype), nan_or_zero))


def _is_finite(emitter: Emitter, _: Attrs, args: Sequence[Expr]) -> Expr:
    return Compare("lt", Unary("abs", args[0]), const(np.inf, args[0].dtype))


def _cast(emitter: Emitter, attrs: Attrs, args: Sequence[Expr]) -> Expr:
    assert isinstance(attrs, DTypeAttrs)
    (x,) = args
    if attrs.dtype is bool_ and x.dtype is not bool_:
        wide = convert(x, computing(x.dtype))
        return Compare("ne", wide, const(0, wide.dtype))
    return convert(x, attrs.dtype)


def _bitcast(emitter: Emitter, attrs: Attrs, args: Sequence[Expr]) -> Expr:
    assert isinstance(attrs, DTypeAttrs)
    return Bitcast(args[0], attrs.dtype)


ROWS: dict[str, Row] = {
    "neg": _unary("neg"),
    "abs": _abs,
    "sign": _sign,
    "exp": _math("exp"),
    "expm1": _math("expm1"),
    "log": _math("log"),
    "log1p": _math("log1p"),
    "sqrt": _unary("sqrt"),
    "sin": _math("sin"),
    "cos": _math("cos"),
    "atan": _math("atan"),
    "tanh": _math("tanh"),
    "erf": _math("erf"),
    "erfc": _math("erfc"),
    "sigmoid": _math("sigmoid"),
    "floor": _unary("floor"),
    "ceil": _unary("ceil"),
    "trunc": _unary("trunc"),
    "round": _unary("rint"),
    "is_finite": _is_finite,
    "not": _unary("not"),
    "add": _binary("add"),
    "sub": _binary("sub"),
    "mul": _binary("mul"),
    "div": _binary("div"),
    "rem": _binary("rem"),
    "pow": _math("pow"),
    "max": _binary("max"),
    "min": _binary("min"),
    "and": _binary("and"),
    "or": _binary("or"),
    "xor": _binary("xor"),
    "shift_left": _shift("shl"),
    "shift_right": _shift("shr"),
    "eq": _compare("eq"),
    "ne": _compare("ne"),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "gt": _compare("gt"),
    "ge": _compare("ge"),
    "select": lambda _, __, args: Select(args[0], args[1], args[2]),
    "cast": _cast,
    "bitcast": _bitcast,
    "stop_gradient": lambda _, __, args: args[0],
    "saved": lambda _, __, args: args[0],
    "within": lambda _, __, args: args[0],
}


# Rows that take half types as they are.
_MOVES_BITS = frozenset({"select", "cast", "bitcast", "stop_gradient", "saved"})


def _rule(name: str, row: Row) -> PullRule:
    def rule(emitter: Emitter, node: Node, idx: Index) -> Pull:
        args: list[Expr] = []
        for operand in node.operands:
            args.append((yield operand, idx))
        if name in _MOVES_BITS or not args[0].dtype.is_half:
            return row(emitter, node.attrs, args)
        wide = [emitter.let(convert(arg, computing(arg.dtype))) for arg in args]
        return convert(row(emitter, node.attrs, wide), node.result.dtype)

    return rule


RULES: dict[str, PullRule] = {name: _rule(name, row) for name, row in ROWS.items()}
