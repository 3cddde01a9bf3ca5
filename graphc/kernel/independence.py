"""Whether two iterations of a loop can touch the same element.

The proof looks at one number at a time: the index of each dimension, and the flat index. Where two iterations differ
in the loop counter, the numbers differ if the counter's stride cannot be made up for by the other counters. Numbers
also differ, in whichever iterations, where conditions keep them on two sides of something that does not change.
"""

from collections.abc import Iterator
from math import gcd

from graphc.core.records import dataclass
from graphc.kernel.affine import (
    NOTHING,
    Affine,
    Facts,
    Interval,
    bounds,
    flat_index,
    interval,
    loads,
    normal,
    variables,
)
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Buffer,
    CallLibrary,
    Compare,
    Const,
    Expr,
    For,
    If,
    Let,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
    walk,
)


@dataclass(frozen=True)
class Access:
    """A load or store of `buffer[idx]` where `facts` hold; distinct: a store that meets no other of its statement."""

    buffer: Buffer
    idx: tuple[Expr, ...]
    stored: bool
    facts: Facts
    distinct: bool = False

    def __hash__(self) -> int:
        return hash((self.buffer.name, self.idx, self.stored))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Access):
            return NotImplemented
        mine = (self.buffer, self.idx, self.stored, self.facts.guards, self.distinct)
        return mine == (other.buffer, other.idx, other.stored, other.facts.guards, other.distinct)

    def numbers(self) -> list[Affine]:
        """What determines the element: the index of each dimension, and the flat index."""
        each = [normal(expr, self.facts) for expr in self.idx]
        return [*each, flat_index(self.buffer, self.idx, self.facts)]


@dataclass(frozen=True, slots=True)
class Scope:
    """The loop in question and what is known around it.

    outer: counters around it. inner: counters inside that may differ between the two sides (None: all may).
    steady: buffers that keep their contents while the loop runs.
    """

    loop: For
    outer: frozenset[str]
    inner: frozenset[str] | None
    steady: frozenset[str]

    def is_same(self, atom: Expr, facts: Facts) -> bool:
        """Whether an atom has one value on both sides."""
        if any(load.buffer.name not in self.steady for load in loads(atom)):
            return False
        names = {name for name in variables(atom, facts) if name not in facts.lets}
        if self.loop.var.name in names:
            return False
        return self.inner.isdisjoint(names) if self.inner is not None else names <= self.outer


def conflict(first: Access, second: Access, scope: Scope) -> bool:
    """Whether `first` in one iteration of the loop and `second` in another may touch one element (False is a proof)."""
    loop = scope.loop
    extent = loop.extent
    if isinstance(extent, Const) and int(extent.value) <= 1:
        return False
    if first == second and first.distinct:
        return False
    if not first.buffer.size:
        return False
    sides = list(zip(first.numbers(), second.numbers(), strict=True))
    if any(_apart(a, b, first, second, scope) or _apart(b, a, second, first, scope) for a, b in sides):
        return False
    whole = _Digit(loop.var, _span(loop))
    if any(_differ(a, b, first, second, scope, [whole], 0) for a, b in sides):
        return False
    digits = _digits(scope.loop, [number for pair in sides for number in pair])
    ranks = range(len(digits))
    return not digits or not all(
        any(_differ(a, b, first, second, scope, digits, rank) for a, b in sides) for rank in ranks
    )


@dataclass(frozen=True, slots=True)
class _Digit:
    """A digit of the loop counter in mixed radix: its atom and the largest distance between two values."""

    atom: Expr
    span: int | None


def _digits(loop: For, numbers: list[Affine]) -> list[_Digit]:
    """The counter's digits, highest first, when divisions and remainders of it make up a whole number system.

    Two iterations that differ, differ first in some digit: below it anything may happen, above it nothing does.
    """
    if not isinstance(loop.extent, Const):
        return []
    weights: dict[int, tuple[Expr, int | None]] = {}  # weight: atom and base, None for the highest digit
    for atom in dict.fromkeys(atom for number in numbers for atom, _ in number.terms):
        match atom:
            case Binary("rem", Var() as v, Const(base, _)) if v == loop.var:
                weights[1] = (atom, int(base))
            case Binary("rem", Binary("div", Var() as v, Const(weight, _)), Const(base, _)) if v == loop.var:
                weights[int(weight)] = (atom, int(base))
            case Binary("div", Var() as v, Const(weight, _)) if v == loop.var:
                weights[int(weight)] = (atom, None)
    result: list[_Digit] = []
    expected: int | None = 1
    for weight in sorted(weights):
        digit, radix = weights[weight]
        if weight != expected:
            return []
        result.append(_Digit(digit, (int(loop.extent.value) - 1) // weight if radix is None else radix - 1))
        expected = None if radix is None else weight * radix
    return result[::-1] if expected is None else []


def _differ(a: Affine, b: Affine, first: Access, second: Access, scope: Scope, digits: list[_Digit], rank: int) -> bool:
    """Whether a and b differ when the counter's digits above `rank` agree and that one does not."""
    counter = digits[rank]
    above = {digit.atom for digit in digits[:rank]}
    below = {digit.atom: Interval(0, digit.span) for digit in digits[rank + 1 :]}
    stride = a.coefficient(counter.atom)
    if stride == 0 or stride != b.coefficient(counter.atom):
        return False
    free: list[tuple[int, Interval]] = []  # terms that may differ between the iterations
    same: dict[Expr, int] = {}
    for form, access, sign in ((a, first, 1), (b, second, -1)):
        for atom, coefficient in form.terms:
            if atom == counter.atom:
                continue
            if atom in above or scope.is_same(atom, access.facts):
                same[atom] = same.get(atom, 0) + sign * coefficient
            elif atom in below:
                free.append((sign * coefficient, below[atom]))
            elif scope.loop.var.name not in variables(atom, access.facts):
                free.append((sign * coefficient, bounds(atom, access.facts)))
            else:
                return False
    if any(same.values()):
        return False
    return _no_solution(stride, counter.span, a.const - b.const, free)


def _apart(a: Affine, b: Affine, first: Access, second: Access, scope: Scope) -> bool:
    """Whether a condition around `first` keeps a away from whatever b is: `a` itself, or a bound of it, has one value
    in all iterations, and b lies beyond it.
    """

    def steady(form: Affine) -> bool:
        return all(scope.is_same(atom, first.facts) for atom, _ in form.terms)

    nothing = Affine((), 0)
    for guard in (nothing, *first.facts.guards):  # a - guard <= a <= a + guard
        lowest, highest = a - guard, a + guard
        if steady(lowest) and _is_positive(lowest - b, second):
            return True
        if steady(highest) and _is_positive(b - highest, second):
            return True
    return False


def _is_positive(x: Affine, access: Access) -> bool:
    low = interval(x, access.facts).low
    return low is not None and low > 0


def _span(loop: For) -> int | None:
    """The largest distance between two iterations."""
    return int(loop.extent.value) - 1 if isinstance(loop.extent, Const) else None


def _no_solution(stride: int, span: int | None, constant: int, free: list[tuple[int, Interval]]) -> bool:
    """Whether stride * d + constant + sum(free) is never 0 for 1 <= |d| <= span."""
    stride = abs(stride)
    small = Interval(constant, constant)
    step = 0
    for coefficient, values in free:
        if values.low == values.high == 0:
            continue
        if abs(coefficient) < stride:
            small = small + values.scale(coefficient)
        else:
            step = gcd(step, coefficient)
    if small.low is None or small.high is None:
        return False
    if step == 0:
        return not any(_reaches(stride, sign, span, small.low, small.high) for sign in (1, -1))
    slack = max(abs(small.low), abs(small.high))
    return slack < stride and span is not None and stride * span + slack < step


def _reaches(stride: int, sign: int, span: int | None, low: int, high: int) -> bool:
    """Whether sign * stride * d lies in -high .. -low for some 1 <= d <= span."""
    if sign < 0:
        low, high = -high, -low
    first, last = max(-(high // stride), 1), (-low) // stride
    return first <= (last if span is None else min(last, span))


# ------------------------------------------------------------------------------------------------------- whole loops


def inside_loop(loop: For, facts: Facts) -> Facts:
    """What is known in the body of a loop."""
    extent = bounds(loop.extent, facts)
    highest = None if extent.high is None else max(extent.high - 1, 0)
    facts = facts.with_range(loop.var, Interval(0, highest))
    return facts if isinstance(loop.extent, Const) else facts.with_guard(Compare("lt", loop.var, loop.extent))


def accesses(statements: tuple[Stmt, ...], facts: Facts = NOTHING) -> Iterator[Access]:
    """Every load and store of memory that is not allocated inside `statements`."""
    private = {s.buffer.name for s in walk(statements) if isinstance(s, Alloc)}
    for access in _accesses(statements, facts):
        if access.buffer.name not in private:
            yield access


def _accesses(statements: tuple[Stmt, ...], facts: Facts) -> Iterator[Access]:
    for statement in statements:
        for expr in expressions(statement):
            for load in loads(expr):
                yield Access(load.buffer, load.index, False, facts)
        match statement:
            case For():
                yield from _accesses(statement.body, inside_loop(statement, facts))
            case Let(var, value):
                facts = facts.with_let(var, value)
            case Store(buffer, idx, _, distinct):
                yield Access(buffer, idx, True, facts, distinct)
            case Accumulate(targets):
                for buffer, idx in targets:
                    yield Access(buffer, idx, True, facts)
            case If(cond, then, orelse):
                yield from _accesses(then, facts.with_guard(cond))
                yield from _accesses(orelse, facts.with_guard(cond, False))
            case While(cond, _, body):
                yield from _accesses(body, facts)
            case Alloc() | Prefetch() | CallLibrary():  # a library gets nothing that others see
                continue


def expressions(statement: Stmt) -> tuple[Expr, ...]:
    """The expressions a statement holds itself, not those of statements inside it."""
    match statement:
        case For(_, extent):
            return (extent,)
        case Let(_, value):
            return (value,)
        case Store(_, idx, value):
            return (*idx, value)
        case Accumulate(targets, values):
            return (*(i for _, idx in targets for i in idx), *values)
        case If(cond) | While(cond):
            return (cond,)
        case Prefetch(_, idx):
            return idx
        case Alloc() | CallLibrary():
            return ()


def iterations_independent(loop: For) -> bool:
    """Whether no iteration of the loop stores what another accesses, so that they may run in any order."""
    return not may_meet(loop, loop.body, loop.body)


def may_meet(loop: For, first: tuple[Stmt, ...], second: tuple[Stmt, ...]) -> bool:
    """Whether `first` in one iteration and `second` in another may touch one element, one of them storing it."""
    facts = inside_loop(loop, NOTHING)
    lets = {s.var: s.value for s in loop.body if isinstance(s, Let)}
    for var, value in lets.items():
        facts = facts.with_let(var, value)
    everything = list(accesses(loop.body, facts))
    stored = {access.buffer.name for access in everything if access.stored}
    private = {s.buffer.name for s in walk(loop.body) if isinstance(s, Alloc)}
    steady = {access.buffer.name for access in everything} - stored
    scope = Scope(loop, _free(loop), None, frozenset(steady - private))
    left = [a for a in dict.fromkeys(accesses(first, facts)) if a.buffer.name in stored]
    right = [a for a in dict.fromkeys(accesses(second, facts)) if a.buffer.name in stored]
    return any(
        a.buffer != b.buffer or conflict(a, b, scope)  # two views of one buffer meet
        for a in left
        for b in right
        if a.buffer.name == b.buffer.name and (a.stored or b.stored)
    )


def _free(loop: For) -> frozenset[str]:
    """Variables a loop uses and does not define."""
    used: set[str] = set()
    defined = {loop.var.name}
    for statement in walk((loop,)):
        for expr in expressions(statement):
            used |= variables(expr)
        if isinstance(statement, For | Let):
            defined.add(statement.var.name)
    return frozenset(used - defined)
