"""Counter-based random bits in NumPy: what graph operations and generated loops both compute.

Philox 4x32-10 is a function of (counter, key), so element i of a tensor depends on i and the key alone. `shuffle_index`
is a keyed permutation of range(n) that needs no table: element i of a shuffled order is found from i alone.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_INCREMENTS = (0x9E3779B9, 0xBB67AE85)  # of the key, per round
PHILOX_ROUNDS = 10
MIX_PREMULTIPLIER = 0x9E3779B1
MIX_MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35)
MIX_SHIFTS = (16, 13, 16)


def philox4x32(counter: npt.ArrayLike, key: npt.ArrayLike) -> Words:
    """Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011): counter uint32[..., 4], key uint32[..., 2] -> uint32[..., 4].

    >>> [f"{word:08x}" for word in philox4x32([0, 0, 0, 0], [0, 0])]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    x0, x1, x2, x3 = np.moveaxis(np.asarray(counter, np.uint32).astype(np.uint64), -1, 0)
    k0, k1 = np.moveaxis(np.asarray(key, np.uint32).astype(np.uint64), -1, 0)
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    for number in range(PHILOX_ROUNDS):
        a, b = x0 * np.uint64(PHILOX_MULTIPLIERS[0]), x2 * np.uint64(PHILOX_MULTIPLIERS[1])
        bump0 = np.uint64(number * PHILOX_INCREMENTS[0] & 0xFFFFFFFF)
        bump1 = np.uint64(number * PHILOX_INCREMENTS[1] & 0xFFFFFFFF)
        x0, x1, x2, x3 = (
            (b >> half) ^ x1 ^ ((k0 + bump0) & low),
            b & low,
            (a >> half) ^ x3 ^ ((k1 + bump1) & low),
            a & low,
        )
    return np.stack(np.broadcast_arrays(x0, x1, x2, x3), -1).astype(np.uint32)


def shuffle_index(indices: npt.ArrayLike, keys: npt.ArrayLike, n: int) -> Words:
    """Where a keyed permutation of range(n) sends `indices` (< n <= 2**32 - 1).

    Swap-or-not (Hoang, Morris, Rogaway 2012) with one round per row of `keys`, uint32[rounds, 2]: a round pairs x with
    k - x (mod n) and swaps the pair on one bit that both compute alike. 24 rounds look uniform. Several permutations,
    uint32[.., rounds, 2], are for the first dims of `indices`.
    """
    x = np.asarray(indices, np.uint32)
    size = np.uint32(n)
    words = np.asarray(keys, np.uint32)
    words = words.reshape(*words.shape[:-2], *(1,) * (x.ndim - words.ndim + 2), *words.shape[-2:])
    with np.errstate(over="ignore"):
        for number in range(words.shape[-2]):
            first, second = words[..., number, 0], words[..., number, 1]
            k = (first.astype(np.uint64) * np.uint64(n) >> np.uint64(32)).astype(np.uint32)
            partner = np.where(x <= k, k - x, k - x + size)
            swap = _mix(np.maximum(x, partner), second) >> np.uint32(31)
            x = np.where(swap == 1, partner, x)
    return np.asarray(x, np.uint32)


def _mix(x: Words, key: Words) -> Words:
    """A bijection of 32 bits for each key (the finaliser of MurmurHash3)."""
    h = (x * np.uint32(MIX_PREMULTIPLIER)) ^ key
    h = (h ^ (h >> np.uint32(MIX_SHIFTS[0]))) * np.uint32(MIX_MULTIPLIERS[0])
    h = (h ^ (h >> np.uint32(MIX_SHIFTS[1]))) * np.uint32(MIX_MULTIPLIERS[1])
    return np.asarray(h ^ (h >> np.uint32(MIX_SHIFTS[2])))
