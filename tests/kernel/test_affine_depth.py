"""Bounds of long chains of selects, as the shuffle of the data loader makes them: linear time, no deep recursion."""

from __future__ import annotations

from graphc.core.dtypes import int64
from graphc.kernel.affine import Facts, Interval, bounds
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
