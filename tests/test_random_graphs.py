"""The random graphs are what they promise: verified, finite, reproducible, and over all primitives."""

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.interpreter import interpret
from graphc.graph.parser import parse
from graphc.graph.registry import all_ops
from graphc.graph.text import constants, print_graph
from graphc.graph.verify import verify
from tests.accepted import accepted, value_at
from tests.random_graphs import Wish, random_graph, same_bits, wished_graph


@pytest.mark.parametrize("seed", range(40))
def test_they_are_well_typed_finite_and_reproducible(seed: int) -> None:
    made, again = random_graph(seed), random_graph(seed)
    verify(made.graph)
    assert made.graph == again.graph
    outputs = interpret(made.graph, made.inputs)
    assert all(np.all(np.isfinite(x)) for x in outputs if x.dtype.kind == "f")
    assert same_bits(outputs, interpret(again.graph, again.inputs))
    assert parse(print_graph(made.graph), constants(made.graph)) == made.graph


def test_they_cover_all_primitives() -> None:
    found: set[str] = set()
    for seed in range(300):
        found |= {node.op.name for node in random_graph(seed, 20).graph.nodes}
    real = {op.name for op in all_ops() if not accepted(op) <= set(dtypes.COMPLEX)}
    missing = real - found - {"fusion"}
    assert not missing, f"add makers to tests/random_graphs for {sorted(missing)}"


def test_wild_ones_contain_special_values() -> None:
    arrays = [x for seed in range(10) for x in random_graph(seed, wild=True).inputs if x.dtype.kind == "f"]
    assert any(np.isnan(x).any() for x in arrays)
    assert any(np.isinf(x).any() for x in arrays)


def test_wishes_come_true() -> None:
    """Every primitive on every dtype it takes, but where values rarely allow it."""
    pairs = [(op, dtype) for op in all_ops() if op.name != "fusion" for dtype in accepted(op)]
    missing = []
    for number in range(0, len(pairs), 20):
        chosen = pairs[number : number + 20]
        graph = wished_graph(number, [Wish(op.name, dtype) for op, dtype in chosen]).graph
        verify(graph)
        found = {(node.op, value.dtype) for node in graph.nodes for value in (*node.operands, *node.results)}
        missing += [f"{op.name} {dtype.short}" for op, dtype in chosen if (op, dtype) not in found]
    assert len(missing) < 0.05 * len(pairs), missing


def test_a_wish_is_for_the_values_of_an_op() -> None:
    wish = Wish("select", dtypes.bfloat16)
    nodes = [n for n in wished_graph(0, [wish]).graph.nodes if n.op.name == "select"]
    assert [n.operands[value_at(n.op)].dtype for n in nodes] == [dtypes.bfloat16]
