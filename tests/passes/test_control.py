"""Loops and branches: unused parts go, short ones and known ones are opened, what is invariant moves out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.graph.ir import Graph, Node
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs

X = np.linspace(-1, 1, 12).reshape(4, 3)
W = np.linspace(0.1, 0.9, 9).reshape(3, 3)


def optimized(fn: Callable[..., Any], *args: Any) -> Graph:
    """The optimised graph, whose numbers are those of the traced one."""
    exe = gc.compile(fn, *args, verify="full")
    found, wanted = (gc.pytree.flatten(e(*args))[0] for e in (exe, gc.compile(fn, *args, backend="reference")))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    (graph,) = exe.compilation.optimized.values()
    return graph


def only(graph: Graph, kind: type) -> Node:
    (node,) = (node for node in graph.nodes if isinstance(node.attrs, kind))
    return node


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_what_nobody_needs_of_a_scan_goes() -> None:
    def fn(w: Any, x: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            used, unused = carry
            return (used + row, gnp.tanh(w @ unused)), (row * 2, gnp.exp(unused))

        (used, _), (twice, _) = gc.scan(step, (gnp.zeros(3, "float64"), gnp.ones(3, "float64")), x)
        return used, twice

    scan = only(optimized(fn, W, X), ScanAttrs)
    assert isinstance(scan.attrs, ScanAttrs)
    assert (scan.attrs.num_captures, scan.attrs.num_carries, scan.attrs.num_xs, scan.attrs.num_ys) == (0, 1, 1, 1)


def test_a_while_keeps_what_its_condition_reads() -> None:
    def fn(n: Any, x: Any) -> Any:
        return gc.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, gnp.sin(c[1]), c[2] * 2), (0, x, x), bound=9)[2]

    loop = only(optimized(fn, np.array(5), X), WhileAttrs)
    assert isinstance(loop.attrs, WhileAttrs)
    assert (loop.attrs.num_captures, loop.attrs.num_carries) == (1, 2)


def test_a_carry_that_stays_as_it_is_is_a_capture() -> None:
    def fn(w: Any, x: Any) -> Any:
        return gc.scan(lambda c, row: ((c[0], c[0] @ c[1] + row), None), (w, x[0]), x)[0]

    scan = only(optimized(fn, W, X), ScanAttrs)
    assert isinstance(scan.attrs, ScanAttrs)
    assert (scan.attrs.num_captures, scan.attrs.num_carries) == (1, 1)


@pytest.mark.parametrize("length", [0, 1])
def test_short_scans_are_opened(length: int) -> None:
    graph = optimized(lambda x: gc.scan(lambda c, row: (c + row, c), gnp.ones(3, "float64"), x), X[:length])
    assert "scan" not in names(graph)


def test_known_and_equal_branches_are_opened() -> None:
    branches = [lambda x: x * 2, lambda x: -x, lambda x: gnp.sin(x)]
    assert names(optimized(lambda x: gc.switch(7, branches, x), X)) == ["sin"]
    graph = optimized(lambda i, x: gc.switch(i, branches[1:2] * 2, x), np.int32(0), X)
    assert names(graph) == ["neg"]


def test_unused_results_and_operands_of_a_branch_go() -> None:
    def fn(flag: Any, x: Any, w: Any) -> Any:
        return gc.cond(flag, lambda x, w: (x + 1, w @ w), lambda x, w: (x * 3, w), x, w)[0]

    node = only(optimized(fn, np.bool_(True), X, W), BranchAttrs)
    assert (len(node.operands), len(node.results)) == (2, 1)


def test_invariant_work_moves_out_of_loops() -> None:
    def fn(w: Any, x: Any) -> Any:
        return gc.scan(lambda c, row: (gnp.tanh(gnp.exp(w) @ w @ c + row), None), gnp.zeros(3, "float64"), x)[0]

    graph = optimized(fn, W, X)
    scan = only(graph, ScanAttrs)
    assert isinstance(scan.attrs, ScanAttrs)
    assert {"exp", "dot_general"} <= set(names(graph))
    assert names(scan.attrs.body).count("dot_general") == 1
    assert "exp" not in names(scan.attrs.body)


def test_what_may_fail_stays_inside() -> None:
    def inner(a: Any) -> Any:
        return gc.while_loop(lambda x: x < a, lambda x: x + 1, 0.0 * a, bound=2)

    def fn(a: Any, n: Any) -> Any:
        return gc.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + inner(a)), (0, a))[1]

    exe = gc.compile(fn, np.float64(9), np.array(0))
    assert float(exe(np.float64(9), np.array(0))) == 9
    with pytest.raises(gc.api.BoundError):
        exe(np.float64(9), np.array(1))


def test_residuals_that_are_the_same_in_all_iterations_are_not_stacked() -> None:
    def loss(w: Any, x: Any) -> Any:
        return gnp.sum(gc.scan(lambda c, row: (gnp.sin(w) @ c + row, None), gnp.ones(3, "float64"), x)[0])

    graph = optimized(gc.grad(loss), W, X)
    stacked = {v.shape for node in graph.nodes if isinstance(node.attrs, ScanAttrs) for v in node.results}
    assert (4, 3, 3) not in stacked
