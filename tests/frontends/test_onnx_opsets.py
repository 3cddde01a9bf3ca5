"""Forms that ops had in older opsets, which ONNX's own cases no longer have: compared with NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphc_onnx

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
IMAGE = X.reshape(1, 2, 3, 4)


def flat_softmax(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(2, 12)
    shares = np.exp(rows - rows.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).reshape(x.shape)


def hard_rows(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(2, 12)
    return np.eye(12, dtype=np.float32)[rows.argmax(axis=1)].reshape(x.shape)


def twice(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=2).repeat(2, axis=3)


CASES: list[tuple[int, str, dict[str, object], np.ndarray, Callable[[np.ndarray], np.ndarray]]] = [
    (9, "Slice", {"axes": [0, 2], "starts": [1, -3], "ends": [9, -1]}, X, lambda x: x[1:9, :, -3:-1]),
    (
        9,
        "Pad",
        {"pads": [0, 1, 0, 0, 0, 2], "value": 1.5},
        X,
        lambda x: np.pad(x, [(0, 0), (1, 0), (0, 2)], constant_values=1.5),
    ),
    (10, "Pad", {"pads": [0, 0, 1, 0, 0, 2], "mode": "edge"}, X, lambda x: np.pad(x, [(0, 0), (0, 0), (1, 2)], "edge")),
    (10, "Clip", {"min": -0.5}, X, lambda x: np.maximum(x, -0.5)),
    (10, "Clip", {"min": -0.5, "max": 0.25}, X, lambda x: np.clip(x, -0.5, 0.25)),
    (11, "Squeeze", {"axes": [0]}, X[:1], lambda x: x[0]),
    (12, "Squeeze", {}, X[:, :1], lambda x: x[:, 0]),
    (11, "Unsqueeze", {"axes": [0, -1]}, X, lambda x: x[None, ..., None]),
    (11, "ReduceSum", {"axes": [1], "keepdims": 0}, X, lambda x: x.sum(axis=1)),
    (17, "ReduceMax", {"axes": [-1]}, X, lambda x: x.max(axis=-1, keepdims=True)),
    (17, "ReduceMean", {}, X, lambda x: x.mean(keepdims=True)),
    (12, "Softmax", {}, X, flat_softmax),
    (11, "LogSoftmax", {"axis": 1}, X, lambda x: np.log(flat_softmax(x))),
    (12, "Hardmax", {}, X, hard_rows),
    (12, "Split", {"axis": 2, "split": [1, 3]}, X, lambda x: x[:, :, :1]),
    (9, "TopK", {"axis": 1, "k": 2}, X, lambda x: -np.sort(-x, axis=1)[:, :2]),
    (9, "Dropout", {"ratio": 0.3}, X, lambda x: x),
    (7, "Upsample", {"scales": [1.0, 1.0, 2.0, 2.0]}, IMAGE, twice),
    (6, "Concat", {"axis": 1}, X, lambda x: x),
    (9, "Flatten", {"axis": 3}, X, lambda x: x.reshape(24, 1)),
]


def run(nodes: list[onnx.NodeProto], x: np.ndarray, opset: int, weights: dict[str, np.ndarray]) -> np.ndarray:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    net = graphc_onnx.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
    assert net.parameters.keys() <= weights.keys()
    return np.asarray(net(x))


@pytest.mark.parametrize(
    ("opset", "op", "attributes", "x", "meaning"),
    CASES,
    ids=[f"{case[1]}-{case[0]}-{place}" for place, case in enumerate(CASES)],
)
def test_attributes_of_older_opsets(
    opset: int,
    op: str,
    attributes: dict[str, object],
    x: np.ndarray,
    meaning: Callable[[np.ndarray], np.ndarray],
) -> None:
    outputs = ["y", "z"] if op in ("Split", "TopK") else ["y"]
    found = run([helper.make_node(op, ["x"], outputs, **attributes)], x, opset, {})
    np.testing.assert_allclose(found, meaning(x), rtol=1e-5, atol=1e-6)
    assert found.shape == meaning(x).shape


def test_resize_of_opset_10() -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    found = run([helper.make_node("Resize", ["x", "scales"], ["y"])], IMAGE, 10, {"scales": scales})
    np.testing.assert_array_equal(found, twice(IMAGE))


def test_powers_of_whole_numbers() -> None:
    base = np.array([0, 1, -1, 2, -3, 7, -1, 2, 0], np.int64)
    exponent = np.array([0, 9, 65, 10, 3, 2, -3, -1, 64], np.int64)
    graph = helper.make_graph(
        [helper.make_node("Pow", ["x", "n"], ["y"])],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [9]) for name in ("x", "n")],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [9])],
    )
    net = graphc_onnx.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)]))
    assert np.asarray(net(base, exponent)).tolist() == [1, 1, -1, 1024, -27, 49, -1, 0, 0]


def test_maxima_of_regions() -> None:
    """Cells that share pixels, cells without any, corners outside, and a second image."""
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 9)).astype(np.float32)
    rois = np.array([[0, 0, 0, 8, 6], [1, 2.4, 3.5, 17, 9], [1, 8, 8, 2, 2], [0, -5, -4.5, -2, 30], [0, 3, 2, 3, 2]])
    scale, cells = 0.5, (2, 3)
    wanted = np.zeros((len(rois), 3, *cells), np.float32)
    for r, (image, *corners) in enumerate(rois.astype(np.float32)):
        left, top, right, bottom = (int(np.copysign(np.floor(abs(c * scale) + 0.5), c)) for c in corners)
        for i, j in np.ndindex(cells):
            height, width = max(bottom - top + 1, 1) / cells[0], max(right - left + 1, 1) / cells[1]
            up, down = np.floor(i * height) + top, np.ceil((i + 1) * height) + top
            start, stop = np.floor(j * width) + left, np.ceil((j + 1) * width) + left
            down, stop = max(int(down), 0), max(int(stop), 0)
            part = x[int(image), :, max(int(up), 0) : down, max(int(start), 0) : stop]
            if part.size:
                wanted[r, :, i, j] = part.max(axis=(1, 2))
    assert np.any(wanted == 0)
    assert np.any(wanted != 0)
    node = helper.make_node("MaxRoiPool", ["x", "rois"], ["y"], pooled_shape=list(cells), spatial_scale=scale)
    for opset in (9, 22):
        np.testing.assert_array_equal(run([node], x, opset, {"rois": rois.astype(np.float32)}), wanted)
