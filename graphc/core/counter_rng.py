"""Counter-based random numbers in NumPy: the specification every backend reproduces bit for bit.

Philox 4x32-10 is from Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The
swap-or-not shuffle is from Hoang, Morris and Rogaway, "An enciphering scheme based on a card shuffle" (CRYPTO 2012).
"""

import numpy as np

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Ten rounds of Philox on `counter` uint32[..., 4] under `key` uint32[2]; returns uint32[..., 4]."""
    x0, x1, x2, x3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = (np.uint64(key[i]) for i in range(2))
    with np.errstate(over="ignore"):
        for _ in range(10):
            p0, p1 = _M0 * x0, _M1 * x2
            x0, x1, x2, x3 = (p1 >> _HALF) ^ x1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ x3 ^ k1, p0 & _LOW
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return np.stack([x0, x1, x2, x3], axis=-1).astype(np.uint32)


def mix32(x: np.ndarray) -> np.ndarray:
    """A bijective 32-bit mix (two multiply-xorshift rounds) whose every output bit depends on every input bit."""
    with np.errstate(over="ignore"):
        x = x ^ (x >> np.uint32(16))
        x = x * np.uint32(0x7FEB352D)
        x = x ^ (x >> np.uint32(15))
        x = x * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))


def shuffle_index(indices: np.ndarray, keys: np.ndarray, n: int) -> np.ndarray:
    """Where each index in [0, n) goes under the permutation of [0, n) that `keys` uint32[rounds, 2] select.

    Round r: partner = (k - x) mod n with k = floor(keys[r, 0] * n / 2**32); the pair {x, partner} is swapped when the
    lowest bit of mix32(max(x, partner) ^ keys[r, 1]) is set. Each round is an involution on pairs, so the whole is a
    bijection.
    """
    x = np.asarray(indices, np.uint32).astype(np.uint64) % np.uint64(n)
    for first, second in np.asarray(keys, np.uint32):
        k = (np.uint64(first) * np.uint64(n)) >> _HALF
        partner = np.where(k >= x, k - x, k + np.uint64(n) - x)
        bit = mix32(np.maximum(x, partner).astype(np.uint32) ^ second) & np.uint32(1)
        x = np.where(bit == 1, partner, x)
    return x.astype(np.uint32)
