"""Modules: names, copies, tied arrays, buffers, random keys, PyTorch's state dicts."""

from __future__ import annotations

import numpy as np
import pytest

import graphc.api as gc
from graphc import nn
from graphc.api import ArgumentError


class Counter(nn.Module):
    """Doubles its input and counts its training calls."""

    def __init__(self) -> None:
        self.calls = nn.Buffer(np.zeros((), np.int64))

    def forward(self, x):
        if self.training:
            self.calls = self.calls + 1
        return x * 2.0


class Mixed(nn.Module):
    """Parameters, buffers and children in every kind of container."""

    def __init__(self) -> None:
        self.gain = nn.Parameter(np.ones(2, np.float32))
        self.blocks = [nn.Linear(2, 2), [nn.Linear(2, 2, bias=False)]]
        self.named = {"a": Counter()}
        self.alphas = [nn.Parameter(np.zeros(3, np.float32)), nn.Parameter(np.zeros(1, np.float32))]
        self.width = 7

    def forward(self, x):
        for block in (self.blocks[0], self.blocks[1][0], self.named["a"]):
            x = block(x)
        return x * self.gain + self.alphas[1]


def test_names_are_dotted_paths_in_pytorch_order() -> None:
    assert list(nn.leaves(Mixed())) == [
        "gain",
        "alphas.0",
        "alphas.1",
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.1.0.weight",
        "named.a.calls",
    ]


def test_names_and_layouts_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    ours = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2))
    assert {n: a.shape for n, a in ours.state_dict().items()} == {
        n: tuple(t.shape) for n, t in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)


def test_reading_a_parameter_gives_the_array() -> None:
    layer = nn.Linear(3, 2)
    assert isinstance(layer.weight, np.ndarray)
    assert layer.weight.shape == (2, 3)
    layer.weight = np.ones((2, 3), np.float32)
    assert layer.state_dict()["weight"].sum() == 6


def test_assigning_another_shape_or_dtype_is_an_error() -> None:
    layer = nn.Linear(3, 2)
    with pytest.raises(ArgumentError, match=r"float32\[2, 3\].*float32\[3, 2\]"):
        layer.weight = np.ones((3, 2), np.float32)
    with pytest.raises(ArgumentError, match="float64"):
        layer.weight = np.ones((2, 3))


def test_a_parameter_must_be_floating() -> None:
    with pytest.raises(ArgumentError, match="int64"):
        nn.Parameter(np.arange(3))


def test_a_list_of_parameters_cannot_be_changed_by_mistake() -> None:
    with pytest.raises(AttributeError):
        Mixed().alphas.append(1)


def test_functional_call_leaves_the_module_alone_and_returns_buffers() -> None:
    model = nn.Sequential(Counter(), Counter())
    x = np.ones(2, np.float32)
    output, buffers = nn.functional_call(model, {"0.calls": np.array(5)}, x, training=True)
    assert output.tolist() == [4.0, 4.0]
    assert {name: int(value) for name, value in buffers.items()} == {"0.calls": 6, "1.calls": 1}
    assert int(model[0].calls) == 0
    assert int(nn.functional_call(model, {}, x)[1]["0.calls"]) == 0, "a call is evaluation unless it says otherwise"


def test_functional_call_names_what_it_does_not_know() -> None:
    with pytest.raises(ArgumentError, match="weigth"):
        nn.functional_call(nn.Linear(2, 2), {"weigth": np.ones((2, 2), np.float32)}, np.ones(2, np.float32))


def test_forward_may_not_assign_a_parameter() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            self.w = self.w + x
            return x

    with pytest.raises(ArgumentError, match=r"Wrong\.w"):
        nn.functional_call(Wrong(), {}, np.ones(1, np.float32))


def test_tied_arrays_are_one_leaf_with_the_gradient_of_both_uses() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.down, self.up = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.up.weight = self.down.weight

        def forward(self, x):
            return self.up(self.down(x))

    model = Tied()
    assert list(nn.leaves(model)) == ["down.weight"]
    assert list(model.state_dict()) == ["down.weight", "up.weight"]
    x = np.ones((1, 3), np.float32)

    def total(weight):
        return nn.functional_call(model, {"down.weight": weight}, x)[0].sum()

    identity = np.eye(3, dtype=np.float32)
    gradient = gc.jit(gc.grad(total), backend="reference")(identity)
    np.testing.assert_allclose(gradient, 2 * np.ones((3, 3)))  # d/dW sum(W W x) at W = 1, x = 1


def test_a_shared_module_is_one_module() -> None:
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert list(nn.leaves(model)) == ["0.weight", "0.bias"]
    bound = nn.bind(model, {}, training=False)
    assert bound[0] is bound[2]


def test_a_module_is_a_pytree() -> None:
    model = Mixed()
    leaves, treedef = gc.pytree.flatten(model)
    assert gc.pytree.leaf_names(treedef) == list(nn.leaves(model))
    doubled = gc.pytree.tree_map(lambda leaf: leaf * 2, model)
    assert doubled.gain.tolist() == [2.0, 2.0]
    assert model.gain.tolist() == [1.0, 1.0]
    assert doubled.width == 7
    assert gc.pytree.flatten(Mixed())[1] == treedef
    other = Mixed()
    other.width = 8
    assert gc.pytree.flatten(other)[1] != treedef
    assert len(leaves) == 7


def test_keys_differ_by_layer_and_by_use_and_repeat_with_the_key() -> None:
    class Noisy(nn.Module):
        def forward(self, x):
            return x + gc.random.uniform(self.random_key(), (4,), "float32")

    noisy = Noisy()
    model = nn.Sequential(noisy, noisy, Noisy())
    x = np.zeros(4, np.float32)
    key = gc.random.key(1)
    first = [nn.functional_call(nn.Sequential(*model.layers.values()), {}, x, training=True, key=key)[0] for _ in "ab"]
    np.testing.assert_array_equal(first[0], first[1])
    one = nn.functional_call(nn.Sequential(noisy), {}, x, training=True, key=key)[0]
    twice = nn.functional_call(nn.Sequential(noisy, noisy), {}, x, training=True, key=key)[0]
    assert np.all(twice - one != one)


def test_dropout_drops_its_share_in_training_only() -> None:
    layer = nn.Dropout(0.25)
    x = np.ones(20_000, np.float32)
    assert layer(x) is x
    dropped, _ = nn.functional_call(layer, {}, x, training=True, key=gc.random.key(0))
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs(np.mean(dropped == 0) - 0.25) < 0.02
    with pytest.raises(ArgumentError, match="key="):
        nn.functional_call(layer, {}, x, training=True)


def test_frozen_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].freeze()
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    model.unfreeze()
    assert all(p.requires_grad for p in model.parameters())


def test_load_state_dict_is_all_or_nothing() -> None:
    layer = nn.Linear(2, 2)
    before = {name: array.copy() for name, array in layer.state_dict().items()}
    with pytest.raises(ArgumentError, match=r"missing \['bias'\], unknown \['b'\]"):
        layer.load_state_dict({"weight": np.zeros((2, 2)), "b": np.zeros(2)})
    with pytest.raises(ArgumentError, match=r"bias is \[2\], got \[3\]"):
        layer.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(3)})
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    layer.load_state_dict({"weight": np.zeros((2, 2))}, strict=False)
    assert not layer.weight.any()


def test_initial_values_follow_the_seed() -> None:
    nn.init.seed(3)
    first = nn.Linear(4, 4)
    second = nn.Linear(4, 4)
    nn.init.seed(3)
    again = nn.Linear(4, 4)
    np.testing.assert_array_equal(first.weight, again.weight)
    assert not np.array_equal(first.weight, second.weight)
    key = gc.random.key(9)
    np.testing.assert_array_equal(nn.Linear(4, 4, key=key).bias, nn.Linear(4, 4, key=key).bias)


@pytest.mark.parametrize(
    ("name", "bound", "variance"),
    [
        ("xavier_uniform", np.sqrt(6 / 500), 2 / 500),
        ("xavier_normal", np.inf, 2 / 500),
        ("kaiming_uniform", np.sqrt(6 / 200), 2 / 200),
        ("kaiming_normal", np.inf, 2 / 200),
    ],
)
def test_initialisers_have_the_variance_they_promise(name: str, bound: float, variance: float) -> None:
    values = getattr(nn.init, name)((300, 200), key=gc.random.key(0))
    assert values.dtype == np.float32
    assert np.abs(values).max() <= bound
    assert abs(np.var(values) / variance - 1) < 0.03


def test_linear_starts_like_torch() -> None:
    layer = nn.Linear(100, 400, key=gc.random.key(0))
    for values in (layer.weight, layer.bias):
        assert 0.095 < np.abs(values).max() <= 0.1
        assert abs(np.var(values) / (0.01 / 3) - 1) < 0.15


def test_errors_name_the_argument() -> None:
    with pytest.raises(ArgumentError, match="in_features=0"):
        nn.Linear(0, 3)
    with pytest.raises(ArgumentError, match=r"drop=1\.5"):
        nn.Dropout(1.5)
    with pytest.raises(gc.ShapeError, match="3 features"):
        nn.Linear(3, 2)(np.ones((4, 5), np.float32))


def test_repr_shows_the_tree() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n  (1): ReLU()\n)"
    )
