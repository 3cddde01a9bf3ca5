"""Building index and scalar expressions: constants fold, neutral elements disappear. Bits never change.

Only integer index arithmetic is simplified; float expressions are built as they are asked for.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core.dtypes import DType, bool_, float32, int64
from graphc.kernel.ir import (
    Binary,
    BinaryOp,
    Bitcast,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    Load,
    Select,
    Unary,
    Var,
    index,
)

Index = tuple[Expr, ...]


def const(value: object, dtype: DType) -> Const:
    """A constant of any dtype from a Python or NumPy scalar."""
    if dtype.is_bool:
        return Const(bool(value), dtype)
    if dtype.is_float:
        return Const(float(value), dtype)  # type: ignore[arg-type]
    return Const(int(value), dtype)  # type: ignore[call-overload]


def computing(dtype: DType) -> DType:
    """What elements of a dtype are computed in: float32 for half types, else the dtype itself."""
    return dtype.computes_in


def convert(x: Expr, dtype: DType) -> Expr:
    """`x` as another dtype, but not bool; between a half type and anything else through float32."""
    if x.dtype == dtype:
        return x
    if isinstance(x, Const) and x.dtype.is_half:
        with np.errstate(over="ignore"):
            x = Const(float(np.asarray(x.value, x.dtype.numpy)), float32)
    for step in (computing(x.dtype), computing(dtype), dtype):
        x = x if x.dtype == step else Cast(x, step)
    return x


def _folded(op: BinaryOp, lhs: Expr, rhs: Expr) -> Expr | None:
    if not (isinstance(lhs, Const) and isinstance(rhs, Const)):
        return None
    a, b = int(lhs.value), int(rhs.value)
    table = {"add": a + b, "sub": a - b, "mul": a * b}
    if op in ("div", "rem"):
        return index(a // b if op == "div" else a % b) if a >= 0 and b > 0 else None
    return index(table[op])


def add(lhs: Expr, rhs: Expr) -> Expr:
    """`lhs + rhs` of indices."""
    if isinstance(lhs, Const) and lhs.value == 0:
        return rhs
    if isinstance(rhs, Const) and rhs.value == 0:
        return lhs
    return _folded("add", lhs, rhs) or Binary("add", lhs, rhs)


def mul(lhs: Expr, factor: int) -> Expr:
    """`lhs * factor` of an index."""
    if factor == 1:
        return lhs
    if factor == 0:
        return index(0)
    return _folded("mul", lhs, index(factor)) or Binary("mul", lhs, index(factor))


def div(lhs: Expr, by: int) -> Expr:
    """`lhs / by` of an index that is not negative."""
    return lhs if by == 1 else _folded("div", lhs, index(by)) or Binary("div", lhs, index(by))


def rem(lhs: Expr, by: int) -> Expr:
    """`lhs % by` of an index that is not negative."""
    return index(0) if by == 1 else _folded("rem", lhs, index(by)) or Binary("rem", lhs, index(by))


def linear(idx: Sequence[Expr], shape: Sequence[int]) -> Expr:
    """The row-major element number of a multi-dimensional index."""
    total: Expr = index(0)
    for position, extent in zip(idx, shape, strict=True):
        total = add(mul(total, extent), position if extent != 1 else index(0))
    return total


def delinear(flat: Expr, shape: Sequence[int]) -> Index:
    """The multi-dimensional index of a row-major element number."""
    found: list[Expr] = []
    stride = 1
    wide = [d for d, extent in enumerate(shape) if extent != 1]
    for dim in reversed(range(len(shape))):
        extent = shape[dim]
        if extent == 1:
            found.append(index(0))
            continue
        upper = div(flat, stride)
        found.append(upper if dim == wide[0] else rem(upper, extent))
        stride *= extent
    return tuple(reversed(found))


def clamp(idx: Expr, extent: int) -> Expr:
    """The nearest index in [0, extent)."""
    return Binary("max", Binary("min", idx, index(extent - 1)), index(0))


def between(idx: Expr, low: int, high: int) -> Expr:
    """`low <= idx < high`."""
    return Binary("and", Compare("ge", idx, index(low)), Compare("lt", idx, index(high)))


def all_of(conditions: Sequence[Expr]) -> Expr | None:
    """The conjunction, or None when there is nothing to hold."""
    total: Expr | None = None
    for condition in conditions:
        total = condition if total is None else Binary("and", total, condition)
    return total


__all__ = [
    "Binary",
    "Bitcast",
    "Cast",
    "Compare",
    "Const",
    "Expr",
    "Fma",
    "Index",
    "Load",
    "Select",
    "Unary",
    "Var",
    "add",
    "all_of",
    "between",
    "bool_",
    "clamp",
    "computing",
    "const",
    "convert",
    "delinear",
    "div",
    "index",
    "int64",
    "linear",
    "mul",
    "rem",
]
