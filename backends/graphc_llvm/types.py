"""LLVM types and constants of our dtypes. Booleans are `i1` in registers and `i8` in memory.

Half types are `i16`: they are moved and converted, never computed in.
"""

import ctypes
import struct

from graphc.core.dtypes import ALL, DType, half_bits


def scalar(dtype: DType) -> str:
    """The register type of one element."""
    return _SCALAR[dtype.short]


def _scalar(dtype: DType) -> str:
    if dtype.is_bool:
        return "i1"
    if dtype.is_float and dtype.bits > 16:
        return "float" if dtype.bits == 32 else "double"
    return f"i{dtype.bits}"


_SCALAR = {dtype.short: _scalar(dtype) for dtype in ALL}
_MEMORY = _SCALAR | {"bool": "i8"}


def memory(dtype: DType) -> str:
    """The type of one element in memory."""
    return _MEMORY[dtype.short]


def widen(element: str, lanes: int) -> str:
    """A vector of `lanes` elements; the element itself for one lane."""
    return element if lanes == 1 else f"<{lanes} x {element}>"


def register(dtype: DType, lanes: int = 1) -> str:
    """The register type of `lanes` elements."""
    return widen(scalar(dtype), lanes)


def suffix(dtype: DType, lanes: int = 1, in_memory: bool = False) -> str:
    """How intrinsics spell the type: `f32`, `v16f32`, `v8i64`."""
    bits = 1 if dtype.is_bool and not in_memory else dtype.bits
    element = f"{'f' if dtype.is_float and bits > 16 else 'i'}{bits}"
    return element if lanes == 1 else f"v{lanes}{element}"


def constant(value: bool | int | float, dtype: DType) -> str:
    """One element as LLVM text; integers wrap into the dtype, floats are rounded to it."""
    if dtype.is_bool:
        return "true" if value else "false"
    if not dtype.is_float:
        return str(wrap(int(value), dtype.bits))
    if dtype.is_half:
        return str(wrap(half_bits(value, dtype), 16))
    rounded = ctypes.c_float(value).value if dtype.bits <= 32 else float(value)  # as C converts: to nearest, or inf
    return "0x" + struct.pack(">d", rounded).hex().upper()


def wrap(value: int, bits: int) -> int:
    """`value` modulo 2**bits, as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
