"""vmap, checkpoints and rules together with loops and branches, against loops written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

RNG = np.random.default_rng(21)
W, XS = RNG.normal(size=(3, 3)) / 2, RNG.normal(size=(4, 5, 3))  # four examples of five rows


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-10, atol=1e-12)


def recurrence(w: Any, xs: Any) -> Any:
    return gc.scan(lambda h, x: (gnp.tanh(w @ h + x), gnp.sum(h)), gnp.zeros(3, "float64"), xs)


def loss(w: Any, xs: Any) -> Any:
    last, sums = recurrence(w, xs)
    return gnp.sum(last**2) + gnp.sum(sums)


def test_scan() -> None:
    last, sums = gc.vmap(recurrence, in_axes=(None, 0))(W, XS)
    alone = [gc.jit(recurrence)(W, xs) for xs in XS]
    close(last, [a for a, _ in alone])
    close(sums, [b for _, b in alone])
    ws = np.stack([W, 2 * W, -W, W.T])
    close(gc.vmap(loss, in_axes=(0, None))(ws, XS[0]), [gc.jit(loss)(w, XS[0]) for w in ws])


def test_gradients_of_scans() -> None:
    each = np.stack([gc.grad(loss)(W, xs) for xs in XS])
    close(gc.jit(gc.vmap(gc.grad(loss), in_axes=(None, 0)))(W, XS), each)
    close(gc.grad(lambda w: gnp.sum(gc.vmap(loss, in_axes=(None, 0))(w, XS)))(W), each.sum(0))
    near = gc.hessian(lambda s: loss(s * W, XS[0]))(np.float64(1.3))
    step = 1e-5
    first = gc.jit(gc.grad(lambda s: loss(s * W, XS[0])))
    np.testing.assert_allclose(
        near, (first(np.float64(1.3 + step)) - first(np.float64(1.3 - step))) / (2 * step), rtol=1e-6
    )


def root(a: Any) -> Any:
    return gc.while_loop(lambda x: gnp.abs(x * x - a) > 1e-13 * a, lambda x: 0.5 * (x + a / x), 1 + 0 * a, bound=60)


def test_while_runs_until_all_are_done() -> None:
    a = np.array([3.0, 2.0, 1e4, 0.01])
    close(gc.vmap(root)(a), np.sqrt(a))
    np.testing.assert_allclose(gc.vmap(gc.grad(root))(a), 0.5 / np.sqrt(a), rtol=1e-7)
    np.testing.assert_allclose(gc.grad(lambda a: gnp.sum(gc.vmap(root)(a)))(a), 0.5 / np.sqrt(a), rtol=1e-7)


def test_counts_that_differ() -> None:
    counts = np.array([0, 3, 1, 5])
    doubled = gc.vmap(lambda n, x: gc.fori_loop(0, n, lambda i, c: 2 * c + i.astype("float64"), x))
    want = []
    for n, x in zip(counts, XS[0, :4, 0], strict=True):
        for i in range(n):
            x = 2 * x + i
        want.append(x)
    close(doubled(counts, XS[0, :4, 0]), want)


def test_branches_that_differ() -> None:
    def chosen(which: Any, x: Any) -> Any:
        return gc.switch(which, [lambda v: v, lambda v: v * v, lambda v: gnp.exp(v)], x)

    which, x = np.array([0, 2, 1, 7]), XS[0, :4, 0]
    want = [x[0], np.exp(x[1]), x[2] ** 2, np.exp(x[3])]
    close(gc.vmap(chosen)(which, x), want)
    close(gc.vmap(lambda p, v: gc.cond(p, gnp.sin, gnp.cos, v))(x > 0, x), np.where(x > 0, np.sin(x), np.cos(x)))
    slope = [1.0, np.exp(x[1]), 2 * x[2], np.exp(x[3])]
    close(gc.vmap(gc.grad(chosen, argnums=1))(which, x), slope)


def test_random_numbers_in_a_loop_are_those_of_the_loop_alone() -> None:
    def walk(key: Any) -> Any:
        def step(x: Any, number: Any) -> Any:
            return x + gc.random.normal(gc.random.fold_in(key, number), (2,), "float64"), None

        return gc.scan(step, gnp.zeros(2, "float64"), gnp.arange(4))[0]

    keys = gc.random.split(gc.random.key(5), 3)
    np.testing.assert_array_equal(gc.vmap(walk)(keys), np.stack([gc.jit(walk)(key) for key in keys]))


@pytest.mark.parametrize("kind", ["custom_vjp", "custom_jvp"])
def test_rules_in_a_loop(kind: str) -> None:
    if kind == "custom_vjp":
        tanh = gc.custom_vjp(lambda x: gnp.tanh(x))
        tanh.defvjp(lambda x: (tanh(x), x), lambda x, ct: (ct * (1 - gnp.tanh(x) ** 2),))
    else:
        tanh = gc.custom_jvp(lambda x: gnp.tanh(x))
        tanh.defjvps(lambda t, value, x: t * (1 - value**2))

    def ruled(w: Any, xs: Any) -> Any:
        last, sums = gc.scan(lambda h, x: (tanh(w @ h + x), gnp.sum(h)), gnp.zeros(3, "float64"), xs)
        return gnp.sum(last**2) + gnp.sum(sums)

    want = np.stack([gc.grad(loss)(W, xs) for xs in XS])
    close(gc.vmap(gc.grad(ruled), in_axes=(None, 0))(W, XS), want)
    close(gc.jit(gc.grad(ruled))(W, XS[0]), want[0])


def test_a_checkpointed_scan_keeps_its_carries_alone() -> None:
    """Without a checkpoint every inner value of a step is kept for all steps; with one only the carry is."""
    steps, shape = 64, (32, 16)

    def total(w: Any, xs: Any, wrap: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            z = gnp.tanh(gnp.tanh(h @ w + x) * 2) + h
            return gnp.sin(z) * gnp.exp(-z * z)

        kept = wrap(step)
        return gnp.sum(gc.scan(lambda h, x: (kept(h, x), None), gnp.zeros(shape, "float64"), xs)[0])

    w, xs = RNG.normal(size=(16, 16)) / 4, RNG.normal(size=(steps, *shape))
    plain, kept = (gc.compile(gc.grad(lambda w, xs, f=f: total(w, xs, f)), w, xs) for f in (lambda f: f, gc.checkpoint))
    close(kept(w, xs), plain(w, xs))
    carries = steps * 32 * 16 * 8
    assert kept.memory.arena_bytes < 1.3 * carries
    assert plain.memory.arena_bytes > 2 * carries
