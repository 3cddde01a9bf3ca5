"""Loop-IR text: golden, round trips, errors."""

import math
from collections.abc import Callable

import pytest

from graphc.core.dtypes import bool_, float32, float64, int32, int64, uint32
from graphc.core.errors import ParseError
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Bitcast,
    Buffer,
    Cast,
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
    Prefetch,
    Select,
    Store,
    Unary,
    Var,
    While,
    index,
)
from graphc.kernel.math import FUNCTIONS
from graphc.kernel.text import parse_kernel, print_expr, print_kernel
from tests.kernel import math_harness

i, j, k = Var("i"), Var("j"), Var("k")
a, b, c = Buffer("a", float32, (64, 32)), Buffer("b", float32, (32, 48)), Buffer("c", float32, (64, 48))
best, place = Buffer("best", float32, (64,)), Buffer("place", int64, (64,))
acc = Buffer("acc", float32, (), "register")


def everything() -> Kernel:
    """A product, its largest entry per row, and one of each other statement."""
    chain = For(k, index(32), "serial", (Store(acc, (), Fma(Load(a, (i, k)), Load(b, (k, j)), Load(acc, ()))),))
    largest = Accumulate(((best, (i,)), (place, (i,))), (Load(acc, ()), j), "argmax")
    far = Prefetch(a, (Binary("add", i, index(14)), index(0)))
    product = (Alloc(acc), far, Store(acc, (), Const(0.0, float32)), chain, Store(c, (i, j), Load(acc, ())), largest)
    row = (
        Store(best, (i,), Const(-math.inf, float32)),
        Store(place, (i,), index(-1)),
        For(j, index(48), "serial", product),
    )
    r, t = Var("r"), Var("t", float32)
    small = Compare("lt", t, Const(1.5, float32))
    least = Binary("min", t, Load(best, (r,)))
    tail = (
        Let(t, Unary("abs", Load(best, (r,)))),
        If(
            Binary("and", small, Compare("ne", r, index(3))),
            (Accumulate(((best, (r,)),), (t,), "add"),),
            (
                While(
                    Compare("gt", Load(best, (r,)), t),
                    4,
                    (Store(best, (r,), least, distinct=True),),
                ),
            ),
        ),
    )
    params = (
        Param(a, "in", "x f32[64,32] train.py:3"),
        Param(b, "in"),
        Param(c, "out", aliases_ok=("a", "b")),
        Param(best, "inout"),
        Param(place, "out", 'a "quoted" name'),
    )
    body = (For(i, index(64), "parallel", row), For(r, Binary("add", index(2), index(3)), "serial", tail))
    return Kernel("dot_general.3", params, body, 196608, ("train.py:31", "train.py:32"))


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("kernel/everything", print_kernel(everything()))


def test_everything_parses_back() -> None:
    assert parse_kernel(print_kernel(everything())) == everything()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_math_expansions_parse_back(name: str) -> None:
    kernel = math_harness.kernel(name, "float64", 4, 2 if name == "pow" else 1)
    assert parse_kernel(print_kernel(kernel)) == kernel


x, y = Var("x"), Var("y")
p, q = Var("p", float32), Var("q", float32)
u = Var("u", uint32)


def op(name: str, lhs: Expr, rhs: Expr) -> Expr:
    return Binary(name, lhs, rhs)  # type: ignore[arg-type]


EXPRESSIONS: dict[str, Expr] = {
    "x - (y - x)": op("sub", x, op("sub", y, x)),
    "x - y - x": op("sub", op("sub", x, y), x),
    "(x + y) * x": op("mul", op("add", x, y), x),
    "x + y * x": op("add", x, op("mul", y, x)),
    "x / (y % 3) / 4": op("div", op("div", x, op("rem", y, index(3))), index(4)),
    "x & y | x ^ y << 2": op("or", op("and", x, y), op("xor", x, op("shl", y, index(2)))),
    "x - -3": op("sub", x, index(-3)),
    "neg(x)": Unary("neg", x),
    "x < y": Compare("lt", x, y),
    "(x < y) == (y >= x)": Compare("eq", Compare("lt", x, y), Compare("ge", y, x)),
    "x < y & x != y": Compare("lt", x, Compare("ne", op("and", y, x), y)),
    "select(x == y, p, q)": Select(Compare("eq", x, y), p, q),
    "as_u32(p) >> 3:u32": op("shr", Bitcast(p, uint32), Const(3, uint32)),
    "f64(p)": Cast(p, float64),
    "max(p, -0.0:f32)": op("max", p, Const(-0.0, float32)),
    "1e-40:f64": Const(1e-40, float64),
    "inf": Const(math.inf, float32),
    "nan": Const(math.nan, float32),
    "true": Const(True, bool_),
    "i32": Const(-(2**31), int32),
    "u + 4294967295:u32": op("add", u, Const(2**32 - 1, uint32)),
}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions_parse_back(text: str) -> None:
    expr = EXPRESSIONS[text]
    body = (
        Let(x, index(1)),
        Let(y, index(2)),
        Let(p, Const(1.0, float32)),
        Let(q, Const(1.0, float32)),
        Let(u, Const(1, uint32)),
        Let(Var("result", expr.dtype), expr),
    )
    kernel = Kernel("k", (), body)
    assert parse_kernel(print_kernel(kernel)) == kernel


@pytest.mark.parametrize("text", [t for t in EXPRESSIONS if any(s in t for s in "(-&:") and t != "x < y & x != y"])
def test_expressions_print_with_few_parentheses(text: str) -> None:
    assert print_expr(EXPRESSIONS[text]) == text


BAD = {
    "kernel k(\n):\n  y[0] = 1": "line 3: unknown buffer y",
    "kernel k(\n  in x: f99[1],\n):": "line 2: unknown dtype f99",
    "kernel k(\n  by x: f32[1],\n):": "line 2: unknown mode by",
    "kernel k(\n):\n  let a: i64 = b": "line 3: unknown variable b",
    "kernel k(\n):\n  let a: i64 = 1 2": "line 3: unexpected 2",
    "kernel k(\n):\n  let a: i64 = fma(1, 2)": "line 3: fma takes 3",
    "kernel k(\n):\n  let a: i64 = gamma(1)": "line 3: unknown function gamma",
    "kernel k(\n):\n  let a: i64 = 1.5": "line 3: 1.5 is no int64",
    "kernel k(\n):\n  serial i in 1..3:": "line 3: loops start at 0",
    "kernel k(\n):\n  goto i": "line 3: unknown statement goto",
    "kernel k(\n):\n  let a: i64 = 1\n      let b: i64 = 1": "line 4: unexpected indentation",
    "kernel k(\n):\n  let a: i64 = $": "line 3: cannot read",
    "kernel k(": "ends too early",
}


@pytest.mark.parametrize("text", BAD)
def test_errors_name_the_line(text: str) -> None:
    with pytest.raises(ParseError, match=BAD[text].replace("(", "\\(")):
        parse_kernel(text)
