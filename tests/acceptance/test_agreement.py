"""100 steps from the same weights over the same batches: `cpu` against `reference`, and against PyTorch.

"To float32 rounding" has a yardstick: the same steps in float64. Rounding in each operation moves a float32 run away
from it; ours may end about as far away as PyTorch's own float32 run does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest

from graphc import optim
from tests.acceptance import jobs

STEPS, BATCH = 100, 16
RULES: dict[str, Callable[[], optim.Optimizer]] = {
    "sgd": lambda: optim.sgd(0.05),
    "momentum": lambda: optim.sgd(0.05, momentum=0.9),
    "nesterov": lambda: optim.sgd(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda: optim.adam(3e-3),
    "adamw": lambda: optim.adamw(3e-3, weight_decay=0.05),
    "rmsprop": lambda: optim.rmsprop(1e-3),
    "adagrad": lambda: optim.adagrad(1e-2),
}
QUICK = ("nesterov", "adamw", "rmsprop")
RULE = pytest.mark.parametrize("rule", [r if r in QUICK else pytest.param(r, marks=pytest.mark.slow) for r in RULES])


@cache
def trained(rule: str, backend: str) -> dict[str, np.ndarray]:
    model = jobs.network()
    job = jobs.job(model, RULES[rule](), order="sequential", backend=backend, batch_size=BATCH)
    job.fit(steps=STEPS, progress=False)
    return {name: np.array(array) for name, array in model.state_dict().items()}


@RULE
def test_reference_backend(rule: str) -> None:
    assert jobs.largest_difference(trained(rule, "cpu"), trained(rule, "reference")) < 2e-5


@RULE
def test_pytorch(rule: str) -> None:
    pytest.importorskip("torch")
    exact, theirs = by_torch(rule, "float64"), by_torch(rule, "float32")
    allowed = 4 * jobs.largest_difference(theirs, exact) + 1e-6
    assert allowed < 1e-4  # or the yardstick is broken
    assert jobs.largest_difference(trained(rule, "cpu"), exact) <= allowed


def test_the_yardstick_is_sharp() -> None:
    """A slightly different rule is told apart."""
    pytest.importorskip("torch")
    assert jobs.largest_difference(trained("nesterov", "cpu"), by_torch("momentum", "float64")) > 1e-2
    assert jobs.largest_difference(by_torch("adam", "float64"), by_torch("adamw", "float64")) > 1e-3


def by_torch(rule: str, dtype: str) -> dict[str, np.ndarray]:
    import torch

    kind: Any = getattr(torch, dtype)
    model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 5))
    model.load_state_dict({n: torch.tensor(a) for n, a in jobs.network().state_dict().items()})
    model.to(kind)
    step = torch_rule(rule, model.parameters())
    x, y = jobs.arrays()
    inputs, labels = torch.tensor(x, dtype=kind), torch.tensor(y)
    for number in range(STEPS):
        start = number * BATCH % len(x)
        model.zero_grad()
        torch.nn.functional.cross_entropy(
            model(inputs[start : start + BATCH]), labels[start : start + BATCH]
        ).backward()
        step()
    return {n: p.detach().numpy() for n, p in model.state_dict().items()}


def torch_rule(rule: str, parameters: Iterable[Any]) -> Callable[[], None]:
    """The same rule with the same arguments. AdamW decays after the step here, before it in PyTorch's own class."""
    import torch

    params = list(parameters)
    made = {
        "sgd": lambda: torch.optim.SGD(params, 0.05),
        "momentum": lambda: torch.optim.SGD(params, 0.05, momentum=0.9),
        "nesterov": lambda: torch.optim.SGD(params, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "adam": lambda: torch.optim.Adam(params, 3e-3),
        "adamw": lambda: torch.optim.Adam(params, 3e-3),
        "rmsprop": lambda: torch.optim.RMSprop(params, 1e-3),
        "adagrad": lambda: torch.optim.Adagrad(params, 1e-2),
    }[rule]()

    def step() -> None:
        made.step()
        if rule == "adamw":
            with torch.no_grad():
                for parameter in params:
                    parameter.mul_(1 - 3e-3 * 0.05)

    return step
