"""Tensors of a lowered entry: state, step, views, concatenates in place, constants, unchanged state."""

import numpy as np
import pytest

from graphc.core.errors import UnsupportedError
from graphc.graph.parser import parse
from graphc.kernel.lower import lower_graph
from graphc.kernel.text import print_kernel
from graphc.passes.partition import partition

STEP = """
graph train(%0: f32[2000] w, %1: f32[3] frozen, %2: f32[2000] g, %3: i64[] step) {
  %4: f32[] = cast(%3) {dtype=f32}
  %5: f32[2000] = broadcast(%4) {shape=(2000,), dims=()}
  %6: f32[2000] = mul(%2, %5)
  %7: f32[2000] = sub(%0, %6)
  %8: f32[] = reduce_sum(%7) {axes=(0,)}
  return %7, %1, %8
}
"""

SLAB = """
graph f(%0: f32[40,50], %1: f32[40,60]) {
  %2: f32[50,60] = dot_general(%0, %1) {lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %3: f32[3000] = reshape(%2) {shape=(3000,)}
  %4: f32[60] = reduce_sum(%1) {axes=(0,)}
  %5: f32[3060] = concatenate(%3, %4) {axis=0}
  return %5
}
"""


def test_state_step_and_unchanged_state() -> None:
    graph = parse(STEP)
    program = lower_graph(partition(graph), name="train", state_inputs=2, num_inputs=1, takes_step=True)
    tensors = program.tensors.values()
    assert [t.role for t in tensors][:4] == ["state", "state", "input", "step"]
    ((slot, new),) = program.state_updates
    assert slot == 0
    assert program.tensors[new].role == "temporary"
    assert len(program.outputs) == 1


def test_an_update_may_lie_on_the_old_state() -> None:
    program = lower_graph(partition(parse(STEP)), name="train", state_inputs=2, num_inputs=1, takes_step=True)
    ((_, new),) = program.state_updates
    (call,) = (call for call in program.calls if new in call.args[-2:])
    out = call.kernel.params[call.args.index(new)]
    state = call.kernel.params[call.args.index(0)]
    assert state.buffer.name in out.aliases_ok


def test_parts_of_a_slab_are_made_in_place() -> None:
    program = lower_graph(partition(parse(SLAB)), name="f")
    (slab,) = (t for t in program.tensors.values() if t.label.startswith("concatenate"))
    (call,) = program.calls
    assert call.kernel.name == "dot_sum"
    parts = [program.tensors[number] for number in call.args[-2:]]
    assert [part.view_offset for part in parts] == [0, 12000]
    assert all(part.view_of == slab.id for part in parts)


def test_a_part_that_is_an_input_is_copied() -> None:
    graph = parse("""
graph f(%0: f32[2000], %1: f32[2000]) {
  %2: f32[2000] = exp(%0)
  %3: f32[4000] = concatenate(%2, %1) {axis=0}
  return %3
}
""")
    program = lower_graph(partition(graph), name="f")
    assert all(t.view_of is None for t in program.tensors.values())


def test_arrays_become_constants() -> None:
    graph = parse("""
graph f(%0: f32[3]) {
  %1: f32[3] = constant() {value=f32[3]{1.0, 2.0, 3.0}}
  %2: f32[3] = add(%0, %1)
  return %2
}
""")
    program = lower_graph(partition(graph), name="f")
    (constant,) = program.constants
    assert np.array_equal(constant, [1, 2, 3])


def test_a_bare_node_that_is_no_view_is_an_error() -> None:
    graph = parse("graph f(%0: f32[3]) {\n  %1: f32[3] = exp(%0)\n  return %1\n}")
    with pytest.raises(UnsupportedError, match="exp: is not fused"):
        lower_graph(graph, name="f")


def test_long_operands_of_a_product_are_named_not_written_again() -> None:
    """`exp(pow(x, y))` in float64 is hundreds of operations; written as one tree it was 1.2 million."""
    graph = parse("""
graph f(%0: f64[2,2], %1: f64[2,2], %2: f64[2,3]) {
  %3: f64[2,2] = pow(%0, %1)
  %4: f64[2,2] = exp(%3)
  %5: f64[2,3] = dot_general(%4, %2) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  return %5
}
""")
    program = lower_graph(partition(graph), name="f", state_inputs=0, num_inputs=3, takes_step=False)
    assert sum(len(print_kernel(call.kernel)) for call in program.calls) < 30_000
