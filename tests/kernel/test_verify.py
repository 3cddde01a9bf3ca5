"""The loop-IR verifier accepts what is right and names what is wrong."""

from collections.abc import Callable

import pytest

from graphc.core.dtypes import bool_, float32, int32, int64
from graphc.core.errors import VerifyError
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Bitcast,
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
    LoopKind,
    Param,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
    index,
)
from graphc.kernel.text import parse_kernel, print_kernel
from graphc.kernel.verify import verify

i, j, k = Var("i"), Var("j"), Var("k")
ZERO = Const(0.0, float32)
x = Buffer("x", float32, (12, 16))
y = Buffer("y", float32, (12, 16))
idx = Buffer("idx", int64, (12,))


def add(a: Expr, b: Expr) -> Expr:
    return Binary("add", a, b)


def mul(a: Expr, b: int) -> Expr:
    return Binary("mul", a, index(b))


def loop(var: Var, extent: int, kind: LoopKind, *body: Stmt) -> For:
    return For(var, index(extent), kind, body)


def kernel(*body: Stmt) -> Kernel:
    return Kernel("k", (Param(x, "in"), Param(idx, "in"), Param(y, "out")), body)


def copy_tile(extra: int = 0) -> For:
    """Tiles of 4 x 8 copied through registers."""
    tile = Buffer("tile", float32, (4, 8), "register")
    r, v, r2, v2 = Var("r"), Var("v"), Var("r2"), Var("v2")
    source = Load(x, (add(mul(i, 4), r), add(mul(j, 8), v)))
    row = add(mul(i, 4), r2) if not extra else add(mul(i, 4 - extra), r2)
    return loop(
        i,
        3,
        "parallel",
        loop(
            j,
            2,
            "parallel",
            Alloc(tile),
            loop(r, 4, "unroll", loop(v, 8, "vector", Store(tile, (r, v), source))),
            loop(r2, 4, "unroll", loop(v2, 8, "vector", Store(y, (row, add(mul(j, 8), v2)), Load(tile, (r2, v2))))),
        ),
    )


def div(a: Expr, b: int) -> Expr:
    return Binary("div", a, index(b))


def rem(a: Expr, b: int) -> Expr:
    return Binary("rem", a, index(b))


f = Var("f")
lane = Var("lane")


def interleaved(lanes: int) -> For:
    """Lane `lane` writes every fourth element."""
    store = Store(y, (index(0), add(mul(k, 4), lane)), ZERO)
    return loop(lane, lanes, "parallel", loop(k, 3, "serial", store))


def fused_tiles(count: int, columns: int) -> For:
    """Tiles of 4 x 8 numbered row by row, two to a row; with another number of columns they overlap."""
    row, column = add(mul(div(f, columns), 4), j), add(mul(rem(f, 2), 8), k)
    return loop(f, count, "parallel", loop(j, 4, "serial", loop(k, 8, "serial", Store(y, (row, column), ZERO))))


GOOD: dict[str, Callable[[], Kernel]] = {
    "tiles": lambda: kernel(copy_tile()),
    "fused loops": lambda: kernel(loop(f, 192, "parallel", Store(y, (div(f, 16), rem(f, 16)), ZERO))),
    "three fused loops": lambda: kernel(
        loop(f, 24, "parallel", loop(j, 8, "vector", Store(y, (div(f, 2), add(mul(rem(f, 2), 8), j)), ZERO)))
    ),
    "fused tiles": lambda: kernel(fused_tiles(6, 2)),
    "interleaved lanes": lambda: kernel(
        loop(
            i, 12, "serial", loop(lane, 4, "parallel", loop(k, 4, "serial", Store(y, (i, add(mul(k, 4), lane)), ZERO)))
        )
    ),
    "guarded tail": lambda: kernel(
        loop(
            i,
            2,
            "parallel",
            loop(
                j,
                7,
                "serial",
                If(
                    Compare("lt", add(mul(i, 7), j), index(12)),
                    (Store(y, (add(mul(i, 7), j), index(0)), ZERO),),
                ),
            ),
        )
    ),
    "guarded tail of every second row": lambda: kernel(
        loop(
            i,
            16,
            "parallel",
            If(Compare("lt", i, index(6)), (Store(y, (add(mul(i, 2), index(1)), index(0)), ZERO),)),
        )
    ),
    "gathered rows": lambda: kernel(
        loop(i, 12, "parallel", Store(y, (i, index(0)), Load(x, (Load(idx, (i,)), index(3)))))
    ),
    "scatter over columns": lambda: kernel(
        loop(i, 12, "serial", loop(j, 16, "parallel", Accumulate(((y, (Load(idx, (i,)), j)),), (ZERO,), "add")))
    ),
    "triangle": lambda: kernel(
        loop(i, 12, "parallel", For(j, add(i, index(1)), "serial", (Store(y, (i, j), Load(x, (j, i))),)))
    ),
    "clamped index": lambda: kernel(
        loop(
            i,
            12,
            "parallel",
            Store(y, (i, index(0)), Load(x, (Binary("max", Binary("sub", i, index(1)), index(0)), index(0)))),
        )
    ),
    "condition through let": lambda: kernel(
        loop(
            i,
            20,
            "serial",
            Let(Var("inside", bool_), Compare("lt", i, index(12))),
            If(Var("inside", bool_), (Store(y, (i, index(0)), ZERO),)),
        )
    ),
    "asked for beyond the end": lambda: kernel(
        loop(i, 12, "serial", Prefetch(x, (add(i, index(14)), index(0))), Store(y, (i, index(0)), ZERO))
    ),
    "a distinct store": lambda: kernel(
        loop(i, 12, "parallel", Store(y, (Load(idx, (i,)), index(0)), ZERO, distinct=True))
    ),
    "lanes read what other lanes wrote": lambda: kernel(
        loop(
            j,
            16,
            "vector",
            Store(y, (index(0), j), ZERO),
            Store(y, (index(1), j), Load(y, (index(0), Binary("sub", index(15), j)))),
        )
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepts(name: str) -> None:
    verify(GOOD[name]())


BAD: dict[str, tuple[str, Callable[[], Kernel]]] = {
    "undefined variable": ("i is used before", lambda: kernel(Store(y, (i, index(0)), ZERO))),
    "variable after its loop": (
        "i is used before",
        lambda: kernel(loop(i, 2, "serial"), Store(y, (i, index(0)), ZERO)),
    ),
    "name twice": ("i is defined twice", lambda: kernel(loop(i, 2, "serial", loop(i, 2, "serial")))),
    "variable dtype": (
        "is int64, used as int32",
        lambda: kernel(loop(i, 2, "serial", Store(y, (Var("i", int32), index(0)), ZERO))),
    ),
    "dtype of operands": (
        "add of float32 and int64",
        lambda: kernel(Store(y, (index(0), index(0)), add(ZERO, index(1)))),
    ),
    "stored dtype": ("store of int64", lambda: kernel(Store(y, (index(0), index(0)), index(1)))),
    "float shift": ("shl of float32", lambda: kernel(Store(y, (index(0), index(0)), Binary("shl", ZERO, ZERO)))),
    "integer sqrt": ("sqrt of int64", lambda: kernel(Let(f, Unary("sqrt", index(1))))),
    "constant out of range": ("no int32", lambda: kernel(Let(Var("c", int32), Const(2**31, int32)))),
    "integer float constant": ("no float32", lambda: kernel(Let(Var("c", float32), Const(1, float32)))),
    "integer fma": ("fma of int64", lambda: kernel(Let(f, Fma(index(1), index(1), index(1))))),
    "bitcast width": ("bitcast", lambda: kernel(Let(f, Bitcast(ZERO, int64)))),
    "select": ("select of", lambda: kernel(Let(f, Select(index(1), index(1), index(1))))),
    "condition": ("condition is int64", lambda: kernel(If(index(1), ()))),
    "rank": ("2 dimensions, 1 indices", lambda: kernel(Store(y, (index(0),), ZERO))),
    "store to in": ('"in" parameter x', lambda: kernel(Store(x, (index(0), index(0)), ZERO))),
    "out of bounds": ("out of bounds", lambda: kernel(Store(y, (index(12), index(0)), ZERO))),
    "possibly out of bounds": (
        "may be out of bounds",
        lambda: kernel(loop(i, 13, "parallel", Store(y, (i, index(0)), ZERO))),
    ),
    "weak guard": (
        "may be out of bounds",
        lambda: kernel(loop(i, 20, "serial", If(Compare("le", i, index(12)), (Store(y, (i, index(0)), ZERO),)))),
    ),
    "weak guard of every second row": (
        "may be out of bounds",
        lambda: kernel(loop(i, 16, "serial", If(Compare("lt", i, index(7)), (Store(y, (mul(i, 2), index(0)), ZERO),)))),
    ),
    "race: no counter": (
        "two iterations",
        lambda: kernel(loop(i, 12, "parallel", Store(y, (index(0), index(0)), ZERO))),
    ),
    "race: neighbours": (
        "two iterations",
        lambda: kernel(
            loop(i, 11, "parallel", Store(y, (i, index(0)), ZERO), Store(y, (add(i, index(1)), index(0)), ZERO))
        ),
    ),
    "race: read of another iteration": (
        "two iterations",
        lambda: kernel(loop(i, 11, "parallel", Store(y, (i, index(0)), Load(y, (add(i, index(1)), index(0)))))),
    ),
    "race: overlapping tiles": ("may meet", lambda: kernel(copy_tile(extra=1))),
    "race: reduction over lanes": (
        "two lanes",
        lambda: kernel(loop(i, 12, "vector", Accumulate(((y, (index(0), index(0))),), (ZERO,), "add"))),
    ),
    "race: scatter": (
        "two iterations",
        lambda: kernel(loop(i, 12, "parallel", Store(y, (Load(idx, (i,)), index(0)), ZERO))),
    ),
    "race: fused remainder alone": (
        "two iterations",
        lambda: kernel(loop(f, 192, "parallel", Store(y, (index(0), rem(f, 16)), ZERO))),
    ),
    "race: fused tiles of another width": ("two iterations", lambda: kernel(fused_tiles(6, 3))),
    "race: interleaving too wide": (
        "two iterations",
        lambda: kernel(
            loop(lane, 5, "parallel", loop(k, 2, "serial", Store(y, (index(0), add(mul(k, 4), lane)), ZERO)))
        ),
    ),
    "arena below the top": (
        "arena scratch",
        lambda: kernel(loop(i, 2, "serial", Alloc(Buffer("s", float32, (1,), "arena")))),
    ),
    "param alloc": ("space param", lambda: kernel(Alloc(Buffer("s", float32, (1,))))),
    "asked for with too few indices": ("2 dimensions, 1 indices", lambda: kernel(Prefetch(x, (index(0),)))),
    "scratch out of scope": (
        "s is used before",
        lambda: kernel(
            loop(i, 2, "serial", Alloc(Buffer("s", float32, (1,), "register"))),
            Store(Buffer("s", float32, (1,), "register"), (index(0),), ZERO),
        ),
    ),
    "a store at places of data": (
        "may meet",
        lambda: kernel(loop(i, 12, "parallel", Store(y, (Load(idx, (i,)), index(0)), ZERO))),
    ),
    "a distinct store beside another": (
        "may meet",
        lambda: kernel(
            loop(
                i,
                12,
                "parallel",
                Store(y, (Load(idx, (i,)), index(0)), ZERO, distinct=True),
                Store(y, (i, index(0)), ZERO),
            )
        ),
    ),
    "a distinct store beside a load": (
        "may meet",
        lambda: kernel(
            loop(i, 12, "parallel", Store(y, (Load(idx, (i,)), index(0)), Load(y, (i, index(0))), distinct=True))
        ),
    ),
    "vector extent": (
        "must be constant",
        lambda: kernel(loop(i, 2, "serial", For(j, add(i, index(1)), "vector", ()))),
    ),
    "negative extent": ("negative extent", lambda: kernel(loop(i, -1, "serial"))),
    "while bound": ("bound is 0", lambda: kernel(While(Const(True, bool_), 0, ()))),
    "argmax arity": (
        "takes 2",
        lambda: kernel(Accumulate(((y, (index(0), index(0))),), (ZERO,), "argmax")),
    ),
    "float and": ("accumulate and", lambda: kernel(Accumulate(((y, (index(0), index(0))),), (ZERO,), "and"))),
    "alias": (
        "cannot alias",
        lambda: Kernel("k", (Param(idx, "in"), Param(y, "out", aliases_ok=("idx",))), ()),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_rejects(name: str) -> None:
    message, build = BAD[name]
    with pytest.raises(VerifyError, match=message) as raised:
        verify(build())
    assert str(raised.value).startswith("kernel k: ")


def test_blocks_and_threads_stand_where_they_may() -> None:
    good = """kernel k(
  in x: f32[4, 8],
  out y: f32[4, 8],
):
  block a in 0..2:
    block b in 0..2:
      alloc shared row: f32[8]
      thread t in 0..8:
        row[t] = x[a * 2 + b, t]
      serial c in 0..2:
        thread u in 0..4:
          y[a * 2 + b, c * 4 + u] = row[7 - c * 4 - u]
"""
    verify(parse_kernel(good))
    assert print_kernel(parse_kernel(good)) + "\n" == good
    for old, new, message in (
        ("block a", "serial a", "a block loop is a phase of its own"),
        ("block b", "thread b", "alone"),
        ("alloc shared", "alloc arena", "arena scratch belongs at the top level"),
        ("serial c", "parallel c", "a thread loop is inside block and thread loops only"),
        ("row[t] =", "row[0] =", "two iterations of the thread loop t may meet"),
        ("y[a * 2 + b, c", "y[b, c", "two iterations of the block loop a may meet"),
    ):
        assert old in good
        if message == "alone":
            verify(parse_kernel(good.replace(old, new)))  # teams of threads
            continue
        with pytest.raises(VerifyError, match=message):
            verify(parse_kernel(good.replace(old, new)))
    plain = good.replace("block", "parallel").replace("thread", "parallel")
    with pytest.raises(VerifyError, match="shared scratch belongs to a block loop"):
        verify(parse_kernel(plain))
