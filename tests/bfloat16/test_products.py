"""The order in which products of bfloat16 add up, in every layout, on every processor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel import arith
from graphc_llvm.host import has_dot_instruction
from tests.bfloat16.values import BF16, normal, run, same


def _by_definition(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` in float32: a sum of products where it has one row or one column and many terms, else chains."""
    return _summed(a, b) if 1 in (a.shape[0], b.shape[1]) and a.shape[1] >= 64 else _chained(a, b)


def _summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each element is a sum as reductions make it: 16 lanes in chunks of 1024, then trees. The products are exact."""
    terms = a.astype(np.float32)[:, :, None] * b.astype(np.float32)[None]
    chunks = []
    for begin in range(0, terms.shape[1], 1024):
        lanes = np.zeros((terms.shape[0], 16, terms.shape[2]), np.float32)
        for step in range(begin, min(begin + 1024, terms.shape[1]), 16):
            some = terms[:, step : min(step + 16, begin + 1024)]
            lanes[:, : some.shape[1]] += some
        for half in (8, 4, 2, 1):
            lanes = lanes[:, :half] + lanes[:, half : 2 * half]
        chunks.append(lanes[:, 0])
    while len(chunks) > 1:
        chunks = [sum(chunks[i + 1 : i + 2], chunks[i]) for i in range(0, len(chunks), 2)]
    return chunks[0]


def _chained(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Chains: of every pair of terms the odd one first."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    k = a.shape[1]
    parts = []
    for begin in range(0, k, 4096):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        end = min(begin + 4096, k)
        order = [i for p in range(begin, end - 1, 2) for i in (p + 1, p)] + ([end - 1] if (end - begin) % 2 else [])
        for i in order:
            left, right = np.broadcast_arrays(a[:, i, None], b[None, i])
            total = arith.fma(left.reshape(-1), right.reshape(-1), total.reshape(-1)).reshape(total.shape)
        parts.append(total)
    while len(parts) > 1:
        parts = [sum(parts[i + 1 : i + 2], parts[i]) for i in range(0, len(parts), 2)]
    return parts[0]


def _product(how: str) -> Callable[..., object]:
    def product(a: gnp.Array, b: gnp.Array) -> object:
        x, y = (a.T if how[0] == "t" else a), (b.T if how[1] == "t" else b)
        return gnp.matmul(x, y, dtype="float32"), x @ y

    return product


SHAPES = (
    (1, 1, 1),
    (3, 5, 2),
    (4, 33, 7),
    (16, 48, 32),
    (33, 67, 65),
    (1, 64, 100),
    (65, 130, 1),
    (7, 8195, 3),
    (64, 96, 128),
)


@pytest.mark.parametrize("how", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_order_of_a_product(shape: tuple[int, int, int], how: str) -> None:
    m, k, n = shape
    a, b = normal(m, k), normal(k, n)
    given = [np.ascontiguousarray(x.T) if way == "t" else x for x, way in zip((a, b), how, strict=True)]
    want = _by_definition(a, b)
    for threads in (1, 3):
        wide, narrow = run(_product(how), *given, threads=threads)
        same(wide, want)
        same(narrow, want.astype(BF16))


@pytest.mark.parametrize("seed", range(12))
def test_random_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = (int(x) for x in rng.choice([1, 2, 3, 15, 16, 17, 31, 50, 64, 100], 2))
    k = int(rng.choice([1, 2, 3, 16, 33, 64, 127, 200, 4097]))
    batch = int(rng.choice([1, 3]))
    a, b = normal(batch, m, k, seed=seed), normal(batch, k, n, seed=seed)
    given = [a, b]
    flipped = [bool(rng.integers(2)) for _ in given]
    given = [np.ascontiguousarray(np.swapaxes(x, 1, 2)) if flip else x for x, flip in zip(given, flipped, strict=True)]

    def product(x: gnp.Array, y: gnp.Array) -> object:
        x, y = (gnp.swapaxes(v, 1, 2) if flip else v for v, flip in zip((x, y), flipped, strict=True))
        return gnp.matmul(x, y, dtype="float32")

    (got,) = run(product, *given, threads=1 + seed % 3)
    for i in range(batch):
        same(got[i], _by_definition(a[i], b[i]))


def test_products_over_several_dims_and_batches() -> None:
    a, b = normal(2, 5, 3, 7), normal(2, 3, 7, 4)
    (got,) = run(lambda x, y: gnp.einsum("bikl,bklj->bij", x, y), a, b)
    for i in range(2):
        same(got[i], _chained(a[i].reshape(5, 21), b[i].reshape(21, 4)).astype(BF16))
    c = normal(3, 6, 10)
    (got,) = run(lambda x, y: gnp.einsum("kli,ljk->ij", x, y), c, normal(6, 9, 3))
    want = np.einsum("kli,ljk->ij", c.astype(np.float64), normal(6, 9, 3).astype(np.float64))
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=2.0**-8, atol=1e-4)


def test_a_fused_epilogue_changes_no_bits() -> None:
    a, b, c = normal(40, 50), normal(50, 60), normal(60)
    (alone,) = run(lambda x, y: gnp.matmul(x, y, dtype="float32"), a, b)
    (fused,) = run(lambda x, y, z: gnp.maximum((x @ y) + z, 0.0), a, b, c)
    rounded = alone.astype(BF16).astype(np.float32)
    same(fused, np.maximum((rounded + c.astype(np.float32)).astype(BF16), BF16.type(0)))


def test_operands_cast_on_the_way_in() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 48, 48)).astype(np.float32)
    (got,) = run(lambda x, y: gnp.matmul(x.astype("bfloat16"), y.astype("bfloat16"), dtype="float32"), a, b)
    same(got, _chained(a.astype(BF16), b.astype(BF16)))


def test_infinities_and_nan() -> None:
    a, b = normal(20, 30), normal(30, 40)
    a[0, 0], a[1, 1], b[2, 2], b[5, 6] = np.inf, np.nan, -np.inf, 0
    (got,) = run(lambda x, y: gnp.matmul(x, y, dtype="float32"), a, b)
    with np.errstate(all="ignore"):
        same(got, _chained(a, b))


_BITS = """
import sys
import numpy as np, ml_dtypes, graphc as gc, graphc.numpy as gnp
rng = np.random.default_rng(0)
for m, k, n in ((64, 96, 128), (33, 67, 65), (5, 4100, 17), (1, 100, 300), (40, 31, 1), (100, 512, 48)):
    x, y = (rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in ((m, k), (k, n)))
    f = gc.jit(lambda a, b: (a @ b, gnp.tanh(gnp.matmul(a, b, dtype="float32")), gnp.sum(a, axis=1), a * a + a))
    transposed = gc.jit(lambda a, b: (a.T @ b.T, a.T @ b.T + 1.0, b @ a))
    for result in (*f(x, y), *transposed(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T))):
        sys.stdout.buffer.write(np.asarray(result).tobytes())
"""


def test_the_same_bits_on_a_processor_without_the_instruction() -> None:
    def bits(cpu: str) -> bytes:
        environment = {**os.environ, "GRAPHC_CPU": cpu}
        return subprocess.run([sys.executable, "-c", _BITS], env=environment, capture_output=True, check=True).stdout

    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("x86-64 only")
    assert bits("") == bits("x86-64-v3") != b""


@pytest.mark.cpu
@pytest.mark.parametrize(("how", "k"), [("nn", 96), ("nt", 96), ("tn", 96), ("nn", 97)])
def test_products_run_in_pairs(how: str, k: int) -> None:
    """The schedule takes two terms together, and reads pairs that lie side by side at once."""
    a, b = normal(64, k), normal(k, 128)
    a, b = (np.ascontiguousarray(x.T) if way == "t" else x for x, way in zip((a, b), how, strict=True))
    text = gc.compile(_product(how), gc.spec(a.shape, "bfloat16"), gc.spec(b.shape, "bfloat16")).text("loop")
    assert ("dot_pair(" in text) == has_dot_instruction(16)
    if not has_dot_instruction(16):
        return
    side_by_side = {"in0": how[0] == "n" and k % 2 == 0, "in1": how[1] == "t" and k % 2 == 0}
    for name, expected in side_by_side.items():
        assert (f"{name}:u32[" in text) == expected
