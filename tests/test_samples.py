"""Every primitive over its samples: the cpu backend against the meaning and against other libraries, derivatives
against differences.
"""

from functools import lru_cache, partial

import numpy as np
import pytest

import graphc as gc
from graphc.graph.registry import all_ops
from graphc.tracing import apply_graph
from tests.peers.compare import assert_agrees
from tests.peers.exceptions import MISSING
from tests.peers.library import peer
from tests.samples import SAMPLES, Sample, all_pass, assert_matches, graph_of, samples_of

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


@pytest.mark.parametrize("op", list(all_ops()), ids=lambda op: op.name)
def test_reference_matches_meaning(op):
    _check(op, "reference", lambda sample: _meaning(sample), assert_matches)


@pytest.mark.parametrize("judge", ["meaning", "numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("op", list(all_ops()), ids=lambda op: op.name)
def test_cpu_matches(op, judge):
    """Against the meaning, and against functions of NumPy and SciPy, PyTorch, and JAX."""
    if judge == "meaning":
        _check(op, "cpu", _meaning, assert_matches)
        return
    if op.name in MISSING[judge]:
        return
    theirs = peer(judge).evaluate(samples_of(op))
    _check(op, "cpu", lambda sample: theirs[sample.id], partial(assert_agrees, judge))


@lru_cache(maxsize=1)
def _results(op, backend):
    """All samples of an op in one program: one compilation instead of dozens."""
    samples = samples_of(op)
    exe = gc.compile(graph_of(*samples), backend=backend, verify="passes")
    results = iter(exe(*(x for sample in samples for x in sample.inputs)))
    return [[next(results) for _ in _meaning(sample)] for sample in samples]


def _check(op, backend, wanted, agrees):
    results = {sample.id: found for sample, found in zip(samples_of(op), _results(op, backend), strict=True)}
    compared = []

    def check(sample):
        wants = wanted(sample)
        if wants is None:
            return  # the library has no such function for this dtype
        for got, want in zip(results[sample.id], wants, strict=True):
            agrees(sample, got, want)
        compared.append(sample.id)

    all_pass(check, samples_of(op))
    assert compared


@pytest.mark.parametrize("library", MISSING)
def test_every_primitive_has_a_row(library):
    missing = {op.name for op in all_ops()} - set(peer(library).rows)
    assert missing == set(MISSING[library]), f"rows of tests/peers/{library}_rows.py, or a reason in exceptions.py"


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
