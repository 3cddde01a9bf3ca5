"""gnp.fft against NumPy, its derivatives and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError

gc: Any = graphc  # results are arrays
RNG = np.random.default_rng(2)
Z = RNG.normal(size=(3, 4, 6)) + 1j * RNG.normal(size=(3, 4, 6))
X = RNG.normal(size=(3, 4, 6))
# one point, one product, several, an odd number of factors, primes that are a product, and those that are not
LENGTHS = (1, 2, 7, 32, 33, 60, 97, 127, 128, 131, 262, 509, 1024, 1155)

CASES: list[tuple[Callable[..., Any], np.ndarray]] = [
    (lambda m, x: m.fft.fft(x, axis=0), Z),
    (lambda m, x: m.fft.fft(x, n=9), Z),
    (lambda m, x: m.fft.fft(x, n=2, axis=1), Z),
    (lambda m, x: [m.fft.fft(x, norm=norm) for norm in ("backward", "ortho", "forward", None)], Z),
    (lambda m, x: [m.fft.ifft(x, norm=norm) for norm in ("backward", "ortho", "forward")], Z),
    (lambda m, x: m.fft.fftn(x), Z),
    (lambda m, x: m.fft.fftn(x, s=(5, 3), axes=(2, 0)), Z),
    (lambda m, x: m.fft.ifftn(x, axes=(0, 1)), Z),
    (lambda m, x: (m.fft.fft2(x), m.fft.ifft2(x)), Z),
    (lambda m, x: [m.fft.rfft(x, n) for n in (None, 1, 5, 8)], X),
    (lambda m, x: m.fft.rfft(x, axis=1, norm="ortho"), X),
    (lambda m, x: [m.fft.irfft(x, n) for n in (None, 1, 5, 7, 14)], Z),
    (lambda m, x: m.fft.irfft(x, axis=0, norm="forward"), Z),
    (lambda m, x: (m.fft.rfftn(x), m.fft.rfftn(x, s=(4, 3), axes=(0, 1))), X),
    (lambda m, x: (m.fft.irfftn(x), m.fft.irfftn(x, s=(4, 5), axes=(0, 2))), Z),
    (lambda m, x: [m.fft.hfft(x, n, norm=norm) for n in (None, 9) for norm in ("backward", "ortho", "forward")], Z),
    (lambda m, x: [m.fft.ihfft(x, norm=norm) for norm in ("backward", "ortho", "forward")], X),
    (lambda m, x: (m.fft.fftshift(x), m.fft.fftshift(x, axes=1), m.fft.ifftshift(x, axes=(0, 2))), X[:, :3]),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_against_numpy(number: int) -> None:
    fn, x = CASES[number]
    wanted = fn(np, x)
    for got in (fn(gnp, x), gc.jit(lambda x: fn(gnp, x))(x)):
        pairs = zip(got, wanted, strict=True) if isinstance(wanted, list | tuple) else [(got, wanted)]
        for left, right in pairs:
            assert np.asarray(left).dtype == right.dtype
            np.testing.assert_allclose(np.asarray(left), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", LENGTHS)
def test_every_kind_of_length(n: int) -> None:
    x = RNG.normal(size=(2, n)) + 1j * RNG.normal(size=(2, n))
    for dtype, tolerance in (("complex64", 1e-6), ("complex128", 2e-15)):
        there = gnp.fft.fft(x.astype(dtype))
        exact = np.fft.fft(x.astype(dtype).astype("complex128"))
        assert np.asarray(there).dtype == dtype
        assert np.abs(there - exact).max() <= tolerance * np.abs(exact).max()
        back = gnp.fft.ifft(there)
        assert np.abs(back - x).max() <= 2 * tolerance * np.abs(x).max()


@pytest.mark.parametrize("n", [60, 131])
def test_backends_and_threads_agree(n: int) -> None:
    x = RNG.normal(size=(5, n)).astype(np.float32)
    results = [np.asarray(gc.jit(gnp.fft.rfft, threads=threads)(x)) for threads in (1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(gc.jit(gnp.fft.rfft, backend="reference")(x), results[0], atol=1e-4)


@pytest.mark.parametrize("n", [6, 34])
def test_the_derivative_is_a_transform(n: int) -> None:
    x, w = RNG.normal(size=n), RNG.normal(size=n // 2 + 1)

    def power(x: gnp.Array) -> gnp.Array:
        y = gnp.fft.rfft(x)
        return gnp.sum(w * (gnp.real(y) ** 2 + gnp.imag(y) ** 2))

    full = np.concatenate([w, w[1 : n - n // 2][::-1]])  # as if all n frequencies were there, half as much each
    full[1 : n // 2 + n % 2] /= 2
    full[n // 2 + 1 :] /= 2
    wanted = 2 * n * np.fft.ifft(full * np.fft.fft(x)).real
    np.testing.assert_allclose(gc.jit(gc.grad(power))(x), wanted, rtol=1e-11)
    gc.gradcheck(lambda x: gnp.fft.irfft(gnp.fft.rfft(x) ** 2, n), x, order=2, directions=1)


def test_vmap() -> None:
    np.testing.assert_allclose(gc.jit(gc.vmap(gnp.fft.fft))(Z[0]), np.fft.fft(Z[0]), rtol=1e-12)


def test_mistakes() -> None:
    with pytest.raises(ArgumentError, match="norm is 'backward', 'ortho' or 'forward', got 'no'"):
        gnp.fft.fft(X, norm="no")
    with pytest.raises(DTypeError, match="rfft: takes real numbers, got complex128"):
        gnp.fft.rfft(Z)
    with pytest.raises(ShapeError, match="at least one point, not 0"):
        gnp.fft.fft(X, n=0)
    with pytest.raises(ArgumentError, match=r"irfft: n is an int, got <traced .*test_fft.py"):
        gc.jit(lambda z, n: gnp.fft.irfft(z, n))(Z, 4)
    with pytest.raises(ArgumentError, match="fftfreq: device='gpu'"):
        gnp.fft.fftfreq(4, device="gpu")
