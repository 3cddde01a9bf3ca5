"""Vector loops: tails, masks, gathers, scatters, private scratch, ragged loops, and argmax, against the interpreter."""

import numpy as np
import pytest

from graphc.core.dtypes import bool_, float32, int32, int64
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Buffer,
    Cast,
    Compare,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Param,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
    index,
)
from tests.backends.llvm_kernels import agree, plus, times

L = Var("lane")


def vector(extent: int, *body: Stmt) -> For:
    return For(L, index(extent), "vector", body)


def kernel(name: str, inputs: list[Buffer], outputs: list[Buffer], *body: Stmt) -> Kernel:
    params = [Param(b, "in") for b in inputs] + [Param(b, "out") for b in outputs]
    return Kernel(name, tuple(params), body)


def one(value: float) -> Const:
    return Const(value, float32)


@pytest.mark.parametrize("extent", [1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64])
def test_every_extent(extent: int) -> None:
    x, y = Buffer("x", float32, (2 * extent,)), Buffer("y", float32, (extent,))
    body = vector(extent, Store(y, (L,), Binary("add", Load(x, (L,)), Load(x, (plus(L, extent),)))))
    agree(kernel("add", [x], [y], body), [np.arange(2 * extent, dtype=np.float32)])


def test_strides_gathers_and_scatters() -> None:
    x, at, y = Buffer("x", float32, (40, 3)), Buffer("at", int32, (13,)), Buffer("y", float32, (13, 5))
    body = vector(
        13,
        Store(y, (L, index(0)), Load(x, (Load(at, (L,)), index(1)))),
        Store(y, (L, index(1)), Load(x, (times(L, 3), index(2)))),
        Store(y, (L, index(2)), Load(x, (index(7), index(0)))),
        Store(y, (Binary("sub", index(12), L), index(3)), Load(x, (L, index(0)))),
        Store(y, (Load(at, (L,)), index(4)), Cast(L, float32)),
    )
    rng = np.random.default_rng(1)
    given = [rng.standard_normal((40, 3)).astype(np.float32), rng.permutation(13).astype(np.int32)]
    agree(kernel("gather", [x, at], [y], body), given)


@pytest.mark.parametrize("extent", [6, 16])
def test_masked_branches_nest(extent: int) -> None:
    x, y, z = Buffer("x", float32, (extent,)), Buffer("y", float32, (extent,)), Buffer("z", bool_, (extent,))
    value = Load(x, (L,))
    positive, large = Compare("gt", value, one(0.0)), Compare("gt", Unary("abs", value), one(1.0))
    body = vector(
        extent,
        Store(y, (L,), one(0.0)),
        Store(z, (L,), positive),
        If(
            positive,
            (If(large, (Store(y, (L,), Unary("sqrt", value)),), (Store(y, (L,), Load(x, (plus(L, 0),))),)),),
            (If(large, (Store(y, (L,), one(-1.0)),)),),
        ),
        If(Compare("eq", L, index(extent - 1)), (Store(y, (index(0),), value),)),
    )
    agree(kernel("masks", [x], [y, z], body), [np.linspace(-2, 2, extent, dtype=np.float32)])


@pytest.mark.parametrize("extent", [5, 16])
def test_private_scratch(extent: int) -> None:
    x, y = Buffer("x", int64, (extent,)), Buffer("y", float32, (extent,))
    own, step = Buffer("own", float32, (4,), "register"), Var("step")
    chosen = Binary("rem", Load(x, (L,)), Const(4, int64))
    body = vector(
        extent,
        Alloc(own),
        For(step, index(4), "serial", (Store(own, (step,), Cast(Binary("mul", plus(step, 1), L), float32)),)),
        If(Compare("gt", Load(x, (L,)), index(3)), (Store(own, (index(2),), one(100.0)),)),
        Store(y, (L,), Binary("add", Load(own, (chosen,)), Load(own, (index(2),)))),
    )
    agree(kernel("private", [x], [y], body), [np.arange(extent)])


def test_masked_store_to_shared_scratch_keeps_the_other_lanes() -> None:
    x, y, acc = Buffer("x", float32, (5,)), Buffer("y", float32, (16,)), Buffer("acc", float32, (16,), "register")
    a, b, c = Var("a"), Var("b"), Var("c")
    place = plus(b, 3)
    body = (
        Alloc(acc),
        For(a, index(16), "vector", (Store(acc, (a,), Cast(a, float32)),)),
        For(b, index(5), "vector", (Store(acc, (place,), Binary("add", Load(acc, (place,)), Load(x, (b,)))),)),
        For(c, index(16), "vector", (Store(y, (c,), Load(acc, (c,))),)),
    )
    agree(kernel("blend", [x], [y], *body), [np.ones(5, np.float32)])


def test_while_runs_each_lane_as_long_as_it_needs() -> None:
    x, y, n = Buffer("x", int64, (12,)), Buffer("y", int64, (12,)), Buffer("n", int64, (), "register")
    now = Load(n, ())
    halve = Select(
        Compare("eq", Binary("rem", now, index(2)), index(0)),
        Binary("div", now, index(2)),
        plus(times(now, 3), 1),
    )
    count = Store(y, (L,), plus(Load(y, (L,)), 1))
    loop = While(Compare("gt", now, index(1)), 50, (Store(n, (), halve), count))
    body = vector(12, Alloc(n), Store(n, (), Load(x, (L,))), Store(y, (L,), index(0)), loop)
    agree(kernel("collatz", [x], [y], body), [np.arange(12)])


def test_serial_extent_may_differ_between_lanes() -> None:
    x, y, step = Buffer("x", float32, (11,)), Buffer("y", float32, (11,)), Var("step")
    prefix = For(step, plus(L, 1), "serial", (Store(y, (L,), Binary("add", Load(y, (L,)), Load(x, (step,)))),))
    body = vector(11, Store(y, (L,), one(0.0)), prefix)
    agree(kernel("prefix", [x], [y], body), [np.linspace(0.1, 3, 11, dtype=np.float32)])


@pytest.mark.parametrize("how", ["argmax", "argmin"])
def test_arg_combines(how: str) -> None:
    x = Buffer("x", float32, (9, 6))
    best, at, step = Buffer("best", float32, (6,)), Buffer("at", int64, (6,)), Var("step")
    body = (
        For(Var("z"), index(6), "vector", (Store(best, (Var("z"),), Load(x, (index(0), Var("z")))),)),
        For(Var("w"), index(6), "vector", (Store(at, (Var("w"),), index(0)),)),
        For(
            step,
            index(9),
            "serial",
            (vector(6, Accumulate(((best, (L,)), (at, (L,))), (Load(x, (step, L)), step), how)),),  # type: ignore[arg-type]
        ),
    )
    given = np.random.default_rng(2).integers(-3, 3, (9, 6)).astype(np.float32)
    given[4, 1] = given[7, 1] = given[0, 2] = np.nan
    given[:, 3] = 1.0
    agree(kernel(how, [x], [best, at], *body), [given])


@pytest.mark.parametrize("how", ["add", "mul", "min", "max"])
def test_combines(how: str) -> None:
    x, y, step = Buffer("x", float32, (5, 16)), Buffer("y", float32, (16,)), Var("step")
    body = (
        For(Var("z"), index(16), "vector", (Store(y, (Var("z"),), Load(x, (index(0), Var("z")))),)),
        For(step, index(5), "serial", (vector(16, Accumulate(((y, (L,)),), (Load(x, (step, L)),), how)),)),  # type: ignore[arg-type]
    )
    given = np.random.default_rng(4).standard_normal((5, 16)).astype(np.float32)
    given[2, 3], given[1, 4], given[3, 4] = np.nan, -0.0, 0.0
    agree(kernel(how, [x], [y], *body), [given])


def test_large_worker_scratch_is_private_to_each_iteration() -> None:
    rows, width = 9, 6000
    x, y = Buffer("x", float32, (rows, width)), Buffer("y", float32, (rows, width))
    copy, r, a, b = Buffer("copy", float32, (width,), "worker"), Var("r"), Var("a"), Var("b")
    last: Expr = Binary("sub", index(width - 1), b)
    body = For(
        r,
        index(rows),
        "parallel",
        (
            Alloc(copy),
            For(a, index(width), "serial", (Store(copy, (a,), Load(x, (r, a))),)),
            For(b, index(width), "serial", (Store(y, (r, b), Load(copy, (last,))),)),
        ),
    )
    given = np.random.default_rng(5).standard_normal((rows, width)).astype(np.float32)
    for threads in (1, 3):
        agree(kernel("reverse", [x], [y], body), [given], threads)


def test_phases_share_arena_scratch_in_order() -> None:
    x, y, mid = Buffer("x", float32, (500,)), Buffer("y", float32, (500,)), Buffer("mid", float32, (500,), "arena")
    a, b = Var("a"), Var("b")
    body = (
        Alloc(mid),
        For(a, index(500), "parallel", (Store(mid, (a,), Binary("mul", Load(x, (a,)), one(3.0))),)),
        For(b, index(500), "parallel", (Store(y, (b,), Load(mid, (Binary("sub", index(499), b),))),)),
    )
    agree(kernel("phases", [x], [y], *body), [np.arange(500, dtype=np.float32)], 4)


def test_let_at_the_top_is_seen_by_later_phases() -> None:
    y, a = Buffer("y", int64, (4,)), Var("a")
    base = Var("base", int64)
    body = (Let(base, plus(index(5), 6)), For(a, index(4), "parallel", (Store(y, (a,), Binary("add", base, a)),)))
    agree(kernel("lets", [], [y], *body), [])
