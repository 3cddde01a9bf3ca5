"""What adds up or multiplies many elements of a half type does so in float32 and rounds once: its results are those of
the same op on float32 numbers, rounded. The numbers are such that sums in the half type would be far off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.nn import functional

gc: Any = graphc
RNG = np.random.default_rng(11)
ROWS = RNG.uniform(0.5, 1.5, (3, 3000))
NEAR_ONE = RNG.uniform(0.97, 1.03, (3, 1100))
IDS = RNG.integers(0, 3, 3000)
IMAGE, KERNEL = RNG.uniform(0.5, 1.5, (2, 40, 9, 9)), RNG.uniform(0.5, 1.5, (4, 40, 3, 3))
DEEP, DEEP_KERNEL = RNG.uniform(0.5, 1.5, (1, 600, 4, 4)), RNG.uniform(0.5, 1.5, (2, 600, 3, 3))

Case = tuple[Callable[..., Any], tuple[np.ndarray, ...]]
EXACT: dict[str, Case] = {
    "sum": (lambda x: gnp.sum(x, axis=1), (ROWS,)),
    "sum of columns": (lambda x: gnp.sum(x.T, axis=0), (ROWS,)),
    "mean": (lambda x: gnp.mean(x), (ROWS,)),
    "prod": (lambda x: gnp.prod(x, axis=1), (NEAR_ONE,)),
    "cumulative_sum": (lambda x: gnp.cumulative_sum(x, axis=1), (ROWS,)),
    "cumulative_prod": (lambda x: gnp.cumulative_prod(x, axis=1), (NEAR_ONE,)),
    "linear_recurrence": (lambda a, b: gnp.linear_recurrence(a, b, axis=1), (NEAR_ONE, NEAR_ONE)),
    "scatter add": (lambda x: (x[0, :3] * 0).at[IDS].add(x[0]), (ROWS,)),
    "segment_sum": (lambda x: gnp.segment_sum(x.T, IDS, 3), (ROWS,)),
    "windows": (lambda x: gnp.reduce_window(x, "sum", (1, 500), (1, 100)), (ROWS,)),
    "small windows": (lambda x: gnp.reduce_window(x, "sum", (1, 50), (1, 10)), (ROWS,)),
    "average": (lambda x: functional.avg_pool2d(x, 5), (IMAGE,)),
    "adaptive average": (lambda x: functional.adaptive_avg_pool2d(x, 3), (IMAGE,)),
    "uneven average": (lambda x: functional.adaptive_avg_pool2d(x, 2), (IMAGE,)),
    "vector product": (lambda x: x[0] @ x[1], (ROWS,)),
    "matrix vector": (lambda x: x @ x[0], (ROWS,)),
}
# Products of bfloat16 have an order of their own; see "Numbers" in ARCHITECTURE.md.
CLOSE: dict[str, Case] = {
    "matmul": (lambda x: x @ x.T, (ROWS,)),
    "convolution": (lambda x, w: gnp.conv(x, w, padding=1), (IMAGE, KERNEL)),
    "convolution of more than 4096 terms": (lambda x, w: gnp.conv(x, w), (DEEP, DEEP_KERNEL)),
    "weight gradient": (lambda x, w: gc.grad(lambda w: gnp.sum(gnp.conv(x, w)))(w), (IMAGE, KERNEL)),
}


def both(case: Case, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    fn, arrays = case
    half = [x.astype(dtypes.dtype(dtype).numpy) for x in arrays]
    got = np.asarray(gc.jit(fn)(*half))
    assert got.dtype == half[0].dtype
    return got, np.asarray(gc.jit(fn)(*(x.astype(np.float32) for x in half)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", EXACT)
def test_results_are_those_of_float32_rounded(name: str, dtype: str) -> None:
    got, wide = both(EXACT[name], dtype)
    assert got.tobytes() == wide.astype(got.dtype).tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CLOSE)
def test_products_are_close_to_those_of_float32(name: str, dtype: str) -> None:
    got, wide = both(CLOSE[name], dtype)
    eps = float(dtypes.finfo(dtypes.dtype(dtype)).eps)
    np.testing.assert_allclose(got.astype(np.float32), wide, rtol=0.51 * eps)
