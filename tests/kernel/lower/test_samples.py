"""Every primitive's lowering against its NumPy meaning, over the shared table of samples."""

import pytest

from graphc.graph.ir import Op
from graphc.graph.registry import all_ops
from graphc.kernel.lower.build import RULES
from graphc.kernel.lower.fusion import ELSEWHERE, FORMS
from graphc.passes.complexes import Complexes
from tests.kernel.lower.execute import compile_and_run
from tests.samples import Sample, all_pass, assert_matches, graph_of, samples_of


def test_every_primitive_has_a_lowering() -> None:
    for op in all_ops():
        rows = (op.name in RULES) + (op.name in FORMS) + (op.name in ELSEWHERE)
        advice = "give it one in graphc/kernel/lower (elementwise.ROWS for an elementwise op)"
        assert rows == 1, f"{op.name} has {rows} lowering rows: {advice}"


def lowering_matches_meaning(sample: Sample) -> None:
    graph = graph_of(sample)
    (node,) = graph.nodes
    graph = Complexes().run(graph)  # kernels have no complex arithmetic
    wanted = node.op.meaning(node.attrs, *sample.inputs)
    for got, want in zip(compile_and_run(graph, sample.inputs), wanted, strict=True):
        assert_matches(sample, got, want)


@pytest.mark.parametrize("op", list(all_ops()), ids=lambda op: op.name)
def test_lowering_matches_meaning(op: Op) -> None:
    """Each sample is a program of its own: what is lowered is what the sample says, and nothing is fused."""
    all_pass(lowering_matches_meaning, samples_of(op))
