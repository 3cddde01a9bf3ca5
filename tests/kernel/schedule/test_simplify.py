"""Index simplification."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.core.dtypes import bool_, int64
from graphc.kernel.interpret import _Frame, evaluate
from graphc.kernel.ir import Binary, Compare, Const, Expr, Select, Unary, Var, index
from graphc.kernel.schedule import as_affine, bounds, counter_range, simplify_expr

i, j = Var("i"), Var("j")
FACTS = counter_range(j, 4, counter_range(i, 10))


def op(name: str, a: Expr, b: Expr | int) -> Expr:
    return Binary(name, a, index(b) if isinstance(b, int) else b)  # type: ignore[arg-type]


i4j = op("add", op("mul", i, 4), j)
CASES: dict[str, tuple[Expr, Expr]] = {
    "x + 0": (op("add", i, 0), i),
    "x * 1": (op("mul", i, 1), i),
    "x - x": (op("sub", i, i), index(0)),
    "constants": (op("add", index(2), op("mul", index(3), index(4))), index(14)),
    "quotient of digits": (op("div", i4j, 4), i),
    "remainder of digits": (op("rem", i4j, 4), j),
    "small quotient": (op("div", j, 4), index(0)),
    "small remainder": (op("rem", j, 4), j),
    "digits join": (op("add", op("mul", op("div", i, 3), 3), op("rem", i, 3)), i),
    "quotient of quotient": (op("div", op("div", i, 3), 2), op("div", i, 6)),
    "shift is a product": (op("sub", op("shl", i, 2), op("mul", i, 3)), i),
    "min decided": (op("min", i, 9), i),
    "max decided": (op("max", i, 0), i),
    "compare decided": (Compare("lt", i4j, index(40)), Const(True, bool_)),
    "select decided": (Select(Compare("ge", i, index(10)), i, j), j),
}


@pytest.mark.parametrize("name", CASES)
def test_simplifies(name: str) -> None:
    before, after = CASES[name]
    assert simplify_expr(before, FACTS) == after


def test_affine_form() -> None:
    form = as_affine(op("sub", op("mul", op("add", i, 2), 3), j))
    assert form is not None
    assert form.coefficients == {i: 3, j: -1}
    assert form.const == 6
    assert as_affine(op("mul", i, j)) is None


LEAVES = st.one_of(st.sampled_from([i, j]), st.integers(-6, 12).map(index))


def _grow(children: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    both = st.tuples(st.sampled_from(["add", "sub", "min", "max"]), children, children).map(lambda t: Binary(*t))
    scaled = st.tuples(st.sampled_from(["mul", "div", "rem"]), children, st.integers(1, 7).map(index)).map(
        lambda t: Binary(*t)
    )
    choice = st.tuples(children, children, children).map(lambda t: Select(Compare("lt", t[0], t[1]), t[1], t[2]))
    return st.one_of(both, scaled, choice, children.map(lambda e: Unary("neg", e)))


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.recursive(LEAVES, _grow, max_leaves=8))
def test_simplified_expressions_and_bounds_are_right(expr: Expr) -> None:
    columns = np.meshgrid(np.arange(10), np.arange(4))
    frame = _Frame(40, {"i": columns[0].ravel(), "j": columns[1].ravel()}, {}, {})
    want = np.broadcast_to(evaluate(expr, frame), 40)
    simple = simplify_expr(expr, FACTS)
    assert simple.dtype == int64
    np.testing.assert_array_equal(np.broadcast_to(evaluate(simple, frame), 40), want)
    found = bounds(expr, FACTS)
    assert found.low is None or found.low <= want.min()
    assert found.high is None or found.high >= want.max()
