"""Gradients of elementwise ops at special values (zeros, infinities, NaN, the largest numbers) against both peers: what
PyTorch and JAX agree on is ours too, and where they differ ours is one of theirs. `CHOSEN` has the exceptions.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphc.core.errors import GradientError
from graphc.graph.interpreter import interpret
from graphc.transform.autodiff import vjp
from tests.peers.library import peer
from tests.samples import SAMPLES, Sample, graph_of

# Where a gradient is ours alone: the points, by op, and why.
CHOSEN = {
    "abs": (lambda x: np.isnan(x), "what does not depend on a number is not known at NaN; 0 there, -1 in JAX"),
    "expm1": (lambda x: x == -100, "exp(x); theirs is expm1(x) + 1, which cancels"),
    "sigmoid": (lambda x: x == 100, "theirs is y (1 - y), which cancels"),
    "max": (lambda x, y: x == y, "all of it goes to the second operand, so that the slope of max(x, 0) at 0 is 0"),
    "min": (lambda x, y: x == y, "all of it goes to the second operand, as of max"),
}


def _cases() -> list[Sample]:
    found = []
    for sample in SAMPLES:
        floats = bool(sample.inputs) and all(x.dtype == np.float64 for x in sample.inputs)
        if floats and sample.name == "f64-edges" and graph_of(sample).outputs[0].dtype == "float64":
            found.append(sample)
    return found


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (np.isnan(a) & np.isnan(b)) | (a == b) | (np.abs(a - b) <= 1e-9 * np.abs(b))


def _tiny(x: np.ndarray) -> np.ndarray:
    return (np.abs(x) < 1e-300) & (x != 0)  # JAX takes what is subnormal on the way for zero


@pytest.mark.slow
@pytest.mark.parametrize("sample", _cases(), ids=lambda sample: sample.op)
def test_gradients(sample: Sample) -> None:
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    library, ones = peer("torch"), np.ones(sample.inputs[0].shape)
    try:
        backward = vjp(graph_of(sample), [True] * len(sample.inputs))
    except GradientError:
        pytest.skip("it has no derivative")
    mine = interpret(backward, [*sample.inputs, ones])[1:]
    xs = [library.into(x).requires_grad_() for x in sample.inputs]
    (y,) = library.rows[sample.op](sample.attrs, *xs)
    grads = torch.autograd.grad(y.sum(), xs, allow_unused=True) if y.requires_grad else [None] * len(xs)
    first = [np.zeros(ones.shape) if g is None else library.back(g) for g in grads]
    row = peer("jax").rows[sample.op]
    _, pull = jax.vjp(lambda *xs: row(sample.attrs, *xs)[0], *map(jax.numpy.asarray, sample.inputs))
    second = list(map(np.asarray, pull(jax.numpy.asarray(ones))))
    for got, one, other in zip(mine, first, second, strict=True):
        leave = np.zeros(got.shape, bool) if sample.op not in CHOSEN else CHOSEN[sample.op][0](*sample.inputs)
        for x in (*sample.inputs, got, one, other):
            leave = leave | _tiny(x)
        wrong = ~leave & np.where(_same(one, other), ~_same(got, one), ~_same(got, one) & ~_same(got, other))
        at = [tuple(float(x[i]) for x in (*sample.inputs, got, one, other)) for i in np.flatnonzero(wrong)[:5]]
        assert not wrong.any(), f"operands, ours, PyTorch's, JAX's: {at}"
