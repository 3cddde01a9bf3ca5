"""The random graphs are what they promise: verified, finite, reproducible, and over all primitives."""

import numpy as np
import pytest

from graphc.graph.interpreter import interpret
from graphc.graph.parser import parse
from graphc.graph.registry import all_ops
from graphc.graph.text import constants, print_graph
from graphc.graph.verify import verify
from tests.random_graphs import random_graph, same_bits


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
    missing = {op.name for op in all_ops()} - found - {"fusion", "asin", "acos"}  # two of complex numbers alone
    assert not missing, f"add makers (_UNARY, ... for elementwise ops) to tests/random_graphs.py for {sorted(missing)}"


def test_wild_ones_contain_special_values() -> None:
    arrays = [x for seed in range(10) for x in random_graph(seed, wild=True).inputs if x.dtype.kind == "f"]
    assert any(np.isnan(x).any() for x in arrays)
    assert any(np.isinf(x).any() for x in arrays)
