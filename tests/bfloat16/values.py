"""Arrays of bfloat16, programs run on them, and bits compared."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

import graphc as gc

BF16 = np.dtype(ml_dtypes.bfloat16)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((*shape, seed)).standard_normal(shape).astype(BF16)


def run(
    function: Callable[..., object], *args: np.ndarray, backend: str = "cpu", threads: int | None = None
) -> list[np.ndarray]:
    specs = [gc.spec(x.shape, x.dtype) for x in args]
    exe = gc.compile(function, *specs, backend=backend, threads=threads)
    results = exe(*args)
    return [np.asarray(x) for x in (results if isinstance(results, tuple) else (results,))]


def same(got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape
    both_nan = (got != got) & (want != want)
    bits = f"u{got.dtype.itemsize}"
    assert np.all((got.view(bits) == want.view(bits)) | both_nan)
