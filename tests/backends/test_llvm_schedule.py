"""Scheduled kernels keep every bit of the kernels lowering writes, pass the verifier, and do not depend on threads."""

from collections.abc import Callable

import numpy as np
import pytest

from graphc.core.dtypes import DType, float32, float64
from graphc.kernel.ir import (
    Alloc,
    Binary,
    Buffer,
    Compare,
    Const,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    Param,
    Select,
    Stmt,
    Store,
    Var,
    index,
    walk,
)
from graphc.kernel.verify import verify
from graphc_llvm import recipes
from tests.backends.llvm_kernels import plus, run_interpreted, run_native, same_bits, times

I, J, K, C = Var("i"), Var("j"), Var("k"), Var("c")


def parallel(var: Var, extent: int, *body: Stmt) -> For:
    return For(var, index(extent), "parallel", body)


def serial(var: Var, extent: int, *body: Stmt) -> For:
    return For(var, index(extent), "serial", body)


def matmul(m: int, n: int, k: int, form: str, dtype: DType = float32) -> Kernel:
    """relu(a @ b + bias); form says which of a and b is given transposed."""
    a = Buffer("a", dtype, (m, k) if form[0] == "n" else (k, m))
    b = Buffer("b", dtype, (k, n) if form[1] == "n" else (n, k))
    bias, out, acc = Buffer("bias", dtype, (n,)), Buffer("out", dtype, (m, n)), Buffer("acc", dtype, (), "register")
    left = Load(a, (I, K) if form[0] == "n" else (K, I))
    right = Load(b, (K, J) if form[1] == "n" else (J, K))
    total = Var("total", dtype)
    leaf = (
        Alloc(acc),
        Store(acc, (), Const(0.0, dtype)),
        serial(K, k, Store(acc, (), Fma(left, right, Load(acc, ())))),
        Let(total, Binary("add", Load(acc, ()), Load(bias, (J,)))),
        Store(out, (I, J), Binary("max", total, Const(0.0, dtype))),
    )
    params = (Param(a, "in"), Param(b, "in"), Param(bias, "in"), Param(out, "out"))
    return Kernel(f"matmul_{form}_{m}_{n}_{k}", params, (parallel(I, m, parallel(J, n, *leaf)),), 2 * m * n * k)


def batched(batch: int, m: int, n: int, k: int) -> Kernel:
    """out[b, i, j] = sum over two loops of a[b, i, k, l] * w[k, l, j], padded: taps left of the border are zero."""
    a, w = Buffer("a", float32, (batch, m, k)), Buffer("w", float32, (3, k, n))
    out, acc = Buffer("out", float32, (batch, m, n)), Buffer("acc", float32, (), "register")
    b, tap = Var("b"), Var("tap")
    at = Binary("sub", plus(I, tap), index(1))
    clamped = Binary("min", Binary("max", at, index(0)), index(m - 1))
    inside = Binary("and", Compare("ge", at, index(0)), Compare("lt", at, index(m)))
    value = Select(inside, Load(a, (b, clamped, K)), Const(0.0, float32))
    leaf = (
        Alloc(acc),
        Store(acc, (), Const(0.0, float32)),
        serial(tap, 3, serial(K, k, Store(acc, (), Fma(value, Load(w, (tap, K, J)), Load(acc, ()))))),
        Store(out, (b, I, J), Load(acc, ())),
    )
    params = (Param(a, "in"), Param(w, "in"), Param(out, "out"))
    return Kernel("conv1d", params, (parallel(b, batch, parallel(I, m, parallel(J, n, *leaf))),), 6 * batch * m * n * k)


def lanes_sum(acc: Buffer, extent: int, at: Callable[[Expr], Expr]) -> list[Stmt]:
    """Sixteen partial sums over `at(position)`, and their tree: the canonical reduction."""
    lane = lambda name: Var(f"lane_{name}")
    add = lambda to, value: Store(acc, (to,), Binary("add", Load(acc, (to,)), value))
    found: list[Stmt] = [Alloc(acc), parallel(lane("z"), 16, Store(acc, (lane("z"),), Const(0.0, acc.dtype)))]
    if extent >= 16:
        found.append(
            serial(C, extent // 16, parallel(lane("c"), 16, add(lane("c"), at(plus(times(C, 16), lane("c"))))))
        )
    if extent % 16:
        found.append(parallel(lane("t"), extent % 16, add(lane("t"), at(plus(index(extent // 16 * 16), lane("t"))))))
    for step in (8, 4, 2, 1):
        name = lane(str(step))
        found.append(parallel(name, step, add(name, Load(acc, (plus(name, step),)))))
    return found


def rows(m: int, n: int) -> Kernel:
    """x - mean(x, axis=1)"""
    x, out = Buffer("x", float32, (m, n)), Buffer("out", float32, (m, n))
    acc, mean = Buffer("acc", float32, (16,), "register"), Var("mean", float32)
    body = lanes_sum(acc, n, lambda at: Load(x, (I, at)))
    body.append(Let(mean, Binary("div", Load(acc, (index(0),)), Const(float(n), float32))))
    body.append(parallel(J, n, Store(out, (I, J), Binary("sub", Load(x, (I, J)), mean))))
    return Kernel(f"rows_{m}_{n}", (Param(x, "in"), Param(out, "out")), (parallel(I, m, *body),))


def columns(m: int, n: int) -> Kernel:
    """sum(x, axis=0)"""
    x, out = Buffer("x", float32, (m, n)), Buffer("out", float32, (n,))
    acc = Buffer("acc", float32, (16,), "register")
    body = [*lanes_sum(acc, m, lambda at: Load(x, (at, J))), Store(out, (J,), Load(acc, (index(0),)))]
    return Kernel(f"columns_{m}_{n}", (Param(x, "in"), Param(out, "out")), (parallel(J, n, *body),))


def elementwise(m: int, n: int, transposed: bool = False) -> Kernel:
    x, bias = Buffer("x", float32, (n, m) if transposed else (m, n)), Buffer("bias", float32, (n,))
    out = Buffer("out", float32, (m, n))
    total = Var("total", float32)
    value = Load(x, (J, I) if transposed else (I, J))
    body = (
        Let(total, Binary("add", value, Load(bias, (J,)))),
        If(
            Compare("gt", total, Const(0.0, float32)),
            (Store(out, (I, J), total),),
            (Store(out, (I, J), Binary("mul", total, Const(0.1, float32))),),
        ),
    )
    params = (Param(x, "in"), Param(bias, "in"), Param(out, "out"))
    return Kernel(f"elementwise_{m}_{n}", params, (parallel(I, m, parallel(J, n, *body)),))


def inputs_of(kernel: Kernel) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(p.buffer.shape).astype(p.buffer.dtype.numpy) for p in kernel.params if p.mode == "in"]


def check(kernel: Kernel) -> None:
    """The schedule is verified and computes the bits of the unscheduled kernel with one, two and four threads."""
    verify(kernel)
    scheduled = recipes.schedule(kernel)
    for each in (scheduled.kernel, *(pack.kernel for pack in scheduled.packs)):
        verify(each)
    given = inputs_of(kernel)
    (wanted,) = run_interpreted(kernel, given)
    for threads in (1, 2, 4):
        (got,) = run_native(scheduled, given, threads)
        assert same_bits(got, wanted), f"{kernel.name} with {threads} threads"


@pytest.mark.parametrize("form", ["nn", "nt", "tn", "tt"])
def test_contractions(form: str) -> None:
    for m, n, k in (
        (8, 32, 16),
        (13, 50, 7),
        (33, 10, 19),
        (1, 40, 8),
        (5, 3, 9),
        (96, 80, 33),
        (64, 1, 40),
        (17, 97, 1),
    ):
        check(matmul(m, n, k, form))


def test_contraction_in_double() -> None:
    check(matmul(29, 43, 21, "nt", float64))


def test_contraction_with_batch_padding_and_two_sums() -> None:
    check(batched(3, 20, 24, 11))
    check(batched(2, 5, 37, 4))


def test_reductions_and_elementwise() -> None:
    for m, n in ((5, 3), (37, 53), (64, 100), (3, 20_000), (20_000, 3), (16, 16)):
        for make in (rows, columns, elementwise):
            check(make(m, n))
    check(elementwise(37, 29, transposed=True))
    check(elementwise(300, 200, transposed=True))


def test_large_contraction_runs_in_parallel_tiles() -> None:
    scheduled = recipes.schedule(matmul(128, 128, 64, "nn"))
    kinds = [s.kind for s in walk(scheduled.kernel.body) if isinstance(s, For)]
    assert kinds[0] == "parallel" and "vector" in kinds and "unroll" in kinds


def test_small_kernels_are_not_shared_out() -> None:
    scheduled = recipes.schedule(elementwise(4, 8))
    assert all(s.kind != "parallel" for s in walk(scheduled.kernel.body) if isinstance(s, For))
