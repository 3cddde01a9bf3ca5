"""`gc.vmap` against other libraries: primitives against one example after the other in NumPy, models against JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.graph.interpreter import interpret
from graphc.tracing import apply_graph, trace
from tests.peers.compare import assert_agrees
from tests.peers.library import peer
from tests.samples import SAMPLES, Sample, all_pass, graph_of
from tests.transform.test_batching import examples

SIZE = 3
Axes = tuple[int | None, ...]

# ------------------------------------------------------------------------------------------------------- primitives


def chosen(op: str) -> list[Sample]:
    """Some samples of an op, of different dtypes and shapes."""
    found = [s for s in SAMPLES if s.op == op and s.inputs and 0 < sum(x.size for x in s.inputs) <= 400]
    # examples of a matrix that is not finite are other matrices, whose factors have no exact bits
    found = [s for s in found if s.id != "eigh-not-finite"]
    return found[:: max(1, len(found) // 5)]


OPS = sorted({sample.op for sample in SAMPLES if sample.inputs} - {"fusion"})


def axes_of(sample: Sample) -> list[Axes]:
    """First, last (written both ways), a mixture, and each operand alone."""
    count = len(sample.inputs)
    last = tuple(x.ndim for x in sample.inputs)
    mixed = tuple((0, -1, None)[k % 3] for k in range(count))
    alone = [tuple(-1 if k == chosen else None for k in range(count)) for chosen in range(count)]
    return list(dict.fromkeys([(0,) * count, last, (-1,) * count, mixed, *alone]))


def stacked(sample: Sample, axes: Axes) -> list[np.ndarray]:
    pairs = zip(sample.inputs, axes, strict=True)
    return [x if a is None else np.stack([examples(x, i) for i in range(SIZE)], a) for x, a in pairs]


def one_by_one(sample: Sample, axes: Axes) -> list[tuple[np.ndarray, ...]]:
    row = peer("numpy").rows[sample.op]
    pairs = list(zip(sample.inputs, axes, strict=True))
    return [row(sample.attrs, *(x if a is None else examples(x, i) for x, a in pairs)) for i in range(SIZE)]


def check(sample: Sample) -> None:
    for axes in axes_of(sample):
        for out in (0, -1):
            arrays = stacked(sample, axes)
            fn = gc.vmap(lambda *xs: tuple(apply_graph(graph_of(sample), xs)), in_axes=axes, out_axes=out)
            found = interpret(trace(fn, arrays).graph, arrays)
            columns = zip(*one_by_one(sample, axes), strict=True)
            for got, column in zip(found, columns, strict=True):
                want = np.stack([np.asarray(x) for x in column], out)
                assert_agrees("numpy", sample, np.array(got, order="C"), want)


@pytest.mark.parametrize("op", OPS)
def test_primitives(op: str) -> None:
    all_pass(check, chosen(op))


def test_nested() -> None:
    x, y = np.random.default_rng(0).normal(size=(4, 5, 3)), np.random.default_rng(1).normal(size=(3, 2, 5))
    inner = gc.vmap(lambda a, b: gnp.sum(a * b), in_axes=(0, 1))
    outer = gc.vmap(gc.vmap(inner, in_axes=(None, 1), out_axes=1), in_axes=(0, None), out_axes=-1)
    np.testing.assert_allclose(outer(x, y), np.einsum("pik,kji->ijp", x, y), rtol=1e-12)


# ----------------------------------------------------------------------------------------------------------- models


def mlp(np_: Any, _: Any, w: Any, x: Any) -> Any:
    h = np_.tanh(w["a"] @ x + w["b"])
    return np_.sum(np_.exp(-np_.abs(w["c"] @ h)) ** 2)


def rnn(np_: Any, control: Any, w: Any, x: Any) -> Any:
    def step(h: Any, row: Any) -> tuple[Any, Any]:
        h = np_.tanh(w["a"] @ h * row[0] + w["b"] * row[1])
        return h, control.cond(row[2] > 0, lambda h: np_.sum(h * h), lambda h: np_.sum(h), h)

    last, ys = control.scan(step, w["b"] * 0.0, np_.stack([x, x * x, x - 0.1], 1))
    return np_.sum(ys * ys) + np_.sum(last)


MODELS = {"mlp": mlp, "rnn": rnn}
_RNG = np.random.default_rng(3)
W = {"a": _RNG.normal(size=(4, 4)) / 2, "b": _RNG.normal(size=4), "c": _RNG.normal(size=(2, 4))}
X, V = _RNG.normal(size=(5, 4)), {name: _RNG.normal(size=x.shape) for name, x in W.items()}

TRANSFORMATIONS: dict[str, Callable[..., Any]] = {
    "vmap of grad": lambda t, f: t.vmap(t.grad(f), in_axes=(None, 0))(W, X),
    "grad of vmap": lambda t, f: t.grad(lambda w: t.vmap(f, in_axes=(None, 0))(w, X).sum())(W),
    "vmap over the last axis": lambda t, f: t.vmap(f, in_axes=(None, -1))(W, X.T),
    "nested vmap": lambda t, f: t.vmap(lambda s: t.vmap(lambda x: f(W, x * s))(X))(X[:, 0]),
    "hessian": lambda t, f: t.hessian(lambda x: f(W, x))(X[0]),
    "vmap of hessian": lambda t, f: t.vmap(t.hessian(lambda x: f(W, x)))(X),
    "jacobian, reverse": lambda t, f: t.reverse(lambda w: t.vmap(f, in_axes=(None, 0))(w, X))(W),
    "jacobian, forward": lambda t, f: t.forward(lambda w: t.vmap(f, in_axes=(None, 0))(w, X))(W),
    "jvp of grad": lambda t, f: t.jvp(t.grad(lambda w: f(w, X[0])), (W,), (V,))[1],
    "linearize": lambda t, f: t.linearize(lambda w: t.grad(f)(w, X[0]), W)[1](V),
    "vmap of jvp": lambda t, f: t.vmap(lambda x: t.jvp(lambda w: f(w, x), (W,), (V,))[1])(X),
    "grad of jvp": lambda t, f: t.grad(lambda w: t.jvp(lambda v: f(v, X[1]), (w,), (V,))[1])(W),
}


class Ours:
    vmap, grad, hessian, jvp, linearize = gc.vmap, gc.grad, gc.hessian, gc.jvp, gc.linearize
    reverse = staticmethod(lambda f: gc.jacobian(f, mode="reverse"))
    forward = staticmethod(lambda f: gc.jacobian(f, mode="forward"))


def leaves(tree: Any) -> Sequence[np.ndarray]:
    if isinstance(tree, dict):
        return [leaf for name in sorted(tree) for leaf in leaves(tree[name])]
    return [np.asarray(tree)]


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("model", MODELS)
def test_models_agree_with_jax(model: str, name: str) -> None:
    jax = pytest.importorskip("jax")
    module = pytest.importorskip("tests.peers.jax_rows")

    class Theirs:
        vmap, grad, hessian, jvp, linearize = jax.vmap, jax.grad, jax.hessian, jax.jvp, jax.linearize
        reverse, forward = jax.jacrev, jax.jacfwd

    transform, fn = TRANSFORMATIONS[name], MODELS[model]
    want = module.jit(lambda: transform(Theirs, lambda w, x: fn(jax.numpy, jax.lax, w, x)))()
    got = gc.jit(lambda: transform(Ours, lambda w, x: fn(gnp, gc, w, x)), backend="reference")()
    for mine, theirs in zip(leaves(got), leaves(want), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


def test_hvp_agrees_with_jax() -> None:
    jax, module = pytest.importorskip("jax"), pytest.importorskip("tests.peers.jax_rows")
    for fn in MODELS.values():
        theirs = lambda w, fn=fn: fn(jax.numpy, jax.lax, w, X[0])
        want = module.jit(lambda f=theirs: jax.jvp(jax.grad(f), (W,), (V,))[1])()
        got = gc.hvp(lambda w, fn=fn: fn(gnp, gc, w, X[0]), (W,), (V,))
        for mine, other in zip(leaves(got), leaves(want), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)
