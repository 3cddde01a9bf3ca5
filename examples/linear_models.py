"""Linear models against their closed forms, all in float64: the gradient path must end where the formula says.

- ordinary least squares equals `lstsq`;
- ridge regression four ways: closed form, gradient descent, rows added to the data, features added to the data;
- logistic regression: on data that overlap, gradient descent and SGD approach the maximum-likelihood estimate (found by
  Newton's method); on separable data, where there is none, the loss goes to 0 and the weights grow for ever;
- an underdetermined problem: gradient descent from zero finds the solution of smallest norm (the pseudo-inverse), and
  from elsewhere another one.

The metrics are distances to the closed forms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _cli import Meter, Options, parse, report

import graphc as gc
import graphc.numpy as gnp
from graphc import nn

Loss = Callable[..., object]


class Descent:
    """Full-batch gradient descent, all steps in one native run."""

    def __init__(self, meter: Meter, steps: int) -> None:
        self.meter, self.steps = meter, steps

    def __call__(self, name: str, loss: Loss, start: np.ndarray, rate: float, *data: np.ndarray) -> np.ndarray:
        """Minimise loss(w, *data) from `start`."""

        def step(w, batch, number):
            value, slope = gc.value_and_grad(loss)(w, *batch)
            return w - rate * slope, value

        return np.asarray(self.meter.train(name, start, step, data, self.steps))


def squared(w, x, y):
    """1/2 |X w - y|^2"""
    residual = x @ w - y
    return 0.5 * gnp.sum(residual * residual)


def smoothest(x: np.ndarray) -> float:
    """The largest step size that suits 1/2 |X w - y|^2: one over the largest curvature."""
    return 1.0 / float(np.linalg.norm(x, 2) ** 2)


def distance(w: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(w - expected)))


def ridge(descend: Descent, x: np.ndarray, y: np.ndarray, strength: float = 2.0) -> dict[str, float]:
    """Minimise 1/2 |X w - y|^2 + 1/2 strength |w|^2."""
    n, d = x.shape
    closed = np.linalg.solve(x.T @ x + strength * np.eye(d), x.T @ y)

    def penalised(w, x, y):
        return squared(w, x, y) + 0.5 * strength * gnp.sum(w * w)

    by_descent = descend("ridge", penalised, np.zeros(d), 1.0 / (1.0 / smoothest(x) + strength), x, y)
    tall = np.vstack([x, np.sqrt(strength) * np.eye(d)])  # d more samples with target 0
    by_rows = descend("rows", squared, np.zeros(d), smoothest(tall), tall, np.append(y, np.zeros(d)))
    # n more features let every residual be explained at a price: the smallest-norm solution is ridge's
    wide = np.hstack([x, np.sqrt(strength) * np.eye(n)])
    by_features = descend("features", squared, np.zeros(d + n), smoothest(wide), wide, y)[:d]
    return {
        "ridge_descent": distance(by_descent, closed),
        "ridge_rows": distance(by_rows, closed),
        "ridge_features": distance(by_features, closed),
    }


def log_loss(w, x, y):
    return nn.functional.binary_cross_entropy_with_logits(x @ w, y)


def logistic(descend: Descent, rng: np.random.Generator, x: np.ndarray) -> dict[str, float]:
    n, d = x.shape
    truth = rng.normal(size=d)
    y = (x @ truth + rng.logistic(size=n) > 0).astype(np.float64)  # overlapping classes: the estimate exists
    estimate = newton(x, y)
    by_descent = descend("logistic", log_loss, np.zeros(d), 4.0 * n * smoothest(x), x, y)
    by_sgd = stochastic(descend, x, y, batch=32)
    clean = (x @ truth > 0).astype(np.float64)  # separable: no estimate, the weights grow with log(steps)
    separating = descend("separable", log_loss, np.zeros(d), 4.0 * n * smoothest(x), x, clean)
    return {
        "logistic_descent": distance(by_descent, estimate),
        "logistic_sgd": distance(by_sgd, estimate),
        "separable_errors": float(np.sum((x @ separating > 0) != (clean > 0))),
        "separable_norm_growth": float(np.linalg.norm(separating) / np.linalg.norm(estimate)),
    }


def newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The maximum-likelihood estimate of logistic regression."""
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve((x.T * (p * (1 - p))) @ x, x.T @ (p - y))
    return w


def stochastic(descend: Descent, x: np.ndarray, y: np.ndarray, batch: int) -> np.ndarray:
    """SGD on random batches with a rate that falls like 1/t; the batches are drawn inside the compiled loop."""
    key = gc.random.key(descend.meter.options.seed)

    def step(w, data, number):
        draws = gc.random.uniform(gc.random.fold_in(key, number), (batch,), "float64")
        rows = gnp.floor(draws * float(len(y))).astype("int64")
        value, slope = gc.value_and_grad(log_loss)(w, data[0][rows], data[1][rows])
        return w - slope * (4.0 / (1.0 + number.astype("float64") * 0.05)), value

    return np.asarray(descend.meter.train("sgd", np.zeros(x.shape[1]), step, (x, y), descend.steps))


def smallest_norm(descend: Descent, rng: np.random.Generator) -> dict[str, float]:
    x, y = rng.normal(size=(10, 25)), rng.normal(size=10)
    pinv = np.linalg.pinv(x) @ y
    elsewhere = rng.normal(size=25)
    from_zero = descend("min_norm", squared, np.zeros(25), smoothest(x), x, y)
    from_elsewhere = descend("elsewhere", squared, elsewhere, smoothest(x), x, y)
    unseen = elsewhere - np.linalg.pinv(x) @ (x @ elsewhere)  # the part of the start that no sample sees stays
    return {
        "min_norm": distance(from_zero, pinv),
        "from_elsewhere": distance(from_elsewhere, pinv + unseen),
        "norm_ratio": float(np.linalg.norm(from_elsewhere) / np.linalg.norm(pinv)),
    }


def main(options: Options) -> None:
    """Solve, compare, report."""
    meter = Meter(options)
    descend = Descent(meter, options.steps_or(3000, quick=3000))
    rng = np.random.default_rng(options.seed)
    x = rng.normal(size=(200, 8))
    y = x @ rng.normal(size=8) + 0.1 * rng.normal(size=200)
    ols = descend("ols", squared, np.zeros(8), smoothest(x), x, y)
    metrics = {"ols": distance(ols, np.linalg.lstsq(x, y, rcond=None)[0])}
    metrics |= ridge(descend, x[:40], y[:40])
    metrics |= logistic(descend, rng, x)
    metrics |= smallest_norm(descend, rng)
    report(options, [meter.measured], metrics)


if __name__ == "__main__":
    main(parse("linear_models", __doc__.splitlines()[0]))
