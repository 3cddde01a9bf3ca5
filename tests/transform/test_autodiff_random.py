"""Random graphs: forward and reverse mode agree, also on derivatives of derivatives and after the passes."""

import numpy as np
import pytest

from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.verify import verify
from graphc.passes.pipeline import pipeline, run_passes
from graphc.transform.autodiff import jvp, vjp
from tests.random_graphs import random_graph


def inner_products(graph: Graph, point: list[np.ndarray], seed: int) -> tuple[float, float, float]:
    """<ct, jvp(v)>, <vjp(ct), v>, and the size of what was summed."""
    rng = np.random.default_rng(seed)
    wrt = [v.dtype.is_float for v in graph.inputs]
    forward, reverse = jvp(graph, wrt), vjp(graph, wrt)
    verify(forward)
    verify(reverse)
    count = len(graph.outputs)
    v = [rng.normal(size=x.shape).astype(x.dtype) for x in point if x.dtype.kind == "f"]
    ct = [rng.normal(size=y.shape).astype(y.dtype.numpy) for y in graph.outputs if y.dtype.is_float]
    tangents = interpret(forward, [*point, *v])[count:]
    gradients = interpret(reverse, [*point, *ct])[count:]
    pairs = [*zip(ct, tangents, strict=True)], [*zip(gradients, v, strict=True)]
    left, right = (sum(float(np.vdot(a.astype(np.float64), b)) for a, b in side) for side in pairs)
    size = sum(float(np.sum(np.abs(a.astype(np.float64) * b))) for side in pairs for a, b in side)
    return left, right, size


@pytest.mark.parametrize("seed", range(60))
def test_forward_and_reverse_agree(seed: int) -> None:
    made = random_graph(seed, size=15, floats_only=True)
    left, right, size = inner_products(made.graph, list(made.inputs), seed)
    if np.isfinite(size):
        assert left == pytest.approx(right, abs=1e-4 * size + 1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_on_optimised_gradients(seed: int) -> None:
    made = random_graph(seed, size=8, floats_only=True)
    first = vjp(made.graph, [v.dtype.is_float for v in made.graph.inputs])
    graph = run_passes(first, pipeline(stabilise=False))
    verify(graph)
    rng = np.random.default_rng(seed)
    more = [rng.normal(size=v.shape).astype(v.dtype.numpy) for v in first.inputs[len(made.inputs) :]]
    left, right, size = inner_products(graph, [*made.inputs, *more], seed)
    if np.isfinite(size):
        assert left == pytest.approx(right, abs=1e-4 * size + 1e-6)
