"""The order of kernels: less memory than the program's order, and old state read before it is replaced."""

import pytest

from graphc.graph.parser import parse
from graphc.graph.prune import prune
from graphc.graph.verify import verify
from graphc.passes.partition import partition
from graphc.passes.partition.assemble import assemble
from graphc.passes.partition.order import order, peak_bytes
from graphc.passes.partition.roles import roles
from tests.random_graphs import random_graph

TWO_BRANCHES = """
graph f(%0: f32[1000,8], %1: f32[8,1000]) {
  %2: f32[1000,1000] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %3: f32[1000,1000] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %4: f32[1000,1000] = dot_general(%0, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
  %5: f32[1000] = reduce_sum(%2) {axes=(1,)}
  %6: f32[1000] = reduce_sum(%3) {axes=(1,)}
  %7: f32[1000] = reduce_sum(%4) {axes=(1,)}
  return %5, %6, %7
}
"""


def test_branches_run_one_after_the_other() -> None:
    graph = parse(TWO_BRANCHES)
    role = roles(graph)
    plain = assemble(graph, role, [[node] for node in graph.nodes])
    assert peak_bytes(plain) > 3 * 4_000_000
    assert peak_bytes(order(plain)) < 4_100_000


STATE = """
graph f(%0: f32[1000], %1: f32[1000]) {
  %2: f32[1000] = exp(%0)
  %3: f32[1000] = dot_general(%0, %1) {lhs_contract=(), rhs_contract=(), lhs_batch=(0,), rhs_batch=(0,)}
  return %2, %3
}
"""


def test_old_state_is_read_before_it_is_replaced() -> None:
    graph = parse(STATE)
    plain = assemble(graph, roles(graph), [[node] for node in graph.nodes])
    assert peak_bytes(plain) == 4000  # the new value of %0 waits while %3 reads the old one
    assert peak_bytes(order(plain)) == 0


@pytest.mark.parametrize("seed", range(200, 230))
def test_order_never_needs_more(seed: int) -> None:
    graph = random_graph(seed, size=20).graph
    graph = partition(graph, fuse=False)
    ordered = order(graph)
    verify(ordered)
    assert peak_bytes(ordered) <= peak_bytes(graph)
    assert len(prune(ordered).nodes) == len(prune(graph).nodes)
