"""How many kernels a training step has, and what is never in its memory: so that neither grows unseen."""

import re
from functools import cache

import numpy as np
import pytest

from graphc import data, nn, optim, train


@cache
def plan_of(loss: str, dropout: bool = False, hidden: int = 128) -> list[str]:
    """The lines of the kernels of a step of a net with two hidden layers."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 96)).astype(np.float32)
    y: np.ndarray = rng.integers(0, 10, 256).astype(np.int32)
    out = 10
    if loss != "cross_entropy":
        y, out = (rng.random((256, 1)) > 0.5).astype(np.float32), 1
    drop = [nn.Dropout(0.5)] if dropout else []
    model = nn.Sequential(
        nn.Linear(96, hidden), nn.ReLU(), *drop, nn.Linear(hidden, hidden), nn.ReLU(), *drop, nn.Linear(hidden, out)
    )
    job = train.compile(
        model, loss=loss, optimizer=optim.adam(1e-3), data=data.arrays(x, y), batch_size=64, seed=0, backend="cpu"
    )
    text = job.text("plan")
    text = text[text.index("entry train") : text.index("entry evaluate")]
    return [line for line in text.splitlines() if re.match(r" +\d+  ", line)]


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_the_number_of_kernels(loss: str) -> None:
    """Keys and counters; three layers forward; the loss with its gradient; two input gradients; three weight gradients,
    each with the bias beside it and the update at its end. A last layer with one output is computed with its loss.
    """
    lines = plan_of(loss)
    assert len(lines) == (10 if loss == "cross_entropy" else 9), "\n".join(lines)
    assert sum("output 0" in line for line in lines) == 1


def test_the_loss_and_its_gradient_are_one_kernel() -> None:
    (line,) = (line for line in plan_of("cross_entropy") if "output 0" in line)
    assert 64 * 10 * 4 in _sizes(line), "the gradient comes with the value"


def test_dropout_keeps_no_mask() -> None:
    plain, dropped = plan_of("cross_entropy"), plan_of("cross_entropy", dropout=True)
    assert len(dropped) == len(plain) + 4, "each mask twice; their keys are made in the kernel of the other keys"
    masks = [sum(_sizes(line).count(64 * 128) for line in lines) for lines in (plain, dropped)]
    assert masks[0] == masks[1], "as many bool[64,128] as without dropout: those of relu"


def _sizes(line: str) -> list[int]:
    """Bytes of the outputs of a kernel in the arena."""
    outputs = line.split(") -> ")[1]
    return [int(stop) - int(start) for start, stop in re.findall(r"out\d+=arena\[(\d+):(\d+)\]", outputs)]


def test_no_gradient_of_a_weight_is_in_memory() -> None:
    assert not any(96 * 128 * 4 in _sizes(line) for line in plan_of("cross_entropy"))
