"""Bounds of index arithmetic: of guards together, and of long chains of selects, as the shuffle of the data loader
makes them, in linear time without deep recursion.
"""

from __future__ import annotations

from graphc.core.dtypes import int64
from graphc.kernel.affine import NOTHING, Facts, Interval, bounds, normal
from graphc.kernel.ir import Binary, Compare, Expr, Select, Var, index


def test_a_long_chain_of_selects_is_bounded_quickly() -> None:
    x: Expr = Var("x0", int64)
    facts = Facts({"x0": Interval(0, 9), "k": Interval(0, 9)}, {})
    for number in range(1, 800):
        other = Binary("sub", index(9), x)
        swapped = Select(Compare("lt", Binary("rem", Var("k", int64), index(number + 1)), x), x, other)
        name = Var(f"x{number}", int64)
        facts = facts.with_let(name, swapped)
        x = name
    found = bounds(x, facts)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0
    assert found.high >= 9


def test_a_condition_narrows_the_branches_of_an_outer_select() -> None:
    x = Var("x", int64)
    facts = Facts({"x": Interval(0, 20)}, {})
    assert bounds(Select(Compare("lt", x, index(5)), x, index(3)), facts) == Interval(0, 4)


def test_guards_count_together() -> None:
    """A tile of windows: neither the guard of the row nor that of the tap keeps their sum inside by itself."""
    row, turn, tap = Var("row"), Var("turn"), Var("tap")
    facts = Facts({"row": Interval(0, 7), "turn": Interval(0, 1), "tap": Interval(0, 1)}, {})
    step = Binary("add", Binary("mul", turn, index(2)), tap)
    place = Binary("add", row, step)
    assert bounds(place, facts) == Interval(0, 10)
    facts = facts.with_guard(Compare("lt", row, index(6)))
    assert bounds(place, facts) == Interval(0, 8)
    facts = facts.with_guard(Compare("lt", step, index(3)))
    assert bounds(place, facts) == Interval(0, 7)
    assert bounds(Binary("sub", row, step), facts) == Interval(-2, 5)


def test_a_chain_of_squares_takes_no_time():
    facts = NOTHING
    for k in range(200):
        before = Var(f"x{k}", int64)
        facts = facts.with_let(Var(f"x{k + 1}", int64), Binary("mul" if k % 2 else "add", before, before))
    assert normal(Var("x200", int64), facts).terms[0][1] == 1
