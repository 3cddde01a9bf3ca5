"""Random graphs give the same bits before and after every pass that promises so, special values included."""

import pytest

from graphc.graph.interpreter import interpret
from graphc.graph.verify import verify
from graphc.passes.pipeline import pipeline
from tests.random_graphs import random_graph, same_bits


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("seed", range(100))
def test_passes_keep_bits(seed: int, wild: bool) -> None:
    made = random_graph(seed, size=20, wild=wild)
    graph = made.graph
    expected = interpret(graph, made.inputs)
    for each in pipeline(stabilise=False):
        after = each.run(graph)
        verify(after)
        assert after.input_types == graph.input_types
        assert same_bits(expected, interpret(after, made.inputs)), each.name
        assert each.run(after) is after, f"{each.name} is not done after one run"
        graph = after
