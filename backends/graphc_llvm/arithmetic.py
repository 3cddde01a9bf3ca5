"""Operations that take more than one instruction: integer division, casts, bit casts.

All functions work on registers of `lanes` lanes and follow the rules at the top of `graphc.kernel.ir`.
"""

from graphc.core.dtypes import DType
from graphc_llvm.builder import Builder
from graphc_llvm.types import constant, register, suffix


def divide(b: Builder, op: str, dtype: DType, lanes: int, x: str, y: str, divisor: int | None) -> str:
    """Integer `div` or `rem`: truncating, 0 for a zero divisor, wrapping for the smallest number by -1."""
    kind = register(dtype, lanes)
    signed = dtype.kind == "int"
    instruction = f"{'s' if signed else 'u'}{op}"
    if divisor is not None and divisor not in (0, -1):
        return b.emit(f"{instruction} {kind} {x}, {y}")
    mask = f"<{lanes} x i1>" if lanes > 1 else "i1"
    zero, one = (_all(value, dtype, lanes) for value in (0, 1))
    is_zero = b.emit(f"icmp eq {kind} {y}, {zero}")
    special = is_zero
    if signed:
        is_minus = b.emit(f"icmp eq {kind} {y}, {_all(-1, dtype, lanes)}")
        special = b.emit(f"or {mask} {is_zero}, {is_minus}")
    safe = b.emit(f"select {mask} {special}, {kind} {one}, {kind} {y}")
    result = b.emit(f"{instruction} {kind} {x}, {safe}")
    if op == "rem":
        return result  # the remainder by one is the 0 wanted in both special cases
    if signed:
        negated = b.emit(f"sub {kind} {zero}, {x}")
        result = b.emit(f"select {mask} {is_minus}, {kind} {negated}, {kind} {result}")
    return b.emit(f"select {mask} {is_zero}, {kind} {zero}, {kind} {result}")


def _all(value: int, dtype: DType, lanes: int) -> str:
    text = constant(value, dtype)
    return text if lanes == 1 else f"splat ({register(dtype)} {text})"


def cast(b: Builder, source: DType, target: DType, lanes: int, x: str) -> str:
    """Convert the value: saturating from float to integer, wrapping between integers, `!= 0` to bool."""
    if source == target:
        return x
    before, after = register(source, lanes), register(target, lanes)
    if target.is_bool:
        test = "fcmp une" if source.is_float else "icmp ne"
        zero = "0.0" if source.is_float else "0"
        return b.emit(f"{test} {before} {x}, {zero if lanes == 1 else 'zeroinitializer'}")
    if source.is_float and target.is_float:
        return b.emit(f"{'fpext' if target.bits > source.bits else 'fptrunc'} {before} {x} to {after}")
    if source.is_float:
        name = "fptosi" if target.kind == "int" else "fptoui"
        return b.call(f"llvm.{name}.sat.{suffix(target, lanes)}.{suffix(source, lanes)}", after, [(before, x)])
    signed = source.kind == "int"
    if target.is_float:
        return b.emit(f"{'sitofp' if signed else 'uitofp'} {before} {x} to {after}")
    width = 1 if source.is_bool else source.bits
    if width == target.bits:
        return x
    if width > target.bits:
        return b.emit(f"trunc {before} {x} to {after}")
    return b.emit(f"{'sext' if signed else 'zext'} {before} {x} to {after}")


def bitcast(b: Builder, source: DType, target: DType, lanes: int, x: str) -> str:
    """The same bits as another dtype of the same width."""
    if source.is_bool or target.is_bool:
        return cast(b, source, target, lanes, x)
    before, after = register(source, lanes), register(target, lanes)
    return x if before == after else b.emit(f"bitcast {before} {x} to {after}")
