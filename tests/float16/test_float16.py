"""float16: names, promotion, conversions to the bit, the rounding of ops, products, gradients, training."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.core import dtypes
from graphc.core.errors import DTypeError
from tests.bfloat16.values import run, same

ROOT = Path(__file__).parents[2]
F16 = np.dtype(np.float16)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((*shape, seed)).standard_normal(shape).astype(F16)


def test_names_and_limits() -> None:
    assert gnp.float16 == "float16" == gnp.float16
    assert dtypes.dtype("f16") is dtypes.dtype(F16) is gnp.float16
    assert float(gnp.finfo("float16").max) == 65504.0


def test_promotion() -> None:
    x = normal(3)
    assert run(lambda a: a * 2 + 1.5, x)[0].dtype == F16
    assert run(lambda a, b: a + b, x, np.ones(3, np.float32))[0].dtype == np.float32
    for other in (gnp.bfloat16.numpy, np.dtype(np.int16)):
        with pytest.raises(DTypeError, match=f"no promotion of float16 with {other.name}; cast"):
            run(lambda a, b: a + b, x, np.ones(3, other))


# ----------------------------------------------------------------------------------------------------- conversions


def all_float16() -> np.ndarray:
    return np.arange(1 << 16, dtype=np.uint16).view(F16)


def floats() -> np.ndarray:
    """float32 beside and in the middle of every two float16, beyond them on both sides, and random ones."""
    high = np.arange(1 << 19, dtype=np.uint32) << np.uint32(13)
    low = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x1FFF], np.uint32)
    more = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
    return np.concatenate([(high[:, None] | low).reshape(-1), more]).view(np.float32)


def check_casts(backend: str) -> None:
    narrow, wide = all_float16(), floats()
    up, down = run(lambda a, b: (a.astype("float32"), b.astype("float16")), narrow, wide, backend=backend)
    same(up, narrow.astype(np.float32))
    with np.errstate(all="ignore"):
        same(down, wide.astype(F16))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_casts_are_exact_and_round_to_nearest_even(backend: str) -> None:
    check_casts(backend)


def test_casts_are_exact_where_no_instruction_converts() -> None:
    script = "from tests.float16.test_float16 import check_casts; check_casts('cpu')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "GRAPHC_CPU": "x86-64"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "not known here" in done.stderr:
        pytest.skip("no x86")
    assert done.returncode == 0, done.stderr


def test_integers_saturate_and_floats_overflow_to_infinity() -> None:
    x = np.array([70000.0, -70000.0, 65519.0, 65520.0, np.nan], np.float32)
    (narrow,) = run(lambda a: a.astype("float16"), x)
    same(narrow, np.array([np.inf, -np.inf, 65504, np.inf, np.nan], F16))
    small, large = run(lambda a: (a.astype("int8"), a.astype("int32")), narrow)
    assert small.tolist() == [127, -128, 127, 127, 0]
    assert large.tolist() == [2**31 - 1, -(2**31), 65504, 2**31 - 1, 0]
    (whole,) = run(lambda a: a.astype("float16"), np.array([2049, 2051, 65519, 65520, -(2**31)], np.int32))
    same(whole, np.array([2048, 2052, 65504, np.inf, -np.inf], F16))


# ------------------------------------------------------------------------------------------------ rounding of ops


def test_each_op_rounds_whatever_it_is_fused_with() -> None:
    def chain(x: gnp.Array, y: gnp.Array) -> tuple[gnp.Array, ...]:
        total = x * y + x
        return total, total / (y * y + 1), gnp.sqrt(gnp.abs(total)) - y, gnp.maximum(x * y, total)

    x, y = normal(4, 37), normal(4, 37, seed=1)  # NumPy computes in float32 and rounds each op, too
    total = x * y + x
    wanted = (total, total / (y * y + F16.type(1)), np.sqrt(np.abs(total)) - y, np.maximum(x * y, total))
    for got, want in zip(run(chain, x, y), wanted, strict=True):
        same(got, want)


def test_sums_and_products_add_up_in_float32() -> None:
    x = np.ones((3, 5000), F16)  # in float16 1 + 1 + ... stays at 2048
    total, mean, spread = run(lambda a: (gnp.sum(a, axis=1), gnp.mean(a), gnp.std(a + 0.0)), x)
    assert np.all(total == 5000)
    assert (float(mean), float(spread)) == (1.0, 0.0)
    (scattered,) = run(lambda a, i, u: a.at[i].add(u), np.zeros(2, F16), np.zeros(5000, np.int32), np.ones(5000, F16))
    assert float(scattered[0]) == 5000
    (product,) = run(lambda a: a @ a.T, x)
    assert np.all(product == 5000)


@pytest.mark.parametrize("shape", [(5, 7, 3), (64, 48, 96), (33, 300, 18)])
def test_products_are_chains_of_float32(shape: tuple[int, int, int]) -> None:
    rows, summed, columns = shape
    x, y = normal(rows, summed), normal(summed, columns, seed=1)
    total = np.zeros((rows, columns), np.float32)
    for k in range(summed):  # products of float16 are exact in float32: one rounding per step
        total += x[:, k : k + 1].astype(np.float32) * y[k].astype(np.float32)
    narrow, wide = run(lambda a, b: (a @ b, gnp.matmul(a, b, dtype="float32")), x, y)
    same(wide, total)
    same(narrow, total.astype(F16))


# ------------------------------------------------------------------------------------------- gradients, training


def test_gradients_flow_through_casts() -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 24, 24)).astype(np.float32)

    def loss(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum(gnp.matmul(a.astype("float16"), b.astype("float16"), dtype="float32") ** 2)

    def exact(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum((a @ b) ** 2)

    for got, want in zip(
        run(gc.grad(loss, argnums=(0, 1)), x, w), run(gc.grad(exact, argnums=(0, 1)), x, w), strict=True
    ):
        assert got.dtype == np.float32
        assert np.max(np.abs(got - want)) <= 0.003 * np.max(np.abs(want))


def test_parameters_and_data_of_float16_train() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(F16)
    y = (x[:, 0] > 0).astype(np.int64)
    nn.init.seed(0)
    sizes = itertools.pairwise((8, 16, 2))
    first, last = (nn.Linear(a, b, dtype="float16") for a, b in sizes)
    model = nn.Sequential(first, nn.ReLU(), last)
    job = train.compile(model, loss="cross_entropy", optimizer=optim.sgd(0.1), data=data.arrays(x, y), batch_size=32)
    losses = job.fit(epochs=4)["loss"]
    assert losses[-1] < losses[0]
    assert all(np.asarray(p).dtype == F16 for p in job.model.state_dict().values())


def test_constants_in_text() -> None:
    values = np.array([1.0, -0.0, 0.1, 65504.0, 6e-8, np.inf, np.nan], F16)
    graph = gc.trace(lambda x: x + values, gc.spec((7,), "float16"))
    again = gc.parse(str(graph))
    same(next(node.attrs.value for node in again.nodes if node.op.name == "constant"), values)
