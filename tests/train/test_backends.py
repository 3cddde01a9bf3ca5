"""One run on every backend: the same losses to rounding, and on the CPU the same bits for any number of threads."""

from __future__ import annotations

import numpy as np

from graphc import data, nn, optim, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 50)


def run(backend: str, threads: int | None = None) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    nn.init.seed(1)
    model = nn.Sequential(nn.Linear(6, 20), nn.GELU(), nn.LayerNorm(20), nn.Dropout(0.2), nn.Linear(20, 4))
    job = train.compile(
        model,
        loss="cross_entropy",
        optimizer=optim.adamw(optim.warmup(optim.cosine(1e-2, 20), 5)),
        data=data.arrays(X, Y),
        batch_size=16,
        remainder="smaller",
        clip=1.0,
        metrics=["accuracy"],
        backend=backend,
        threads=threads,
    )
    losses = job.fit(epochs=5).losses
    return losses, job.predict(X), job.evaluate(X, Y)


def test_the_cpu_agrees_with_the_reference_and_threads_do_not_matter() -> None:
    losses, outputs, values = run("cpu", 1)
    expected, expected_outputs, expected_values = run("reference")
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    np.testing.assert_allclose(outputs, expected_outputs, rtol=1e-3, atol=1e-4)
    assert abs(values["loss"] - expected_values["loss"]) < 1e-4
    again, again_outputs, _ = run("cpu", 2)
    np.testing.assert_array_equal(again, losses)
    np.testing.assert_array_equal(again_outputs, outputs)
