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


class OfUsers(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda x: nn.ReLU(x), r"ReLU: takes no array; make the layer first and call it: nn\.ReLU\(\)\(x\)"),
        (lambda x: nn.Tanh(x), r"Tanh: takes no array; .*nn\.Tanh\(\)\(x\)"),
        (lambda x: nn.Softmax(x), r"Softmax: dim is an array; .*nn\.Softmax\(\)\(x\)"),
        (lambda x: nn.LogSoftmax(dim=x), r"LogSoftmax: dim is an array; .*nn\.LogSoftmax\(\)\(x\)"),
        (lambda x: nn.GELU(x), r"GELU: approximate is an array; .*nn\.GELU\(\)\(x\)"),
        (lambda x: nn.Flatten(x), r"Flatten: start_dim is an array; .*nn\.Flatten\(\)\(x\)"),
        (lambda x: nn.Dropout(x), r"Dropout: drop is an array; .*nn\.Dropout\(\)\(x\)"),
        (lambda x: nn.Linear(4, x), r"Linear: out_features is an array; .*nn\.Linear\(\.\.\.\)\(x\)"),
        (lambda x: nn.MSELoss(x, x), r"MSELoss: reduction is an array; .*nn\.MSELoss\(\)\(x\)"),
        (lambda x: OfUsers(x), r"OfUsers: takes no array; make the layer first and call it: OfUsers\(\)\(x\)"),
        (lambda x: nn.ReLU(True), r"ReLU: takes no arguments, got \(True,\)"),
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_a_layer_made_of_what_it_should_be_called_with(make: Callable, text: str, traced: bool) -> None:
    with pytest.raises(gc.api.ArgumentError, match=text + r" \(test_mistakes.py:\d+\)$"):
        gc.trace(make, X) if traced else make(X)


def test_layers_that_take_arrays() -> None:
    assert nn.CrossEntropyLoss(np.ones(4, np.float32)).weight is not None
    assert nn.Linear(4, 2, key=gc.random.key(1)).weight.shape == (2, 4)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.Linear(4.0, 2), r"Linear: in_features=4\.0 must be a positive integer"),
        (lambda: nn.Conv2d(3, 4, 3.0), r"Conv2d: kernel_size=3\.0 must be an integer, or one for each dim"),
        (lambda: nn.Conv1d(3, 4, (3.0,)), r"Conv1d: kernel_size=3\.0 must be an integer"),
        (lambda: nn.Conv2d(3, 4, 3, stride=1.5), r"Conv2d: stride=1\.5 must be an integer"),
        (lambda: nn.Conv2d(3, 4, 3, padding=0.5), r"Conv2d: padding=0\.5 must be an integer"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0), "Conv2d: dilation=0 must be a positive integer"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=0.5), r"ConvTranspose2d: output_padding=0\.5 must be"),
        (lambda: nn.MaxPool2d(2.0), r"MaxPool2d: kernel_size=2\.0 must be an integer"),
        (lambda: nn.MaxPool2d(2, stride=0), "MaxPool2d: stride=0 must be a positive integer"),
        (lambda: nn.AvgPool2d(0), "AvgPool2d: kernel_size=0 must be a positive integer"),
        (lambda: nn.AdaptiveAvgPool2d((2.0, None)), r"AdaptiveAvgPool2d: output_size=2\.0 must be an integer"),
        (lambda: nn.LayerNorm(4.0), r"LayerNorm: normalized_shape=4\.0 must be a positive integer"),
        (lambda: nn.LayerNorm(4, eps=-1), "LayerNorm: eps=-1 must be a number of at least 0"),
        (lambda: nn.Dropout("a"), r"Dropout: drop='a' must be a number in \[0, 1\]"),
        (lambda: nn.Dropout(1.5), r"Dropout: drop=1\.5 must be a number in \[0, 1\]"),
        (lambda: nn.Flatten(1.0), r"Flatten: start_dim=1\.0 must be an integer"),
        (lambda: F.max_pool2d(X, 2.0), r"max_pool2d: kernel_size=2\.0 must be an integer"),
    ],
)
def test_sizes_that_are_none(make: Callable, text: str) -> None:
    with pytest.raises(gc.api.ArgumentError, match=text + r".*\(test_mistakes.py:\d+\)$"):
        make()


@pytest.mark.parametrize("x", [3.0, None])
def test_a_layer_called_with_what_is_no_array(x: object) -> None:
    with pytest.raises(gc.api.GraphcError, match=r"linear: input \[\] does not end in|NoneType is not an array"):
        nn.Linear(3, 4)(x)


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
