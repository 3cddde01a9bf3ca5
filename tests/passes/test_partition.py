"""Partition: same numbers, same bits however things are fused, and the number of kernels of familiar programs."""

from collections.abc import Sequence

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.core.source import Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Attrs, Graph, Node, TensorType, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.movement import AxesAttrs, AxisAttrs, BroadcastAttrs, ShapeAttrs, SliceAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs
from graphc.graph.parser import parse
from graphc.graph.registry import lookup
from graphc.graph.verify import verify
from graphc.passes.partition import grouping, partition
from graphc.passes.partition.legal import is_legal
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import random_graph, same_bits

BARE = {"fusion", "constant", "reshape", "slice", "concatenate", "scan", "while", "branch"}

# A product put in place of a part of itself: which operand an element is taken from depends on where it is.
OVER_ITSELF = """
graph f(%0: f32[2,3], %1: f32[3,2], %2: i64[]) {
  %3: f32[2,2] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %4: f32[2,2] = dynamic_update_slice(%3, %3, %2) {dims=(0,)}
  return %4
}
"""


@pytest.mark.parametrize("seed", range(60))
def test_partition_keeps_the_meaning(seed: int) -> None:
    made = random_graph(seed, size=20)
    fused = partition(made.graph)
    verify(fused)
    assert {node.op.name for node in fused.nodes} <= BARE
    assert same_bits(interpret(fused, made.inputs), interpret(made.graph, made.inputs))


@pytest.mark.parametrize("seed", range(100, 160))
def test_bits_do_not_depend_on_fusion(seed: int) -> None:
    made = random_graph(seed, size=20)
    fused = compile_and_run(made.graph, made.inputs)
    assert same_bits(fused, compile_and_run(made.graph, made.inputs, fuse=False))
    for got, want in zip(fused, interpret(made.graph, made.inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


class Program:
    """A few lines of NumPy-like shorthand over the graph builder."""

    def __init__(self) -> None:
        self.builder = GraphBuilder("program")
        self.arrays: list[np.ndarray] = []
        self.rng = np.random.default_rng(7)

    def input(self, *shape: int) -> Value:
        self.arrays.append(self.rng.standard_normal(shape).astype(np.float32))
        return self.builder.input(TensorType(shape, dtypes.float32))

    def labels(self, count: int, below: int) -> Value:
        self.arrays.append(self.rng.integers(0, below, count).astype(np.int32))
        return self.builder.input(TensorType((count,), dtypes.int32))

    def op(self, name: str, *operands: Value, attrs: Attrs | None = None) -> Value:
        loc = Loc("train.py", len(self.builder.nodes) + 1)
        return self.builder.add1(lookup(name), operands, attrs or Attrs(), loc)

    def full(self, value: float, like: Value) -> Value:
        scalar = self.op("constant", attrs=ConstantAttrs(np.array(value, np.float32)))
        return self.op("broadcast", scalar, attrs=BroadcastAttrs(like.shape, ()))

    def along(self, x: Value, like: Value, *dims: int) -> Value:
        return self.op("broadcast", x, attrs=BroadcastAttrs(like.shape, dims))

    def reduce(self, name: str, x: Value, *axes: int) -> Value:
        return self.op(name, x, attrs=AxesAttrs(axes))

    def dot(self, x: Value, y: Value) -> Value:
        return self.op("dot_general", x, y, attrs=DotAttrs((1,), (0,)))

    def log_softmax(self, x: Value) -> Value:
        shifted = self.op("sub", x, self.along(self.reduce("reduce_max", x, 1), x, 0))
        total = self.reduce("reduce_sum", self.op("exp", shifted), 1)
        return self.op("sub", shifted, self.along(self.op("log", total), x, 0))

    def check(self, kernels: int, outputs: Sequence[Value]) -> Graph:
        graph = self.builder.build(outputs)
        fused = partition(graph)
        verify(fused)
        found = [node for node in fused.nodes if node.op.name == "fusion"]
        assert len(found) == kernels, str(fused)
        results = compile_and_run(graph, self.arrays)
        for got, want in zip(results, interpret(graph, self.arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
        assert same_bits(results, compile_and_run(graph, self.arrays, fuse=False))
        return fused


@pytest.mark.parametrize("columns", [1, 10, 37, 1500])
def test_softmax_is_one_kernel(columns: int) -> None:
    p = Program()
    x = p.input(9, columns)
    e = p.op("exp", p.op("sub", x, p.along(p.reduce("reduce_max", x, 1), x, 0)))
    p.check(1, [p.op("div", e, p.along(p.reduce("reduce_sum", e, 1), x, 0))])


def test_log_softmax_is_one_kernel() -> None:
    p = Program()
    p.check(1, [p.log_softmax(p.input(33, 10))])


def test_cross_entropy_with_its_gradient_is_one_kernel() -> None:
    p = Program()
    x, labels = p.input(33, 10), p.labels(33, 10)
    scores = p.log_softmax(x)
    classes = p.op("iota", attrs=IotaAttrs((33, 10), dtypes.int32, 1))
    chosen = p.op("eq", classes, p.along(labels, x, 0))
    picked = p.reduce("reduce_sum", p.op("select", chosen, scores, p.full(0, scores)), 1)
    total = p.reduce("reduce_sum", picked, 0)
    loss = p.op("mul", total, p.full(-1 / 33, total))
    wanted = p.op("select", chosen, p.full(1 / 33, x), p.full(0, x))
    gradient = p.op("sub", p.op("mul", p.op("exp", scores), p.full(1 / 33, x)), wanted)
    p.check(1, [loss, gradient])


def test_layer_norm_is_one_kernel() -> None:
    p = Program()
    x, scale, bias = p.input(6, 5, 48), p.input(48), p.input(48)
    mean = p.reduce("reduce_sum", x, 2)
    mean = p.op("mul", mean, p.full(1 / 48, mean))
    centred = p.op("sub", x, p.along(mean, x, 0, 1))
    variance = p.reduce("reduce_sum", p.op("mul", centred, centred), 2)
    variance = p.op("add", p.op("mul", variance, p.full(1 / 48, variance)), p.full(1e-5, variance))
    normal = p.op("div", centred, p.along(p.op("sqrt", variance), x, 0, 1))
    p.check(1, [p.op("add", p.op("mul", normal, p.along(scale, x, 2)), p.along(bias, x, 2))])


def test_dense_layer_is_one_kernel() -> None:
    p = Program()
    h = p.dot(p.input(12, 20), p.input(20, 30))
    h = p.op("add", h, p.along(p.input(30), h, 1))
    p.check(1, [p.op("max", h, p.full(0, h)), p.op("gt", h, p.full(0, h))])


def test_residual_joins_the_product() -> None:
    p = Program()
    x = p.input(12, 20)
    p.check(1, [p.op("add", x, p.dot(p.op("broadcast", x, attrs=BroadcastAttrs((12, 20), (0, 1))), p.input(20, 20)))])


def test_a_product_moved_over_itself_is_complete_before() -> None:
    graph = parse(OVER_ITSELF)
    assert not is_legal(graph, set(graph.nodes))
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal((3, 2)).astype(np.float32)]
    for start in (0, 1):
        given = [*arrays, np.array(start)]
        assert same_bits(compile_and_run(graph, given), compile_and_run(graph, given, fuse=False))


def test_two_layers_are_two_kernels() -> None:
    p = Program()
    h = p.dot(p.input(12, 20), p.input(20, 30))
    h = p.op("tanh", h)
    p.check(2, [p.op("tanh", p.dot(h, p.input(30, 5)))])


def test_adam_over_a_slab_is_one_kernel() -> None:
    p = Program()
    w, m, v, g = (p.input(1000) for _ in range(4))
    v = p.op("abs", v)
    m = p.op("add", p.op("mul", m, p.full(0.9, m)), p.op("mul", g, p.full(0.1, g)))
    v = p.op("add", p.op("mul", v, p.full(0.99, v)), p.op("mul", p.op("mul", g, g), p.full(0.01, g)))
    step = p.op("div", m, p.op("add", p.op("sqrt", v), p.full(1e-8, v)))
    p.check(1, [p.op("sub", w, p.op("mul", step, p.full(1e-3, step))), m, v])


def test_gradients_are_made_in_place_of_their_slab() -> None:
    p = Program()
    x, dy = p.input(40, 50), p.input(40, 60)
    weight = p.op("dot_general", x, dy, attrs=DotAttrs((0,), (0,)))
    bias = p.reduce("reduce_sum", dy, 0)
    flat = p.op("reshape", weight, attrs=ShapeAttrs((3000,)))
    slab = p.op("concatenate", flat, bias, attrs=AxisAttrs(0))
    w = p.input(3060)
    fused = p.check(2, [p.op("sub", w, p.op("mul", slab, p.full(0.1, slab)))])
    assert [node.op.name for node in fused.nodes if node.op.name != "fusion"] == ["reshape", "concatenate"]


def test_parameters_are_views_of_their_slab() -> None:
    p = Program()
    slab, x = p.input(3060), p.input(40, 50)
    flat = p.op("slice", slab, attrs=SliceAttrs((0,), (3000,), (1,)))
    weight = p.op("reshape", flat, attrs=ShapeAttrs((50, 60)))
    h = p.dot(x, weight)
    bias = p.op("slice", slab, attrs=SliceAttrs((3000,), (3060,), (1,)))
    fused = p.check(1, [p.op("add", h, p.along(bias, h, 1))])
    (kernel,) = (node for node in fused.nodes if node.op.name == "fusion")
    assert [v.shape for v in kernel.operands] == [(40, 50), (50, 60), (60,)]


def test_mean_loss_is_one_kernel() -> None:
    p = Program()
    d = p.op("sub", p.input(3000), p.input(3000))
    total = p.reduce("reduce_sum", p.op("mul", d, d), 0)
    p.check(1, [p.op("mul", total, p.full(1 / 3000, total))])


def test_moments_share_a_kernel() -> None:
    p = Program()
    x = p.input(17, 300)
    p.check(1, [p.reduce("reduce_sum", x, 1), p.reduce("reduce_sum", p.op("mul", x, x), 1)])


def test_backward_recomputes_the_activation_from_what_is_kept() -> None:
    p = Program()
    x, w1, w2 = p.input(12, 20), p.input(20, 30), p.input(30, 5)
    h = p.dot(x, w1)
    t = p.op("tanh", h)
    a = p.op("mul", h, p.op("add", t, p.full(1, t)))
    y = p.dot(a, w2)
    dy = p.op("mul", y, y)
    da = p.op("dot_general", dy, w2, attrs=DotAttrs((1,), (1,)))
    inner = p.op("sub", p.full(1, t), p.op("mul", t, t))
    dh = p.op("mul", da, p.op("add", p.op("add", t, p.full(1, t)), p.op("mul", h, inner)))
    fused = p.check(3, [dh])
    first = next(node for node in fused.nodes if node.op.name == "fusion")
    assert len(first.results) == 2, "the first kernel writes the activation and the pre-activation, nothing else"


def test_long_chains_are_not_analysed_again_for_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[int] = []

    def counted(body: Graph, core: set[Node], alone: bool = True) -> bool:
        analysed.append(len(body.nodes))
        return is_legal(body, core, alone)

    monkeypatch.setattr(grouping, "is_legal", counted)
    p = Program()
    x = y = p.input(40, 50)
    for number in range(1000):
        y = p.op("tanh", y) if number % 3 == 0 else p.op("add", y, x)
    partition(p.builder.build([y]))
    assert sum(analysed) < 5000, "nodes looked at, for 1000 nodes in groups of at most 128"
