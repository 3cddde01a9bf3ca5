"""Update rules against PyTorch's optimisers and against the formulas, in float64; schedules; clipping; names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc import nn, optim
from graphc.api import ArgumentError

START = np.linspace(-1, 1, 7)


def gradient(params: np.ndarray, step: int) -> np.ndarray:
    return params * 3 + np.sin(np.arange(7) + step)


def run(rule: optim.Optimizer, steps: int = 12) -> np.ndarray:
    params, state = START.copy(), rule.init(START)
    for step in range(steps):
        params, state = rule.update(gradient(params, step), state, params, np.int64(step))
    return np.asarray(params)


def run_torch(make: Callable, steps: int = 12) -> np.ndarray:
    torch = pytest.importorskip("torch")
    params = torch.tensor(START, requires_grad=True)
    rule = make(torch.optim, [params])
    for step in range(steps):
        params.grad = torch.from_numpy(gradient(params.detach().numpy().copy(), step))
        rule.step()
    return params.detach().numpy()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (optim.sgd(0.1), lambda o, p: o.SGD(p, 0.1)),
        (optim.sgd(0.1, momentum=0.9), lambda o, p: o.SGD(p, 0.1, momentum=0.9)),
        (optim.sgd(0.1, momentum=0.9, nesterov=True), lambda o, p: o.SGD(p, 0.1, momentum=0.9, nesterov=True)),
        (optim.sgd(0.1, momentum=0.9, dampening=0.3), lambda o, p: o.SGD(p, 0.1, momentum=0.9, dampening=0.3)),
        (optim.sgd(0.1, weight_decay=0.2), lambda o, p: o.SGD(p, 0.1, weight_decay=0.2)),
        (optim.adagrad(0.1, weight_decay=0.2), lambda o, p: o.Adagrad(p, 0.1, weight_decay=0.2)),
        (optim.rmsprop(0.05, rho=0.8, weight_decay=0.2), lambda o, p: o.RMSprop(p, 0.05, alpha=0.8, weight_decay=0.2)),
        (optim.adam(0.05), lambda o, p: o.Adam(p, 0.05)),
        (optim.adam(0.05, (0.5, 0.9), 1e-3, 0.2), lambda o, p: o.Adam(p, 0.05, (0.5, 0.9), 1e-3, 0.2)),
        (optim.adamw(0.05, weight_decay=0.0), lambda o, p: o.AdamW(p, 0.05, weight_decay=0.0)),
    ],
    ids=lambda value: repr(value) if not callable(value) else "",
)
def test_rules_agree_with_torch(ours: optim.Optimizer, theirs: Callable) -> None:
    np.testing.assert_allclose(run(ours), run_torch(theirs), rtol=1e-11)


def test_adamw_decays_after_the_step_and_differs_from_torch_by_second_order() -> None:
    rate, decay = 0.01, 0.1
    params, state = START.copy(), optim.adam(rate).init(START)
    for step in range(5):
        params, state = optim.adam(rate).update(gradient(params, step), state, params, np.int64(step))
        params = params - rate * decay * params
    np.testing.assert_allclose(run(optim.adamw(rate, weight_decay=decay), 5), params, rtol=1e-13)
    theirs = run_torch(lambda o, p: o.AdamW(p, rate, weight_decay=decay), 5)
    np.testing.assert_allclose(params, theirs, atol=5 * rate * rate * decay * 1.1)


def test_the_average_form_of_momentum() -> None:
    params, velocity = START.copy(), np.zeros(7)
    for step in range(5):
        velocity = 0.9 * velocity + 0.1 * gradient(params, step)
        params = params - 0.1 * velocity
    np.testing.assert_allclose(run(optim.sgd(0.1, momentum=0.9, ema=True), 5), params, rtol=1e-13)


def test_the_bias_correction_is_exact_in_float32() -> None:
    rule = optim.adam(1e-3)
    params = np.zeros(3, np.float32)
    grads = np.array([1e-3, 1.0, 50.0], np.float32)
    new, _ = rule.update(grads, rule.init(params), params, np.int64(0))
    assert np.asarray(new).dtype == np.float32
    np.testing.assert_allclose(new, -1e-3 * grads / (grads + 1e-8), rtol=3e-7)


def rates(schedule: Callable, steps: int) -> list[float]:
    return [float(schedule(np.int64(step))) for step in range(steps)]


def test_schedules() -> None:
    assert rates(optim.constant(0.5), 3) == [0.5] * 3
    np.testing.assert_allclose(rates(optim.linear(1.0, 0.2, 4), 6), [1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    np.testing.assert_allclose(
        rates(optim.cosine(1.0, 4, 0.2), 6), [1, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.6 - 0.4 * 0.5**0.5, 0.2, 0.2]
    )
    np.testing.assert_allclose(rates(optim.warmup(optim.linear(1.0, 0.0, 4), 2), 6), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_cosine_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(rule, 10, 0.01)
    expected = []
    for _ in range(10):
        expected.append(theirs.get_last_lr()[0])
        rule.step()
        theirs.step()
    np.testing.assert_allclose(rates(optim.cosine(0.3, 10, 0.01), 10), expected, rtol=1e-12)


def test_any_function_of_the_step_is_a_schedule() -> None:
    rule = optim.sgd(lambda step: 1.0 / (1.0 + step.astype("float64")))
    params, _ = rule.update(np.ones(2), {}, np.zeros(2), np.int64(3))
    assert np.asarray(params).tolist() == [-0.25, -0.25]


def test_clipping_by_global_norm_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    arrays = [np.full(4, 3.0), np.full((2, 2), 4.0)]
    tensors = [torch.zeros(a.shape, dtype=torch.float64, requires_grad=True) for a in arrays]
    for limit in (1.0, 100.0):
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.grad = torch.from_numpy(array.copy())
        norm = torch.nn.utils.clip_grad_norm_(tensors, limit).item()
        clipped, ours = optim.clip_by_global_norm(arrays, limit)
        assert float(ours) == pytest.approx(norm) == 10.0
        for array, tensor in zip(clipped, tensors, strict=True):
            np.testing.assert_allclose(array, tensor.grad.numpy())


@pytest.mark.parametrize("lr", [float("nan"), float("inf"), -0.1, "fast", None, True])
@pytest.mark.parametrize("make", [optim.sgd, optim.adagrad, optim.rmsprop, optim.adam, optim.adamw, optim.constant])
def test_a_learning_rate_that_makes_no_sense_is_refused(make: Callable, lr: object) -> None:
    with pytest.raises(ArgumentError, match="lr="):
        make(lr)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.sgd(0.1, nesterov=True), "nesterov"),
        (lambda: optim.sgd(0.1, momentum=0.9, dampening=0.1, ema=True), "ema"),
        (lambda: optim.adam(betas=(0.9, 1.0)), "beta2"),
        (lambda: optim.adam(eps=-1.0), "eps"),
        (lambda: optim.adam(betas=0.9), "adam: betas=0.9 must be two numbers"),
        (lambda: optim.adamw(betas=[0.9, 0.9, 0.9]), "adamw: betas=.*must be two numbers"),
        (lambda: optim.adamw(weight_decay=-0.1), "weight_decay"),
        (lambda: optim.rmsprop(rho=1.5), "rho"),
        (lambda: optim.cosine(0.1, 0), "steps"),
        (lambda: optim.warmup(-1.0, 5), "lr"),
        (lambda: optim.adam(nn.Linear(2, 3)), "parameters go to train.compile"),
        (lambda: optim.sgd(nn.Linear(2, 3).parameters()), "parameters go to train.compile"),
        (lambda: optim.by_name("adma"), "known: sgd, adagrad, rmsprop, adam, adamw"),
    ],
)
def test_errors_name_the_argument(make: Callable, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("rule", [optim.sgd(0.1, 0.9), optim.adamw(optim.warmup(optim.cosine(0.1, 9), 3), (0.8, 0.9))])
def test_a_description_can_be_read_back(rule: optim.Optimizer) -> None:
    assert optim.restore(optim.describe(rule)) == rule


def test_a_function_has_to_be_given_again() -> None:
    with pytest.raises(ArgumentError, match="given again"):
        optim.restore(optim.describe(optim.sgd(lambda step: step)))
