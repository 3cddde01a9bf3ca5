"""What notices planted bugs: each check passes when there is none."""

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.graph.registry import lookup
from graphc_llvm import recipes, streams
from tests.backends.test_contraction_strides import kernels_of
from tests.backends.test_contractions import check as same_as_loops
from tests.kernel.lower.execute import compile_and_run
from tests.kernel.lower.test_rounding import rule, summing
from tests.samples import assert_matches, graph_of, samples_of

RNG = np.random.default_rng(0)


def samples(op: str) -> Callable[[], None]:
    """The samples of one op on the cpu backend against its meaning."""

    def check() -> None:
        rows = samples_of(lookup(op))
        results = gc.compile(graph_of(*rows))(*(x for row in rows for x in row.inputs))
        found = iter(results if isinstance(results, tuple) else (results,))
        for row in rows:
            (node,) = graph_of(row).nodes
            for want in node.op.meaning(node.attrs, *row.inputs):
                assert_matches(row, next(found), want)

    return check


def agrees(fn: Callable[..., object], *args: np.ndarray) -> Callable[[], None]:
    """A function on the cpu backend against the same function run eagerly by NumPy."""

    def check() -> None:
        np.testing.assert_allclose(gc.compile(fn, *args)(*args), fn(*args), rtol=1e-5, atol=1e-6)

    return check


def product(form: str, *columns: int) -> Callable[[], None]:
    """Products of 67 rows and 37 terms, their operands stored transposed where `form` says t.

    Of several widths where it follows from the processor which of them is packed.
    """
    a = RNG.integers(-9, 9, (67, 37) if form[0] == "n" else (37, 67)).astype(np.float32)
    bs = [RNG.integers(-9, 9, (37, n) if form[1] == "n" else (n, 37)).astype(np.float32) for n in columns or (45,)]

    def products(a, *bs):
        return [(a if form[0] == "n" else a.T) @ (b if form[1] == "n" else b.T) for b in bs]

    def check() -> None:
        for got, wanted in zip(gc.compile(products, a, *bs)(a, *bs), products(a, *bs), strict=True):
            np.testing.assert_array_equal(got, wanted)

    return check


def changed_weight() -> None:
    """Two products with one weight, which is another one for the second. It is packed for several chunks."""
    x, w = (RNG.integers(-3, 4, shape).astype(np.float32) for shape in ((2048, 256), (64, 256)))

    def both(x, w):
        changed = w - x[:64]
        return x @ w.T, x @ changed.T, changed

    for got, wanted in zip(gc.compile(both, x, w)(x, w), both(x, w), strict=True):
        np.testing.assert_array_equal(got, wanted)


def gradients() -> None:
    x, w = RNG.standard_normal((3, 4)), RNG.standard_normal((4, 4))
    gc.gradcheck(lambda x, w: gnp.tanh(x @ w) @ w + x, x, w)


def rounding() -> None:
    x = np.random.default_rng(1).standard_normal(50_000).astype(np.float32)
    assert np.array_equal(compile_and_run(summing((50_000,), (0,)), [x])[0], rule(x[:, None])[0])


def swap() -> None:
    program = gc.program(
        {"a": np.arange(40.0), "b": np.ones(40)},
        {"step": lambda s, _, step: ({"a": s["a"][::-1] + s["b"], "b": s["a"] * 2.0}, s["a"].sum())},
    )
    a, b = np.arange(40.0), np.ones(40)
    for _ in range(3):
        program.call("step")
        a, b = a[::-1] + b, a * 2
    np.testing.assert_array_equal(program.state["a"], a)
    np.testing.assert_array_equal(program.state["b"], b)


def stable() -> None:
    x = np.array([1000.0, 0.0, -1000.0], np.float32)
    got = gc.jit(lambda x: gnp.log(gnp.exp(x) / gnp.exp(x).sum()))(x)
    np.testing.assert_allclose(got, [0, -1000, -2000])


def saturation() -> None:
    """The derivative of the sigmoid in float32 where 1 - s(x) is zero."""
    assert 0 < float(gc.grad(lambda x: gnp.sigmoid(x))(np.float32(20))) < 1e-8


def unused_results() -> None:
    """A call of which two results of three are needed."""
    inner = gc.jit(lambda x: (x + 1.0, x * 2.0, x - 3.0))

    def outer(x):
        first, _, last = inner(x)
        return first * last / first

    x = np.linspace(1, 2, 9, dtype=np.float32)
    np.testing.assert_allclose(gc.compile(outer, x)(x), x - 3, rtol=1e-5)


def sums_in_step() -> None:
    """Columns and rows that are summed together, as if they took more memory than the caches hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "NEAR", 0.0)
        patch.setattr(recipes, "SMALL_NS", 0.0)
        for axis in (0, 1):
            same_as_loops(*kernels_of(lambda x, axis=axis: gnp.sum(x * x, axis=axis), gc.spec((520, 520))))
