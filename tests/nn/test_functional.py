"""Activations and losses: values and gradients against PyTorch in float64, and the extremes where formulas break."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.api as gc
import graphc.numpy as gnp
from graphc.nn import functional as F

RNG = np.random.default_rng(0)
X = np.concatenate([np.linspace(-40, 40, 41), [-1e-3, 0.0, 1e-3, 1.0, -1.0]])


def value_and_gradient(fn: Callable, *arrays: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """fn(*arrays), and the gradients of sum(fn * w) for fixed weights w that tell the elements apart."""

    def weighted(*args):
        out = fn(*args)
        weights = np.linspace(0.5, 1.5, int(np.prod(out.shape)) or 1).reshape(out.shape)
        return gnp.sum(out * weights), out

    run = gc.jit(gc.value_and_grad(weighted, argnums=tuple(range(len(arrays))), has_aux=True), backend="reference")
    (_, out), grads = run(*arrays)
    return np.asarray(out), [np.asarray(g) for g in grads]


def check_with_torch(ours: Callable, theirs: Callable, *arrays: np.ndarray, rtol: float = 1e-10) -> None:
    torch = pytest.importorskip("torch")
    value, grads = value_and_gradient(ours, *arrays)
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = theirs(*inputs)
    weights = torch.from_numpy(np.linspace(0.5, 1.5, out.numel() or 1).reshape(tuple(out.shape)))
    (out * weights).sum().backward()
    np.testing.assert_allclose(value, out.detach().numpy(), rtol=rtol, atol=1e-13)
    for grad, tensor in zip(grads, inputs, strict=True):
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=rtol, atol=1e-13)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh", "softplus", "softmax", "log_softmax"]
)
def test_activations_agree_with_torch(name: str) -> None:
    functional = pytest.importorskip("torch.nn.functional")
    theirs = getattr(functional, name)
    if name in ("softmax", "log_softmax"):
        check_with_torch(getattr(F, name), lambda x: theirs(x, dim=-1), RNG.normal(size=(3, 7)) * 10)
    elif name == "gelu":  # PyTorch's form cancels on the left
        check_with_torch(F.gelu, theirs, X[X > -3])
    elif name == "softplus":  # PyTorch returns x itself above 20
        check_with_torch(F.softplus, theirs, X[X < 20])
    else:
        check_with_torch(getattr(F, name), theirs, X)


def test_gelu_by_tanh_agrees_with_torch() -> None:
    functional = pytest.importorskip("torch.nn.functional")
    check_with_torch(
        lambda x: F.gelu(x, "tanh"), lambda x: functional.gelu(x, approximate="tanh"), X[abs(X) < 5], rtol=1e-8
    )


def test_gelu_keeps_its_precision_on_the_left() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-35, -5, 31)
    np.testing.assert_allclose(F.gelu(x), x * special.ndtr(x), rtol=1e-12)


def test_softplus_and_its_derivative_at_the_extremes() -> None:
    x = np.array([-800.0, -30.0, 0.0, 30.0, 800.0])
    value, (grad,) = value_and_gradient(lambda x: F.softplus(x), x)
    np.testing.assert_allclose(value, np.logaddexp(0, x), rtol=1e-12)
    weights = np.linspace(0.5, 1.5, 5)
    np.testing.assert_allclose(grad / weights, [0, np.exp(-30), 0.5, 1, 1], rtol=1e-12)


def test_relu_lets_nan_through_and_has_derivative_zero_at_zero() -> None:
    assert np.isnan(F.relu(np.array([np.nan]))).all()
    _, (grad,) = value_and_gradient(F.relu, np.array([-1.0, 0.0, 2.0]))
    assert (grad > 0).tolist() == [False, False, True]


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_logsumexp_of_extremes(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 1000.0)
    np.testing.assert_allclose(F.logsumexp(x), 1000 + np.log(4))
    assert np.all(F.logsumexp(np.full(shape, -np.inf)) == -np.inf)


LOGITS = RNG.normal(size=(6, 5)) * 3
LABELS = np.array([0, 4, 2, -100, 1, 2])
SOFT = RNG.dirichlet(np.ones(5), size=6)
CLASS_WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0, 1.5])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("target", ["integer", "soft"])
def test_cross_entropy_agrees_with_torch(reduction: str, smoothing: float, is_weighted: bool, target: str) -> None:
    torch = pytest.importorskip("torch")
    labels = LABELS if target == "integer" else SOFT
    weight = CLASS_WEIGHTS if is_weighted else None
    check_with_torch(
        lambda x: F.cross_entropy(x, labels, weight=weight, reduction=reduction, label_smoothing=smoothing),
        lambda x: torch.nn.functional.cross_entropy(
            x,
            torch.from_numpy(labels),
            weight=None if weight is None else torch.from_numpy(weight),
            reduction=reduction,
            label_smoothing=smoothing,
        ),
        LOGITS,
    )


def test_one_hot_labels_mean_the_same_as_integers() -> None:
    labels = np.array([0, 4, 2, 3, 1, 2])
    np.testing.assert_allclose(
        F.cross_entropy(LOGITS, np.eye(5)[labels]), F.cross_entropy(LOGITS, labels, ignore_index=None), rtol=1e-14
    )


def test_cross_entropy_takes_the_class_axis_of_torch_or_another() -> None:
    torch = pytest.importorskip("torch")
    x, y = RNG.normal(size=(2, 5, 3)), RNG.integers(0, 5, size=(2, 3))
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(x), torch.from_numpy(y)).item()
    np.testing.assert_allclose(F.cross_entropy(x, y), expected)
    np.testing.assert_allclose(F.cross_entropy(np.moveaxis(x, 1, -1), y, axis=-1), expected)


def test_cross_entropy_of_extreme_logits_is_finite() -> None:
    x = np.array([[1e4, -1e4], [1e4, -1e4]])
    value, (grad,) = value_and_gradient(lambda x: F.cross_entropy(x, np.array([0, 1]), reduction="none"), x)
    assert value.tolist() == [0.0, 2e4]
    assert np.isfinite(grad).all()


def _positive(x: np.ndarray) -> np.ndarray:
    return np.abs(x) / 20 + 1e-3


A, B = RNG.normal(size=(4, 3)) * 2, RNG.normal(size=(4, 3))
UNIT = 1 / (1 + np.exp(-B))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "output", "target"),
    [
        ("mse_loss", A, B),
        ("l1_loss", A, B),
        ("huber_loss", A, B),
        ("binary_cross_entropy_with_logits", A * 10, UNIT),
        ("binary_cross_entropy", 1 / (1 + np.exp(-A)), UNIT),
        ("kl_div", np.log(UNIT), UNIT),
    ],
)
def test_losses_agree_with_torch(name: str, output: np.ndarray, target: np.ndarray, reduction: str) -> None:
    functional = pytest.importorskip("torch.nn.functional")
    check_with_torch(
        lambda x, y: getattr(F, name)(x, y, reduction=reduction),
        lambda x, y: getattr(functional, name)(x, y, reduction=reduction),
        output,
        target,
    )


def test_options_of_losses_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    check_with_torch(
        lambda x: F.huber_loss(x, B, delta=0.3), lambda x: functional.huber_loss(x, torch.from_numpy(B), delta=0.3), A
    )
    check_with_torch(
        lambda x: F.binary_cross_entropy_with_logits(x, UNIT, pos_weight=np.array([1.0, 2.0, 3.0])),
        lambda x: functional.binary_cross_entropy_with_logits(
            x, torch.from_numpy(UNIT), pos_weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
        ),
        A,
    )
    check_with_torch(
        lambda x, v: F.gaussian_nll_loss(x, B, v, full=True),
        lambda x, v: functional.gaussian_nll_loss(x, torch.from_numpy(B), v, full=True),
        A,
        _positive(A) - 1e-3,
    )
    check_with_torch(
        lambda x: F.kl_div(x, B, log_target=True, reduction="batchmean"),
        lambda x: functional.kl_div(x, torch.from_numpy(B), log_target=True, reduction="batchmean"),
        A,
    )


def test_bce_with_logits_is_exact_far_out_and_its_derivative_is_right_at_zero() -> None:
    x = np.array([-40.0, 40.0, 0.0, 0.0, 800.0])
    t = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    value, (grad,) = value_and_gradient(lambda x: F.binary_cross_entropy_with_logits(x, t, reduction="none"), x)
    np.testing.assert_allclose(value, [np.exp(-40), np.exp(-40), np.log(2), np.log(2), 800], rtol=1e-12)
    np.testing.assert_allclose(grad / np.linspace(0.5, 1.5, 5), [np.exp(-40), -np.exp(-40), 0.5, -0.5, 1], rtol=1e-12)


def test_kl_of_zero_probability_is_zero() -> None:
    assert F.kl_div(np.log([0.5, 0.5]), np.array([1.0, 0.0]), reduction="sum") == pytest.approx(np.log(2))


def test_hinge_and_perceptron_loss() -> None:
    output, target = np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, 1.0])
    assert F.hinge_loss(output, target, reduction="none").tolist() == [0.0, 0.5, 2.0]
    assert F.hinge_loss(output, target, margin=0.0, reduction="none").tolist() == [0.0, 0.0, 1.0]


def test_layer_norm_agrees_with_torch() -> None:
    functional = pytest.importorskip("torch.nn.functional")
    check_with_torch(
        lambda x, w, b: F.layer_norm(x, (3, 4), w, b),
        lambda x, w, b: functional.layer_norm(x, (3, 4), w, b),
        RNG.normal(size=(2, 3, 4)) + 5,
        RNG.normal(size=(3, 4)),
        RNG.normal(size=(3, 4)),
    )


def test_accuracy_counts_samples() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    assert float(F.accuracy(logits, np.array([1, 1, 1]))) == pytest.approx(2 / 3)
    assert float(F.accuracy(logits, np.eye(2)[[1, 0, 1]])) == 1.0
    assert F.accuracy(np.array([[0.5], [-0.5]]), np.array([[1.0], [1.0]]), reduction="none").ravel().tolist() == [
        1.0,
        0.0,
    ]


def test_errors_name_the_argument() -> None:
    with pytest.raises(gc.ArgumentError, match="reduction='avg'"):
        F.mse_loss(A, B, reduction="avg")
    with pytest.raises(gc.ShapeError, match=r"\[4, 3\].*\[3, 4\]"):
        F.mse_loss(A, B.T)
    with pytest.raises(gc.ShapeError, match=r"labels \[6, 1\]"):
        F.cross_entropy(LOGITS, LABELS[:, None])
    with pytest.raises(gc.ArgumentError, match="label_smoothing"):
        F.cross_entropy(LOGITS, LABELS, label_smoothing=2.0)


def test_labels_of_a_dtype_that_cannot_hold_the_ignored_one():
    logits = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    found = F.cross_entropy(logits, np.array([0, 3, 1], np.uint8), label_smoothing=0.1)
    wanted = F.cross_entropy(logits, np.array([0, 3, 1]), ignore_index=None, label_smoothing=0.1)
    assert np.asarray(found) == np.asarray(wanted)
