"""Loops and branches over a batch: what each example gives is what it gives alone, with its derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

A = np.array([0.3, 2.7, 9.0, 100.0])
X = np.linspace(-1, 1, 24).reshape(4, 6)


def root(a: Any) -> Any:
    """Takes a different number of iterations for each example."""
    return gc.while_loop(lambda x: abs(x * x - a) > 1e-13 * a, lambda x: 0.5 * (x + a / x), 1.0 + 0.0 * a, bound=40)


def unbounded(a: Any) -> Any:
    return gc.while_loop(lambda c: c[1] < 50, lambda c: (c[0] + 1, c[1] * 1.5), (0, abs(a) + 0.1))[1]


def chosen(a: Any) -> Any:
    return gc.cond(a > 3, lambda a: gnp.sin(a), lambda a: a * a * a, a)


def switched(a: Any) -> Any:
    index = gnp.floor(a).astype("int32")
    return gc.switch(index, [lambda a: a, lambda a: a * a, gnp.exp, lambda a: -a], a / 50)


def scanned(a: Any) -> Any:
    last, ys = gc.scan(lambda c, k: (gnp.sin(c * k) + a, c * c), a, gnp.asarray(np.arange(1.0, 4.0)))
    return last + gnp.sum(ys)


def nested(a: Any) -> Any:
    return gc.scan(lambda c, _: (gc.cond(c > 1, lambda c: root(c), lambda c: c * 2 + 1, c), None), a, None, length=3)[0]


FUNCTIONS = (root, chosen, switched, scanned, nested)


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_an_example_is_what_it_is_alone(fn: Callable[[Any], Any], order: int) -> None:
    for _ in range(order):
        fn = gc.grad(fn)
    found = gc.jit(gc.vmap(fn))(A)
    np.testing.assert_allclose(found, [gc.jit(fn)(a) for a in A], rtol=1e-9)


@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__name__)
def test_the_gradient_of_a_batch_is_that_of_its_examples(fn: Callable[[Any], Any]) -> None:
    found = gc.jit(gc.grad(lambda a: gnp.sum(gc.vmap(fn)(a))))(A)
    np.testing.assert_allclose(found, [gc.jit(gc.grad(fn))(a) for a in A], rtol=1e-9)


def test_loops_without_a_bound_are_batched_too() -> None:
    np.testing.assert_allclose(gc.jit(gc.vmap(unbounded))(A), [gc.jit(unbounded)(a) for a in A])


def test_rows_of_a_batch_are_scanned_side_by_side() -> None:
    def sums(x: Any, w: Any) -> Any:
        return gc.scan(lambda c, row: (c * w + row, c), 0.0, x, reverse=True)

    found = gc.jit(gc.vmap(sums, in_axes=(0, None)))(X, np.float64(0.5))
    for k, x in enumerate(X):
        last, rows = gc.jit(sums)(x, np.float64(0.5))
        assert np.array_equal(found[0][k], last)
        assert np.array_equal(found[1][k], rows)
