"""Schedule steps keep every bit, and refuse what would not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from graphc.core.dtypes import float32
from graphc.core.errors import ScheduleError
from graphc.kernel.interpret import run
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Buffer,
    Const,
    Fma,
    For,
    Kernel,
    Let,
    Load,
    LoopKind,
    Param,
    Stmt,
    Store,
    Unary,
    Var,
    index,
)
from graphc.kernel.schedule import (
    Names,
    edit,
    expand_alloc,
    find_loop,
    fission,
    fuse_loops,
    interchange,
    parallelize,
    reorder,
    serialize,
    simplify,
    split,
    strides_of,
    unroll,
    vectorize,
)
from graphc.kernel.verify import verify

i, j, k = Var("i"), Var("j"), Var("k")
a, b, c = Buffer("a", float32, (10, 7)), Buffer("b", float32, (7, 12)), Buffer("c", float32, (10, 12))
ZERO = Const(0.0, float32)


def loop(var: Var, extent: int, *body: Stmt, kind: LoopKind = "serial") -> For:
    return For(var, index(extent), kind, body)


def matmul() -> Kernel:
    """Accumulation in memory, so that all three loops are a perfect nest."""
    product = Accumulate(((c, (i, j)),), (Binary("mul", Load(a, (i, k)), Load(b, (k, j))),), "add")
    params = (Param(a, "in"), Param(b, "in"), Param(c, "inout"))
    return Kernel("matmul", params, (loop(i, 10, loop(j, 12, loop(k, 7, product))),))


acc = Buffer("acc", float32, (), "register")


def matmul_register() -> Kernel:
    chain = loop(k, 7, Store(acc, (), Fma(Load(a, (i, k)), Load(b, (k, j)), Load(acc, ()))))
    inner = loop(j, 12, Alloc(acc), Store(acc, (), ZERO), chain, Store(c, (i, j), Load(acc, ())))
    return Kernel("matmul", (Param(a, "in"), Param(b, "in"), Param(c, "out")), (loop(i, 10, inner),))


def result(kernel: Kernel) -> np.ndarray:
    verify(kernel)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(p.buffer.shape).astype(np.float32) for p in kernel.params]
    run(kernel, arrays)
    return arrays[-1]


def _tile(kernel: Kernel) -> Kernel:
    """Tiles of 5 rows by 6 lanes, the sum around them: the shape of a micro-kernel."""
    names = Names(kernel)
    kernel = edit(kernel, "i", lambda s: split(s, 5, names))
    kernel = edit(kernel, "j", lambda s: split(s, 6, names))
    kernel = edit(kernel, "i_o", lambda s: reorder(s, ("i_o", "j_o", "k", "i_i", "j_i")))
    for name, step in (("i_o", parallelize), ("j_o", parallelize), ("i_i", unroll), ("j_i", vectorize)):
        kernel = edit(kernel, name, step)
    return edit(kernel, "i_o", lambda s: fuse_loops(s, names))


STEPS: dict[str, tuple[Callable[[], Kernel], Callable[[Kernel, Names], Kernel]]] = {
    "split cut": (matmul, lambda m, n: edit(m, "i", lambda s: split(s, 4, n))),
    "split guard": (matmul, lambda m, n: edit(m, "j", lambda s: split(s, 5, n, tail="guard"))),
    "split larger than extent": (matmul, lambda m, n: edit(m, "k", lambda s: split(s, 8, n))),
    "split to lanes": (matmul_register, lambda m, n: edit(m, "j", lambda s: split(s, 8, n, inner_kind="vector"))),
    "split with scratch": (matmul_register, lambda m, n: edit(m, "i", lambda s: split(s, 3, n))),
    "interchange": (matmul, lambda m, n: edit(m, "j", interchange)),
    "reorder": (matmul, lambda m, n: edit(m, "i", lambda s: reorder(s, ("k", "j", "i")))),
    "parallelize": (matmul, lambda m, n: edit(m, "i", parallelize)),
    "vectorize": (matmul_register, lambda m, n: edit(m, "j", vectorize)),
    "unroll": (matmul, lambda m, n: edit(m, "k", unroll)),
    "fuse": (matmul, lambda m, n: edit(m, "i", lambda s: fuse_loops(s, n))),
    "fuse parallel": (
        matmul_register,
        lambda m, n: edit(edit(edit(m, "j", parallelize), "i", parallelize), "i", lambda s: fuse_loops(s, n)),
    ),
    "expand and fission": (
        matmul_register,
        lambda m, n: edit(edit(m, "j", lambda s: expand_alloc(s, "acc")), "j", lambda s: fission(s, 2, n)),
    ),
    "expand, fission, interchange": (
        matmul_register,
        lambda m, n: edit(
            edit(
                edit(edit(m, "j", lambda s: expand_alloc(s, "acc")), "j", lambda s: fission(s, 1, n)),
                "j_2",
                lambda s: fission(s, 1, n),
            ),
            "j_2",
            interchange,
        ),
    ),
    "tiles": (matmul, lambda m, n: _tile(m)),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("simplified", [False, True])
def test_step_keeps_every_bit(name: str, simplified: bool) -> None:
    build, step = STEPS[name]
    before = build()
    after = step(before, Names(before))
    assert after != before
    if simplified:
        after = simplify(after)
    np.testing.assert_array_equal(result(after), result(before))


def test_fission_repeats_lets() -> None:
    x, y = Buffer("x", float32, (5,)), Buffer("y", float32, (5,))
    z = Buffer("z", float32, (5,))
    t = Var("t", float32)
    body = (Let(t, Unary("neg", Load(x, (i,)))), Store(y, (i,), t), Store(z, (i,), t))
    kernel = Kernel("k", (Param(x, "in"), Param(y, "out"), Param(z, "out")), (loop(i, 5, *body),))
    after = edit(kernel, "i", lambda s: fission(s, 2, Names(kernel)))
    assert len(after.body) == 2
    np.testing.assert_array_equal(result(after), result(kernel))


def test_fused_and_simplified_index_is_the_counter() -> None:
    y = Buffer("y", float32, (10, 12))
    kernel = Kernel("k", (Param(y, "out"),), (loop(i, 10, loop(j, 12, Store(y, (i, j), ZERO))),))
    fused = simplify(edit(kernel, "i", lambda s: fuse_loops(s, Names(kernel))))
    (store,) = find_loop(fused, "i_j").body
    assert isinstance(store, Store)
    assert strides_of(store, Var("i_j")) == 1


def test_strides() -> None:
    load = Load(b, (Binary("add", k, index(1)), Binary("mul", j, index(2))))
    assert strides_of(load, k) == 12
    assert strides_of(load, j) == 2
    assert strides_of(load, i) == 0
    assert strides_of(Load(b, (Binary("mul", k, k), j)), k) is None


def _prefix() -> For:
    y = Buffer("y", float32, (8,))
    before, value = Binary("add", i, index(1)), Load(y, (i,))
    return loop(i, 7, Accumulate(((y, (before,)),), (value,), "add"))


def _two_statements() -> For:
    """The second statement uses what the first one is going to overwrite in the next iteration."""
    y, z = Buffer("y", float32, (8,)), Buffer("z", float32, (8,))
    return loop(i, 7, Store(y, (i,), ZERO), Store(z, (i,), Load(y, (Binary("add", i, index(1)),))))


def _stencil() -> For:
    """y[i + 1, j] from y[i, j + 1]: neither loop is independent."""
    y = Buffer("y", float32, (8, 8))
    source = Load(y, (i, Binary("add", j, index(1))))
    return loop(i, 7, loop(j, 7, Store(y, (Binary("add", i, index(1)), j), source)))


REFUSED: dict[str, tuple[str, Callable[[], object]]] = {
    "parallel prefix sum": ("parallel i: iterations may touch", lambda: parallelize(_prefix())),
    "vector prefix sum": ("vector i", lambda: vectorize(_prefix())),
    "parallel reduction": ("parallel k", lambda: parallelize(find_loop(matmul(), "k"))),
    "fission": ("fission i", lambda: fission(_two_statements(), 1, Names())),
    "fission of scratch": ("scratch acc", lambda: fission(find_loop(matmul_register(), "j"), 2, Names())),
    "interchange": ("interchange i, j", lambda: interchange(_stencil())),
    "interchange of no nest": ("is not one loop", lambda: interchange(find_loop(matmul_register(), "j"))),
    "fuse kinds": (
        "kinds parallel and serial",
        lambda: fuse_loops(parallelize(find_loop(matmul(), "i")), Names()),
    ),
    "split factor": ("factor is 0", lambda: split(find_loop(matmul(), "i"), 0, Names())),
    "split lanes": ("split before vectorising", lambda: split(vectorize(find_loop(matmul(), "j")), 4, Names())),
    "dynamic extent": (
        "no constant extent",
        lambda: unroll(For(j, Binary("add", i, index(1)), "serial", ())),
    ),
    "expand": ("not allocated", lambda: expand_alloc(find_loop(matmul_register(), "i"), "acc")),
    "serial lanes": ("serialize i", lambda: serialize(replace(_two_statements(), kind="vector"))),
    "no such loop": ("no loop q", lambda: find_loop(matmul(), "q")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    message, step = REFUSED[name]
    with pytest.raises(ScheduleError, match=message):
        step()
