"""What does not depend on a loop moves out of it, and nothing else does."""

import numpy as np

from graphc.core.dtypes import float32
from graphc.kernel.interpret import run
from graphc.kernel.ir import (
    Alloc,
    Binary,
    Buffer,
    Const,
    Expr,
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
    walk,
)
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.hoist import hoist, precompute
from graphc.kernel.verify import verify

i, j = Var("i"), Var("j")
x, s, out = Buffer("x", float32, (4, 6)), Buffer("s", float32, ()), Buffer("out", float32, (4, 6))


def let(name: str, value: Expr) -> Let:
    return Let(Var(name, value.dtype), value)


def var(name: str) -> Var:
    return Var(name, float32)


def add(lhs: Expr, rhs: Expr) -> Expr:
    return Binary("add", lhs, rhs)


def loop(counter: Var, extent: int, *body: Stmt, kind: LoopKind = "serial") -> For:
    return For(counter, index(extent), kind, body)


def scaled_rows(kind: LoopKind) -> For:
    """out[i, j] = x[i, j] / sqrt(s) + x[i, 0], all of it named inside."""
    return loop(
        i,
        4,
        loop(
            j,
            6,
            let("scale", Load(s, ())),
            let("root", Unary("sqrt", var("scale"))),
            let("first", Load(x, (i, index(0)))),
            let("here", Load(x, (i, j))),
            let("quotient", Binary("div", var("here"), var("root"))),
            Store(out, (i, j), add(var("quotient"), var("first"))),
            kind=kind,
        ),
        kind=kind,
    )


def kernel(*body: Stmt) -> Kernel:
    return Kernel("k", (Param(x, "in"), Param(s, "in"), Param(out, "out")), body)


def results(of: Kernel) -> np.ndarray:
    verify(of)
    values = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    target = np.zeros((4, 6), np.float32)
    run(of, [values, np.array(3.0, np.float32), target])
    return target


def lets_in(statements: tuple[Stmt, ...]) -> list[str]:
    """Names of the `Let`s directly in a block."""
    return [statement.var.name for statement in statements if isinstance(statement, Let)]


def test_values_stop_at_the_loop_they_depend_on() -> None:
    before = scaled_rows("serial")
    after = hoist((before,))
    assert lets_in(after) == ["scale", "root"]
    outer = after[-1]
    assert isinstance(outer, For) and lets_in(outer.body) == ["first"]
    assert np.array_equal(results(kernel(*after)), results(kernel(before)))


def test_a_parallel_loop_keeps_what_is_in_it() -> None:
    (outer,) = hoist((loop(i, 4, scaled_rows("serial").body[0], kind="parallel"),))
    assert isinstance(outer, For) and lets_in(outer.body) == ["scale", "root", "first"]


def test_what_is_stored_in_the_loop_is_read_in_it() -> None:
    step = (let("old", Load(out, (index(0), index(0)))), Store(out, (index(0), index(0)), add(var("old"), var("old"))))
    assert lets_in(hoist((loop(i, 4, *step),))) == []
    private = Buffer("private", float32, ())
    scratch = (Alloc(private), let("held", Load(private, ())), Store(out, (i, index(0)), var("held")))
    assert lets_in(hoist((loop(i, 4, *scratch),))) == []


def test_a_loop_that_may_not_run_keeps_its_loads() -> None:
    rows = Buffer("rows", float32, (1,))
    body = (let("value", Load(rows, (index(0),))), let("one", Const(1.0, float32)), Store(out, (i, j), var("value")))
    inner = For(j, i, "serial", body)
    (outer,) = [s for s in hoist((loop(i, 4, inner),)) if isinstance(s, For)]
    (kept,) = [s for s in outer.body if isinstance(s, For)]
    assert lets_in(kept.body) == ["value"]


def test_what_all_iterations_compute_is_computed_by_a_phase_in_front() -> None:
    before = scaled_rows("parallel")
    front, nest = precompute(before, Names(kernel(before)), lambda lets: True)
    after = kernel(*front, nest)
    assert np.array_equal(results(after), results(kernel(before)))
    roots = [s for s in walk((nest,)) if isinstance(s, Let) and isinstance(s.value, Unary)]
    assert not roots
    assert [type(s) for s in front] == [Alloc, For]


def test_cheap_values_stay() -> None:
    before = scaled_rows("parallel")
    assert precompute(before, Names(kernel(before)), lambda lets: len(lets) > 2) == ((), before)
