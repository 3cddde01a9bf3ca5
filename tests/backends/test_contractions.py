"""Contractions in tiles have the bits of the loops they were made from, whatever the shape, and pass the verifier.

Both are compiled: the loops as lowering writes them one element after the other, the schedule with several threads.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.dtypes import DType, float32, float64, int32
from graphc.kernel.ir import (
    Alloc,
    Binary,
    Buffer,
    Cast,
    Compare,
    Const,
    Fma,
    Kernel,
    Let,
    Load,
    Param,
    Select,
    Store,
    Var,
    walk,
)
from graphc.kernel.lower import lower_graph
from graphc.kernel.verify import verify
from graphc.passes.partition import partition
from graphc_llvm import host, recipes
from graphc_llvm.contraction import blocking, roles
from graphc_llvm.executable import CpuExecutable
from tests.backends.llvm_kernels import plan_of, same_bits
from tests.backends.test_llvm_schedule import I, J, K, batched, matmul, parallel, serial

EXTENTS = (1, 2, 3, 7, 10, 15, 16, 17, 29, 31, 32, 33, 47, 64, 65, 97, 128, 131)
FORMS = ("nn", "nt", "tn", "tt")


def given(kernel: Kernel) -> list[np.ndarray]:
    """Inputs: floats, and rows to gather."""
    rng = np.random.default_rng(3)
    found = []
    for param in kernel.params:
        if param.mode == "in":
            shape, dtype = param.buffer.shape, param.buffer.dtype
            if dtype.is_float:
                found.append(rng.standard_normal(shape).astype(dtype.numpy))
            else:
                found.append(rng.integers(0, 5, shape).astype(dtype.numpy))
    return found


def check(*kernels: Kernel, threads: int = 2) -> None:
    """Schedules verify, and compute the bits of the loops."""
    scheduled = [recipes.schedule(kernel) for kernel in kernels]
    for each in scheduled:
        verify(each.kernel)
        for pack in each.packs:
            verify(pack.kernel)
    plain, tiled = (CpuExecutable(plan_of(*each), threads) for each in (kernels, scheduled))
    for number, kernel in enumerate(kernels):
        inputs = given(kernel)
        wanted, got = (executable.call(str(number), inputs) for executable in (plain, tiled))
        assert all(same_bits(x, y) for x, y in zip(got, wanted, strict=True)), kernel.name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
def test_random_products(seed: int, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    rng = random.Random(seed)
    kernels = []
    for number in range(5):
        m, n, k = (rng.choice(EXTENTS) for _ in range(3))
        dtype = float64 if rng.random() < 0.3 else float32
        kernels.append(matmul(m, n, k, FORMS[number % 4], dtype))
    kernels.append(batched(rng.choice((1, 2, 5)), *(rng.choice(EXTENTS[:10]) for _ in range(3))))
    check(*kernels)


def test_products_of_many_chunks() -> None:
    """Large enough for several blocks of rows and of columns, the last ones shorter."""
    check(
        matmul(257, 200, 130, "tt"), matmul(509, 17, 33, "nt"), matmul(48, 1000, 40, "tn"), matmul(131, 390, 20, "nn")
    )


def test_lanes_along_the_rows_of_few_columns() -> None:
    check(matmul(128, 10, 64, "tt"), matmul(130, 3, 70, "tn"), matmul(500, 1, 60, "nn"), matmul(1, 300, 90, "nt"))


@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
def test_few_rows_times_what_lies_along_the_sum(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    check(
        matmul(1, 300, 90, "nt"),
        matmul(1, 1000, 45, "tt"),
        matmul(1, 35, 131, "nt", float64),
        matmul(1, 9, 17, "nt"),
        matmul(8, 300, 90, "nt"),
        matmul(12, 170, 45, "tt"),
        matmul(3, 35, 131, "nt", float64),
        gathered(5, 33, 65),
    )


def scratch(kernel: Kernel) -> list[str]:
    """What the schedule of a kernel packs."""
    found = recipes.schedule(kernel)
    assert not found.packs
    return [s.buffer.name for s in walk(found.kernel.body) if isinstance(s, Alloc) and s.buffer.space == "worker"]


def test_what_lies_well_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows take columns along the sum in squares; rows near each other from step to step are read in place."""
    assert not scratch(matmul(1, 1024, 1000, "nt"))
    if host.host().vector_bits < 512:
        return  # other registers, other choices
    assert not scratch(matmul(8, 1024, 1000, "nt"))
    assert not any(name.startswith("rows") for name in scratch(matmul(64, 500, 300, "tn")))
    monkeypatch.setattr(roles, "NEAR_BYTES", 0)
    assert any(name.startswith("rows") for name in scratch(matmul(64, 500, 300, "tn")))


def test_panels_side_by_side_are_packed_together() -> None:
    """Those of a chunk in one pass over the sum, also where the last one is not full."""
    check(matmul(70, 256, 20, "nn"), matmul(70, 250, 20, "tn"), matmul(70, 96, 20, "nn", float64))


# ------------------------------------------------------------------------------------------------- prologues, epilogues


def gathered(m: int, n: int, k: int, dtype: DType = float32) -> Kernel:
    """relu'(mask) * (x[rows[i]] * scale[k]) @ w.T + c, with the mask and twice the product as second output."""
    x, rows = Buffer("x", dtype, (5, k)), Buffer("rows", int32, (m,))
    scale, w = Buffer("scale", dtype, (k,)), Buffer("w", float32, (n, k))
    out, twice, acc = Buffer("out", dtype, (m, n)), Buffer("twice", dtype, (m, n)), Buffer("acc", dtype, (), "register")
    row, factor = Var("row", int32), Var("factor", dtype)
    element = Load(x, (row, K))
    positive = Compare("gt", element, Const(0.0, dtype))
    left = Select(positive, Binary("mul", element, factor), Const(0.0, dtype))
    right = Cast(Load(w, (J, K)), dtype)
    total = Var("total", dtype)
    leaf = (
        Let(row, Load(rows, (I,))),
        Alloc(acc),
        Store(acc, (), Const(0.0, dtype)),
        serial(K, k, Let(factor, Load(scale, (K,))), Store(acc, (), Fma(left, right, Load(acc, ())))),
        Let(total, Load(acc, ())),
        Store(out, (I, J), total),
        Store(twice, (I, J), Binary("add", total, total)),
    )
    params = (*(Param(b, "in") for b in (x, rows, scale, w)), Param(out, "out"), Param(twice, "out"))
    return Kernel(f"gathered_{m}_{n}_{k}_{dtype}", params, (parallel(I, m, parallel(J, n, *leaf)),))


def updated(m: int, n: int, k: int) -> Kernel:
    """A weight gradient whose epilogue is the update of the weight and of its momentum, in place."""
    x, g = Buffer("x", float32, (k, m)), Buffer("g", float32, (k, n))
    w, v = Buffer("w", float32, (m, n)), Buffer("v", float32, (m, n))
    w_new, v_new = replace(w, name="w_new"), replace(v, name="v_new")
    acc, speed = Buffer("acc", float32, (), "register"), Var("speed", float32)
    leaf = (
        Alloc(acc),
        Store(acc, (), Const(0.0, float32)),
        serial(K, k, Store(acc, (), Fma(Load(x, (K, I)), Load(g, (K, J)), Load(acc, ())))),
        Let(speed, Fma(Load(v, (I, J)), Const(0.9, float32), Load(acc, ()))),
        Store(v_new, (I, J), speed),
        Store(w_new, (I, J), Binary("sub", Load(w, (I, J)), Binary("mul", speed, Const(0.01, float32)))),
    )
    params = (*(Param(b, "in") for b in (x, g, w, v)), Param(w_new, "out", "", ("w",)), Param(v_new, "out", "", ("v",)))
    return Kernel(f"updated_{m}_{n}_{k}", params, (parallel(I, m, parallel(J, n, *leaf)),))


def test_prologues_are_packed() -> None:
    check(gathered(40, 50, 37), gathered(3, 70, 16), gathered(100, 9, 20, float64), gathered(1, 33, 65))


def test_epilogues_may_update_several_buffers() -> None:
    check(updated(70, 45, 32), updated(20, 128, 7))


def test_sums_of_several_parts() -> None:
    """Longer than one chain: parts of 4096 terms and a tree, also where operands need packing."""
    for form in ("nt", "tn"):
        m, n, k = 9, 37, 9001
        x = np.random.default_rng(1).standard_normal((m, k) if form[0] == "n" else (k, m)).astype(np.float32)
        y = np.random.default_rng(2).standard_normal((k, n) if form[1] == "n" else (n, k)).astype(np.float32)

        def product(x, y, form=form):
            return gnp.maximum((x if form[0] == "n" else x.T) @ (y if form[1] == "n" else y.T), 0)

        graph = partition(gc.trace(product, x, y))
        (call,) = lower_graph(graph, name="product").calls
        check(call.kernel)


def test_a_copy_that_transposes_reads_rows() -> None:
    """Fill of a panel: squares, what is left of them, and lanes that do not exist."""
    for m, n, k in ((48, 35, 50), (64, 5, 18), (20, 16, 3)):
        check(matmul(m, n, k, "nt"), matmul(m, n, k, "nt", float64))


@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
def test_panels_packed_by_kernels_of_their_own(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may be packed beforehand is, also where it does not pay: masks, gathered rows, batches, last columns."""
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    monkeypatch.setattr(blocking, "SMALL_NS", 0.0)
    monkeypatch.setattr(blocking, "SHARE_NS", -1e12)
    kernels = [matmul(m, n, k, form) for form in FORMS for m, n, k in ((70, 45, 37), (64, 96, 16), (128, 10, 33))]
    kernels += [
        gathered(40, 50, 37),
        gathered(200, 3, 20, float64),
        gathered(300, 9, 37),
        updated(70, 45, 32),
        batched(3, 64, 33, 17),
    ]
    assert sum(bool(recipes.schedule(kernel).packs) for kernel in kernels) > len(kernels) // 2
    check(*kernels)
