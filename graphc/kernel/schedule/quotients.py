"""Values that depend on a counter through `position / k` alone are computed once for k neighbours.

Random bits are the case: one evaluation of Philox gives the words of four positions. In: the body of a loop, whose
`Let`s compute the words from `position / k` and choose one by `position % k`. Out: either blocks of k vectors, which
compute the words in one vector of quotients, leave them in scratch in the order of positions, and read them from there;
or, for one quotient, the k neighbours one after the other.
"""

from graphc.core.records import dataclass
from graphc.kernel.affine import Affine, Facts, affine, normal, to_expr, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import (
    Alloc,
    Binary,
    Buffer,
    Compare,
    Const,
    Expr,
    If,
    Let,
    Load,
    Select,
    Stmt,
    Store,
    Var,
    index,
    operands,
    walk,
)
from graphc.kernel.schedule.edit import Names, map_expr
from graphc.kernel.schedule.hoist import invariant
from graphc.kernel.schedule.rewrite import Substitution, loop, plus, times
from graphc.kernel.schedule.traverse import facts

WORTH = 20  # values shared by neighbours from which on the way through scratch pays


@dataclass(frozen=True, slots=True)
class Shared:
    """What a body shares among `k` neighbours along a counter."""

    k: int
    quotients: dict[Expr, Affine]  # each `position / k`, and the position
    once: tuple[Let, ...]  # computed from quotients alone
    chosen: dict[str, tuple[Expr, ...]]  # a value of each position: the words it is chosen from
    fixed: tuple[Let, ...]  # the same for the whole loop
    rest: tuple[Stmt, ...]  # what remains for each position; `chosen` is read from scratch


def find_shared(var: Var, body: tuple[Stmt, ...]) -> Shared | None:
    """What can be shared along `var`, if it is worth it."""
    fixed, body = invariant({var.name}, body)
    known = facts((*fixed, *body))
    quotients: dict[Expr, Affine] = {}
    for statement in body:
        if isinstance(statement, Let):
            quotients |= _quotients(statement.value, var, known)
    divisors = {_divisor(quotient) for quotient in quotients}
    if len(divisors) != 1:
        return None
    (k,) = divisors
    moving = {var.name}  # names that change with each position
    once: dict[str, Let] = {}  # by name: what changes with each quotient
    rest: list[Stmt] = []
    for statement in body:
        if not isinstance(statement, Let):
            rest.append(statement)
            continue
        beside = _without(statement.value, quotients)
        used = variables(beside)
        if not used & moving and (beside != statement.value or used & set(once)):
            once[statement.var.name] = statement
        else:
            moving.add(statement.var.name)
            rest.append(statement)
    chosen: dict[str, tuple[Expr, ...]] = {}
    for statement in rest:
        if isinstance(statement, Let):
            words = _words(statement.value, k, set(once), known, quotients)
            if words is not None:
                chosen[statement.var.name] = words
    others = tuple(s for s in rest if not isinstance(s, Let) or s.var.name not in chosen)
    if len(once) < WORTH or not chosen or set(once) & _names(others):
        return None
    return Shared(k, quotients, tuple(once.values()), chosen, fixed, tuple(rest))


def _divisor(quotient: Expr) -> int:
    assert isinstance(quotient, Binary) and isinstance(quotient.rhs, Const)
    return int(quotient.rhs.value)


def _quotients(expr: Expr, var: Var, known: Facts) -> dict[Expr, Affine]:
    """The quotients in an expression whose dividend grows by one with `var`, and that dividend."""
    found: dict[Expr, Affine] = {}
    stack = [expr]
    while stack:
        node = stack.pop()
        match node:
            case Binary("div", dividend, Const(value, dtype)) if dtype.is_integer and value in (2, 4, 8):
                position = normal(dividend, known)
                if position.coefficient(var) == 1:
                    found[node] = position
            case _:
                stack += operands(node)
    return found


def _without(expr: Expr, quotients: dict[Expr, Affine]) -> Expr:
    """The expression with 0 for every quotient."""
    return map_expr(expr, lambda e: index(0) if e in quotients else e)


def _words(expr: Expr, k: int, once: set[str], known: Facts, quotients: dict[Expr, Affine]) -> tuple[Expr, ...] | None:
    """The words a chain `w0 if position % k == 0 else w1 if ... else w(k-1)` chooses from; None for anything else."""
    words: list[Expr] = []
    while isinstance(expr, Select) and len(words) < k - 1:
        if not _picks(expr.cond, len(words), k, known, quotients):
            return None
        words.append(expr.on_true)
        expr = expr.on_false
    words.append(expr)
    fits = len(words) == k and all(isinstance(word, Var) and word.name in once for word in words)
    return tuple(words) if fits else None


def _picks(cond: Expr, number: int, k: int, known: Facts, quotients: dict[Expr, Affine]) -> bool:
    """Whether a condition says `position % k == number` of the position of one of the quotients."""
    match cond:
        case Compare("eq", Var(name), Const(value, _)) if value == number and name in known.lets:
            which = known.lets[name]
            return isinstance(which, Binary) and which.op == "rem" and Binary("div", which.lhs, which.rhs) in quotients
    return False


def _names(statements: tuple[Stmt, ...]) -> set[str]:
    """Variables a block reads."""
    return {name for s in walk(statements) for e in expressions(s) for name in variables(e)}


def neighbours(found: Shared, var: Var, extent: int, quotient: Var, names: Names) -> tuple[Stmt, ...] | None:
    """The body for the k positions from `quotient * k` on, as far as they are below `extent`; None where a group of
    neighbours begins elsewhere.
    """
    start = _start(found, var, index(0), quotient, names)
    if start is None:
        return None
    here, front, once = start
    for let in once:
        here, copied = here.step(let)
        front.append(copied)
    for number in range(found.k):
        rest = tuple(
            Let(s.var, found.chosen[s.var.name][number]) if isinstance(s, Let) and s.var.name in found.chosen else s
            for s in found.rest
        )
        place = plus(times(quotient, found.k), index(number))
        each = here.binding({var.name: place}).block(_needed(rest))
        may_lack = 0 < extent % found.k <= number  # in the last group
        front += (If(Compare("lt", place, index(extent)), each),) if may_lack else each
    return tuple(front)


def shared_blocks(
    found: Shared, var: Var, begin: Expr, count: int, lanes: int, names: Names
) -> tuple[Stmt, ...] | None:
    """The body for `count` blocks of k vectors of positions from `begin` on; None where they begin inside of a group
    of neighbours.
    """
    unit = found.k * lanes
    strip, quotient, vector, lane = names.var(var.name), names.var("quotient"), names.var("vector"), names.var("lane")
    first = plus(begin, times(strip, unit)) if count > 1 else begin
    start = _start(found, var, first, quotient, names)
    if start is None:
        return None
    here, front, once = start
    buffers = {
        name: Buffer(names.fresh("words"), words[0].dtype, (unit,), "register") for name, words in found.chosen.items()
    }
    stores = [
        Store(buffers[name], (plus(times(quotient, found.k), index(number)),), word)
        for name, words in found.chosen.items()
        for number, word in enumerate(words)
    ]
    place = plus(times(vector, lanes), lane)
    rest = tuple(
        Let(s.var, Load(buffers[s.var.name], (place,))) if isinstance(s, Let) and s.var.name in buffers else s
        for s in found.rest
    )
    each = here.binding({var.name: plus(first, place)}).block(_needed(rest))
    body: tuple[Stmt, ...] = (
        *(Alloc(buffer) for buffer in buffers.values()),
        loop(quotient, lanes, "vector", here.block((*once, *stores))),
        loop(vector, found.k, "unroll", (loop(lane, lanes, "vector", each),)),
    )
    return (*front, loop(strip, count, "serial", body)) if count > 1 else (*front, *body)


def _start(
    found: Shared, var: Var, first: Expr, quotient: Expr, names: Names
) -> tuple[Substitution, list[Stmt], tuple[Let, ...]] | None:
    """What comes first: copies of what never changes, with the substitution for the rest, and `found.once` with
    `quotient` counted from the position at `first`.
    """
    here = Substitution(names)
    front: list[Stmt] = []
    for let in found.fixed:
        here, copied = here.step(let)
        front.append(copied)
    quotients: dict[Expr, Expr] = {}
    for expr, position in found.quotients.items():
        base = _divided(position, var, first, found.k)
        if base is None:
            return None
        quotients[expr] = plus(here.expr(base), quotient)
    once = tuple(Let(let.var, map_expr(let.value, lambda e: quotients.get(e, e))) for let in found.once)
    return here, front, once


def _divided(position: Affine, var: Var, first: Expr, k: int) -> Expr | None:
    """The quotient of the position at `first`, when it is a multiple of k whatever the counters are."""
    start = position - affine([(var, 1)]) + normal(first)
    if start.const % k or any(coefficient % k for _, coefficient in start.terms):
        return None
    return to_expr(Affine(tuple((atom, coefficient // k) for atom, coefficient in start.terms), start.const // k))


def _needed(statements: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Without `Let`s that nobody reads."""
    kept: list[Stmt] = []
    wanted: set[str] = set()
    for statement in reversed(statements):
        if isinstance(statement, Let) and statement.var.name not in wanted:
            continue
        wanted |= _names((statement,))
        kept.append(statement)
    return tuple(reversed(kept))
