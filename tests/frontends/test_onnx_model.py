"""What users hold: `gc.load` of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphc as gc
import graphc.numpy as gnp
import graphc_onnx
from graphc.core.errors import ArgumentError, DTypeError, GraphcError, ShapeError, UnsupportedError
from graphc.runtime import discovery

RNG = np.random.default_rng(3)
W1, B1 = RNG.normal(size=(4, 8)).astype(np.float32), RNG.normal(size=8).astype(np.float32)
W2 = RNG.normal(size=(8, 3)).astype(np.float32)
X = RNG.normal(size=(5, 4)).astype(np.float32)


def tensor(name: str, shape: Sequence[int | str | None] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "net", list(inputs), list(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def perceptron() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="hidden"),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    return model(nodes, [tensor("x", ["n", 4])], [tensor("y", ["n", 3])], {"w1": W1, "b1": B1, "w2": W2})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry point, whether the frontend is installed or lies beside."""
    found = {"graphc.frontends": {"onnx": "graphc_onnx:load"}, "graphc.backends": discovery._found("graphc.backends")}
    monkeypatch.setattr(discovery, "_found", found.__getitem__)
    discovery.find_loader.cache_clear()


def test_load_finds_the_frontend_by_extension(installed: None, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(perceptron(), path)
    program = gc.load(path)
    assert sorted(program.parameters) == ["b1", "w1", "w2"]
    expected = np.maximum(X @ W1 + B1, 0) @ W2
    np.testing.assert_allclose(program(X), expected, rtol=1e-5, atol=1e-5)  # type: ignore[call-overload]
    with pytest.raises(UnsupportedError, match=r"load: .*'\.pt'; installed: \.onnx"):
        gc.load(tmp_path / "net.pt")


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.entry-points."graphc.frontends"]\nonnx = "graphc_onnx:load"' in text
    assert callable(graphc_onnx.load)


def test_parameters_are_arguments_of_the_program() -> None:
    net = graphc_onnx.from_proto(perceptron())
    before = net(X)
    net.parameters["w2"] = 2 * W2
    np.testing.assert_allclose(net(X), 2 * np.asarray(before), rtol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_model_is_trained(backend: str) -> None:
    net = graphc_onnx.from_proto(perceptron())
    target = np.tanh(X[:, :3])

    def loss(parameters: dict[str, np.ndarray]) -> gc.api.Array:
        output = net.apply(parameters, X)
        return gnp.mean((output - target) ** 2)

    step = gc.jit(gc.value_and_grad(loss), backend=backend)
    parameters, losses = dict(net.parameters), []
    for _ in range(20):
        value, gradient = step(parameters)  # type: ignore[misc]
        parameters = {name: array - 0.02 * gradient[name] for name, array in parameters.items()}
        losses.append(float(value))
    assert losses[-1] < 0.7 * losses[0]


def test_ports_say_what_the_model_takes() -> None:
    net = graphc_onnx.from_proto(perceptron())
    assert [str(port) for port in (*net.inputs, *net.outputs)] == ["x: float32[n, 4]", "y: float32[n, 3]"]


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((X.astype(np.float64),), DTypeError, "input 'x' is float32, got float64"),
        ((X[:, :3],), ShapeError, r"input 'x' is x: float32\[n, 4\], got shape \[5, 3\]"),
        ((), ArgumentError, "inputs are missing: x"),
        ((X, X), ArgumentError, "takes 1 inputs, got 2"),
    ],
)
def test_inputs_are_checked(args: tuple[np.ndarray, ...], error: type[GraphcError], words: str) -> None:
    with pytest.raises(error, match=words):
        graphc_onnx.from_proto(perceptron())(*args)


def test_inputs_that_are_shapes_may_change() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["r"]), helper.make_node("Relu", ["r"], ["y"])]
    inputs = [tensor("x", ["n"]), tensor("shape", ["rank"], TensorProto.INT64)]
    net = graphc_onnx.from_proto(model(nodes, inputs, [tensor("y", None)]))
    x = np.arange(-3, 9, dtype=np.float32)
    for shape in ((3, 4), (2, -1), (12,), (3, 4)):
        np.testing.assert_array_equal(net(x, np.array(shape)), np.maximum(x, 0).reshape(shape))


def test_shapes_computed_in_the_graph_are_numbers() -> None:
    """The chain that exporters write for x.reshape(x.shape[0], -1)."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    weights = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}
    net = graphc_onnx.from_proto(model(nodes, [tensor("x", [None, 2, 3])], [tensor("y", None)], weights))
    x = RNG.normal(size=(5, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(net(x), x.reshape(5, 6))
    assert net.parameters == {}


def test_values_come_from_nodes_of_the_file() -> None:
    net = graphc_onnx.from_proto(perceptron(), "nets/two_layers.onnx")
    text = str(gc.trace(net.apply, net.parameters, gc.spec((5, 4))))
    assert "# two_layers.onnx:1" in text
    assert "# two_layers.onnx:3" in text
    assert ".py:" not in text


def test_functions_of_the_model_are_its_ops() -> None:
    body = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("Sum", ["b", "a"], ["c"])]
    own = helper.make_function("own", "Bend", ["a"], ["c"], body, [helper.make_opsetid("", 20)])
    proto = model([helper.make_node("Bend", ["x"], ["y"], domain="own")], [tensor("x", [3])], [tensor("y", [3])])
    proto.functions.append(own)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(graphc_onnx.from_proto(proto)(x), x * x + x)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Bogus", ["x"], ["y"], name="b"), r"node 'b' \(Bogus, opset 20\): ONNX has no such op"),
        (helper.make_node("Relu", ["z"], ["y"], name="b"), r"node 'b' \(Relu, opset 20\): input 'z' is computed by no"),
        (helper.make_node("Relu", ["x", "x"], ["y"]), r"computes 'y' \(Relu, opset 20\): has 2 inputs, takes 1 to 1"),
        (helper.make_node("Relu", ["x"], ["z"]), "output 'y' of graph 'net' is computed by no node"),
        (helper.make_node("Elu", ["x"], ["y"], beta=1.0), r"\(Elu, opset 20\): attribute 'beta' is not supported"),
        (
            helper.make_node("Concat", ["x", "x"], ["y"], axis=4),
            r"\(Concat, opset 20\): axis 4 is outside",
        ),
        (helper.make_node("NonZero", ["x"], ["y"]), r"\(NonZero, opset 20\).*input 'x': .* depends on data"),
        (helper.make_node("Relu", ["x"], ["y"], domain="other"), "does not say which opset of 'other'"),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_errors_name_file_node_and_op(node: onnx.NodeProto, words: str) -> None:
    net = graphc_onnx.from_proto(model([node], [tensor("x", [3])], [tensor("y", None)]), "net.onnx")
    with pytest.raises(GraphcError, match=words) as caught:
        net(np.ones(3, np.float32))
    assert str(caught.value).startswith("net.onnx: ")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(perceptron().SerializeToString()[:100])
    with pytest.raises(graphc_onnx.ModelError, match=r"net\.onnx: not an ONNX model, or a truncated one"):
        graphc_onnx.load(path)
    with pytest.raises(graphc_onnx.ModelError, match="there is no such file"):
        graphc_onnx.load(tmp_path / "other.onnx")
