"""Depth and width, which reports show, against networkx."""

from collections import Counter

import networkx
import pytest

from graphc.graph.analysis import to_networkx
from graphc.graph.cost import dimensions
from tests.random_graphs import random_graph


@pytest.mark.parametrize("seed", range(5))
def test_dimensions_are_those_of_the_drawn_graph(seed: int) -> None:
    graph = random_graph(seed).graph
    drawn = to_networkx(graph)
    found = dimensions(graph)
    level = dict.fromkeys(drawn, 0)
    for node in networkx.topological_sort(drawn):
        if node >= 0:
            level[node] = 1 + max((level[before] for before in drawn.predecessors(node)), default=0)
    widths = Counter(distance for node, distance in level.items() if node >= 0)
    assert (found.depth, found.width) == (max(widths), max(widths.values()))
    assert {drawn.nodes[n]["op"] for n in drawn if n >= 0} == {node.op.name for node in graph.nodes}
    assert sum(n < 0 for n in drawn) == len(graph.inputs)
