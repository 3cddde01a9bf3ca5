"""`gradcheck` passes on right derivatives and names the leaf of a wrong one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, GradientError
from graphc.core.pytree import Tree
from graphc.transform import gradcheck, stop_gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
POSITIVE = np.abs(X) + 0.5

FUNCTIONS: list[tuple[Callable[..., Tree], tuple[np.ndarray, ...]]] = [
    (lambda x: gnp.sinh(x) + gnp.cosh(x), (X,)),
    (lambda x: gnp.exp2(x) + gnp.tan(x * 0.3), (X,)),
    (lambda x: gnp.log2(x) + gnp.log10(x), (POSITIVE,)),
    (lambda x, y: gnp.logaddexp(x, y) + gnp.hypot(x, y), (X, X[::-1])),
    (lambda x: gnp.logsumexp(x, axis=1), (X,)),
    (lambda x: gnp.var(x, axis=0) + gnp.std(x), (X,)),
    (lambda x: gnp.cumsum(x, axis=1) * gnp.cumprod(x, axis=0), (X,)),
    (lambda x: (x % 0.7, x // 0.7 * x), (X,)),
    (lambda x: gnp.clip(x, -0.5, 0.5) * gnp.round(x), (X,)),
    (lambda x: gnp.einsum("ij,kj,ik->i", x, x, x @ x.T), (X,)),
    (lambda x: gnp.pad(x, 2, mode="reflect") ** 2, (X,)),
    (lambda x: gnp.take_along_axis(x, gnp.argmax(x, axis=1, keepdims=True), axis=1) * x, (X,)),
    (lambda x: gnp.nan_to_num(x**3), (X,)),
    (lambda x: gnp.tril(x) + gnp.diag(gnp.diagonal(x) ** 2, 1)[:3, :4], (X,)),
    (lambda x: gnp.roll(gnp.tile(x, (2, 1)), 3, axis=0) * gnp.repeat(x, 2, axis=0), (X,)),
    (lambda x: x[1:, ::-1] * x[[0, 2], 1:3].sum() + x[:, None, 2].mean(), (X,)),
]


@pytest.mark.parametrize("position", range(len(FUNCTIONS)))
def test_library_compositions(position: int) -> None:
    function, args = FUNCTIONS[position]
    assert gradcheck(function, *args, order=2, directions=1, rtol=1e-3, atol=1e-6).passed


def test_updates_are_differentiable() -> None:
    def function(x: object, v: object) -> object:
        return x.at[1:, ::2].set(v) ** 2, x.at[np.array([0, 0, 2])].add(v[0, 0] * 3.0) ** 2  # type: ignore[attr-defined,index]

    gradcheck(function, X, X[1:, ::2].copy())


def test_a_wrong_gradient_names_the_leaf() -> None:
    def function(params: dict[str, Tree]) -> Tree:
        return params["right"] * stop_gradient(params["wrong"])  # type: ignore[operator]

    with pytest.raises(GradientError, match=r"gradcheck of function: FAILED.*params\.wrong.*finite difference"):
        gradcheck(function, {"right": X, "wrong": X + 1.0})


def test_second_order_failures_are_found() -> None:
    def function(x: Tree) -> Tree:
        return x * x + stop_gradient(x) * (x - stop_gradient(x)) * 3.0  # type: ignore[operator]

    with pytest.raises(GradientError):
        gradcheck(function, X, order=2)


def test_the_compiler_is_applied_to_function_and_derivatives() -> None:
    wrapped: list[str] = []

    def compile(function: Callable[..., Tree]) -> Callable[..., Tree]:
        wrapped.append(function.__name__)
        return function

    report = gradcheck(lambda x: x * x, X, compile=compile, directions=2)
    assert len(wrapped) == 3
    assert len(report.checks) == 2
    assert "passed" in str(report)


def test_integers_are_held_fixed_and_results_of_other_kinds_left_out() -> None:
    report = gradcheck(lambda x, i: (x[i] ** 2, gnp.argmax(x)), X.astype(np.float32), np.array([0, 2]))
    assert {check.leaf for check in report.checks} == {"x"}
    with pytest.raises(GradientError, match="no argument is a float"):
        gradcheck(lambda i: i, np.arange(3))
    with pytest.raises(GradientError, match="returns no float"):
        gradcheck(lambda x: x > 0, X)
    with pytest.raises(ArgumentError, match="order=0"):
        gradcheck(lambda x: x, X, order=0)
