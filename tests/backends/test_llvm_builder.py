"""Instructions written once: in front of loops that do not change them, and only where their result is known."""

import numpy as np

from graphc.core.dtypes import float32
from graphc.kernel.ir import Binary, Buffer, Compare, For, If, Kernel, Let, Load, Param, Store, Var, index
from graphc_llvm.builder import Builder
from graphc_llvm.kernels import compile_kernel
from tests.backends.llvm_kernels import run_interpreted, run_native, same_bits


def body(b: Builder) -> list[str]:
    return b.text("f").split("\n")[4:-1]


def test_pure_goes_in_front_of_the_loops_that_do_not_change_its_operands() -> None:
    b = Builder(set())
    outer = b.emit("outer")
    with b.loop():
        b.start("loop")
        counter = b.counter()
        with b.loop():
            b.start("inner")
            twice = b.pure(f"mul i64 {outer}, 2", outer)
            moved = b.pure(f"mul i64 {counter}, 3", counter)
            both = b.pure(f"add i64 {twice}, {moved}", twice, moved)
            b.pure(f"mul i64 {outer}, 2", outer)
    assert body(b) == [
        f"  {outer} = outer",
        f"  {twice} = mul i64 {outer}, 2",
        "loop:",
        f"  {moved} = mul i64 {counter}, 3",
        f"  {both} = add i64 {twice}, {moved}",
        "inner:",
    ]


def test_what_a_branch_computes_is_not_known_after_it() -> None:
    b = Builder(set())
    x = b.emit("x")
    with b.branching():
        first = b.pure(f"mul i64 {x}, 2", x)
        with b.loop():
            assert b.pure(f"mul i64 {x}, 2", x) == first
    assert b.pure(f"mul i64 {x}, 2", x) != first


def test_what_stays_near_is_written_once_per_region() -> None:
    b = Builder(set())
    x = b.emit("x")
    with b.loop():
        inside = b.near(f"near {x}", x)
        assert b.near(f"near {x}", x) == inside
    assert b.near(f"near {x}", x) != inside


def test_notes_keep_their_lines() -> None:
    b = Builder(set())
    x = b.emit("x")
    with b.loop():
        b.start("loop")
        b.note("out")
        b.do("store")
        b.pure(f"mul i64 {x}, 2", x)
    (line,) = b.line_notes()
    assert b.text("f").split("\n")[line - 1] == "  store"


def tiled() -> Kernel:
    """out[i, j + 4 * u] = in[j + 4 * u, i]."""
    i, j, row = Var("i"), Var("j"), Var("row")
    source, target = Buffer("in0", float32, (12, 5)), Buffer("out0", float32, (5, 12))
    stores = []
    for u in range(3):
        column = Binary("add", Binary("mul", j, index(1)), index(4 * u))
        stores.append(Store(target, (i, column), Load(source, (column, row))))
    inner = For(j, index(4), "serial", (If(Compare("ne", j, index(1)), tuple(stores), tuple(reversed(stores))),))
    body = (For(i, index(5), "serial", (Let(row, Binary("sub", Binary("mul", i, index(2)), i)), inner)),)
    return Kernel("tiled", (Param(source, "in"), Param(target, "out")), body)


def test_addresses_of_a_tile_share_all_but_a_constant() -> None:
    (phase,) = compile_kernel(tiled()).phases
    inner = phase.body[phase.body.index("icmp ne") : phase.body.index("icmp slt")]
    assert inner.count("getelementptr") <= 2 * 2 * (1 + 2)
    assert ", 12\n" not in inner  # the target's row is computed in front of the loop


def test_the_tile_is_right() -> None:
    source = np.random.default_rng(3).random((12, 5), np.float32)
    (ours,), (expected,) = run_native(tiled(), [source]), run_interpreted(tiled(), [source])
    assert same_bits(ours, expected) and ours.any()
