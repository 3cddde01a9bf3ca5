"""Operations that take more than one instruction: integer division, casts, bit casts.

All functions work on registers of `lanes` lanes and follow the rules at the top of `graphc.kernel.ir`.
"""

from graphc.core.dtypes import DType, bfloat16, bool_, float16, float32, uint16, uint32
from graphc_llvm.builder import Builder
from graphc_llvm.host import converts_halves
from graphc_llvm.types import constant, register, suffix, widen


def extremum(b: Builder, op: str, dtype: DType, lanes: int, x: str, y: str) -> str:
    """Float `max` or `min` of registers: NaN if either is (y if both are), -0 below 0.

    What LLVM makes of its own intrinsics takes twice as long, and each step waits for masks of the one before.
    """
    kind, integers, mask = (widen(name, lanes) for name in (register(dtype), f"i{dtype.bits}", "i1"))
    beyond = b.emit(f"fcmp {'ogt' if op == 'max' else 'olt'} {kind} {y}, {x}")
    larger = b.emit(f"select {mask} {beyond}, {kind} {y}, {kind} {x}")  # x where it or y is NaN
    bits = [b.emit(f"bitcast {kind} {value} to {integers}") for value in (x, y)]
    both = b.emit(f"{'and' if op == 'max' else 'or'} {integers} {bits[0]}, {bits[1]}")
    zero = b.emit(f"bitcast {integers} {both} to {kind}")
    equal = b.emit(f"fcmp oeq {kind} {x}, {y}")
    ordered = b.emit(f"select {mask} {equal}, {kind} {zero}, {kind} {larger}")
    missing = b.emit(f"fcmp uno {kind} {y}, {y}")
    return b.emit(f"select {mask} {missing}, {kind} {y}, {kind} {ordered}")


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
    if float16 in (source, target):
        return _to_float16(b, lanes, x) if target is float16 else _from_float16(b, lanes, x)
    if target is bfloat16:
        return _rounded(b, lanes, x)
    if source is bfloat16:
        wide = b.emit(f"zext {register(uint16, lanes)} {x} to {register(uint32, lanes)}")
        return bitcast(b, uint32, float32, lanes, _bits(b, "shl", lanes, wide, 16))
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


def _rounded(b: Builder, lanes: int, x: str) -> str:
    """float32 to bfloat16: to nearest, ties to even, by adding just under half a unit to the bits; NaN stays NaN."""
    kind = register(uint32, lanes)
    bits = bitcast(b, float32, uint32, lanes, x)
    odd = _bits(b, "and", lanes, _bits(b, "lshr", lanes, bits, 16), 1)
    nearest = b.emit(f"add {kind} {_bits(b, 'add', lanes, bits, 0x7FFF)}, {odd}")
    quiet = _bits(b, "or", lanes, bits, 0x7FC00000)
    is_nan = b.emit(f"fcmp uno {register(float32, lanes)} {x}, {x}")
    mask = f"<{lanes} x i1>" if lanes > 1 else "i1"
    chosen = b.emit(f"select {mask} {is_nan}, {kind} {quiet}, {kind} {nearest}")
    return b.emit(f"trunc {kind} {_bits(b, 'lshr', lanes, chosen, 16)} to {register(uint16, lanes)}")


def _to_float16(b: Builder, lanes: int, x: str) -> str:
    """float32 to float16: to nearest, ties to even. NaN keeps the upper bits it has room for, as instructions do."""
    if converts_halves():
        halves = b.emit(f"fptrunc {register(float32, lanes)} {x} to {widen('half', lanes)}")
        return b.emit(f"bitcast {widen('half', lanes)} {halves} to {register(uint16, lanes)}")
    kind = register(uint32, lanes)
    word = bitcast(b, float32, uint32, lanes, x)
    size = _bits(b, "and", lanes, word, 0x7FFFFFFF)
    odd = _bits(b, "and", lanes, _bits(b, "lshr", lanes, size, 13), 1)
    rounded = b.emit(f"add {kind} {_bits(b, 'add', lanes, size, (0xFFF - (112 << 23)) & 0xFFFFFFFF)}, {odd}")
    result = _bits(b, "lshr", lanes, rounded, 13)
    # Where float16 has no normal numbers: a sum with 0.5 is rounded where they end.
    number = bitcast(b, uint32, float32, lanes, size)
    half = constant(0.5, float32)
    half = half if lanes == 1 else f"splat (float {half})"
    small = bitcast(b, float32, uint32, lanes, b.emit(f"fadd {register(float32, lanes)} {number}, {half}"))
    result = _where(b, lanes, "ult", size, 0x38800000, _bits(b, "and", lanes, small, 0x7FF), result)
    result = _where(b, lanes, "uge", size, 0x477FF000, _all(0x7C00, uint32, lanes), result)
    payload = _bits(b, "and", lanes, _bits(b, "lshr", lanes, size, 13), 0x3FF)
    result = _where(b, lanes, "ugt", size, 0x7F800000, _bits(b, "or", lanes, payload, 0x7E00), result)
    sign = _bits(b, "and", lanes, _bits(b, "lshr", lanes, word, 16), 0x8000)
    return b.emit(f"trunc {kind} {b.emit(f'or {kind} {sign}, {result}')} to {register(uint16, lanes)}")


def _from_float16(b: Builder, lanes: int, x: str) -> str:
    """float16 to float32, exact: 2**112 moves the offset of the exponent and makes small numbers normal."""
    if converts_halves():
        halves = b.emit(f"bitcast {register(uint16, lanes)} {x} to {widen('half', lanes)}")
        return b.emit(f"fpext {widen('half', lanes)} {halves} to {register(float32, lanes)}")
    kind = register(uint32, lanes)
    wide = b.emit(f"zext {register(uint16, lanes)} {x} to {kind}")
    size = _bits(b, "shl", lanes, _bits(b, "and", lanes, wide, 0x7FFF), 13)
    factor = constant(2.0**112, float32)
    factor = factor if lanes == 1 else f"splat (float {factor})"
    number = bitcast(b, uint32, float32, lanes, size)
    scaled = bitcast(b, float32, uint32, lanes, b.emit(f"fmul {register(float32, lanes)} {number}, {factor}"))
    word = _where(b, lanes, "uge", size, 31 << 23, _bits(b, "or", lanes, size, 0x7F800000), scaled)
    sign = _bits(b, "shl", lanes, _bits(b, "and", lanes, wide, 0x8000), 16)
    return bitcast(b, uint32, float32, lanes, b.emit(f"or {kind} {sign}, {word}"))


def _where(b: Builder, lanes: int, test: str, x: str, number: int, on_true: str, on_false: str) -> str:
    kind = register(uint32, lanes)
    holds = b.emit(f"icmp {test} {kind} {x}, {_all(number, uint32, lanes)}")
    return b.emit(f"select {register(bool_, lanes)} {holds}, {kind} {on_true}, {kind} {on_false}")


def _bits(b: Builder, op: str, lanes: int, x: str, number: int) -> str:
    return b.emit(f"{op} {register(uint32, lanes)} {x}, {_all(number, uint32, lanes)}")


def dot_pair(b: Builder, lanes: int, x: str, y: str, z: str) -> str:
    """Two multiply-adds on the halves of `x` and `y`: the high ones, then the low ones."""
    kind = register(float32, lanes)

    def halves(pair: str) -> tuple[str, str]:
        low, high = _bits(b, "shl", lanes, pair, 16), _bits(b, "and", lanes, pair, 0xFFFF0000)
        return bitcast(b, uint32, float32, lanes, low), bitcast(b, uint32, float32, lanes, high)

    name = f"llvm.fma.{suffix(float32, lanes)}"
    for left, right in reversed(list(zip(halves(x), halves(y), strict=True))):
        z = b.call(name, kind, [(kind, left), (kind, right), (kind, z)])
    return z


def dot_instruction(b: Builder, lanes: int, x: str, y: str, z: str) -> str:
    """`dot_pair` as the instruction of AVX512-BF16; `host.has_dot_instruction(lanes)` says where it exists."""
    kind, pairs, halves = register(float32, lanes), register(uint32, lanes), f"<{2 * lanes} x bfloat>"
    left, right = (b.emit(f"bitcast {pairs} {pair} to {halves}") for pair in (x, y))
    return b.call(f"llvm.x86.avx512bf16.dpbf16ps.{lanes * 32}", kind, [(kind, z), (halves, left), (halves, right)])


def bitcast(b: Builder, source: DType, target: DType, lanes: int, x: str) -> str:
    """The same bits as another dtype of the same width."""
    if source.is_bool or target.is_bool:
        return cast(b, source, target, lanes, x)
    before, after = register(source, lanes), register(target, lanes)
    return x if before == after else b.emit(f"bitcast {before} {x} to {after}")
