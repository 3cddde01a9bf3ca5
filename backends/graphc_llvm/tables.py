"""How each scalar operation of the loop IR is spelled in LLVM, by kind of dtype.

A row is an instruction (`fadd`) or an intrinsic (`llvm.sqrt`). What needs more than one instruction (integer division,
casts) is in `arithmetic.py`.
"""

from collections.abc import Mapping

from graphc.core.dtypes import DType
from graphc.kernel.spelling import Row, row

# Booleans add like `or` and multiply like `and`, as in NumPy.
BINARY: Mapping[str, Row] = {
    "add": row("add", float="fadd", bool="or"),
    "sub": row("sub", float="fsub", bool="xor"),
    "mul": row("mul", float="fmul", bool="and"),
    "div": row(float="fdiv"),  # integers: arithmetic.divide
    "rem": row(float="frem"),
    "min": row(int="llvm.smin", uint="llvm.umin", float="llvm.minimum", bool="and"),
    "max": row(int="llvm.smax", uint="llvm.umax", float="llvm.maximum", bool="or"),
    "and": row("and", float=""),
    "or": row("or", float=""),
    "xor": row("xor", float=""),
    "shl": row("shl", float="", bool=""),
    "shr": row(int="ashr", uint="lshr"),
}

# An empty row leaves the value as it is.
ROUNDING: Mapping[str, Row] = {
    "sqrt": row(float="llvm.sqrt"),
    "floor": row(float="llvm.floor"),
    "ceil": row(float="llvm.ceil"),
    "trunc": row(float="llvm.trunc"),
    "rint": row(float="llvm.rint"),
}

COMPARE: Mapping[str, Row] = {
    "eq": row("icmp eq", float="fcmp oeq"),
    "ne": row("icmp ne", float="fcmp une"),
    "lt": row("icmp ult", int="icmp slt", float="fcmp olt"),
    "le": row("icmp ule", int="icmp sle", float="fcmp ole"),
    "gt": row("icmp ugt", int="icmp sgt", float="fcmp ogt"),
    "ge": row("icmp uge", int="icmp sge", float="fcmp oge"),
}


def lookup(table: Mapping[str, Row], op: str, dtype: DType) -> str:
    """The row of `op` for this dtype."""
    return table[op][dtype.kind]
