"""Branches and loops of ONNX models, against loops written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphc as gc
import graphc.numpy as gnp
import graphc_onnx
from graphc.core.errors import UnsupportedError

node = helper.make_node
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def port(name: str, kind: int = FLOAT, shape: Sequence[int | str] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, value: object, dtype: str) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, dtype)))


def load(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[str], backend: str = "cpu"
) -> graphc_onnx.Model:
    graph = helper.make_graph(list(nodes), "net", list(inputs), [port(name) for name in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return graphc_onnx.from_proto(model, "net.onnx", backend=backend)


def body(nodes: Sequence[onnx.NodeProto], states: Sequence[str], outputs: Sequence[str]) -> onnx.GraphProto:
    inputs = [port("i", INT64, []), port("go", BOOL, []), *(port(name) for name in states)]
    return helper.make_graph(list(nodes), "body", inputs, [port(name) for name in outputs])


def halving(outputs: Sequence[str] = ("again", "next")) -> onnx.GraphProto:
    """While the sum is above 1, half of it."""
    nodes = [
        constant("half", 0.5, "float32"),
        constant("one", 1.0, "float32"),
        node("Mul", ["s", "half"], ["next"]),
        node("ReduceSum", ["next"], ["total"], keepdims=0),
        node("Greater", ["total", "one"], ["again"]),
    ]
    return body(nodes, ["s"], outputs)


def growth(count: int) -> list[onnx.NodeProto]:
    """s = s * a + x, with every s stacked."""
    nodes = [node("Mul", ["s", "a"], ["p"]), node("Add", ["p", "x"], ["next"]), node("Identity", ["go"], ["on"])]
    inner = body([*nodes, node("Identity", ["next"], ["row"])], ["s"], ["on", "next", "row"])
    return [constant("n", count, "int64"), node("Loop", ["n", "", "start"], ["last", "rows"], body=inner)]


GROWTH = [port("start", FLOAT, [2]), port("a", FLOAT, []), port("x", FLOAT, [2])]
START, A, STEP = np.array([1, -1], np.float32), np.float32(0.5), np.array([0.25, 2], np.float32)


def grown(count: int) -> np.ndarray:
    rows, state = [], START
    for _ in range(count):
        state = state * A + STEP
        rows.append(state)
    return np.stack(rows)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_counted_loop(backend: str) -> None:
    last, rows = load(growth(7), GROWTH, ["last", "rows"], backend)(START, A, STEP)  # type: ignore[misc]
    np.testing.assert_allclose(rows, grown(7), rtol=1e-6)
    np.testing.assert_array_equal(last, rows[-1])


def test_a_loop_is_as_long_as_its_body() -> None:
    def lines(count: int) -> int:
        net = load(growth(count), GROWTH, ["last"])
        return len(str(gc.trace(net.apply, {}, START, A, STEP)).splitlines())

    assert lines(5) == lines(5000)


def test_the_derivative_of_a_loop() -> None:
    net = load(growth(3), GROWTH, ["last"])
    slope = gc.grad(lambda a: gnp.sum(net.apply({}, START, a, STEP)))(np.asarray(A))
    by_hand = np.sum(3 * A**2 * START + 2 * A * STEP + STEP)
    np.testing.assert_allclose(slope, by_hand, rtol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_loop_that_ends_when_data_say_so(backend: str) -> None:
    net = load([node("Loop", ["", "", "x"], ["y"], body=halving())], [port("x", FLOAT, [2])], ["y"], backend)
    for start in ([3.0, 2.0], [100.0, 1.0], [0.25, 0.25]):
        state = np.asarray(start, np.float32)
        expected = state * 0.5
        while expected.sum() > 1:
            expected = expected * 0.5
        np.testing.assert_allclose(net(state), expected, rtol=1e-6)


def test_how_many_rows_must_not_depend_on_data() -> None:
    loop = node("Loop", ["", "", "x"], ["y", "rows"], body=halving(("again", "next", "total")))
    net = load([loop], [port("x", FLOAT, [2])], ["rows"])
    with pytest.raises(
        UnsupportedError, match=r"net\.onnx: .*\(Loop, opset 20\): how often a loop with stacked outputs"
    ):
        net(np.ones(2, np.float32))


def test_a_state_that_grows_is_written_out() -> None:
    inner = body(
        [node("Concat", ["s", "x"], ["next"], axis=0), node("Identity", ["go"], ["on"])], ["s"], ["on", "next"]
    )
    nodes = [constant("n", 3, "int64"), node("Loop", ["n", "", "x"], ["y"], body=inner)]
    net = load(nodes, [port("x", FLOAT, ["k"])], ["y"])
    assert np.asarray(net(np.array([1, 2], np.float32))).tolist() == [1, 2] * 4


def test_sequences_of_numbers() -> None:
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["s"]),
        node("Mul", ["x", "x"], ["z"]),
        constant("at", 1, "int64"),
        node("SequenceInsert", ["s", "z", "at"], ["y"]),
    ]
    found = load(nodes, [port("x", FLOAT, [])], ["y"])(np.float32(3))
    assert isinstance(found, list)
    assert [float(np.asarray(item)) for item in found] == [3, 9, 3]  # type: ignore[arg-type]
    assert all(np.shape(item) == () for item in found)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_branch_that_data_choose(backend: str) -> None:
    graphs = {
        f"{name}_branch": helper.make_graph([node(op, ["x"], [f"{name}_y"])], name, [], [port(f"{name}_y")])
        for name, op in (("then", "Exp"), ("else", "Neg"))
    }
    nodes = [node("ReduceMax", ["x"], ["top"], keepdims=0), constant("zero", 0, "float32")]
    nodes += [node("Less", ["top", "zero"], ["below"]), node("If", ["below"], ["y"], **graphs)]
    net = load(nodes, [port("x", FLOAT, [3])], ["y"], backend)
    for x in (np.array([-1, -2, -3], np.float32), np.array([-1, 2, -3], np.float32)):
        np.testing.assert_allclose(net(x), np.exp(x) if x.max() < 0 else -x, rtol=1e-6)
        slope = gc.grad(lambda x: gnp.sum(net.apply({}, x)))(x)
        np.testing.assert_allclose(slope, np.exp(x) if x.max() < 0 else -np.ones(3), rtol=1e-6)
