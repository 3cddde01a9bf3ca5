"""Phases: small kernels and bias gradients share a kernel, in an order that replaces no state too early."""

import numpy as np
import pytest

from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph, Node
from graphc.graph.ops.structural import FusionAttrs
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.kernel.lower import lower_graph
from graphc.kernel.verify import verify as verify_kernel
from graphc.passes.partition import partition
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import random_graph, same_bits

KEYS = """
graph f(%0: u32[2], %1: i64[]) {
  %2: u32[2] = random_bits(%0) {shape=(2,)}
  %3: u32[2] = random_bits(%2) {shape=(2,)}
  %4: u32[66,2] = random_bits(%3) {shape=(66, 2)}
  %5: u32[128] = iota() {shape=(128,), dtype=u32, axis=0}
  %6: u32[128] = shuffle_index(%5, %4) {n=2048}
  %7: i64[] = add(%1, %1)
  return %6, %7
}
"""

DENSE = """
graph f(%0: f32[96,50], %1: f32[96,64], %2: f32[64,64]) {
  %3: f32[96,64] = dot_general(%1, %2) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %4: f32[64] = reduce_sum(%3) {axes=(0,)}
  %5: f32[64,50] = dot_general(%3, %0) {lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  return %4, %5
}
"""


def kernels(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op.name == "fusion"]


def kinds(graph: Graph) -> list[str]:
    found: list[str] = []
    for node in kernels(graph):
        assert isinstance(node.attrs, FusionAttrs)
        found.append(node.attrs.kind)
    return found


def test_keys_and_counters_are_one_kernel() -> None:
    graph = parse(KEYS)
    fused = partition(graph)
    verify(fused)
    assert kinds(fused) == ["phases"]
    arguments = [np.array([3, 4], np.uint32), np.array(5, np.int64)]
    assert same_bits(compile_and_run(graph, arguments), interpret(graph, arguments))


def test_scratch_between_phases_is_not_in_the_plan() -> None:
    program = lower_graph(partition(parse(KEYS)), name="f")
    assert len(program.calls) == 1
    assert sum(tensor.role == "temporary" for tensor in program.tensors.values()) == 2
    verify_kernel(program.calls[0].kernel)


def test_a_bias_gradient_runs_beside_the_weight_gradient() -> None:
    graph = parse(DENSE)
    fused = partition(graph)
    assert kinds(fused) == ["contraction", "phases"]
    assert len(kernels(fused)[1].operands) == 2, "the common operand is one parameter"
    rng = np.random.default_rng(0)
    arguments = [rng.standard_normal(value.shape, np.float32) for value in graph.inputs]
    assert same_bits(compile_and_run(graph, arguments), compile_and_run(graph, arguments, fuse=False))


def test_parameters_two_phases_read_are_not_overwritten() -> None:
    graph = parse("""
graph f(%0: f32[50], %1: f32[50]) {
  %2: f32[50] = exp(%0)
  %3: f32[] = reduce_sum(%0) {axes=(0,)}
  %4: f32[50] = broadcast(%3) {shape=(50,), dims=()}
  %5: f32[50] = mul(%4, %2)
  %6: f32[25] = slice(%5) {start=(0,), stop=(25,), step=(1,)}
  %7: f32[25] = exp(%6)
  return %2, %7, %3
}
""")
    arguments = [np.linspace(0, 1, 50, dtype=np.float32), np.ones(50, np.float32)]
    assert same_bits(compile_and_run(graph, arguments), compile_and_run(graph, arguments, fuse=False))
    for call in lower_graph(partition(graph), name="f").calls:
        for param in call.kernel.params:
            assert not {name for name in param.aliases_ok if not name.startswith("in")}


def test_old_state_is_read_before_a_small_update() -> None:
    """%2 renews %0 and is small; %4, before it, reads the old value and is not: %2 may not move up past it."""
    graph = parse("""
graph f(%0: f32[8], %1: f32[8,4096]) {
  %2: f32[8] = exp(%0)
  %3: f32[8,4096] = broadcast(%0) {shape=(8, 4096), dims=(0,)}
  %4: f32[8,4096] = mul(%1, %3)
  %5: f32[8] = tanh(%0)
  %6: f32[8] = mul(%5, %0)
  return %2, %4, %6
}
""")
    fused = partition(graph)
    (writer,) = (i for i, node in enumerate(fused.nodes) if fused.outputs[0] in node.results)
    readers = [i for i, node in enumerate(fused.nodes) if fused.inputs[0] in node.operands]
    assert max(readers) <= writer


@pytest.mark.parametrize("seed", range(400, 430))
def test_phases_keep_the_bits(seed: int) -> None:
    made = random_graph(seed, size=30)
    fused = partition(made.graph)
    verify(fused)
    assert same_bits(compile_and_run(made.graph, made.inputs), compile_and_run(made.graph, made.inputs, fuse=False))


def test_joining_again_changes_nothing() -> None:
    fused = partition(parse(KEYS))
    assert str(partition(fused)) == str(fused)
