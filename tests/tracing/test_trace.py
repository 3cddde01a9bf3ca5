"""`trace`, `apply_graph`, captures, constants and source lines."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.interpreter import interpret
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.tracing import Traced, Tracer, apply_graph, is_tracing, spec, spec_of, trace


def test_inputs_are_named_after_parameters() -> None:
    def loss(params: object, x: object, *, scale: object) -> object:
        return {"y": (x @ params["w"] + params["b"]) * scale, "none": None}  # type: ignore[index,operator]

    traced = trace(loss, [{"w": spec((2, 3)), "b": spec((3,))}, spec((4, 2))], {"scale": 2.0})
    assert [value.name for value in traced.graph.inputs] == ["params.b", "params.w", "x", "scale"]
    assert traced.graph.name == "loss"
    assert str(traced.out_tree) == "{none: None, y: *}"
    verify(traced.graph)
    assert parse(str(traced.graph)) == traced.graph


def test_lines_are_the_users() -> None:
    def function(x: Tracer) -> object:
        y = gnp.mean(x)
        return y * y

    first = inspect.getsourcelines(function)[1]
    lines = {node.op.name: node.loc.line for node in trace(function, [spec((3,))]).graph.nodes}
    assert lines["reduce_sum"] == first + 1
    assert lines["mul"] == first + 2


def test_results_may_be_inputs_constants_and_numbers() -> None:
    traced = trace(lambda x: (x, x, 1.5, np.arange(3), True), [spec((2,))])
    outputs = interpret(traced.graph, [np.array([1, 2], np.float32)])
    assert [o.tolist() for o in outputs] == [[1, 2], [1, 2], 1.5, [0, 1, 2], True]
    assert [o.dtype.name for o in outputs] == ["float32", "float32", "float32", "int64", "bool"]


def test_equal_constants_are_one_and_snapshots() -> None:
    buffer = np.ones(100, np.float32)

    def function(x: Tracer) -> object:
        y = x + buffer + np.ones(100, np.float32)
        buffer[:] = 2
        z = y + buffer
        buffer[:] = 3
        return z

    graph = trace(function, [spec((100,))]).graph
    assert sum(node.op.name == "constant" for node in graph.nodes) == 2
    assert interpret(graph, [np.zeros(100, np.float32)])[0].tolist() == [4.0] * 100


def test_minus_zero_and_zero_are_different_constants() -> None:
    graph = trace(lambda x: (x * 0.0, x * -0.0), [spec(())]).graph
    assert sum(node.op.name == "constant" for node in graph.nodes) == 2


def test_captures_are_trailing_inputs() -> None:
    inner: list[Traced] = []

    def outer(x: Tracer, y: Tracer) -> object:
        z = x * 2.0
        traced = trace(lambda a: a * z + y * z, [spec(())], name="inner")
        inner.append(traced)
        return apply_graph(traced.graph, [x + 1.0, *traced.captures])

    graph = trace(outer, [spec(()), spec(())]).graph
    verify(graph)
    assert len(inner[0].captures) == 2
    assert inner[0].num_args == 1
    assert len(inner[0].graph.inputs) == 3
    (got,) = interpret(graph, [np.float32(3), np.float32(5)])
    assert float(got) == 4 * 6 + 5 * 6


def test_captures_through_two_levels() -> None:
    def outer(x: Tracer) -> object:
        def middle(a: Tracer) -> object:
            traced = trace(lambda b: b * x, [spec(())])
            return apply_graph(traced.graph, [a, *traced.captures])

        traced = trace(middle, [spec(())])
        assert len(traced.captures) == 1
        return apply_graph(traced.graph, [x + 1.0, *traced.captures])

    (got,) = interpret(trace(outer, [spec(())]).graph, [np.float32(3)])
    assert float(got) == 12


def test_an_inner_trace_may_return_a_captured_value() -> None:
    def outer(x: Tracer) -> object:
        traced = trace(lambda a: x, [spec(())])
        return apply_graph(traced.graph, [1.0, *traced.captures])

    assert float(interpret(trace(outer, [spec(())]).graph, [np.float32(3)])[0]) == 3


def test_apply_graph_as_call_and_with_arrays() -> None:
    graph = trace(lambda a: a * a, [spec((2,))], name="square").graph
    called = trace(lambda x: apply_graph(graph, [x], as_call=True), [spec((2,))]).graph
    assert [node.op.name for node in called.nodes] == ["call"]
    x = np.array([2, 3], np.float32)
    assert interpret(called, [x])[0].tolist() == [4, 9]
    assert apply_graph(graph, [x])[0].tolist() == [4, 9]  # type: ignore[union-attr]
    with pytest.raises(ArgumentError, match=r"square: input a is f32\[2\], got f64\[2\]"):
        apply_graph(graph, [np.ones(2)])
    with pytest.raises(ArgumentError, match="takes 1 arrays, got 2"):
        apply_graph(graph, [x, x])


def test_is_tracing() -> None:
    seen: list[bool] = []
    trace(lambda x: seen.append(is_tracing()), [spec(())])
    assert seen == [True]
    assert not is_tracing()


def test_a_function_is_traced_once() -> None:
    calls: list[int] = []
    trace(lambda x: calls.append(1), [spec(())])
    assert calls == [1]


def test_type_errors_of_ops_name_the_line() -> None:
    with pytest.raises(ShapeError, match=r"concatenate: .*\(test_trace\.py:\d+\)$"):
        trace(lambda x: gnp.concatenate([x, x[:, :1, None]]), [spec((2, 3))])


def test_specs() -> None:
    assert str(spec(3, "int8")) == "i8[3]"
    assert str(spec_of([np.zeros((2, 2)), 1, 2.5, True])[3]) == "bool[]"  # type: ignore[index]
    with pytest.raises(ArgumentError, match="non-negative"):
        spec((2, -1))
