"""The loop IR as text. `print_kernel` writes a kernel as one readable screen; `graphc.kernel.parser` reads it back.

    kernel scale(
      in x: f32[8] "x f32[8] train.py:3",
      out y: f32[8] alias(x),
    ) flops 8 from "train.py:4":
      parallel i in 0..8:
        y[i] = x[i] * 2.0:f32

An int64 constant is a plain number; others carry their dtype. `f32(x)` is a cast and `as_f32(x)` a bitcast. Variables
take their dtype from the loop (int64) or `let` that defines them. `c[i] add= x` is `Accumulate`. `x:u32[i]` reads two
bfloat16 of `x`.
"""

import json

from graphc.core.dtypes import int64
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    BinaryOp,
    Bitcast,
    Buffer,
    CallLibrary,
    Cast,
    Compare,
    CompareOp,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    Param,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
)

BINARY_SYMBOLS: dict[BinaryOp, tuple[str, int]] = {  # symbol and precedence
    "or": ("|", 2),
    "xor": ("^", 3),
    "and": ("&", 4),
    "shl": ("<<", 5),
    "shr": (">>", 5),
    "add": ("+", 6),
    "sub": ("-", 6),
    "mul": ("*", 7),
    "div": ("/", 7),
    "rem": ("%", 7),
}
COMPARE_SYMBOLS: dict[CompareOp, str] = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
COMPARE_PRECEDENCE = 1
_INDENT = "  "


def print_kernel(kernel: Kernel) -> str:
    """The text of a kernel, without a newline at the end."""
    lines = [f"kernel {_name(kernel.name)}("]
    lines += [f"{_INDENT}{_param(param)}," for param in kernel.params]
    flops = f" flops {kernel.flops}" if kernel.flops else ""
    sources = f" from {', '.join(map(_quoted, kernel.sources))}" if kernel.sources else ""
    lines.append(f"){flops}{sources}:")
    _block(kernel.body, _INDENT, lines)
    return "\n".join(lines)


def print_statements(statements: tuple[Stmt, ...]) -> str:
    """The text of some statements."""
    lines: list[str] = []
    _block(statements, "", lines)
    return "\n".join(lines)


def print_expr(expr: Expr) -> str:
    """The text of an expression."""
    return _expr(expr, 0)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _name(name: str) -> str:
    return name if name.isidentifier() else _quoted(name)


def _type(buffer: Buffer) -> str:
    return f"{buffer.name}: {buffer.dtype.short}[{', '.join(map(str, buffer.shape))}]"


def _param(param: Param) -> str:
    source = f" {_quoted(param.source)}" if param.source else ""
    alias = f" alias({', '.join(param.aliases_ok)})" if param.aliases_ok else ""
    return f"{param.mode} {_type(param.buffer)}{source}{alias}"


def _block(statements: tuple[Stmt, ...], indent: str, lines: list[str]) -> None:
    for statement in statements:
        match statement:
            case For(var, extent, kind, body):
                lines.append(f"{indent}{kind} {var.name} in 0..{_expr(extent, 0)}:")
                _block(body, indent + _INDENT, lines)
            case Let(var, value):
                lines.append(f"{indent}let {var.name}: {var.dtype.short} = {_expr(value, 0)}")
            case Store(buffer, idx, value, distinct):
                word = "distinct " if distinct else ""
                lines.append(f"{indent}{word}{_access(buffer, idx)} = {_expr(value, 0)}")
            case Accumulate(targets, values, combine):
                left = ", ".join(_access(*target) for target in targets)
                lines.append(f"{indent}{left} {combine}= {', '.join(_expr(v, 0) for v in values)}")
            case If(cond, then, orelse):
                lines.append(f"{indent}if {_expr(cond, 0)}:")
                _block(then, indent + _INDENT, lines)
                if orelse:
                    lines.append(f"{indent}else:")
                    _block(orelse, indent + _INDENT, lines)
            case While(cond, bound, body):
                lines.append(f"{indent}while {_expr(cond, 0)} at most {bound}:")
                _block(body, indent + _INDENT, lines)
            case Alloc(buffer):
                lines.append(f"{indent}alloc {buffer.space} {_type(buffer)}")
            case Prefetch(buffer, idx):
                lines.append(f"{indent}prefetch {_access(buffer, idx)}")
            case CallLibrary(function, buffers):
                lines.append(f"{indent}call {function}({', '.join(buffer.name for buffer in buffers)})")


def _access(buffer: Buffer, idx: tuple[Expr, ...]) -> str:
    view = f":{buffer.dtype.short}" if buffer.is_view else ""
    return f"{buffer.name}{view}[{', '.join(_expr(i, 0) for i in idx)}]"


def _call(name: str, *args: Expr) -> str:
    return f"{name}({', '.join(_expr(arg, 0) for arg in args)})"


def _expr(expr: Expr, precedence: int) -> str:
    match expr:
        case Const():
            return _const(expr)
        case Var(name):
            return name
        case Load(buffer, idx):
            return _access(buffer, idx)
        case Unary(op, x):
            return _call(op, x)
        case Binary("min" | "max" as op, lhs, rhs):
            return _call(op, lhs, rhs)
        case Binary(op, lhs, rhs):
            symbol, own = BINARY_SYMBOLS[op]
            return _parenthesised(f"{_expr(lhs, own)} {symbol} {_expr(rhs, own + 1)}", own < precedence)
        case Compare(op_, lhs, rhs):
            own = COMPARE_PRECEDENCE
            text = f"{_expr(lhs, own + 1)} {COMPARE_SYMBOLS[op_]} {_expr(rhs, own + 1)}"
            return _parenthesised(text, own < precedence)
        case Select(cond, a, b):
            return _call("select", cond, a, b)
        case Cast(x, dtype):
            return _call(dtype.short, x)
        case Bitcast(x, dtype):
            return _call(f"as_{dtype.short}", x)
        case Fma(a, b, c):
            return _call("fma", a, b, c)
        case DotPair(a, b, c):
            return _call("dot_pair", a, b, c)


def _parenthesised(text: str, needed: bool) -> str:
    return f"({text})" if needed else text


def _const(const: Const) -> str:
    if const.dtype.is_bool:
        return "true" if const.value else "false"
    return repr(const.value) if const.dtype == int64 else f"{const.value!r}:{const.dtype.short}"
