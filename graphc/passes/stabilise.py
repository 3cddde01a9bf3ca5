"""Numerically fragile forms become stable ones: log(softmax), log(sum(exp)), log(sigmoid), log(1 + exp), naive softmax.

The equations hold for real numbers; in floating point the right side is at least as accurate and does not overflow, so
results change (for the better). The flag GRAPHC_STABILISE, which the caller of the pipeline reads, turns the pass off.
Gradients are covered too: differentiation comes before this pass, so what it makes of the fragile forms is recognised
as well. Canonical forms come in: run `Canonicalise` and `Cse` first; both run in here between the steps.
"""

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops import elementwise as e
from graphc.graph.ops import movement
from graphc.passes.canonicalise import Canonicalise
from graphc.passes.cse import Cse
from graphc.passes.rewrite import (
    MAX_SWEEPS,
    AnyRule,
    Apply,
    Context,
    Lit,
    NodeRule,
    Pattern,
    Rule,
    Var,
    build,
    op,
    rewrite,
    with_regions,
)
from graphc.passes.shift import shift

a, c, d, t, x, y, w = (Var(name) for name in "acdtxyw")
exp, log, log1p, expm1, sigmoid = op(e.exp), op(e.log), op(e.log1p), op(e.expm1), op(e.sigmoid)
neg, abs_, add, sub, mul, div = op(e.neg), op(e.abs_), op(e.add), op(e.sub), op(e.mul), op(e.div)
max_, min_ = op(e.max_), op(e.min_)
E = Var("E", of=(e.exp,))  # positive, whatever its operand
P, Q = Var("P", of=(e.sigmoid,)), Var("Q", of=(e.sigmoid,))
ZERO, ONE, MINUS_ONE = Lit(0), Lit(1), Lit(-1)
FLOAT = ("float",)


def _row(left: Apply, right: Pattern) -> Rule:
    return Rule(left, right, FLOAT, changes_floats=True, may_grow=True)


def _softplus(of: Pattern) -> Apply:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))"""
    return add(max_(of, ZERO), log1p(exp(neg(abs_(of)))))


def _log_of_broadcast(context: Context, node: Node) -> Value | None:
    """log(broadcast(x)) = broadcast(log(x)): the same bits, fewer logarithms."""
    spread = context.made_by(node.operands[0], movement.broadcast)
    if spread is None:
        return None
    compose = context.compose(node)
    return compose(movement.broadcast, compose(e.log, spread.operands[0]), attrs=spread.attrs)


def _log1p_of_exp(context: Context, node: Node) -> Value | None:
    """log1p(exp(x)) = softplus(x), unless x = -|y|: that is how softplus itself is written."""
    inner = context.made_by(node.operands[0], e.exp)
    if inner is None:
        return None
    (value,) = inner.operands
    negated = context.made_by(value, e.neg)
    if negated is not None and context.made_by(negated.operands[0], e.abs_) is not None:
        return None
    compose = context.compose(node)
    return build(_softplus(x), compose, {"x": value}, value.type, value.type)


ROWS: tuple[AnyRule, ...] = (
    NodeRule((e.log,), _log_of_broadcast, budget=2),
    # logarithm of a softmax, and its gradient
    _row(log(exp(x)), x),
    _row(log(div(exp(x), y)), sub(x, log(y))),
    _row(mul(div(c, div(E, y)), div(div(E, y), w)), div(c, w)),
    _row(div(div(c, div(E, y)), y), div(c, E)),
    _row(mul(div(c, E), E), c),
    _row(mul(add(div(c, E), t), E), add(c, mul(t, E))),
    _row(mul(sub(div(c, E), t), E), sub(c, mul(t, E))),
    _row(mul(sub(t, div(c, E)), E), sub(mul(t, E), c)),
    # sigmoid written out, and its gradient
    _row(div(ONE, add(exp(x), ONE)), sigmoid(neg(x))),
    _row(div(exp(x), add(exp(x), ONE)), sigmoid(x)),
    _row(sub(ONE, sigmoid(x)), sigmoid(neg(x))),
    _row(mul(mul(c, div(y, add(exp(x), ONE))), exp(x)), mul(c, mul(y, sigmoid(x)))),
    # logarithm of a sigmoid (binary cross-entropy), and its gradient; P and Q are sigmoids
    _row(log(sigmoid(x)), sub(min_(x, ZERO), log1p(exp(neg(abs_(x)))))),
    _row(mul(div(c, P), mul(P, t)), mul(c, t)),
    _row(mul(add(div(c, P), div(d, Q)), mul(P, Q)), add(mul(c, Q), mul(d, P))),
    _row(mul(sub(div(c, P), div(d, Q)), mul(P, Q)), sub(mul(c, Q), mul(d, P))),
    # log(1 + exp(x)), and its gradient
    _row(log(add(exp(x), ONE)), _softplus(x)),
    NodeRule((e.log1p,), _log1p_of_exp, budget=6, changes_floats=True),
    _row(mul(div(c, add(exp(x), ONE)), exp(x)), mul(c, sigmoid(x))),
    # exp(x) - 1
    _row(sub(exp(x), ONE), expm1(x)),
    _row(add(exp(x), MINUS_ONE), expm1(x)),
)


@dataclass(frozen=True, slots=True)
class Stabilise:
    """Rewrite fragile forms until none is left.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Stabilise().run(
    ...         parse('''
    ... graph f(%0: f32[2,3] x) {
    ...   %1: f32[2,3] = exp(%0)
    ...   %2: f32[2] = reduce_sum(%1) {axes=(1,)}
    ...   %3: f32[2] = log(%2)
    ...   return %3
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[2,3] x) {
      %1: f32[2] = reduce_max(%0) {axes=(1,)}
      %2: bool[2] = is_finite(%1)
      %3: f32[] = constant() {value=f32[]{0.0}}
      %4: f32[2] = broadcast(%3) {shape=(2,), dims=()}
      %5: f32[2] = select(%2, %1, %4)
      %6: f32[2,3] = broadcast(%5) {shape=(2, 3), dims=(0,)}
      %7: f32[2,3] = sub(%0, %6)
      %8: f32[2,3] = exp(%7)
      %9: f32[2] = reduce_sum(%8) {axes=(1,)}
      %10: f32[2] = log(%9)
      %11: f32[2] = add(%10, %5)
      return %11
    }
    <BLANKLINE>
    """

    name: str = "stabilise"

    def run(self, graph: Graph) -> Graph:
        tidy = (Canonicalise(), Cse())
        for _ in range(MAX_SWEEPS):
            after = rewrite(graph, ROWS, change_floats=True)
            if after is graph:
                return with_regions(graph, shift)
            for each in tidy:
                after = each.run(after)
            graph = after
        raise AssertionError(f"stabilising {graph.name} does not end: some rules undo each other")
