"""LLVM types and constants of our dtypes. Booleans are `i1` in registers and `i8` in memory.

bfloat16 is `i16`: it is moved and converted, never computed in, and the instructions LLVM knows for its `bfloat` flush
small numbers to zero.
"""

import ctypes
import math
import struct

from graphc.core.dtypes import ALL, DType, bfloat16


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
    rounded = ctypes.c_float(value).value if dtype.bits <= 32 else float(value)  # as C converts: to nearest, or inf
    if dtype is bfloat16:
        return str(wrap(_bfloat16_bits(rounded), 16))
    return "0x" + struct.pack(">d", rounded).hex().upper()


def _bfloat16_bits(value: float) -> int:
    """A float32 number rounded to nearest, ties to even."""
    if math.isnan(value):
        return 0x7FC0
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return int(bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def wrap(value: int, bits: int) -> int:
    """`value` modulo 2**bits, as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
