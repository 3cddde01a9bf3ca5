"""A reduction to one element, read at an index that is always 0 but is not written as 0."""

import numpy as np

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train


def test_concatenated_sum_of_one_column() -> None:
    def updated(params: gnp.Array, weights: gnp.Array, errors: gnp.Array) -> tuple[gnp.Array, gnp.Array]:
        gradient = gnp.concatenate([weights, gnp.sum(errors, axis=0)])
        return params - gradient * 0.5, gnp.sum(errors)

    rng = np.random.default_rng(0)
    params, weights, errors = (rng.integers(-8, 8, shape).astype(np.float32) for shape in ((9,), (8,), (16, 1)))
    new, total = gc.jit(updated)(params, weights, errors)
    np.testing.assert_array_equal(new, params - np.concatenate([weights, errors.sum(0)]) * np.float32(0.5))
    assert total == errors.sum()


def test_linear_regression_with_one_output() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + np.float32(0.25)
    model = nn.Linear(3, 1)
    job = train.compile(model, loss="mse", optimizer=optim.sgd(0.1), data=data.arrays(x, y), batch_size=16)
    job.fit(epochs=60, progress=False)
    np.testing.assert_allclose(model.weight, [[1.0, -2.0, 0.5]], atol=1e-4)
