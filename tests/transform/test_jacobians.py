"""`jacobian`, `hessian`, `hvp` against central differences and each other, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, GradientError

RNG = np.random.default_rng(9)
W, X = RNG.normal(size=(2, 3)), RNG.normal(size=(3,))


def layer(w: Any, x: Any) -> Any:
    return gnp.tanh(w @ x) * gnp.exp(x[:2])


def scalar(w: Any, x: Any) -> Any:
    return gnp.sum(layer(w, x) ** 3)


def differences(fn: Callable[[np.ndarray], Any], at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """The result's dims, then those of `at`."""
    columns = []
    for place in np.ndindex(*at.shape):
        moved = np.zeros_like(at)
        moved[place] = step
        columns.append((np.asarray(fn(at + moved)) - np.asarray(fn(at - moved))) / (2 * step))
    return np.stack(columns, axis=-1).reshape(columns[0].shape + at.shape)


def near(got: object, want: object) -> None:
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_jacobian(mode: Any) -> None:
    near(gc.jacobian(layer, mode=mode)(W, X), differences(lambda w: layer(w, X), W))
    near(gc.jit(gc.jacobian(layer, argnums=1, mode=mode))(W, X), differences(lambda x: layer(W, x), X))
    by_w, by_x = gc.jacobian(layer, argnums=(0, 1), mode=mode)(W, X)
    near(by_w, differences(lambda w: layer(w, X), W))
    near(by_x, differences(lambda x: layer(W, x), X))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_jacobian_of_pytrees(mode: Any) -> None:
    def fn(p: Any, factor: Any) -> Any:
        return {"y": layer(p["w"], p["x"]), "s": (gnp.sum(p["w"]) * factor,)}, p["x"] > 0

    got, aux = gc.jacobian(fn, mode=mode, has_aux=True)({"w": W, "x": X}, 2.0)
    near(got["y"]["w"], differences(lambda w: layer(w, X), W))
    near(got["y"]["x"], differences(lambda x: layer(W, x), X))
    near(got["s"][0]["w"], np.full((2, 3), 2.0))
    near(got["s"][0]["x"], np.zeros(3))
    np.testing.assert_array_equal(aux, X > 0)


def test_jacobian_of_a_scalar_is_the_gradient() -> None:
    near(gc.jacobian(scalar)(W, X), gc.grad(scalar)(W, X))
    near(gc.jacobian(scalar, mode="forward")(W, X), gc.grad(scalar)(W, X))


def test_jacobian_of_nothing() -> None:
    assert gc.jacobian(lambda x: x[:0])(X).shape == (0, 3)
    assert gc.jacobian(lambda x: gnp.sum(x), mode="forward")(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("outer", ["reverse", "forward"])
@pytest.mark.parametrize("inner", ["reverse", "forward"])
def test_every_mix_of_second_derivatives(outer: Any, inner: Any) -> None:
    want = differences(lambda w: gc.jacobian(layer)(w, X), W)
    near(gc.jacobian(gc.jacobian(layer, mode=inner), mode=outer)(W, X), want)


def test_hessian() -> None:
    near(gc.hessian(scalar)(W, X), differences(lambda w: gc.grad(scalar)(w, X), W))
    mixed = gc.hessian(scalar, argnums=(0, 1))(W, X)
    near(mixed[0][1], differences(lambda x: gc.grad(scalar)(W, x), X))
    near(mixed[1][0], differences(lambda w: gc.grad(scalar, 1)(w, X), W))
    near(gc.jit(gc.hessian(gc.jit(scalar), argnums=1))(W, X), mixed[1][1])


def test_third_order() -> None:
    def f(x: Any) -> Any:
        return gnp.sum(x**4)

    want = np.zeros((3, 3, 3))
    for i in range(3):
        want[i, i, i] = 24 * X[i]
    near(gc.jacobian(gc.hessian(f))(X), want)


def test_hvp() -> None:
    v, u = RNG.normal(size=W.shape), RNG.normal(size=X.shape)
    whole = gc.hessian(scalar, argnums=(0, 1))(W, X)
    near(gc.hvp(lambda w: scalar(w, X), (W,), (v,)), np.tensordot(whole[0][0], v, 2))
    by_w, by_x = gc.jit(lambda w, x, v, u: gc.hvp(scalar, (w, x), (v, u)))(W, X, v, u)
    near(by_w, np.tensordot(whole[0][0], v, 2) + whole[0][1] @ u)
    near(by_x, np.tensordot(whole[1][0], v, 2) + whole[1][1] @ u)


def test_what_the_point_alone_gives_is_computed_once() -> None:
    """The batch of unit vectors meets the matrices, not the activations' functions."""
    graph = gc.trace(gc.jacobian(lambda x: gnp.tanh(gnp.exp(x) @ W.T)), gc.spec((3,), "float64"))
    (call,) = graph.nodes
    functions = [node for node in call.attrs.graph.nodes if node.op.name in ("exp", "tanh")]
    assert [node.result.type.size for node in functions] == [3, 2]


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="jacobian: mode='backward': use 'reverse' or 'forward'"):
        gc.jacobian(layer, mode="backward")  # type: ignore[arg-type]
    with pytest.raises(
        GradientError, match=r"the result is bool\[3\], only floats have derivatives.*test_jacobians.py"
    ):
        gc.jacobian(lambda x: x > 0)(X)
    with pytest.raises(GradientError, match=r"argument x is i64\[3\], only floats"):
        gc.jacobian(lambda x: x.astype("float64"))(np.arange(3))
    with pytest.raises(GradientError, match="hvp: primals and tangents are tuples"):
        gc.hvp(scalar, W, W)  # type: ignore[arg-type]
