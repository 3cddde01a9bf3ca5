"""Products with one row or one column are sums of products: which ones, with what bits, and in how many kernels."""

import re

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.dtypes import DType, bfloat16, float32
from graphc.graph.builder import GraphBuilder
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph, TensorType
from graphc.graph.ops.contraction import DotAttrs, dot_general
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.verify import verify
from graphc.passes import matvec
from graphc.passes.matvec import Matvec
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import random_graph, same_bits

Shape = tuple[int, ...]


def product(lhs: Shape, rhs: Shape, attrs: DotAttrs, dtype: DType = float32) -> Graph:
    builder = GraphBuilder("f")
    a, b = builder.input(TensorType(lhs, dtype)), builder.input(TensorType(rhs, dtype))
    return builder.build(builder.add(dot_general, (a, b), attrs))


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


SUMS: dict[str, tuple[Shape, Shape, DotAttrs]] = {
    "vector and matrix": ((64,), (64, 9), DotAttrs((0,), (0,))),
    "vector and weights": ((64,), (9, 64), DotAttrs((0,), (1,))),
    "one row": ((1, 70), (70, 9), DotAttrs((1,), (0,))),
    "one column": ((9, 70), (70, 1), DotAttrs((1,), (0,))),
    "column in the middle": ((9, 70, 2), (70, 1), DotAttrs((1,), (0,))),
    "two vectors": ((5000,), (5000,), DotAttrs((0,), (0,))),
    "one by one": ((1, 64, 1), (64, 1), DotAttrs((1,), (0,))),
    "batch": ((3, 64), (64, 9, 3), DotAttrs((1,), (0,), (0,), (2,))),
    "rows of two arrays": ((9, 64), (9, 64), DotAttrs((1,), (1,), (0,), (0,))),
    "two dims summed": ((8, 3, 8), (8, 8), DotAttrs((2, 0), (0, 1))),
    "two dims summed, the matrix in between": ((8, 9), (9, 5, 8), DotAttrs((0, 1), (2, 0))),
    "one row of nothing": ((1, 64), (64, 0), DotAttrs((1,), (0,))),
}
PRODUCTS: dict[str, tuple[Shape, Shape, DotAttrs]] = {
    "two rows": ((2, 64), (64, 9), DotAttrs((1,), (0,))),
    "two rows and columns": ((2, 64), (64, 2), DotAttrs((1,), (0,))),
    "63 terms": ((1, 63), (63, 9), DotAttrs((1,), (0,))),
    "outer": ((70,), (70,), DotAttrs((), ())),
    "outer with dims": ((70, 1), (1, 70), DotAttrs((1,), (0,))),
    "empty sum": ((1, 0), (0, 9), DotAttrs((1,), (0,))),
    "no row": ((0, 64), (64, 9), DotAttrs((1,), (0,))),
}


@pytest.mark.parametrize("dtype", [float32, dtypes.float64, bfloat16, dtypes.int32, dtypes.int8], ids=str)
@pytest.mark.parametrize("name", SUMS)
def test_one_row_or_column_is_a_sum(name: str, dtype: DType) -> None:
    graph = product(*SUMS[name], dtype)
    after = Matvec().run(graph)
    verify(after)
    assert after.output_types == graph.output_types
    assert "reduce_sum" in ops(after)
    assert "dot_general" not in ops(after)
    assert Matvec().run(after) is after
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-9, 9, v.shape).astype(v.dtype.numpy) for v in graph.inputs]
    for found in (interpret(after, arrays), compile_and_run(after, arrays)):  # every partial sum is exact
        assert same_bits(found, interpret(graph, arrays))


@pytest.mark.parametrize(
    ("rhs", "contract", "axes"),
    [((9, 5, 8), (2, 0), (0, 2)), ((8, 9, 5), (0, 1), (0, 1)), ((5, 8, 9), (1, 2), (1, 2))],
)
def test_terms_are_in_the_order_of_the_product(rhs: Shape, contract: Shape, axes: Shape) -> None:
    """Whatever the layout of the matrix: the dims of a product say in which order it adds up."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((8, 9), np.float32), rng.standard_normal((5, 8, 9), np.float32)
    (wanted,) = compile_and_run(Matvec().run(product((8, 9), (5, 8, 9), DotAttrs((0, 1), (1, 2)))), [x, w])
    graph = Matvec().run(product((8, 9), rhs, DotAttrs((0, 1), contract)))
    assert next(n for n in graph.nodes if n.op.name == "reduce_sum").attrs == AxesAttrs(axes)
    free = ({0, 1, 2} - set(contract)).pop()
    moved = np.moveaxis(w, (0, 1, 2), (free, *contract))
    assert same_bits(compile_and_run(graph, [x, np.ascontiguousarray(moved)]), [wanted])


@pytest.mark.parametrize("name", PRODUCTS)
def test_others_stay_products(name: str) -> None:
    graph = product(*PRODUCTS[name])
    assert Matvec().run(graph) is graph


def test_bfloat16_is_added_up_in_float32() -> None:
    rng = np.random.default_rng(1)
    for dtype in (None, float32):
        graph = product((1, 300), (300, 5), DotAttrs((1,), (0,), dtype=dtype), bfloat16)
        arrays = [rng.standard_normal(v.shape).astype(bfloat16.numpy) for v in graph.inputs]
        (found,) = compile_and_run(Matvec().run(graph), arrays)
        x, w = (a.astype(np.float64) for a in arrays)
        eps = 2.0**-22 if dtype else 2.0**-8
        assert found.dtype == (dtype or bfloat16).numpy
        assert np.all(np.abs(found.astype(np.float64) - x @ w) <= eps * (np.abs(x) @ np.abs(w)))


@pytest.mark.parametrize("seed", range(50))
def test_kernels_do_not_change_bits(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random graphs, as if no sum were too short."""
    monkeypatch.setattr(matvec, "SHORTEST", 1)
    made = random_graph(seed, size=20)
    graph = Matvec().run(made.graph)
    verify(graph)
    fused = compile_and_run(graph, made.inputs)
    assert same_bits(fused, compile_and_run(graph, made.inputs, fuse=False))
    for got, want in zip(fused, interpret(made.graph, made.inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [64, 100, 1030, 5000])
def test_every_form_has_the_bits_of_the_sum(k: int) -> None:
    rng = np.random.default_rng(k)
    x, w = rng.standard_normal(k).astype(np.float32), rng.standard_normal((37, k)).astype(np.float32)
    wt = np.ascontiguousarray(w.T)
    wanted = gc.jit(lambda x, w: gnp.sum(x * w, axis=1))(x, w)
    forms = {
        "weights": gc.jit(lambda x, w: x @ w.T)(x, w),
        "matrix": gc.jit(lambda x, w: x @ w)(x, wt),
        "row": gc.jit(lambda x, w: x @ w)(x[None], wt)[0],
        "column": gc.jit(lambda x, w: w @ x)(x[:, None], w)[:, 0],
        "batch": gc.jit(lambda x, w: (w @ x)[:, 0, 0])(np.repeat(x[None, :, None], 37, 0), w[:, None]),
    }
    for name, found in forms.items():
        assert same_bits([found], [wanted]), name


@pytest.mark.parametrize("k", [64, 1000, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_is_not_above_that_of_a_chain(k: int, dtype: type) -> None:
    rng = np.random.default_rng(k)
    x, w = rng.random(k).astype(dtype), rng.random((k, 50)).astype(dtype)
    truth = x.astype(np.longdouble) @ w.astype(np.longdouble)
    multiply = gc.jit(lambda x, w: x @ w)
    errors = [
        float(np.sqrt(np.mean((found.astype(np.longdouble) - truth) ** 2)))
        for found in (multiply(x, w), multiply(np.stack([x, x]), w)[0])
    ]
    assert errors[0] < 0.6 * errors[1]


def test_derivatives() -> None:
    rng = np.random.default_rng(3)
    w, x, y = (rng.standard_normal(s) for s in ((80, 90), (90,), (80,)))
    dw, dx = gc.jit(gc.grad(lambda w, x: gnp.sum((w @ x - y) ** 2), argnums=(0, 1)))(w, x)
    residual = 2 * (w @ x - y)
    np.testing.assert_allclose(dw, np.outer(residual, x), rtol=1e-12)
    np.testing.assert_allclose(dx, w.T @ residual, rtol=1e-10, atol=1e-12)


# --------------------------------------------------------------------------------------------------- kernels


def outputs(function: object, *arrays: np.ndarray) -> list[list[Shape]]:
    """What each kernel writes, shapes without dims of 1."""
    fused = gc.parse(gc.compile(function, *arrays).text("fused"))
    return [
        [tuple(e for e in v.shape if e != 1) for v in node.results] for node in fused.nodes if node.op.name == "fusion"
    ]


def array(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def test_bias_activation_and_casts_are_in_its_kernel() -> None:
    found = outputs(lambda x, w, b: gnp.tanh(x @ w.T + b), array(1, 128), array(64, 128), array(64))
    assert found == [[(64,)]]
    x, w = array(128, dtype=gnp.bfloat16), array(128, 64, dtype=gnp.bfloat16)
    found = outputs(lambda x, w: gnp.astype(x @ w, "float32"), x, w)
    assert found == [[(64,)]]


def test_what_the_vector_is_made_of_is_not_computed_for_each_row() -> None:
    assert outputs(lambda x, w: gnp.tanh(x) @ w.T, array(128), array(64, 128)) == [[(128,)], [(64,)]]


@pytest.mark.parametrize("dtype", [np.float32, gnp.bfloat16])
def test_products_are_not_written(dtype: object) -> None:
    """A layer, and one with one output: its products would fit into the kernel of the first layer, its sum does not."""
    x, v, w = array(8, 32, dtype=dtype), array(32, 96, dtype=dtype), array(96, dtype=dtype)
    head = outputs(lambda x, v, w: gnp.maximum(x @ v, 0) @ w, x, v, w)
    assert head == [[(8, 96)], [(8,)]]


def test_products_of_a_backward_pass_are_not_written() -> None:
    def loss(v: gnp.Array, w: gnp.Array, x: gnp.Array) -> gnp.Array:
        return gnp.mean((gnp.maximum(x @ v, 0) @ w) ** 2)

    found = outputs(gc.grad(loss, argnums=(0, 1)), array(32, 100), array(100), array(128, 32))
    large = [shape for shapes in found for shape in shapes if shape == (128, 100)]
    assert len(large) == 3, "the layer, where it is positive, and its gradient"


def test_attention_of_one_query_writes_no_products() -> None:
    def attend(q: gnp.Array, k: gnp.Array, v: gnp.Array) -> gnp.Array:
        scores = gnp.exp((k @ q[..., None])[..., 0])
        return (scores / gnp.sum(scores, axis=-1, keepdims=True))[:, None] @ v

    found = outputs(attend, array(4, 64), array(4, 100, 64), array(4, 100, 64))
    assert all(len(shape) < 3 for shapes in found for shape in shapes)


def test_a_matrix_times_one_of_its_columns() -> None:
    a = np.random.default_rng(0).standard_normal((70, 70))
    np.testing.assert_allclose(gc.jit(lambda a: a @ a[:, 3])(a), a @ a[:, 3], rtol=1e-10, atol=1e-12)


def test_the_work_is_that_of_the_product() -> None:
    (kernel,) = re.findall(r"flops (\d+)", gc.compile(lambda x, w: x @ w, array(640), array(640, 100)).text("loop"))
    assert 2 * 640 * 100 <= int(kernel) <= 2.2 * 640 * 100
