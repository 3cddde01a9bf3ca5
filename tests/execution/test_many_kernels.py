"""Deep graphs and repeated structure: compile time grows with what is different, names stay apart, lines stay true."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.runtime.discovery import find_backend

X = np.arange(16, dtype=np.float32).reshape(4, 4) / 16
W = X.T.copy()


def deep(depth, layer):
    def f(x):
        for _ in range(depth):
            x = layer(x)
        return x

    return f


def test_equal_layers_are_scheduled_once(monkeypatch):
    asked = []
    backend = find_backend("cpu")
    schedule = backend.schedule
    monkeypatch.setattr(type(backend), "schedule", lambda _, kernel: asked.append(kernel) or schedule(kernel))
    exe = gc.compile(deep(30, lambda x: gnp.tanh(x @ W)), X)
    calls = exe.compilation.loops["f"].calls
    assert len(calls) == 30
    assert len(asked) <= 2
    assert len({call.kernel.name for call in calls}) == 30


@pytest.mark.parametrize("layer", [lambda x: x * 1.5 + 0.25, lambda x: x - x.sum(), lambda x: x + x.max(0)])
def test_a_deep_chain_becomes_kernels_of_bounded_size(layer):
    """Every try to join looks at all nodes of a kernel, so their number is what makes compile time linear."""
    exe = gc.compile(deep(300, layer), X, threads=1, verify="passes")
    sizes = [len(node.attrs.graph.nodes) for node in exe.compilation.fused["f"].nodes if node.op.name == "fusion"]
    assert max(sizes) <= 400
    want = gc.compile(deep(300, layer), X, backend="reference")(X)
    np.testing.assert_allclose(exe(X), want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_equal_kernels_keep_their_own_lines():
    def f(x):
        y = gnp.tanh(x @ W)
        return gnp.tanh(y @ W)

    first = f.__code__.co_firstlineno
    exe = gc.compile(f, X)
    rows = [row.sources for row in exe.cost.kernels]
    assert [[int(line.split(":")[1]) - first for line in sources] for sources in rows] == [[1], [2]]
    params = [call.kernel.params[-1].source for call in exe.compilation.loops["f"].calls]
    assert params[0] != params[1]


def test_kernels_of_different_entries_have_different_names():
    p = gc.program(
        np.float32(0),
        {"small": lambda s, x, step: (s, gnp.tanh(x)), "large": lambda s, x, step: (s, gnp.tanh(x))},
        {"small": np.ones(8, np.float32), "large": np.ones(2**20, np.float32)},
    )
    (small,), (large,) = p.cost("small").kernels, p.cost("large").kernels
    assert small.kernel != large.kernel
