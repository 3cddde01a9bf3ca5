"""Evaluate a function on arrays directly and through a traced graph, and compare both with NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc.core.pytree import flatten
from graphc.graph.interpreter import interpret
from graphc.graph.verify import verify
from graphc.tracing import trace


def through_graph(function: Callable[..., object], *args: object) -> list[np.ndarray]:
    """The leaves of the result, computed by the interpreter from a verified graph."""
    traced = trace(function, args)
    verify(traced.graph)
    leaves, _ = flatten((args, {}))
    return interpret(traced.graph, [np.asarray(leaf) for leaf in leaves])


def check(
    function: Callable[..., object], reference: Callable[..., object], *args: np.ndarray, **limits: float
) -> None:
    """Values, shapes and dtypes of `function`, eager and traced, against `reference` on the same arrays."""
    with np.errstate(all="ignore"):
        expected, _ = flatten(reference(*args))
    eager, _ = flatten(function(*args))
    traced = through_graph(function, *args)
    assert len(eager) == len(traced) == len(expected)
    for want, now, later in zip(expected, eager, traced, strict=True):
        for got in (now, later):
            want_array = np.asarray(want)
            assert np.asarray(got).shape == want_array.shape
            assert np.asarray(got).dtype == want_array.dtype
            np.testing.assert_allclose(got, want_array, **{"rtol": 1e-6, "atol": 1e-6, **limits})
