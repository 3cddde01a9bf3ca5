"""Mistakes in models: each error names the user's line and what to write instead."""

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.nn import functional as F


def _line_of(mark: str) -> str:
    with open(__file__) as lines:
        number = next(number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"# {mark}"))
    return f"(test_mistakes.py:{number})"


class Inner(nn.Module):
    def __init__(self):
        self.first = nn.Linear(4, 8)
        self.second = nn.Linear(7, 2)

    def forward(self, x):
        x = F.relu(self.first(x))
        return self.second(x)  # SECOND


class Fresh(nn.Module):
    def forward(self, x):
        return nn.Linear(4, 2)(x)  # FRESH


X = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    ("model", "text", "mark"),
    [
        (nn.Sequential(nn.Identity(), Inner()), r"linear: input \[3, 8\] .* 7 features", "SECOND"),
        (
            nn.Sequential(
                nn.Linear(4, 8),
                nn.Linear(7, 2),  # LAYER
            ),
            r"linear: input \[3, 8\] .* 7 features",
            "LAYER",
        ),
        (nn.Sequential(nn.LayerNorm(5)), r"layer_norm: input \[3, 4\]", None),
    ],
)
def test_shape_errors_deep_in_a_model_name_the_line(model: nn.Module, text: str, mark: str | None) -> None:
    with pytest.raises(gc.api.ShapeError, match=text) as caught:
        gc.trace(lambda x: model(x), X)
    assert (_line_of(mark) if mark else "(test_mistakes.py:") in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda x: F.mse_loss(x, x[0]), "mse_loss: output .3, 4. and target .4. differ"),
        (lambda x: F.cross_entropy(x, x[:, 0]), "cross_entropy: a float32 target holds probabilities.*cast them"),
        (lambda x: F.cross_entropy(x, np.zeros((3, 1), int)), "integer labels .3, 1. do not fit"),
        (lambda x: F.nll_loss(x, x[:, 0]), "labels must be integers"),
        (lambda x: F.binary_cross_entropy_with_logits(x, np.zeros((3, 4), int)), "must be floating"),
        (lambda x: F.mse_loss(x, x, reduction="avg"), "reduction='avg'"),
        (lambda x: F.gelu(x, "erf"), "approximate='erf'"),
    ],
)
def test_errors_of_functions_name_the_line(loss: Callable[[gc.api.Tracer], object], text: str) -> None:
    with pytest.raises(gc.api.GraphcError, match=text + r".*\(test_mistakes.py:\d+\)$"):
        gc.trace(loss, X)


def test_a_parameter_made_in_forward_is_an_error() -> None:
    model = Fresh()
    with pytest.raises(gc.api.ArgumentError, match="made in forward") as caught:
        nn.functional_call(model, {}, X)
    assert _line_of("FRESH") in str(caught.value)


@pytest.mark.parametrize("name", ["train", "eval", "to", "cuda", "zero_grad", "register_buffer"])
def test_what_pytorch_has_and_graphc_does_not_says_what_to_do(name: str) -> None:
    with pytest.raises(AttributeError, match=f"Linear has no attribute '{name}': "):
        getattr(nn.Linear(2, 2), name)


def test_a_state_dict_of_bfloat16_loads() -> None:
    torch = pytest.importorskip("torch")
    source = torch.nn.Linear(4, 2).to(torch.bfloat16)
    model = nn.Linear(4, 2)
    model.load_state_dict(source.state_dict())
    np.testing.assert_array_equal(model.weight, source.weight.detach().float().numpy())
