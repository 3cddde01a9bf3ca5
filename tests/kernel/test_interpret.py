"""The loop-IR interpreter: loops, lanes, masks, scratch and errors."""

import numpy as np
import pytest

from graphc.core.dtypes import float32, int64
from graphc.core.errors import ArgumentError, VerifyError
from graphc.kernel.interpret import run
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Buffer,
    Cast,
    Compare,
    Const,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    LoopKind,
    Param,
    Store,
    Var,
    While,
    index,
)

i, j, k = Var("i"), Var("j"), Var("k")
a = Buffer("a", float32, (5, 7))
b = Buffer("b", float32, (7, 6))
c = Buffer("c", float32, (5, 6))
acc = Buffer("acc", float32, (), "register")


def _matmul(kinds: tuple[str, str]) -> Kernel:
    chain = For(k, index(7), "serial", (Store(acc, (), Fma(Load(a, (i, k)), Load(b, (k, j)), Load(acc, ()))),))
    inner = (Alloc(acc), Store(acc, (), Const(0.0, float32)), chain, Store(c, (i, j), Load(acc, ())))
    body = For(i, index(5), kinds[0], (For(j, index(6), kinds[1], inner),))  # type: ignore[arg-type]
    return Kernel("matmul", (Param(a, "in"), Param(b, "in"), Param(c, "out")), (body,))


def test_loop_kind_does_not_change_bits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 7), np.float32), rng.standard_normal((7, 6), np.float32)
    results = []
    for kinds in (("serial", "serial"), ("parallel", "vector"), ("serial", "parallel"), ("parallel", "unroll")):
        z = np.full((5, 6), np.nan, np.float32)
        run(_matmul(kinds), [x, y, z])
        results.append(z)
    np.testing.assert_allclose(results[0], x @ y, rtol=1e-5, atol=1e-6)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def _collatz_step() -> tuple[Buffer, Kernel]:
    """Lanes that run a different number of times: steps until 1, at most 20."""
    n = Buffer("n", int64, (8,))
    steps = Buffer("steps", int64, (8,))
    value: Expr = Load(n, (i,))
    even = Compare("eq", Binary("rem", value, index(2)), index(0))
    body = (
        Store(steps, (i,), index(0)),
        While(
            Compare("gt", value, index(1)),
            20,
            (
                If(
                    even,
                    (Store(n, (i,), Binary("div", value, index(2))),),
                    (Store(n, (i,), Binary("add", Binary("mul", value, index(3)), index(1))),),
                ),
                Accumulate(((steps, (i,)),), (index(1),), "add"),
            ),
        ),
    )
    return n, Kernel("collatz", (Param(n, "inout"), Param(steps, "out")), (For(i, index(8), "vector", body),))


def test_masked_lanes() -> None:
    _, kernel = _collatz_step()
    n, steps = np.array([1, 2, 3, 4, 5, 6, 7, 27]), np.zeros(8, np.int64)
    run(kernel, [n, steps])
    assert steps.tolist() == [0, 1, 7, 2, 5, 8, 16, 20]
    assert n[:7].tolist() == [1] * 7


def test_triangular_extent_differs_per_lane() -> None:
    out = Buffer("out", int64, (6,))
    body = (
        Store(out, (i,), index(0)),
        For(j, Binary("add", i, index(1)), "serial", (Accumulate(((out, (i,)),), (j,), "add"),)),
    )
    got = np.zeros(6, np.int64)
    run(Kernel("k", (Param(out, "out"),), (For(i, index(6), "parallel", body),)), [got])
    assert got.tolist() == [0, 1, 3, 6, 10, 15]


def test_lane_private_scratch_and_inner_vector() -> None:
    out = Buffer("out", float32, (3, 4))
    row = Buffer("row", float32, (4,), "worker")
    v, w = Var("v"), Var("w")
    scaled = Binary("mul", Cast(v, float32), Cast(i, float32))
    body = (
        Alloc(row),
        For(v, index(4), "vector", (Store(row, (v,), scaled),)),
        For(w, index(4), "vector", (Store(out, (i, w), Load(row, (Binary("sub", index(3), w),))),)),
    )
    got = np.zeros((3, 4), np.float32)
    run(Kernel("k", (Param(out, "out"),), (For(i, index(3), "parallel", body),)), [got])
    np.testing.assert_array_equal(got, [[0, 0, 0, 0], [3, 2, 1, 0], [6, 4, 2, 0]])


def test_scratch_starts_undefined() -> None:
    out = Buffer("out", float32, (2,))
    got = np.zeros(2, np.float32)
    run(
        Kernel("k", (Param(out, "out"),), (For(i, index(2), "serial", (Alloc(acc), Store(out, (i,), Load(acc, ())))),)),
        [got],
    )
    assert np.isnan(got).all()


def test_out_of_bounds_and_bad_arrays() -> None:
    out = Buffer("out", float32, (3,))
    kernel = Kernel(
        "k", (Param(out, "out"),), (For(i, index(4), "parallel", (Store(out, (i,), Const(1.0, float32)),)),)
    )
    with pytest.raises(VerifyError, match="out of bounds"):
        run(kernel, [np.zeros(3, np.float32)])
    with pytest.raises(ArgumentError, match="out is float32"):
        run(kernel, [np.zeros(4, np.float32)])
    with pytest.raises(ArgumentError, match="C-contiguous"):
        run(kernel, [np.zeros(6, np.float32)[::2]])


def test_lanes_storing_to_one_element_are_refused() -> None:
    out = Buffer("out", float32, (1,))
    body = (Let(Var("x", float32), Cast(i, float32)), Store(out, (index(0),), Var("x", float32)))
    with pytest.raises(VerifyError, match="same element"):
        run(Kernel("k", (Param(out, "out"),), (For(i, index(4), "vector", body),)), [np.zeros(1, np.float32)])


def _moved(kind: LoopKind) -> Kernel:
    at, out = Buffer("at", int64, (4,)), Buffer("out", float32, (5,))
    body = (Store(out, (Load(at, (i,)),), Const(1.0, float32), distinct=True),)
    return Kernel("k", (Param(at, "in"), Param(out, "out")), (For(i, index(4), kind, body),))


@pytest.mark.parametrize("kind", ["parallel", "vector"])
def test_distinct_stores_are_checked(kind: LoopKind) -> None:
    out = np.zeros(5, np.float32)
    for _ in range(2):  # every run begins anew
        run(_moved(kind), [np.array([3, 0, 4, 1]), out])
    np.testing.assert_array_equal(out, [1, 1, 0, 1, 1])
    with pytest.raises(VerifyError, match="an element of out twice"):
        run(_moved(kind), [np.array([3, 0, 3, 1]), out])
