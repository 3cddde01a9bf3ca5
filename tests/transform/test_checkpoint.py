"""`checkpoint`: the same numbers with less memory, under every other transformation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

RNG = np.random.default_rng(11)
POLICIES: dict[str, Any] = {
    "none": None,
    "nothing": gc.checkpoint_policies.nothing_saveable,
    "everything": gc.checkpoint_policies.everything_saveable,
    "dots": gc.checkpoint_policies.dots_saveable,
    "no batch dims": gc.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "own": lambda op, *operands, **attributes: op == "tanh" and operands[0].shape[-1] == 4,
}
ROWS, WIDTH, DEPTH = 256, 16, 4
WEIGHTS = [RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 4 for _ in range(DEPTH)]
BATCH = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
SMALL = BATCH[:5]  # where numbers matter and memory does not: kernels are small

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def block(w: Any, x: Any) -> Any:
    return x + gnp.tanh(gnp.tanh(gnp.tanh(x @ w) @ w.T) * 2) * gnp.exp(-x * x)


def deep(wrap: Wrap) -> Callable[..., Any]:
    def loss(weights: Any, x: Any) -> Any:
        for w in weights:
            x = wrap(block)(w, x)
        return gnp.mean(x * x)

    return loss


def plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def assert_same(got: Any, want: Any) -> None:
    for a, b in zip(gc.pytree.flatten(got)[0], gc.pytree.flatten(want)[0], strict=True):
        np.testing.assert_array_equal(a, b)


@functools.cache
def plainly() -> Any:
    return gc.value_and_grad(deep(plain))(WEIGHTS[:2], SMALL)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_gradients_keep_their_bits(policy: Any) -> None:
    assert_same(gc.value_and_grad(deep(lambda fn: gc.checkpoint(fn, policy)))(WEIGHTS[:2], SMALL), plainly())


@pytest.mark.parametrize("policy", [POLICIES[name] for name in ("none", "dots", "own")])
def test_every_transformation(policy: Any) -> None:
    """Against the function itself, which is compiled by other ways: near, not equal."""
    w, x, t = (RNG.normal(size=shape) for shape in ((4, 4), (3, 4), (3, 4)))
    kept = gc.checkpoint(block, policy)
    total, plainly = (lambda w, x, f=f: gnp.sum(f(w, x) ** 2) for f in (kept, block))
    pairs: list[tuple[Any, Any]] = []
    for f, loss in ((kept, total), (block, plainly)):
        pairs.append(
            (
                gc.jit(f)(w, x),
                gc.jvp(lambda x, f=f: f(w, x), (x,), (t,)),
                gc.vmap(gc.grad(loss), in_axes=(None, 0))(w, x),
                gc.grad(lambda w, f=loss: gnp.sum(gc.vmap(f, in_axes=(None, 0))(w, x)))(w),
                gc.hessian(loss)(w, x),
                gc.jacobian(f, mode="forward")(w, x),
                gc.hvp(lambda x, f=loss: f(w, x), (x,), (t,)),
                gc.linearize(lambda x, f=f: f(w, x), x)[1](t),
                gc.jit(gc.grad(gc.jit(gc.grad(lambda s, f=loss: f(w * s, x)))))(1.5),
            )
        )
    got, want = ([np.asarray(leaf) for leaf in gc.pytree.flatten(pair)[0]] for pair in pairs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_nested_checkpoints_and_jitted_functions_inside() -> None:
    def two(w: Any, x: Any) -> Any:
        return gc.checkpoint(block)(w, gc.jit(block)(w, x))

    nested = deep(lambda fn: gc.checkpoint(two, gc.checkpoint_policies.dots_saveable))
    want = gc.grad(deep(lambda fn: lambda w, x: block(w, block(w, x))))(WEIGHTS[:2], SMALL)
    for got, same in zip(gc.grad(nested)(WEIGHTS[:2], SMALL), want, strict=True):
        np.testing.assert_allclose(got, same, rtol=1e-4, atol=1e-7)


def test_random_keys_draw_the_same_again() -> None:
    def noisy(w: Any, key: Any) -> Any:
        return gnp.sum(gnp.tanh(w * gc.random.normal(key, (50,))) ** 2)

    w, key = np.linspace(-1, 1, 50).astype(np.float32), gc.random.key(4)
    assert_same(gc.grad(gc.checkpoint(noisy))(w, key), gc.grad(noisy)(w, key))


def test_pytrees_and_captures() -> None:
    scale = RNG.normal(size=(3,))

    def outer(p: Any) -> Any:
        inner = gc.checkpoint(lambda a, *, b: {"y": gnp.sin(a) * b["z"] * scale * p["s"]})
        return gnp.sum(inner(p["a"], b={"z": p["z"]})["y"])

    p = {"a": RNG.normal(size=3), "z": RNG.normal(size=3), "s": np.float64(2.0)}
    got = gc.grad(outer)(p)
    np.testing.assert_allclose(got["a"], np.cos(p["a"]) * p["z"] * scale * 2, rtol=1e-12)
    np.testing.assert_allclose(got["s"], np.sum(np.sin(p["a"]) * p["z"] * scale), rtol=1e-12)


def test_with_arrays_alone_it_is_the_function() -> None:
    np.testing.assert_array_equal(gc.checkpoint(np.sin)(BATCH), np.sin(BATCH))


# ------------------------------------------------------------------------------------------------------------ memory


def wrapped(policy: Any) -> Wrap:
    return lambda fn: gc.checkpoint(fn, policy)


@functools.cache
def compiled(name: str, backend: str = "reference") -> gc.CompiledFunction:
    """The gradient under a policy, or "plain"; by the reference backend where only its graph is looked at."""
    wrap = plain if name == "plain" else wrapped(POLICIES[name])
    return gc.compile(gc.grad(deep(wrap)), WEIGHTS, BATCH, backend=backend)


def count(name: str, op: str) -> int:
    return compiled(name).text("optimized").count(f"= {op}(")


def test_the_memory_report_shows_what_is_not_kept() -> None:
    usual, nothing = compiled("plain", "cpu"), compiled("none", "cpu")
    arrays = ROWS * WIDTH * 4
    saved = usual.memory.peak_bytes - nothing.memory.peak_bytes
    assert saved >= (DEPTH - 2) * arrays  # at least one array per block but the one that is under way
    assert count("none", "dot_general") > count("plain", "dot_general")


def test_saving_everything_is_keeping_as_usual() -> None:
    for op in ("dot_general", "tanh", "exp"):
        assert count("everything", op) == count("plain", op)
    assert count("everything", "barrier") == 0


def test_saved_products_are_not_done_again() -> None:
    assert count("dots", "dot_general") == count("plain", "dot_general")
    assert count("dots", "tanh") > count("plain", "tanh")


def test_peak_is_that_of_one_block() -> None:
    """With a checkpoint around each block the arrays kept are one per block."""

    @functools.cache
    def peak(depth: int, wrap: Wrap) -> int:
        return gc.compile(gc.grad(deep(wrap)), WEIGHTS[:1] * depth, BATCH).memory.peak_bytes

    arrays = ROWS * WIDTH * 4
    per_block = (peak(8, gc.checkpoint) - peak(4, gc.checkpoint)) / 4
    assert arrays * 0.9 <= per_block <= arrays * 1.5
    assert (peak(8, plain) - peak(4, plain)) / 4 >= 1.8 * arrays


def test_in_a_fused_program_the_barriers_are_gone() -> None:
    exe = compiled("none", "cpu")
    assert "barrier" in exe.text("optimized")
    assert "barrier" not in exe.text("fused")


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_training_through_a_program(backend: str) -> None:
    """State that is replaced while a checkpoint still reads the old: the same numbers as without."""

    def stepped(wrap: Wrap) -> Any:
        def step(state: Any, batch: Any, number: Any) -> Any:
            value, gradient = gc.value_and_grad(deep(wrap))(state, batch)
            return [w - 0.1 * g for w, g in zip(state, gradient, strict=True)], value

        program = gc.program(WEIGHTS, {"train": step}, {"train": SMALL}, backend=backend)
        return program.run("train", SMALL, n=4)[1]

    assert_same(stepped(gc.checkpoint), stepped(plain))
