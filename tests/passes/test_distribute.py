"""Products of a loop's rows are one product, in front of the loop or behind it, and keep their bits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy
from graphc.core.dtypes import dtype as dtype_of
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph, Node
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.passes.distribute import Distribute

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
RNG = np.random.default_rng(4)
T, ROWS, K = 6, 3, 48


def array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (RNG.normal(size=shape) / 4).astype(dtype_of(dtype).numpy)


def dots(exe: Any) -> tuple[int, int]:
    """How many products are outside of loops and inside."""
    graph = parse(exe.text("optimized"))

    def count(nodes: tuple[Node, ...]) -> int:
        return sum(node.op.name == "dot_general" for node in nodes)

    bodies = [node.attrs.body for node in graph.nodes if node.op.name == "scan"]  # type: ignore[attr-defined]
    return count(graph.nodes), sum(count(body.nodes) for body in bodies)


def network(wx: Any, wh: Any, h: Any, xs: Any, reverse: bool = False) -> Any:
    return gc.scan(lambda h, x: (gnp.tanh(x @ wx + h @ wh), h), h, xs, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_the_input_of_a_recurrent_network(dtype: str, reverse: bool) -> None:
    wx, wh, h = array(K, K, dtype=dtype), array(K, K, dtype=dtype), array(ROWS, K, dtype=dtype)
    xs = array(T, ROWS, K, dtype=dtype)
    exe = gc.compile(functools.partial(network, reverse=reverse), wx, wh, h, xs, backend="cpu")
    assert dots(exe) == (1, 1)
    one = gc.compile(lambda wx, wh, h, x: gnp.tanh(x @ wx + h @ wh), wx, wh, h, xs[0], backend="cpu")
    last, ys = exe(wx, wh, h, xs)
    for t in reversed(range(T)) if reverse else range(T):
        np.testing.assert_array_equal(ys[t], h)
        h = np.asarray(one(wx, wh, h, xs[t]))
    np.testing.assert_array_equal(last, h)


def test_layers_before_the_carry_move_together() -> None:
    w1, w2, h, xs = array(K, 32), array(32, K), array(ROWS, K), array(T, ROWS, K)

    def deep(w1: Any, w2: Any, h: Any, xs: Any) -> Any:
        return gc.scan(lambda h, x: (gnp.sin(h) + gnp.tanh(-x @ w1 + 1.0) @ w2, None), h, xs)[0]

    def one(w1: Any, w2: Any, h: Any, x: Any) -> Any:
        return gnp.sin(h) + gnp.tanh(-x @ w1 + 1.0) @ w2

    exe = gc.compile(deep, w1, w2, h, xs, backend="cpu")
    assert dots(exe) == (2, 0)
    got = exe(w1, w2, h, xs)
    step = gc.compile(one, w1, w2, h, xs[0], backend="cpu")
    for x in xs:
        h = np.asarray(step(w1, w2, h, x))
    np.testing.assert_array_equal(got, h)


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_of_results_behind_the_loop(reverse: bool) -> None:
    wh, wo, h, xs = array(K, K), array(K, 20), array(ROWS, K), array(T, ROWS, K)

    def step(wh: Any, wo: Any, h: Any, x: Any) -> Any:
        h = gnp.tanh(h @ wh + x)
        return h, gnp.exp(h @ wo * 0.5)

    def looped(wh: Any, wo: Any, h: Any, xs: Any) -> Any:
        return gc.scan(lambda h, x: step(wh, wo, h, x), h, xs, reverse=reverse)

    exe = gc.compile(looped, wh, wo, h, xs, backend="cpu")
    assert dots(exe) == (1, 1)
    last, ys = exe(wh, wo, h, xs)
    one = gc.compile(step, wh, wo, h, xs[0], backend="cpu")
    for t in reversed(range(T)) if reverse else range(T):
        h, y = (np.asarray(each) for each in one(wh, wo, h, xs[t]))
        np.testing.assert_array_equal(ys[t], y)
    np.testing.assert_array_equal(last, h)


def test_loops_in_loops_and_gradients() -> None:
    w, h, xs = array(K, K, dtype="float64"), array(ROWS, K, dtype="float64"), array(2, T, ROWS, K, dtype="float64")

    def inner(w: Any, h: Any, xs: Any) -> Any:
        return gc.scan(lambda h, x: (gnp.tanh(x @ w + h), None), h, xs)[0]

    def outer(w: Any, h: Any, xs: Any) -> Any:
        return gnp.sum(gc.scan(lambda h, xs: (inner(w, h, xs), None), h, xs)[0] ** 2)

    def by_hand(w: Any, h: Any, xs: Any) -> Any:
        for rows in xs.reshape((2 * T, ROWS, K)):
            h = gnp.tanh(rows @ w + h)
        return gnp.sum(h**2)

    exe = gc.compile(outer, w, h, xs, backend="cpu")
    assert dots(exe) == (1, 0)
    for got, wanted in zip(gc.grad(outer, (0, 1, 2))(w, h, xs), gc.grad(by_hand, (0, 1, 2))(w, h, xs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-13)


BODY = "lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()"


SCAN = "body=@b, num_captures=1, num_carries=1, length=5, reverse=False, counted=False"


def looped(body: str, rows: int, columns: int = 8) -> Graph:
    return parse(f"""
graph b(%0: f32[8,{columns}] w, %1: f32[{rows},{columns}] h, %2: f32[{rows},8] x) {{
{body}
}}
graph f(%0: f32[8,{columns}] w, %1: f32[{rows},{columns}] h, %2: f32[5,{rows},8] xs) {{
  %3: f32[{rows},{columns}] = scan(%0, %1, %2) {{{SCAN}}}
  return %3
}}""")


def product(rows: int, columns: int = 8) -> str:
    return f"""  %3: f32[{rows},{columns}] = dot_general(%2, %0) {{{BODY}}}
  %4: f32[{rows},{columns}] = add(%1, %3)
  return %4"""


def test_what_stays() -> None:
    for stays in (
        looped(product(4), 4),  # as many rows as half the sum is long: the weight is read for enough of them
        looped(product(1, 64), 1, columns=64),  # the rows would be eight times as large
        looped(f"  %3: f32[2,8] = dot_general(%1, %0) {{{BODY}}}\n  %4: f32[2,8] = add(%3, %2)\n  return %4", 2),
    ):
        assert Distribute().run(stays) is stays
    moved = Distribute().run(looped(product(2), 2))
    verify(moved)
    assert [node.op.name for node in moved.nodes] == ["dot_general", "scan"]


def test_bits_of_the_graph() -> None:
    graph = looped(product(2), 2)
    arrays = [array(8, 8), array(2, 8), array(5, 2, 8)]
    arrays[2][1, 0, 3] = np.nan
    np.testing.assert_allclose(
        interpret(Distribute().run(graph), arrays)[0], interpret(graph, arrays)[0], rtol=1e-6, equal_nan=True
    )
