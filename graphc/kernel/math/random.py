"""Counter-based random bits as loop-IR expansions; `graphc.core.counter_rng` is what they mean."""

from collections.abc import Sequence

from graphc.core import counter_rng as rng
from graphc.core.dtypes import uint32, uint64
from graphc.kernel.ir import Expr
from graphc.kernel.math.scalar import Emit, Scalar

Four = tuple[Expr, Expr, Expr, Expr]


def philox(counter_low: Expr, counter_high: Expr, key0: Expr, key1: Expr, emit: Emit) -> Four:
    """Four uint32 words of Philox 4x32-10.

    The counter is words 0, 1 in `counter_low` and 2, 3 in `counter_high`, both uint64 with the first word in the low
    half; the keys are uint32.
    """
    low, high = Scalar(emit(counter_low), emit), Scalar(emit(counter_high), emit)
    x0, x1, x2, x3 = low.to(uint32), (low >> 32).to(uint32), high.to(uint32), (high >> 32).to(uint32)
    k0, k1 = Scalar(emit(key0), emit), Scalar(emit(key1), emit)
    for number in range(rng.PHILOX_ROUNDS):
        if number:
            k0, k1 = k0 + rng.PHILOX_INCREMENTS[0], k1 + rng.PHILOX_INCREMENTS[1]
        a = x0.to(uint64) * rng.PHILOX_MULTIPLIERS[0]
        b = x2.to(uint64) * rng.PHILOX_MULTIPLIERS[1]
        x0, x2 = (b >> 32).to(uint32) ^ x1 ^ k0, (a >> 32).to(uint32) ^ x3 ^ k1
        x1, x3 = b.to(uint32), a.to(uint32)
    return x0.expr, x1.expr, x2.expr, x3.expr


def swap_or_not(x: Expr, n: Expr, key: tuple[Expr, Expr], emit: Emit) -> Expr:
    """One round of `shuffle_index`; x < n and the two words of the round key are uint32."""
    value, size = Scalar(emit(x), emit), Scalar(emit(n), emit)
    k = ((Scalar(emit(key[0]), emit).to(uint64) * size.to(uint64)) >> 32).to(uint32)
    apart = k - value
    partner = (value <= k).select(apart, apart + size)
    h = (value.at_least(partner) * rng.MIX_PREMULTIPLIER) ^ Scalar(emit(key[1]), emit)
    h = (h ^ (h >> rng.MIX_SHIFTS[0])) * rng.MIX_MULTIPLIERS[0]
    h = (h ^ (h >> rng.MIX_SHIFTS[1])) * rng.MIX_MULTIPLIERS[1]
    h = h ^ (h >> rng.MIX_SHIFTS[2])
    return (h >> 31).differs(0).select(partner, value).expr


def shuffle_index(x: Expr, n: Expr, keys: Sequence[tuple[Expr, Expr]], emit: Emit) -> Expr:
    """Where the permutation of range(n) given by the round keys sends x; all uint32."""
    for key in keys:
        x = swap_or_not(x, n, key, emit)
    return x
