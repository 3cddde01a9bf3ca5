"""Philox and the index shuffle as scalar expressions; `graphc.core.counter_rng` is the meaning."""

from collections.abc import Sequence

from graphc.core.dtypes import uint32, uint64
from graphc.kernel.ir import Binary, BinaryOp, Cast, Compare, Const, Expr, Select, index
from graphc.kernel.lower.emit import Emitter
from graphc.kernel.lower.expr import div, rem

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


def _u32(op: BinaryOp, x: Expr, value: int) -> Expr:
    return Binary(op, x, Const(value, uint32))


def _wide_product(emitter: Emitter, x: Expr, factor: int) -> tuple[Expr, Expr]:
    """High and low 32 bits of `x * factor`."""
    product = emitter.let(Binary("mul", Cast(x, uint64), Const(factor, uint64)))
    high = Cast(Binary("shr", product, Const(32, uint64)), uint32)
    return high, emitter.let(Cast(product, uint32))


def philox(emitter: Emitter, block: Expr, low: Expr, high: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """The four words of Philox 4x32-10 at counter (block, 0) under the key (low, high)."""
    counter = emitter.let(Cast(block, uint64))
    x: tuple[Expr, Expr, Expr, Expr] = (
        emitter.let(Cast(counter, uint32)),
        emitter.let(Cast(Binary("shr", counter, Const(32, uint64)), uint32)),
        Const(0, uint32),
        Const(0, uint32),
    )
    for step in range(10):
        k0 = emitter.let(_u32("add", low, step * _W0 & 0xFFFFFFFF)) if step else low
        k1 = emitter.let(_u32("add", high, step * _W1 & 0xFFFFFFFF)) if step else high
        high0, low0 = _wide_product(emitter, x[0], _M0)
        high1, low1 = _wide_product(emitter, x[2], _M1)
        x = (
            emitter.let(Binary("xor", Binary("xor", high1, x[1]), k0)),
            low1,
            emitter.let(Binary("xor", Binary("xor", high0, x[3]), k1)),
            low0,
        )
    return x


def philox_word(emitter: Emitter, flat: Expr, low: Expr, high: Expr) -> Expr:
    """Element `flat` of the stream: word `flat % 4` of block `flat / 4`."""
    words = philox(emitter, emitter.let(div(flat, 4)), low, high)
    which = emitter.let(rem(flat, 4))
    result = words[3]
    for number in (2, 1, 0):
        result = Select(Compare("eq", which, index(number)), words[number], result)
    return result


def _mix32(emitter: Emitter, x: Expr) -> Expr:
    x = emitter.let(Binary("xor", x, _u32("shr", x, 16)))
    x = emitter.let(_u32("mul", x, 0x7FEB352D))
    x = emitter.let(Binary("xor", x, _u32("shr", x, 15)))
    x = emitter.let(_u32("mul", x, 0x846CA68B))
    return emitter.let(Binary("xor", x, _u32("shr", x, 16)))


def shuffle(emitter: Emitter, start: Expr, rounds: Sequence[tuple[Expr, Expr]], n: int) -> Expr:
    """Where `start` goes under the keyed permutation of [0, n)."""
    size = Const(n, uint64)
    x = emitter.let(_u32("rem", start, n))  # n < 2**31, so sums of two positions stay in 32 bits
    for first, second in rounds:
        product = Binary("mul", Cast(first, uint64), size)
        k = emitter.let(Cast(Binary("shr", product, Const(32, uint64)), uint32))
        apart = emitter.let(Binary("sub", k, x))
        partner = emitter.let(Select(Compare("ge", k, x), apart, _u32("add", apart, n)))
        mixed = _mix32(emitter, emitter.let(Binary("xor", Binary("max", x, partner), second)))
        swap = Compare("eq", _u32("and", mixed, 1), Const(1, uint32))
        x = emitter.let(Select(swap, partner, x))
    return x
