"""Discrete Fourier transforms of pairs of real arrays: the real and the imaginary part.

A transform of n = a * b points is one of a points, a factor for each element, and one of b points: products with small
matrices of roots of unity. A length with a large prime factor is a convolution of a length
without one (Bluestein). Roots are computed in float64 from whole numbers and rounded once.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from graphc.graph.ops import elementwise as ops
from graphc.tracing.array import movement
from graphc.tracing.array.contraction import contract
from graphc.tracing.bind import bind1, dtype_of, staged
from graphc.tracing.context import Array

LARGEST = 64  # points of one product
LARGEST_PRIME = 128  # a prime length up to here is one product too


class Parts(NamedTuple):
    """A complex array. No imaginary part: it is zero."""

    re: Array
    im: Array | None


@cache
def _roots(numbers: bytes, n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi k / n for whole numbers k; exact where a quarter of a turn is."""
    k = np.frombuffer(numbers, np.int64) % n
    quarter, rest = np.divmod(4 * k, n)
    angle = rest * (np.pi / 2 / n)
    far = 2 * rest > n  # the nearer axis: sin and cos of small angles
    other = (n - rest) * (np.pi / 2 / n)
    cos, sin = np.where(far, np.sin(other), np.cos(angle)), np.where(far, np.cos(other), np.sin(angle))
    turned_cos = np.choose(quarter, [cos, -sin, -cos, sin])
    turned_sin = np.choose(quarter, [sin, cos, -sin, -cos])
    return turned_cos.astype(dtype), turned_sin.astype(dtype)


def _table(numbers: np.ndarray, n: int, like: Array, inverse: bool) -> Parts:
    """exp(-2 pi i k / n) for an array of whole numbers; with the other sign for the inverse."""
    cos, sin = _roots(numbers.astype(np.int64).tobytes(), n, dtype_of(like).name)
    imaginary = (sin if inverse else -sin).reshape(numbers.shape)
    return Parts(staged(cos.reshape(numbers.shape)), staged(imaginary))


def _times(x: Parts, y: Parts) -> Parts:
    """Products of elements."""
    assert y.im is not None
    re, im = bind1(ops.mul, x.re, y.re), bind1(ops.mul, x.re, y.im)
    if x.im is None:
        return Parts(re, im)
    re = bind1(ops.sub, re, bind1(ops.mul, x.im, y.im))
    return Parts(re, bind1(ops.add, im, bind1(ops.mul, x.im, y.re)))


def _product(x: Parts, n: int, inverse: bool, axis: int) -> Parts:
    """Along dim -1 or -2 by a product with the matrix of roots, on the side where memory is read in runs."""
    w = _table(np.outer(np.arange(n), np.arange(n)), n, x.re, inverse)
    rank = len(x.re.shape)

    def product(part: Array, matrix: Array) -> Array:
        if axis == -1:
            return contract(part, matrix, (rank - 1,), (0,))
        found = contract(matrix, part, (0,), (rank - 2,))  # the transformed dim is the first one
        return movement.transpose(found, (*range(1, rank - 1), 0, rank - 1))

    assert w.im is not None
    re, im = product(x.re, w.re), product(x.re, w.im)
    if x.im is None:
        return Parts(re, im)
    re = bind1(ops.sub, re, product(x.im, w.im))
    return Parts(re, bind1(ops.add, im, product(x.im, w.re)))


def _each(x: Parts, fn: object) -> Parts:
    assert callable(fn)
    return Parts(fn(x.re), None if x.im is None else fn(x.im))


def _largest_prime(n: int) -> int:
    largest, factor = 1, 2
    while factor * factor <= n:
        if n % factor == 0:
            largest, n = max(largest, factor), n // factor
        else:
            factor += 1
    return max(largest, n)


def _first_factor(n: int) -> int:
    """The largest divisor that one product takes, as near to the others as can be."""
    if n <= LARGEST:
        return n
    divisors = [d for d in range(2, min(n, LARGEST) + 1) if n % d == 0]
    if not divisors:
        return _largest_prime(n)
    count = 1
    while LARGEST**count < n:
        count += 1
    even = n ** (1 / count)  # all factors alike
    return min(divisors, key=lambda d: (abs(np.log(d / even)), d))


def transform(x: Parts, inverse: bool = False) -> Parts:
    """Along the last dim, `sum(x[j] * exp(-2 pi i j k / n))`; the inverse has the other sign and divides by nothing."""
    n = x.re.shape[-1]
    if n <= 1:
        return x
    if _largest_prime(n) > LARGEST_PRIME:
        return _bluestein(x, inverse)
    first = _first_factor(n)
    if first == n:
        return _product(x, n, inverse, -1)
    rest = n // first
    batch = x.re.shape[:-1]
    rank = len(batch)
    split = _each(x, lambda a: movement.reshape(a, (*batch, first, rest)))  # j = rest * j1 + j2
    found = _product(split, first, inverse, -2)  # [.., k1, j2]
    found = _times(found, _table(np.outer(np.arange(first), np.arange(rest)), n, x.re, inverse))
    found = transform(found, inverse)  # [.., k1, k2]
    swap = (*range(rank), rank + 1, rank)
    return _each(found, lambda a: movement.reshape(movement.transpose(a, swap), (*batch, n)))  # k = k1 + first * k2


def _bluestein(x: Parts, inverse: bool) -> Parts:
    """j k = (j^2 + k^2 - (k - j)^2) / 2: the transform is a convolution with a chirp, done by longer transforms."""
    n = x.re.shape[-1]
    size = 1 << (2 * n - 2).bit_length()
    j = np.arange(n, dtype=np.int64)
    chirp = _table(j * j % (2 * n), 2 * n, x.re, inverse)
    around = np.minimum(np.arange(size), size - np.arange(size))
    kernel = np.where(around < n, np.exp((-1j if inverse else 1j) * np.pi * (around * around % (2 * n)) / n), 0)
    spectrum = np.fft.fft(kernel) / size
    dtype = dtype_of(x.re).numpy
    filtered = Parts(staged(spectrum.real.astype(dtype)), staged(spectrum.imag.astype(dtype)))
    low, high = [0] * len(x.re.shape), [0] * (len(x.re.shape) - 1) + [size - n]
    padded = _each(_times(x, chirp), lambda a: movement.pad_constant(a, low, high, 0))
    found = transform(_times(transform(padded), filtered), inverse=True)
    return _times(_each(found, lambda a: movement.slice_axis(a, len(low) - 1, 0, n)), chirp)
