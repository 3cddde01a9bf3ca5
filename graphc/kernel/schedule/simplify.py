"""Simplify index arithmetic: constants folded, sums in normal form, divisions and remainders with known ranges gone.

Only int64 arithmetic and integer comparisons are touched, so no float result changes.
"""

from dataclasses import replace

from graphc.core.dtypes import bool_, int64
from graphc.kernel.affine import NOTHING, Facts, Interval, bounds, is_exact, normal, to_expr
from graphc.kernel.independence import inside_loop
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    CallLibrary,
    Compare,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
)
from graphc.kernel.schedule.edit import Block, map_expr

_SUMS = ("add", "sub", "mul", "div", "rem", "shl")


def simplify_expr(expr: Expr, facts: Facts = NOTHING) -> Expr:
    """An equal expression, shorter where ranges in `facts` allow."""
    known = replace(facts, lets={})  # variables stay named

    def node(e: Expr) -> Expr:
        match e:
            case Binary(op, lhs, rhs) if e.dtype == int64 and op in _SUMS:
                return to_expr(normal(e, known))
            case Unary("neg", _) if e.dtype == int64:
                return to_expr(normal(e, known))
            case Binary("min" | "max" as op, lhs, rhs) if e.dtype == int64:
                return _extremum(e, op == "min", lhs, rhs, known)
            case Compare(_, lhs, rhs) if lhs.dtype == int64:
                decided = _decide(e, known)
                return e if decided is None else Const(decided, bool_)
            case Binary("and" | "or" as op, lhs, rhs) if e.dtype == bool_:
                return _logic(e, op == "and", lhs, rhs)
            case Select(Const(value, _), on_true, on_false):
                return on_true if value else on_false
            case _:
                return e

    return map_expr(expr, node)


def _gap(lhs: Expr, rhs: Expr, facts: Facts) -> Interval:
    """Bounds of the difference; none where a side, which may be the user's arithmetic, may wrap."""
    if not (is_exact(bounds(lhs, facts)) and is_exact(bounds(rhs, facts))):
        return Interval()
    return bounds(Binary("sub", lhs, rhs), facts)


def _extremum(expr: Expr, smaller: bool, lhs: Expr, rhs: Expr, facts: Facts) -> Expr:
    gap = _gap(lhs, rhs, facts)
    if gap.high is not None and gap.high <= 0:
        return lhs if smaller else rhs
    if gap.low is not None and gap.low >= 0:
        return rhs if smaller else lhs
    return expr


def _decide(expr: Compare, facts: Facts) -> bool | None:
    gap = _gap(expr.lhs, expr.rhs, facts)
    low, high = gap.low, gap.high
    always = {
        "lt": high is not None and high < 0,
        "le": high is not None and high <= 0,
        "gt": low is not None and low > 0,
        "ge": low is not None and low >= 0,
        "eq": low == high == 0,
        "ne": (low is not None and low > 0) or (high is not None and high < 0),
    }
    opposite = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}
    if always[expr.op]:
        return True
    return False if always[opposite[expr.op]] else None


def _logic(expr: Expr, is_and: bool, lhs: Expr, rhs: Expr) -> Expr:
    for this, other in ((lhs, rhs), (rhs, lhs)):
        if isinstance(this, Const):
            return other if bool(this.value) == is_and else this
    return expr


def simplify_block(statements: Block, facts: Facts = NOTHING) -> Block:
    """Simplify every expression; conditions that are decided and loops that never run disappear."""
    result: list[Stmt] = []
    for statement in statements:
        match statement:
            case For(var, extent, kind, body):
                extent = simplify_expr(extent, facts)
                if isinstance(extent, Const) and extent.value == 0:
                    continue
                loop = For(var, extent, kind, body)
                result.append(replace(loop, body=simplify_block(body, inside_loop(loop, facts))))
            case Let(var, value):
                result.append(Let(var, simplify_expr(value, facts)))
            case Store(buffer, idx, value):
                index = tuple(simplify_expr(i, facts) for i in idx)
                result.append(replace(statement, index=index, value=simplify_expr(value, facts)))
            case Accumulate(targets, values, combine):
                places = tuple((b, tuple(simplify_expr(i, facts) for i in idx)) for b, idx in targets)
                result.append(Accumulate(places, tuple(simplify_expr(v, facts) for v in values), combine))
            case If():
                result += _simplify_if(statement, facts)
            case While(cond, bound, body):
                result.append(While(simplify_expr(cond, facts), bound, simplify_block(body, facts)))
            case Prefetch(buffer, idx):
                result.append(Prefetch(buffer, tuple(simplify_expr(i, facts) for i in idx)))
            case Alloc() | CallLibrary():
                result.append(statement)
    return tuple(result)


def _simplify_if(statement: If, facts: Facts) -> Block:
    cond = simplify_expr(statement.cond, facts)
    then = simplify_block(statement.then, facts.with_guard(cond))
    orelse = simplify_block(statement.orelse, facts.with_guard(cond, False))
    if isinstance(cond, Const):
        taken = then if cond.value else orelse
        scoped = any(isinstance(s, Alloc | Let) for s in taken)  # names must not leak into the block around
        return (If(cond, then, orelse),) if scoped else taken
    return (If(cond, then, orelse),) if then or orelse else ()


def simplify(kernel: Kernel) -> Kernel:
    """The same kernel with simpler index arithmetic."""
    return replace(kernel, body=simplify_block(kernel.body))


def counter_range(var: Var, extent: int, facts: Facts = NOTHING) -> Facts:
    """`facts` with 0 <= var < extent, for `simplify_expr` outside of a kernel."""
    return inside_loop(For(var, Const(extent, int64), "serial", ()), facts)
