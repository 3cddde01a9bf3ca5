"""Gradients of what all iterations of a scan read: one product behind the loop where that is less to read and write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy
from graphc.graph.ir import Node
from graphc.graph.parser import parse

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
RNG = np.random.default_rng(8)
T, B, K, N = 7, 3, 24, 24
W, V = RNG.normal(size=(K, N)) / 5, RNG.normal(size=(K, N)) / 5
BIAS, H, XS = RNG.normal(size=N), RNG.normal(size=(B, N)), RNG.normal(size=(T, B, K))
ARGS = (W, V, BIAS, H, XS)


def cell(w: Any, v: Any, bias: Any, h: Any, x: Any) -> Any:
    return gnp.tanh(x @ w + h @ v + bias)


def network(*args: Any, reverse: bool = False, wrap: Any = lambda fn: fn) -> Any:
    w, v, bias, h, xs = args
    step = wrap(cell)
    last, ys = gc.scan(lambda h, x: (step(w, v, bias, h, x), gnp.sin(h)), h, xs, reverse=reverse)
    return gnp.sum(last * last) + gnp.sum(ys * 0.7)


def written_out(*args: Any, reverse: bool = False) -> Any:
    w, v, bias, h, xs = args
    total: Any = 0.0
    for t in reversed(range(T)) if reverse else range(T):
        total = total + gnp.sum(gnp.sin(h) * 0.7)
        h = cell(w, v, bias, h, xs[t])
    return gnp.sum(h * h) + total


def close(got: Any, wanted: Any) -> None:
    for a, b in zip(gc.pytree.flatten(got)[0], gc.pytree.flatten(wanted)[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def carried(fn: Any, *args: Any) -> list[tuple[int, ...]]:
    """The shapes of all carries of all scans of the gradient."""
    graph = parse(gc.compile(gc.grad(fn, tuple(range(len(args)))), *args).text("optimized"))

    def of(node: Node) -> list[tuple[int, ...]]:
        attrs: Any = node.attrs
        return [v.shape for v in attrs.body.outputs[: attrs.num_carries]]

    return [shape for node in graph.nodes if node.op.name == "scan" for shape in of(node)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("wrap", ["plain", "jit", "checkpoint"])
def test_gradients(wrap: str, reverse: bool) -> None:
    wraps = {"plain": lambda fn: fn, "jit": gc.jit, "checkpoint": gc.checkpoint}

    def fn(*args: Any) -> Any:
        return network(*args, reverse=reverse, wrap=wraps[wrap])

    close(
        gc.grad(fn, tuple(range(5)))(*ARGS),
        gc.grad(lambda *args: written_out(*args, reverse=reverse), tuple(range(5)))(*ARGS),
    )


def test_second_derivatives_and_batches() -> None:
    direction = tuple(RNG.normal(size=a.shape) for a in ARGS)
    close(gc.hvp(network, ARGS, direction), gc.hvp(written_out, ARGS, direction))
    many = np.stack([XS, XS * 0.5])
    got = gc.vmap(gc.grad(network), in_axes=(None, None, None, None, 0))(*ARGS[:4], many)
    close(got, np.stack([np.asarray(gc.grad(written_out)(*ARGS[:4], xs)) for xs in many]))


def test_weights_are_not_carried() -> None:
    assert carried(network, *ARGS) == [(B, N), (B, N)]
    assert carried(lambda *args: network(*args, wrap=gc.jit), *ARGS) == [(B, N), (B, N)]


def test_cotangents_that_are_carries_themselves_are_stacked() -> None:
    def added(w: Any, xs: Any) -> Any:
        return gnp.sum(gc.scan(lambda h, x: (h * 0.5 + x @ w, None), gnp.zeros((B, N), "float64"), xs)[0] ** 2)

    def by_hand(w: Any, xs: Any) -> Any:
        h: Any = 0.0
        for x in xs:
            h = h * 0.5 + x @ w
        return gnp.sum(h**2)

    assert carried(added, W, XS) == [(B, N), (B, N)]
    close(gc.grad(added, (0, 1))(W, XS), gc.grad(lambda w, xs: by_hand(w, [xs[t] for t in range(T)]), (0, 1))(W, XS))


def test_where_it_would_be_more_memory_they_are() -> None:
    """Rows as large as the weight; rows that a checkpoint computes again; a loop that may stop early."""
    wide = RNG.normal(size=(T, 64, K))
    assert (K, N) in carried(
        lambda w, xs: gnp.sum(gc.scan(lambda h, x: (h + gnp.sin(x @ w), None), wide[0], xs)[0]), W, wide
    )
    assert (K, N) in carried(lambda *args: network(*args, wrap=gc.checkpoint), *ARGS)

    def stopped(w: Any, h: Any) -> Any:
        return gnp.sum(gc.while_loop(lambda h: gnp.sum(h * h) > 0.1, lambda h: gnp.sin(h @ w) * 0.5, h, bound=9))

    assert (K, N) in carried(stopped, W, H)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_order_is_that_of_the_rows(dtype: str, reverse: bool) -> None:
    """Whichever way the loop ran: bits are those of one product over all rows."""
    w, xs, g = (a.astype(dtype) for a in (W, XS, RNG.normal(size=(T, B, N))))

    def fn(w: Any) -> Any:
        return gnp.sum(gc.scan(lambda h, row: (h, row[0] @ w * row[1]), np.zeros(()), (xs, g), reverse=reverse)[1])

    got = gc.grad(fn)(w)
    flat = gc.jit(lambda x, g: x.T @ g)(xs.reshape(-1, K), g.reshape(-1, N))
    np.testing.assert_array_equal(got, flat)


def test_no_rows() -> None:
    got = gc.grad(network, (0, 1, 2))(W, V, BIAS, H, XS[:0])
    for each in got:
        np.testing.assert_array_equal(each, np.zeros_like(each))
