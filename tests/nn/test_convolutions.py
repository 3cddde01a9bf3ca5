"""Convolutions and pooling against PyTorch in float64, values and gradients, over all their options."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import nn
from graphc.api import ArgumentError, ShapeError
from graphc.nn import functional as F

RNG = np.random.default_rng(0)
CONVS = (
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "stride": 3},
    {"groups": 2, "padding": 2},
    {"groups": 4, "padding": 1, "stride": 2, "dilation": 2},
)
TRANSPOSED = (
    {},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": 3, "dilation": 2, "groups": 2},
    {"stride": 2, "groups": 4},
)
MAX_POOLS = (
    (2, {}),
    (3, {"stride": 2, "padding": 1}),
    (2, {"stride": 1, "dilation": 2}),
    (3, {"stride": 2, "ceil_mode": True, "padding": 1}),
    (2, {"stride": 3, "ceil_mode": True}),
)
AVG_POOLS = (
    (2, {}),
    (3, {"stride": 2, "padding": 1}),
    (3, {"stride": 2, "padding": 1, "count_include_pad": False}),
    (3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    (3, {"stride": 2, "ceil_mode": True, "count_include_pad": False}),
)


def gradients(fn: Callable, *arrays: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """fn(*arrays), and the gradients of sum(fn * w) for fixed weights w that tell the elements apart."""

    def weighted(*args):
        out = fn(*args)
        weights = np.linspace(0.5, 1.5, int(np.prod(out.shape))).reshape(out.shape)
        return gnp.sum(out * weights), out

    run = gc.jit(gc.value_and_grad(weighted, argnums=tuple(range(len(arrays))), has_aux=True), backend="cpu")
    (_, out), grads = run(*arrays)
    return np.asarray(out), [np.asarray(g) for g in grads]


def check(ours: Callable, theirs: Callable, *arrays: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    value, grads = gradients(ours, *arrays)
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    out = theirs(*inputs)
    weights = torch.from_numpy(np.linspace(0.5, 1.5, out.numel()).reshape(tuple(out.shape)))
    (out * weights).sum().backward()
    np.testing.assert_allclose(value, out.detach().numpy(), rtol=1e-10, atol=1e-12)
    for grad, tensor in zip(grads, inputs, strict=True):
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)


def torch_function(name: str) -> Callable:
    return getattr(pytest.importorskip("torch.nn.functional"), name)


@pytest.mark.parametrize(("rank", "options"), list(product((1, 2, 3), CONVS)))
def test_convolutions_agree_with_torch(rank: int, options: dict) -> None:
    groups = options.get("groups", 1)
    x, weight = RNG.normal(size=(2, 4, 9, 8, 7)[: rank + 2]), RNG.normal(size=(4, 4 // groups, 3, 2, 3)[: rank + 2])
    name = f"conv{rank}d"
    ours, theirs = getattr(F, name), torch_function(name)
    bias = RNG.normal(size=4)
    check(lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options), x, weight, bias)


@pytest.mark.parametrize(("rank", "options"), list(product((1, 2, 3), TRANSPOSED)))
def test_transposed_convolutions_agree_with_torch(rank: int, options: dict) -> None:
    groups = options.get("groups", 1)
    x, weight = RNG.normal(size=(2, 4, 5, 4, 3)[: rank + 2]), RNG.normal(size=(4, 8 // groups, 3, 2, 3)[: rank + 2])
    name = f"conv_transpose{rank}d"
    ours, theirs = getattr(F, name), torch_function(name)
    bias = RNG.normal(size=8)
    check(lambda *a: ours(*a, **options), lambda *a: theirs(*a, **options), x, weight, bias)


@pytest.mark.parametrize(("rank", "size", "options"), [(r, *row) for r in (1, 2, 3) for row in MAX_POOLS])
def test_max_pools_agree_with_torch(rank: int, size: int, options: dict) -> None:
    x = RNG.permutation(2 * 2 * 9 * 8 * 7).reshape(2, 2, 9, 8, 7).astype(np.float64)[(..., *[0] * (3 - rank))]
    name = f"max_pool{rank}d"
    ours, theirs = getattr(F, name), torch_function(name)
    check(lambda x: ours(x, size, **options), lambda x: theirs(x, size, **options), x)


@pytest.mark.parametrize(("rank", "size", "options"), [(r, *row) for r in (1, 2, 3) for row in AVG_POOLS])
def test_average_pools_agree_with_torch(rank: int, size: int, options: dict) -> None:
    x = RNG.normal(size=(2, 2, 9, 8, 7)[: rank + 2])
    name = f"avg_pool{rank}d"
    ours, theirs = getattr(F, name), torch_function(name)
    check(lambda x: ours(x, size, **options), lambda x: theirs(x, size, **options), x)


@pytest.mark.parametrize(("rank", "size"), [(1, 4), (2, (3, 7)), (2, 1), (3, (2, None, 5)), (2, 4)])
def test_adaptive_pools_agree_with_torch(rank: int, size: int | tuple) -> None:
    x = RNG.normal(size=(2, 2, 9, 8, 7)[: rank + 2])
    name = f"adaptive_avg_pool{rank}d"
    ours, theirs = getattr(F, name), torch_function(name)
    check(lambda x: ours(x, size), lambda x: theirs(x, size), x)


def test_inputs_without_batch_dim_and_divisors() -> None:
    x = RNG.normal(size=(2, 6, 6))
    check(lambda x: F.max_pool2d(x, 2), lambda x: torch_function("max_pool2d")(x, 2), x)
    weight = RNG.normal(size=(3, 2, 3, 3))
    check(lambda *a: F.conv2d(*a), lambda *a: torch_function("conv2d")(*a), x, weight)
    divided = torch_function("avg_pool2d")
    check(lambda x: F.avg_pool2d(x, 2, divisor_override=3), lambda x: divided(x, 2, divisor_override=3), x)


@pytest.mark.parametrize("channels", [(64, 130, 6, 3, 1), (40, 160, 7, 3, 2), (520, 8, 5, 3, 1), (3, 150, 14, 5, 1)])
def test_every_form_of_a_product_agrees_with_torch(channels: tuple[int, ...]) -> None:
    """Windows that lie in memory, slide over rows, or are read in place; sums of more than 4096 terms."""
    inputs, outputs, extent, size, stride = channels
    x = RNG.normal(size=(2, inputs, extent, extent + 1))
    weight = RNG.normal(size=(outputs, inputs, size, size))
    options = {"stride": stride, "padding": size // 2}
    theirs = torch_function("conv2d")
    check(lambda *a: F.conv2d(*a, **options), lambda *a: theirs(*a, **options), x, weight)


def test_equal_elements_give_the_gradient_to_the_first() -> None:
    x = np.zeros((1, 1, 2, 4))
    grad = gc.grad(lambda x: gnp.sum(F.max_pool2d(x, 2)))(x)
    np.testing.assert_array_equal(grad, [[[[1, 0, 1, 0], [0, 0, 0, 0]]]])


def test_derivatives_of_any_order() -> None:
    x, weight = RNG.normal(size=(1, 2, 5, 4)), RNG.normal(size=(2, 2, 2, 3))

    def fn(x, weight):
        y = F.conv2d(x, weight, stride=(2, 1), padding=1)
        y = F.avg_pool2d(gnp.tanh(F.max_pool2d(y, 2, stride=1)), 2, stride=1, padding=1)
        return F.conv_transpose2d(y, weight, stride=2)

    gc.gradcheck(fn, x, weight, order=2, directions=1)


def test_under_vmap() -> None:
    x, weight = RNG.normal(size=(3, 1, 2, 6)), RNG.normal(size=(3, 4, 2, 3))
    each = np.stack([F.conv1d(a, b, padding=1) for a, b in zip(x, weight, strict=True)])
    np.testing.assert_allclose(gc.jit(gc.vmap(lambda a, b: F.conv1d(a, b, padding=1)))(x, weight), each, rtol=1e-12)
    pooled = np.stack([F.max_pool1d(a, 2) for a in x])
    np.testing.assert_array_equal(gc.jit(gc.vmap(lambda a: F.max_pool1d(a, 2)))(x), pooled)


def test_an_infinite_weight_meets_the_padding() -> None:
    got = F.conv1d(np.ones((1, 1, 3), np.float32), np.array([[[np.inf, 1.0]]], np.float32), padding=1)
    np.testing.assert_array_equal(got, [[[np.nan, np.inf, np.inf, np.inf]]])


@pytest.mark.parametrize(
    "name", ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]
)
def test_layers_load_the_state_of_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    rank = int(name[-2])
    options = {"stride": 2, "padding": 1, "groups": 2}
    theirs = getattr(torch.nn, name)(4, 6, 3, **options).double()
    ours = getattr(nn, name)(4, 6, 3, dtype="float64", **options)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = RNG.normal(size=(2, 4, 6, 5, 4)[: rank + 2])
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-10, atol=1e-12)
    bound = 1 / np.sqrt(theirs.weight.shape[1] * 3**rank)
    fresh = getattr(nn, name)(4, 6, 3, **options)
    assert 0.8 * bound < np.abs(fresh.weight).max() <= bound
    assert np.abs(fresh.bias).max() <= bound


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_torchs(mode: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode).double()
    ours = nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode=mode, dtype="float64")
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = RNG.normal(size=(1, 2, 5, 6))
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-10, atol=1e-12)


def test_pooling_layers() -> None:
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 3, 8, 8))
    for ours, theirs in (
        (nn.MaxPool2d(3, 2, 1), torch.nn.MaxPool2d(3, 2, 1)),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        (nn.AdaptiveAvgPool2d((3, None)), torch.nn.AdaptiveAvgPool2d((3, None))),
    ):
        np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).numpy(), rtol=1e-10, atol=1e-12)


def test_mistakes_are_named() -> None:
    x = np.ones((1, 4, 5), np.float32)
    with pytest.raises(ShapeError, match="conv: 1 groups of 4 channels do not fit"):
        F.conv1d(x, np.ones((2, 3, 3), np.float32))
    with pytest.raises(ShapeError, match="conv2d: input"):
        F.conv2d(x[0, 0], np.ones((2, 4, 3, 3), np.float32))
    with pytest.raises(ArgumentError, match="stride of 1"):
        F.conv1d(x, np.ones((2, 4, 3), np.float32), padding="same", stride=2)
    with pytest.raises(ArgumentError, match="more than half of a window"):
        F.max_pool1d(x, 2, padding=2)
    with pytest.raises(ArgumentError, match="do not divide"):
        nn.Conv1d(3, 4, 3, groups=2)
    with pytest.raises(ArgumentError, match="padding_mode"):
        nn.Conv1d(3, 4, 3, padding_mode="odd")
    with pytest.raises(ArgumentError, match="must be positive"):
        F.conv1d(x, np.ones((2, 4, 3), np.float32), stride=0)


def test_windows_fit_into_what_they_slide_over() -> None:
    x = np.ones((1, 1, 4, 6), np.float32)
    with pytest.raises(ShapeError, match=r"conv2d: a window of 5 does not fit into 4, dim 2 .*test_convolutions.py"):
        F.conv2d(x, np.ones((2, 1, 5, 5), np.float32))
    with pytest.raises(
        ShapeError, match=r"conv2d: a window of 7 \(3, dilation 3\) does not fit into 6 \(4 and padding\)"
    ):
        F.conv2d(x, np.ones((2, 1, 3, 3), np.float32), dilation=3, padding=1)
    with pytest.raises(ShapeError, match="max_pool2d: a window of 9 does not fit"):
        F.max_pool2d(x, 9)
    with pytest.raises(ShapeError, match="avg_pool2d: a window of 9 does not fit"):
        F.avg_pool2d(x, 9)
    with pytest.raises(ArgumentError, match="conv2d: padding is not negative"):
        F.conv2d(x, np.ones((2, 1, 3, 3), np.float32), padding=-1)
    assert F.conv2d(x, np.ones((2, 1, 5, 5), np.float32), padding="same").shape == (1, 2, 4, 6)


def test_a_class_is_no_layer() -> None:
    with pytest.raises(ArgumentError, match=r"Sequential: 1 is the class ReLU; write ReLU\(\)"):
        nn.Sequential(nn.Linear(4, 2), nn.ReLU)
