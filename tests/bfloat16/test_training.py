"""Gradients through casts, mixed precision, and checkpoints of bfloat16."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.core import dtypes
from graphc.kernel.ir import Const
from graphc.train import checkpoint
from tests.bfloat16.values import BF16, run, same

# ------------------------------------------------------------------------------------------- gradients, training


def test_gradients_flow_through_casts() -> None:
    x, w = np.random.default_rng(0).standard_normal((2, 24, 24)).astype(np.float32)

    def loss(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum(gnp.matmul(a.astype("bfloat16"), b.astype("bfloat16"), dtype="float32") ** 2)

    def exact(a: gnp.Array, b: gnp.Array) -> gnp.Array:
        return gnp.sum((a @ b) ** 2)

    for got, want in zip(
        run(gc.grad(loss, argnums=(0, 1)), x, w), run(gc.grad(exact, argnums=(0, 1)), x, w), strict=True
    ):
        assert got.dtype == np.float32
        assert np.max(np.abs(got - want)) <= 0.02 * np.max(np.abs(want))


class _Mixed(nn.Module):
    """An MLP whose products are of bfloat16 while parameters and everything else are float32."""

    def __init__(self, sizes: Sequence[int], compute: str) -> None:
        self.layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.compute = compute

    def __call__(self, x: gnp.Array) -> gnp.Array:
        for number, layer in enumerate(self.layers):
            w = layer.weight.T.astype(self.compute)  # type: ignore[attr-defined]
            x = gnp.matmul(x.astype(self.compute), w, dtype="float32") + layer.bias
            x = gnp.maximum(x, 0) if number + 1 < len(self.layers) else x
        return x


def test_mixed_precision_trains_as_well_as_float32() -> None:
    rng = np.random.default_rng(0)
    centres = 1.2 * rng.standard_normal((4, 16))
    y = rng.integers(0, 4, 1024)
    x = (centres[y] + rng.standard_normal((1024, 16))).astype(np.float32)
    found = {}
    for compute in ("float32", "bfloat16"):
        nn.init.seed(0)
        job = train.compile(
            _Mixed((16, 64, 4), compute),
            loss="cross_entropy",
            optimizer=optim.adam(1e-2),
            data=data.arrays(x[:768], y[:768]),
            batch_size=64,
            metrics=("accuracy",),
        )
        job.fit(epochs=6)
        found[compute] = job.evaluate(x[768:], y[768:])["accuracy"]
        assert all(np.asarray(p).dtype == np.float32 for p in job.model.state_dict().values())
    assert found["float32"] > 0.9
    assert abs(found["bfloat16"] - found["float32"]) <= 0.02


def test_parameters_data_and_checkpoints_of_bfloat16(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 8)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    nn.init.seed(0)
    model = nn.Sequential(nn.Linear(8, 16, dtype="bfloat16"), nn.ReLU(), nn.Linear(16, 2, dtype="bfloat16"))
    job = train.compile(
        model, loss="cross_entropy", optimizer=optim.sgd(0.1), data=data.arrays(x.astype(BF16), y), batch_size=32
    )
    losses = job.fit(epochs=4)["loss"]
    assert losses[-1] < losses[0]
    checkpoint.write(tmp_path / "weights", job.model.state_dict(), {})
    for name, array in checkpoint.read(tmp_path / "weights").arrays.items():
        assert array.dtype == BF16
        same(array, np.asarray(job.model.state_dict()[name]))


def test_constants_in_text() -> None:
    values = np.array([1.0, -0.0, 0.1, 3e38, 1e-40, np.inf, np.nan]).astype(BF16)
    graph = gc.trace(lambda x: x + values, gc.spec((7,), "bfloat16"))
    again = gc.parse(str(graph))
    kept = next(node.attrs.value for node in again.nodes if node.op.name == "constant")
    same(kept, values)
    assert Const(1.5, dtypes.bfloat16).dtype.short == "bf16"
