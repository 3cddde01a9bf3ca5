"""bfloat16 as a dtype: names, promotion, conversions, and the rounding of each op."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.errors import DTypeError
from tests.bfloat16.values import BF16, normal, run, same

ROOT = Path(__file__).parents[2]


def test_names_and_numpy_equality() -> None:
    assert gnp.bfloat16 == "bfloat16" == gnp.bfloat16
    assert gnp.bfloat16 == BF16 and hash(gnp.bfloat16) == hash(BF16)
    assert gnp.bfloat16 != np.dtype("uint16") and gnp.bfloat16 != "float32"
    assert dtypes.dtype("bf16") is dtypes.dtype(BF16) is dtypes.dtype(ml_dtypes.bfloat16) is gnp.bfloat16
    assert gnp.zeros((2,), "bfloat16").dtype == BF16
    assert float(gnp.finfo("bfloat16").eps) == 2.0**-7


def test_promotion() -> None:
    x = normal(3)
    assert (gnp.asarray(x) + np.float32(1)).dtype == np.float32
    (kept,) = run(lambda a: a * 2 + 1.5, x)
    assert kept.dtype == BF16
    (wide,) = run(lambda a, b: a + b, x, np.ones(3, np.float32))
    assert wide.dtype == np.float32
    with pytest.raises(DTypeError, match="no promotion"):
        run(lambda a, b: a + b, x, np.ones(3, np.int32))


def test_importing_graphc_does_not_import_ml_dtypes() -> None:
    script = "import sys, graphc, graphc.numpy; sys.exit('ml_dtypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_what_does_not_exist_says_so() -> None:
    with pytest.raises(DTypeError, match="is not added up in float64"):
        gc.parse(
            """graph f(%0: f32[2,2] x) { %1: f64[2,2] = dot_general(%0, %0)
            {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=(), dtype=f64} return %1 }"""
        )


# ----------------------------------------------------------------------------------------------------- conversions


def _all_bfloat16() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(BF16)


def _floats() -> np.ndarray:
    """float32 of every exponent: the middles between two bfloat16, what lies beside them, and random ones."""
    high = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    rng = np.random.default_rng(0)
    more = rng.integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
    return np.concatenate([(high[:, None] | low).reshape(-1), more]).view(np.float32)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_casts_are_exact_and_round_to_nearest_even(backend: str) -> None:
    narrow, wide = _all_bfloat16(), _floats()
    up, down = run(lambda a, b: (a.astype("float32"), b.astype("bfloat16")), narrow, wide, backend=backend)
    same(up, narrow.astype(np.float32))
    with np.errstate(all="ignore"):
        same(down, wide.astype(BF16))


def test_casts_do_not_flush_small_numbers() -> None:
    tiny = np.array([1e-40, -1e-40, 9.2e-41, 1.1754942e-38], np.float32)
    (down,) = run(lambda x: x.astype("bfloat16"), tiny)
    assert np.all(down.astype(np.float32) != 0)


# ------------------------------------------------------------------------------------------------ rounding of ops


def _chain(x: gnp.Array, y: gnp.Array) -> tuple[gnp.Array, ...]:
    product = x * y
    total = product + x
    return total, total / (y * y + 1), gnp.sqrt(gnp.abs(total)) - y, gnp.maximum(product, total)


def test_each_op_rounds_whatever_it_is_fused_with() -> None:
    x, y = normal(4, 37), normal(4, 37, seed=1)
    f32 = np.float32

    def rounded(value: np.ndarray) -> np.ndarray:
        return value.astype(BF16).astype(f32)

    a, b = x.astype(f32), y.astype(f32)
    product = rounded(a * b)
    total = rounded(product + a)
    quotient = rounded(total / rounded(rounded(b * b) + 1))
    root = rounded(rounded(np.sqrt(np.abs(total))) - b)
    for got, want in zip(run(_chain, x, y), (total, quotient, root, np.maximum(product, total)), strict=True):
        same(got, want.astype(BF16))


def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x, y = normal(50, 33), normal(50, 33, seed=1)
    left, right = (torch.from_numpy(v.astype(np.float32)).bfloat16() for v in (x, y))
    results = run(lambda a, b: (a + b, a * b, a / b, gnp.tanh(a), gnp.exp(a), gnp.sum(a, axis=0)), x, y)
    others = (left + right, left * right, left / right, torch.tanh(left), torch.exp(left), left.sum(0))
    for got, want, ulps in zip(results, others, (0, 0, 0, 1, 1, 1), strict=True):
        bits = want.view(torch.int16).numpy().astype(np.int32)
        assert np.max(np.abs(got.view(np.int16).astype(np.int32) - bits)) <= ulps


def test_reductions_add_up_in_float32() -> None:
    x = np.ones((3, 5000), BF16)  # in bfloat16 1 + 1 + ... stays at 256
    total, mean, spread = run(lambda a: (gnp.sum(a, axis=1), gnp.mean(a), gnp.std(a + 0.0)), x)
    assert np.all(total.astype(np.float64) == float(BF16.type(5000)))
    assert (float(mean), float(spread)) == (1.0, 0.0)
    (scattered,) = run(lambda a, i, u: a.at[i].add(u), np.zeros(2, BF16), np.zeros(5000, np.int32), np.ones(5000, BF16))
    assert float(scattered[0]) == float(BF16.type(5000))
