"""`gc.vmap` against loops: axes, pytrees, nesting, derivatives and jit in every order, random keys, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, ShapeError
from graphc.nn import functional

RNG = np.random.default_rng(5)
W, X = RNG.normal(size=(3, 3)), RNG.normal(size=(5, 3))


def loss(w: Any, x: Any) -> Any:
    return gnp.sum(gnp.tanh(w @ x) ** 2)


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-11, atol=1e-12)


def same(got: object, want: object) -> None:
    np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


# ------------------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize("in_axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("out_axis", [0, 1, 2, -1, -2])
def test_axes(in_axis: int, out_axis: int) -> None:
    x = RNG.normal(size=(3, 4, 2))
    got = gc.vmap(lambda a: gnp.exp(a).T, in_axes=in_axis, out_axes=out_axis)(x)
    rows = [np.exp(np.take(x, i, in_axis)).T for i in range(x.shape[in_axis])]
    want = np.stack(rows, out_axis)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-15)


def test_none_is_the_same_for_all() -> None:
    got = gc.vmap(lambda a, b: (a * b, b + 1), in_axes=(0, None), out_axes=(0, None))(X, X[0])
    same(got[0], X * X[0])
    same(got[1], X[0] + 1)


def test_a_result_that_is_the_same_for_all_is_repeated() -> None:
    same(gc.vmap(lambda a, b: b + 1, in_axes=(0, None))(X, 2.0), np.full(5, 3, np.float32))


def test_pytrees_of_axes() -> None:
    params = {"w": RNG.normal(size=(3, 2)), "b": (np.arange(4.0), np.arange(8.0).reshape(2, 4))}
    got = gc.vmap(
        lambda p, x: {"y": p["w"] * x, "z": p["b"][0] + p["b"][1]},
        in_axes=({"w": None, "b": (0, 1)}, -1),
        out_axes={"y": 1, "z": 0},
    )(params, np.arange(12.0).reshape(3, 4)[1])
    want = np.stack([params["w"] * v for v in np.arange(12.0).reshape(3, 4)[1]], 1)
    same(got["y"], want)
    same(got["z"], np.stack([params["b"][0][i] + params["b"][1][:, i] for i in range(4)]))


def test_an_axis_stands_for_everything_below_it() -> None:
    tree = {"a": X, "b": [X + 1, X + 2]}
    got = gc.vmap(lambda t, s: t["a"] + t["b"][0] * t["b"][1] + s, in_axes=(1, None))(tree, 1.0)
    same(got, (X + (X + 1) * (X + 2) + 1).T)


def test_keyword_arguments_are_mapped_over_axis_0() -> None:
    same(
        gc.vmap(lambda a, scale: a * scale, in_axes=(None,))(X[0], scale=np.arange(4.0)), np.outer(np.arange(4.0), X[0])
    )


def test_axis_size() -> None:
    same(gc.vmap(lambda a: a + 1, in_axes=None, axis_size=3)(X), np.stack([X + 1] * 3))
    same(gc.vmap(lambda: gnp.ones(2), axis_size=3)(), np.ones((3, 2)))


@pytest.mark.parametrize("size", [0, 1])
def test_few_examples(size: int) -> None:
    got = gc.vmap(lambda w, x: gnp.sum(w @ x), in_axes=(None, 0))(W, X[:size])
    assert got.shape == (size,)
    close(got, (X[:size] @ W.T).sum(1))


def test_a_module_is_an_argument_like_others() -> None:
    from graphc import nn

    models = [nn.Linear(3, 2) for _ in range(4)]
    stacked = gc.pytree.tree_map(lambda *leaves: np.stack(leaves), models[0], *models[1:])
    x = RNG.normal(size=(4, 6, 3)).astype(np.float32)
    got = gc.vmap(lambda m, row: m(row))(stacked, x)
    for i, model in enumerate(models):
        np.testing.assert_allclose(got[i], model(x[i]), rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------------- with other transformations


def test_nested() -> None:
    rows, columns = RNG.normal(size=(4, 3)), RNG.normal(size=(6, 3))
    got = gc.vmap(gc.vmap(lambda a, b: gnp.sum(a * b), in_axes=(None, 0)), in_axes=(0, None))(rows, columns)
    close(got, np.array([[np.sum(a * b) for b in columns] for a in rows]))


def test_an_inner_one_closes_over_the_outer_example() -> None:
    got = gc.vmap(lambda a: gc.vmap(lambda b: gnp.sum(a * b))(X))(X)
    close(got, np.array([[np.sum(a * b) for b in X] for a in X]))


PER_EXAMPLE: list[tuple[str, Callable[..., Any]]] = [
    ("vmap(grad)", gc.vmap(gc.grad(loss), in_axes=(None, 0))),
    ("jit(vmap(grad))", gc.jit(gc.vmap(gc.grad(loss), in_axes=(None, 0)))),
    ("vmap(jit(grad))", gc.vmap(gc.jit(gc.grad(loss)), in_axes=(None, 0))),
    ("vmap(grad(jit))", gc.vmap(gc.grad(gc.jit(loss)), in_axes=(None, 0))),
    ("jit(vmap(jit(grad(jit))))", gc.jit(gc.vmap(gc.jit(gc.grad(gc.jit(loss))), in_axes=(None, 0)))),
]


@pytest.mark.parametrize("name,mapped", PER_EXAMPLE, ids=[name for name, _ in PER_EXAMPLE])
def test_gradients_per_example(name: str, mapped: Callable[..., Any]) -> None:
    close(mapped(W, X), np.stack([gc.grad(loss)(W, x) for x in X]))


def test_gradient_of_a_batch() -> None:
    def total(w: Any) -> Any:
        return gnp.sum(gc.vmap(loss, in_axes=(None, 0))(w, X))

    want = sum(np.asarray(gc.grad(loss)(W, x)) for x in X)
    close(gc.grad(total)(W), want)
    close(gc.jit(gc.grad(gc.jit(total)))(W), want)


def test_forward_mode_and_second_order() -> None:
    def hessian(x: Any) -> Any:
        return gc.hessian(loss, argnums=1)(W, x)

    close(gc.vmap(hessian)(X), np.stack([hessian(x) for x in X]))
    tangent = RNG.normal(size=X.shape)
    value, moved = gc.jvp(gc.vmap(lambda x: loss(W, x)), (X,), (tangent,))
    pairs = [gc.jvp(lambda x: loss(W, x), (x,), (t,)) for x, t in zip(X, tangent, strict=True)]
    close(value, [v for v, _ in pairs])
    close(moved, [t for _, t in pairs])


def test_gradient_through_both_ways_of_indexing() -> None:
    places = np.array([[0, 2], [1, 1], [2, -7], [1, 99], [0, 1]])

    def picked(x: Any, at: Any) -> Any:
        return gnp.sum(gnp.take(x, at) ** 2)

    close(
        gc.vmap(gc.grad(picked))(X, places), np.stack([gc.grad(picked)(x, at) for x, at in zip(X, places, strict=True)])
    )


def test_softmax_and_attention() -> None:
    q, k, v = (RNG.normal(size=(4, 6, 3)) for _ in range(3))

    def attend(q: Any, k: Any, v: Any) -> Any:
        return functional.softmax(q @ k.T, axis=-1) @ v

    close(gc.vmap(attend)(q, k, v), np.stack([attend(*row) for row in zip(q, k, v, strict=True)]))


# ------------------------------------------------------------------------------------------------------------ random


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: gc.random.normal(key, (7,)),
        lambda key: gc.random.uniform(key, (3, 5), "float64"),
        lambda key: gc.random.bernoulli(key, 0.3, (9,)),
        lambda key: gc.random.permutation(key, 11),
        lambda key: gc.random.split(gc.random.fold_in(key, 3), 2),
        lambda key: gc.random.bits(key),
    ],
)
def test_keys_are_data(draw: Callable[[Any], Any]) -> None:
    keys = gc.random.split(gc.random.key(1), 6)
    same(gc.vmap(draw)(keys), np.stack([np.asarray(draw(key)) for key in keys]))
    same(gc.vmap(gc.vmap(draw))(keys.reshape(2, 3, 2))[1, 2], draw(keys[5]))


def test_one_key_for_all_draws_the_same_for_all() -> None:
    got = gc.vmap(lambda x, key: x + gc.random.normal(key, (3,), "float64"), in_axes=(0, None))(X, gc.random.key(2))
    same(got, X + np.asarray(gc.random.normal(gc.random.key(2), (3,), "float64")))


# ------------------------------------------------------------------------------------------------------------ errors


def add(left: Any, right: Any) -> Any:
    return left + right


def test_different_extents_name_the_arguments_and_the_line() -> None:
    with pytest.raises(
        ShapeError,
        match=r"add: vmap over axes of different extents: left has 5 \(axis 0 of f64\[5,3\]\), right has 3 "
        r"\(axis 1 of f64\[5,3\]\) \(test_vmap.py:\d+\)",
    ):
        gc.vmap(add, in_axes=(0, 1))(X, X)
    with pytest.raises(ShapeError, match=r"axis_size=4, left has 5"):
        gc.vmap(add, axis_size=4)(X, X)


def test_an_axis_that_is_not_there() -> None:
    with pytest.raises(ShapeError, match=r"add: vmap over axis 2 of right, which is f64\[5,3\] \(test_vmap.py:\d+\)"):
        gc.vmap(add, in_axes=(0, 2))(X, X)
    with pytest.raises(ShapeError, match=r"vmap puts axis 3 into the result, which is f64\[5,3\]"):
        gc.vmap(add, out_axes=3)(X, X)


def test_axes_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match=r"in_axes=\(0,\) has 1 entries, but it is called with 2 positional"):
        gc.vmap(add, in_axes=(0,))(X, X)
    with pytest.raises(ArgumentError, match=r"in_axes at 0 is 'x', an axis is a whole number or None"):
        gc.vmap(add, in_axes=("x", 0))(X, X)
    with pytest.raises(ArgumentError, match=r"in_axes at 0 is \{'b': 0\}, which does not fit \{a: \*\}"):
        gc.vmap(lambda t: t["a"], in_axes=({"b": 0},))({"a": X})
    with pytest.raises(ArgumentError, match=r"vmap maps no argument .*axis_size="):
        gc.vmap(add, in_axes=None)(X, X)
    with pytest.raises(ArgumentError, match=r"axis_size=-1 must be a whole number"):
        gc.vmap(add, axis_size=-1)


def test_a_result_that_differs_has_an_axis() -> None:
    with pytest.raises(ArgumentError, match=r"vmap's out_axes is None for result b, which differs per example"):
        gc.vmap(lambda x: {"a": 1.0, "b": x}, out_axes=None)(X)


def test_errors_inside_name_the_users_line() -> None:
    with pytest.raises(ShapeError, match=r"test_vmap.py:\d+"):
        gc.vmap(lambda x: x @ gnp.ones((4, 2), "float64"))(X)


# ------------------------------------------------------------------------------------------------------- what it costs


def test_many_products_with_one_matrix_are_one_product() -> None:
    exe = gc.compile(
        gc.vmap(lambda w, x: gnp.maximum(w @ x, 0), in_axes=(None, 0)),
        gc.spec((8, 4), "float32"),
        gc.spec((16, 4), "float32"),
    )
    text = exe.text("optimized")
    assert "f32[16,8] = dot_general" in text
    assert "transpose" not in text


def test_the_shape_of_the_program_does_not_depend_on_the_number_of_examples() -> None:
    def lines(size: int) -> int:
        mapped = gc.vmap(gc.grad(loss), in_axes=(None, 0))
        return len(gc.trace(mapped, gc.spec((3, 3), "float64"), gc.spec((size, 3), "float64")).nodes)

    assert lines(2) == lines(2000)
