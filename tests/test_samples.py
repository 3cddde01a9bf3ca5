"""Every primitive over its samples: the cpu backend against the meaning in NumPy, derivatives against differences."""

import numpy as np
import pytest

import graphc as gc
from graphc.graph.registry import all_ops
from graphc.tracing import apply_graph
from tests.samples import SAMPLES, Sample, assert_matches, graph_of, samples_of

DIFFERENTIABLE = sorted({sample.op for sample in SAMPLES if sample.differentiate})


def test_every_primitive_has_samples():
    missing = [op.name for op in all_ops() if not samples_of(op)]
    assert not missing, f"add rows to tests/samples for {missing}"


def test_sample_names_are_unique():
    ids = [sample.id for sample in SAMPLES]
    assert len(set(ids)) == len(ids)


def _meaning(sample: Sample) -> tuple[np.ndarray, ...]:
    (node,) = graph_of(sample).nodes
    return node.op.meaning(node.attrs, *sample.inputs)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("op", list(all_ops()), ids=lambda op: op.name)
def test_backend_matches_meaning(op, backend):
    """All samples of an op in one program: one compilation instead of dozens."""
    samples = samples_of(op)
    exe = gc.compile(graph_of(*samples), backend=backend, verify="passes")
    results = iter(exe(*(x for sample in samples for x in sample.inputs)))
    for sample in samples:
        for want in _meaning(sample):
            assert_matches(sample, next(results), want)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_derivatives_against_differences(op):
    """First and second order, forward and reverse, of the compiled program in float64."""
    samples = [sample for sample in SAMPLES if sample.op == op and sample.differentiate]

    def fn(*wrt):
        given = iter(wrt)
        outputs = []
        for sample in samples:
            chosen = {position: next(given) for position in sample.differentiate}
            inputs = [chosen.get(position, x) for position, x in enumerate(sample.inputs)]
            outputs += apply_graph(graph_of(sample), inputs)
        return outputs

    wrt = [sample.inputs[position] for sample in samples for position in sample.differentiate]
    gc.gradcheck(fn, *wrt, order=2, directions=1)
