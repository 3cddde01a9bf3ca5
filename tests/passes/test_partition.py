"""Partition and lowering of random graphs against the graph interpreter."""

import numpy as np
import pytest

from graphc.graph.interpreter import interpret
from graphc.graph.verify import verify
from graphc.passes.partition import partition
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import random_graph, same_bits


@pytest.mark.parametrize("seed", range(60))
def test_partition_keeps_the_meaning(seed: int) -> None:
    made = random_graph(seed, size=16)
    fused = partition(made.graph)
    verify(fused)
    assert {node.op.name for node in fused.nodes} <= {"fusion", "constant", "reshape", "slice", "concatenate"}
    assert same_bits(interpret(fused, made.inputs), interpret(made.graph, made.inputs))


@pytest.mark.parametrize("seed", range(100, 140))
def test_loops_compute_what_the_graph_says(seed: int) -> None:
    made = random_graph(seed, size=16)
    wanted = interpret(made.graph, made.inputs)
    for got, want in zip(compile_and_run(made.graph, made.inputs), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
