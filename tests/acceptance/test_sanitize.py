"""A training loop that goes wrong natively says where, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train


def loss(model, batch, key):
    x, y = batch
    return gnp.mean((gnp.log(model(x)) - y) ** 2)  # the logarithm


def job(sanitize: bool, rate: float = 0.5) -> train.Job:
    x = np.linspace(1, 2, 64, dtype=np.float32)[:, None]
    nn.init.seed(0)
    model = nn.Linear(1, 1)
    model.load_state_dict({"weight": np.ones((1, 1), np.float32), "bias": np.ones(1, np.float32)})
    return train.compile(
        model, loss=loss, optimizer=optim.sgd(rate), data=data.arrays(x, 0 * x - 9), batch_size=16, sanitize=sanitize
    )


@pytest.mark.parametrize("rate", [0.05, 0.01])
def test_training_that_diverges_names_step_line_and_element(rate: float) -> None:
    checked = job(True, rate)
    with pytest.raises(gc.NonFiniteError) as raised:
        checked.fit(epochs=2000, progress=False)
    error, line = raised.value, Path(__file__).read_text(encoding="utf-8").splitlines()
    number = next(i for i, text in enumerate(line, 1) if text.endswith("# the logarithm"))
    assert (error.op, error.source, error.is_backward) == ("log", f"{Path(__file__).name}:{number}", False)
    assert error.element is not None and error.step == checked.step > 0
    usual = job(False, rate)
    usual.fit(steps=error.step, progress=False)
    for name, value in usual.model.state_dict().items():
        assert np.isfinite(value).all() and np.array_equal(checked.model.state_dict()[name], value)
    with pytest.raises(gc.NonFiniteError, match=f"step {error.step}: "):
        checked.fit(steps=10, progress=False)


def test_a_run_that_goes_well_has_the_same_bits(tmp_path: Path) -> None:
    found, wanted = job(True, 1e-4), job(False, 1e-4)
    assert np.array_equal(found.fit(steps=9, progress=False).losses, wanted.fit(steps=9, progress=False).losses)
    found.save(tmp_path / "run")
    again = train.resume(
        tmp_path / "run", found.model, loss=loss, data=found.recipe.data, optimizer=optim.sgd(1e-4), sanitize=True
    )
    assert np.array_equal(again.fit(steps=5, progress=False).losses, wanted.fit(steps=5, progress=False).losses)


def test_nan_in_the_parameters_is_named() -> None:
    checked = job(True)
    checked.model.load_state_dict({"weight": np.full((1, 1), np.nan, np.float32), "bias": np.ones(1, np.float32)})
    with pytest.raises(gc.NonFiniteError, match="holds NaN") as raised:
        checked.fit(steps=3, progress=False)
    assert "params" in raised.value.argument and checked.step == 0
