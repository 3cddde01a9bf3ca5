"""The fuzzer's own yardstick and file format: what they accept, what they refuse."""

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph, TensorType
from graphc.graph.parser import parse
from graphc.graph.registry import lookup
from tests.fuzz.bounds import differences, expected
from tests.fuzz.cases import Case, smallest_failure
from tests.random_graphs import random_graph

X = np.linspace(-2, 2, 9, dtype=np.float32)


def chain(*ops: str) -> Graph:
    builder = GraphBuilder("chain")
    value = builder.input(TensorType((9,), dtypes.float32))
    for op in ops:
        value = builder.add1(lookup(op), [value])
    return builder.build([value])


def test_exact_operations_must_be_right_to_the_bit() -> None:
    wanted = expected(chain("neg", "abs"), [X])
    assert differences([np.abs(X)], wanted) == []
    (line,) = differences([np.nextafter(np.abs(X), np.float32(9))], wanted)
    assert "9 of 9 elements" in line


def test_inexact_operations_may_differ_by_rounding_only() -> None:
    wanted = expected(chain("exp", "log"), [X])
    assert differences([X + np.float32(1e-6)], wanted) == []
    assert differences([X + np.float32(1e-3)], wanted)
    assert differences([X.astype(np.float64)], wanted)  # the dtype counts


def test_a_jump_on_a_rounding_error_is_no_alarm() -> None:
    wanted = expected(chain("exp", "log", "floor"), [X])
    assert wanted[0].tolerance >= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_case_reads_back(seed: int) -> None:
    made = random_graph(seed, wild=seed % 2 == 1)
    again = Case.read(Case(made.graph, made.inputs).text())
    assert again.graph == made.graph
    for a, b in zip(again.inputs, made.inputs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("bad", "smallest"), [({"exp"}, ["exp"]), ({"neg", "exp"}, ["neg", "exp"])])
def test_a_failure_is_cut_to_the_first_node_that_shows_it(bad: set[str], smallest: list[str]) -> None:
    """Alone, if it does so alone."""
    graph = chain("neg", "exp", "tanh", "abs")

    def check(case: Case) -> None:
        assert not bad <= {node.op.name for node in case.graph.nodes}

    small = smallest_failure(Case(graph, (X,)), check)
    assert [node.op.name for node in small.graph.nodes] == smallest
    assert interpret(small.graph, small.inputs)[0].shape == (9,)


def test_a_failure_of_several_is_cut_to_their_graph_without_the_rest() -> None:
    """What leads to them becomes inputs, what nobody asks for goes."""
    source = """
graph f(%0: f32[9]) {
  %1: f32[9] = neg(%0)
  %2: f32[9] = exp(%1)
  %3: f32[9] = tanh(%2)
  %4: f32[9] = abs(%2)
  %5: f32[9] = sin(%0)
  return %3, %4, %5
}"""

    def check(case: Case) -> None:
        assert not {"tanh", "abs"} <= {node.op.name for node in case.graph.nodes}

    small = smallest_failure(Case(parse(source), (X,)), check)
    assert [node.op.name for node in small.graph.nodes] == ["tanh", "abs"]
    np.testing.assert_allclose(interpret(small.graph, small.inputs)[1], np.exp(-X), rtol=1e-6)


def test_the_bits_of_a_nan_may_be_any() -> None:
    source = "graph f(%0: f32[2]) {\n  %1: i32[2] = bitcast(%0) {dtype=i32}\n  return %1\n}"
    for x, bounded in ((np.array([1, np.nan], np.float32), False), (np.array([1, np.inf], np.float32), True)):
        assert expected(parse(source), [x])[0].is_bounded is bounded
