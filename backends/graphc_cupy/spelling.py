"""How scalar operations of the loop IR are spelled in CUDA C++, by kind of dtype.

A row is a pattern over operands that are atoms or in parentheses; `T` stands for the element type and `U` for the
unsigned type of the same width. Integers wrap, which C++ promises of unsigned ones only.
"""

import math
import re
import struct
from collections.abc import Mapping

from graphc.core.dtypes import DType, half_bits
from graphc.core.errors import BackendError
from graphc.kernel.spelling import Row, row
from graphc_cupy.prelude import PRELUDE

TYPES = frozenset(re.findall(r"^typedef .* (\w+);$", PRELUDE, re.MULTILINE))


def _wrapping(symbol: str, **kinds: str) -> Row:
    return row(
        f"(T)({{0}} {symbol} {{1}})", int=f"(T)((U){{0}} {symbol} (U){{1}})", float=f"{{0}} {symbol} {{1}}", **kinds
    )


UNARY: Mapping[str, Row] = {
    "neg": row("(T)-{0}", int="(T)-(U){0}", float="-{0}"),
    "abs": row("{0}", int="({0} < 0 ? (T)-(U){0} : {0})", float="fabsF({0})"),
    "sqrt": row(float="sqrtF({0})"),
    "floor": row("{0}", float="floorF({0})"),
    "ceil": row("{0}", float="ceilF({0})"),
    "trunc": row("{0}", float="truncF({0})"),
    "rint": row("{0}", float="rintF({0})"),
    "not": row("(T)~{0}", bool="!{0}", float=""),
}

BINARY: Mapping[str, Row] = {
    "add": _wrapping("+", bool="{0} || {1}"),
    "sub": _wrapping("-", bool="{0} != {1}"),
    "mul": _wrapping("*", bool="{0} && {1}"),
    "div": row("gc_div<T>({0}, {1})", float="{0} / {1}", bool=""),
    "rem": row("gc_rem<T>({0}, {1})", float="gc_rem({0}, {1})", bool=""),
    "min": row("gc_min<T>({0}, {1})", float="gc_min({0}, {1})", bool="{0} && {1}"),
    "max": row("gc_max<T>({0}, {1})", float="gc_max({0}, {1})", bool="{0} || {1}"),
    "and": row("(T)({0} & {1})", bool="{0} && {1}", float=""),
    "or": row("(T)({0} | {1})", bool="{0} || {1}", float=""),
    "xor": row("(T)({0} ^ {1})", bool="{0} != {1}", float=""),
    "shl": row("(T)((U){0} << {1})", bool="", float=""),
    "shr": row("(T)({0} >> {1})", bool="", float=""),
}

COMPARE: Mapping[str, str] = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def fill(table: Mapping[str, Row], op: str, dtype: DType, *operands: str) -> str:
    """An operation on operands."""
    pattern = table[op][dtype.kind]
    if not pattern:
        raise BackendError(f"{op}: not defined on {dtype}")
    name, suffix = kind_of(dtype), "f" if dtype.bits == 32 else ""
    unsigned = f"u{dtype.bits}" if dtype.is_integer else name
    pattern = pattern.replace("(T)", f"({name})").replace("<T>", f"<{name}>").replace("(U)", f"({unsigned})")
    return pattern.replace("F(", f"{suffix}(").format(*operands)


def kind_of(dtype: DType) -> str:
    """The type of a value."""
    return "bool" if dtype.is_bool else dtype.short


def memory(dtype: DType) -> str:
    """The type of an element in memory: a bool is a byte, and true when it is not zero."""
    return "u8" if dtype.is_bool else dtype.short


def identifier(name: str) -> str:
    """How a variable or buffer of the loop IR is called: the tenth counter of a nest, `i8`, would hide a type."""
    return f"{name}_" if name in TYPES else name


def constant(value: bool | int | float, dtype: DType) -> str:
    """A literal with exactly this value."""
    if dtype.is_bool:
        return "true" if value else "false"
    if dtype.is_float:
        return _float(float(value), dtype)
    if dtype.kind == "uint":
        return f"{int(value)}{'ull' if dtype.bits == 64 else 'u'}"
    if dtype.bits < 64:
        return f"({dtype.short}){int(value)}" if dtype.bits < 32 or value == -(2**31) else str(int(value))
    return "(i64)0x8000000000000000ull" if value == -(2**63) else f"{int(value)}ll"


def _float(value: float, dtype: DType) -> str:
    single = dtype.bits == 32
    if dtype.is_half:
        return f"({dtype.short}){half_bits(value, dtype)}"
    if single:
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
    else:
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    if not math.isfinite(value):
        return f"gc_float({bits:#x}{'u' if single else 'ull'})"
    (exact,) = struct.unpack("<f", struct.pack("<f", value)) if single else (value,)
    short = repr(exact)
    if len(short) <= 8:
        return short + ("f" if single else "")
    digits, _, exponent = float(exact).hex().partition("p")
    return f"{digits.rstrip('0')}p{exponent}{'f' if single else ''}"
