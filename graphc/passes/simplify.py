"""Peepholes. Every rule that is on by default gives the same bits, NaN payloads aside; -0.0, NaN and infinities count.

So `x + 0.0` stays (it turns -0.0 into 0.0) while `x - 0.0` goes. `change_floats=True` adds the rules that are only true
of real numbers.
"""

import numpy as np

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import elementwise as e
from graphc.passes.rewrite import AnyRule, Context, Lit, NodeRule, Rule, Var, op, rewrite

x, y, z = Var("x"), Var("y"), Var("z")
neg, abs_, sign, not_ = op(e.neg), op(e.abs_), op(e.sign), op(e.not_)
add, sub, mul, div, rem = op(e.add), op(e.sub), op(e.mul), op(e.div), op(e.rem)
max_, min_, and_, or_, xor = op(e.max_), op(e.min_), op(e.and_), op(e.or_), op(e.xor)
eq, ne, lt, le, gt, ge = op(e.eq), op(e.ne), op(e.lt), op(e.le), op(e.gt), op(e.ge)
select, shift_left, shift_right = op(e.select), op(e.shift_left), op(e.shift_right)
floor, ceil, trunc, round_ = op(e.floor), op(e.ceil), op(e.trunc), op(e.round_)

FLOAT, INTEGER, SIGNED, BOOL = ("float",), ("int", "uint"), ("int",), ("bool",)
DISCRETE = INTEGER + BOOL
ZERO, ONE, MINUS_ZERO, MINUS_ONE, TRUE, FALSE = Lit(0), Lit(1), Lit(-0.0), Lit(-1), Lit(True), Lit(False)


def _reciprocal(context: Context, node: Node) -> Value | None:
    """x / 2^k = x * 2^-k: both round the same real number, as long as 2^-k is a normal number."""
    dividend, divisor = node.operands
    number = context.uniform(divisor)
    if number is None or not divisor.dtype.is_float:
        return None
    mantissa, _ = np.frexp(float(number))
    smallest = 2.0**-1022 if divisor.dtype.bits == 64 else 2.0**-126
    if abs(float(mantissa)) != 0.5 or not smallest <= abs(float(number)) <= 1 / smallest:
        return None
    c = context.compose(node)
    return c.mul(dividend, c.full(divisor.type, 1 / float(number)))


EXACT: tuple[AnyRule, ...] = (
    Rule(mul(x, ONE), x),  # x * 1 = x
    Rule(div(x, ONE), x),  # x / 1 = x
    Rule(mul(x, MINUS_ONE), neg(x), FLOAT + SIGNED),  # x * -1 = -x
    Rule(div(x, MINUS_ONE), neg(x), FLOAT + SIGNED),  # x / -1 = -x
    NodeRule((e.div,), _reciprocal),
    Rule(sub(x, ZERO), x),  # x - 0 = x
    Rule(add(x, MINUS_ZERO), x, FLOAT),  # x + -0.0 = x
    Rule(sub(MINUS_ZERO, x), neg(x), FLOAT),  # -0.0 - x = -x
    Rule(add(x, ZERO), x, INTEGER),
    Rule(sub(ZERO, x), neg(x), SIGNED),
    Rule(sub(x, x), ZERO, INTEGER),
    Rule(mul(x, ZERO), ZERO, INTEGER),
    Rule(rem(x, ONE), ZERO, INTEGER),
    Rule(shift_left(x, ZERO), x),
    Rule(shift_right(x, ZERO), x),
    Rule(abs_(abs_(x)), abs_(x)),
    Rule(abs_(neg(x)), abs_(x)),
    Rule(sign(sign(x)), sign(x)),
    *(Rule(f(f(x)), f(x)) for f in (floor, ceil, trunc, round_)),
    Rule(max_(x, x), x),
    Rule(min_(x, x), x),
    Rule(max_(max_(x, y), y), max_(x, y), DISCRETE),  # of 0.0 and -0.0 a float max may give either
    Rule(min_(min_(x, y), y), min_(x, y), DISCRETE),
    Rule(and_(x, x), x),
    Rule(or_(x, x), x),
    Rule(xor(x, x), ZERO, INTEGER),
    Rule(xor(x, x), FALSE, BOOL),
    Rule(or_(x, ZERO), x, INTEGER),
    Rule(and_(x, ZERO), ZERO, INTEGER),
    Rule(and_(x, TRUE), x, BOOL),
    Rule(and_(x, FALSE), FALSE, BOOL),
    Rule(or_(x, TRUE), TRUE, BOOL),
    Rule(or_(x, FALSE), x, BOOL),
    Rule(xor(x, FALSE), x, BOOL),
    Rule(xor(x, TRUE), not_(x), BOOL),
    Rule(not_(eq(x, y)), ne(x, y)),
    Rule(not_(ne(x, y)), eq(x, y)),
    Rule(select(TRUE, x, y), x),
    Rule(select(FALSE, x, y), y),
    Rule(select(x, y, y), y),
    Rule(select(x, select(x, y, z), Var("w")), select(x, y, Var("w"))),
    Rule(select(x, y, select(x, Var("w"), z)), select(x, y, z)),
    # integers and bools have no NaN
    *(Rule(f(x, x), TRUE, DISCRETE) for f in (eq, le, ge)),
    *(Rule(f(x, x), FALSE, DISCRETE) for f in (ne, lt, gt)),
)

REAL: tuple[AnyRule, ...] = (
    Rule(add(x, ZERO), x, FLOAT, changes_floats=True),  # not for -0.0
    Rule(mul(x, ZERO), ZERO, FLOAT, changes_floats=True),  # not for NaN, infinities, negative x
    Rule(sub(x, x), Lit(0.0), FLOAT, changes_floats=True),  # not for NaN, infinities
    Rule(div(mul(x, y), y), x, FLOAT, changes_floats=True),  # not for y == 0
)


@dataclass(frozen=True, slots=True)
class Simplify:
    """Apply the peepholes; those of real numbers only with `change_floats`.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Simplify().run(
    ...         parse('''
    ... graph f(%0: f32[3] x) {
    ...   %1: f32[3] = constant() {value=f32[3]{4.0, 4.0, 4.0}}
    ...   %2: f32[3] = div(%0, %1)
    ...   %3: f32[3] = constant() {value=f32[3]{0.0, 0.0, 0.0}}
    ...   %4: f32[3] = sub(%2, %3)
    ...   return %4
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[3] x) {
      %1: f32[] = constant() {value=f32[]{0.25}}
      %2: f32[3] = broadcast(%1) {shape=(3,), dims=()}
      %3: f32[3] = mul(%0, %2)
      return %3
    }
    <BLANKLINE>
    """

    change_floats: bool = False
    name: str = "simplify"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, (*EXACT, *REAL), self.change_floats)
