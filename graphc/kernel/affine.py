"""Index arithmetic: integer expressions as sums of atoms, their ranges, and what a guard adds.

An `Affine` is `const + sum(coefficient * atom)`. An atom is a variable or an expression that is no sum (a division, a
load, ...). Digits of one number join again: `(x / 4) * 4 + x % 4` becomes `x` where `x` is known not to be negative.
Index arithmetic is taken not to wrap.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace

from graphc.core.dtypes import bool_
from graphc.core.records import dataclass
from graphc.kernel.ir import Binary, Buffer, Cast, Compare, Const, Expr, Load, Select, Unary, Var, index, operands


@dataclass(frozen=True, slots=True)
class Interval:
    """Inclusive bounds; None means unbounded on that side."""

    low: int | None = None
    high: int | None = None

    def __add__(self, other: "Interval") -> "Interval":
        low = None if self.low is None or other.low is None else self.low + other.low
        high = None if self.high is None or other.high is None else self.high + other.high
        return Interval(low, high)

    def scale(self, factor: int) -> "Interval":
        if factor == 0:
            return Interval(0, 0)
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Interval(low, high) if factor > 0 else Interval(high, low)

    def meet(self, other: "Interval") -> "Interval":
        """What both allow."""
        lows = [v for v in (self.low, other.low) if v is not None]
        highs = [v for v in (self.high, other.high) if v is not None]
        return Interval(max(lows, default=None), min(highs, default=None))

    def within(self, low: int, high: int) -> bool:
        return self.low is not None and self.high is not None and low <= self.low and self.high <= high

    def outside(self, low: int, high: int) -> bool:
        return (self.high is not None and self.high < low) or (self.low is not None and self.low > high)


ANY = Interval()


@dataclass(frozen=True, slots=True)
class Affine:
    """`const + sum(coefficient * atom for atom, coefficient in terms)`; no coefficient is 0, no atom repeats."""

    terms: tuple[tuple[Expr, int], ...]
    const: int

    def __add__(self, other: "Affine") -> "Affine":
        return affine([*self.terms, *other.terms], self.const + other.const)

    def __sub__(self, other: "Affine") -> "Affine":
        return self + other.scale(-1)

    def scale(self, factor: int) -> "Affine":
        return affine([(atom, c * factor) for atom, c in self.terms], self.const * factor)

    def coefficient(self, atom: Expr) -> int:
        return next((c for a, c in self.terms if a == atom), 0)

    @property
    def coefficients(self) -> dict[Expr, int]:
        return dict(self.terms)

    @property
    def is_const(self) -> bool:
        return not self.terms


def affine(terms: Iterable[tuple[Expr, int]], const: int = 0) -> Affine:
    """Collect equal atoms and drop those with coefficient 0."""
    total: dict[Expr, int] = {}
    for atom, coefficient in terms:
        total[atom] = total.get(atom, 0) + coefficient
    return Affine(tuple((a, c) for a, c in total.items() if c), const)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known at a place: ranges of variables, values of `Let`s, and affine forms known to be >= 0."""

    ranges: Mapping[str, Interval]
    lets: Mapping[str, Expr]
    guards: tuple[Affine, ...] = ()
    in_select: bool = False  # selects inside another learn nothing from their conditions: each would double the work
    # Bounds of selects found before, by the identity of the expression, which is kept: chains of `Let`s share them.
    _selects: dict[int, tuple[Expr, Interval]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _unguarded: "list[Facts]" = field(default_factory=list, init=False, compare=False, repr=False)

    def with_range(self, var: Var, interval: Interval) -> "Facts":
        return replace(self, ranges={**self.ranges, var.name: interval})

    def with_let(self, var: Var, value: Expr) -> "Facts":
        lets = {**self.lets, var.name: value}
        if not isinstance(value, Select) or not value.dtype.is_integer:
            return replace(self, lets=lets)
        # Bounded here and looked up from now on: chains of selects are as long as a shuffle has rounds.
        return replace(self, lets=lets, ranges={**self.ranges, var.name: bounds(value, self)})

    def with_guard(self, cond: Expr, holds: bool = True) -> "Facts":
        """Inside the branch where `cond` is true (or false)."""
        return replace(self, guards=self.guards + _guards(cond, holds, self))

    @property
    def unguarded(self) -> "Facts":
        """The same without guards, made once."""
        if not self._unguarded:
            self._unguarded.append(replace(self, guards=()))
        return self._unguarded[0]


NOTHING = Facts({}, {})


# ------------------------------------------------------------------------------------------------------ normal form


def normal(expr: Expr, facts: Facts = NOTHING) -> Affine:
    """The affine normal form of an integer expression; what is no sum becomes an atom."""
    match expr:
        case Const(value, _):
            return Affine((), int(value))
        case Var(name) if name in facts.lets and facts.lets[name].dtype.is_integer and name not in facts.ranges:
            return normal(facts.lets[name], facts)
        case Binary("add", lhs, rhs):
            return _join_digits(operator.add(*_both(lhs, rhs, facts)), facts)
        case Binary("sub", lhs, rhs):
            return _join_digits(normal(lhs, facts) - normal(rhs, facts), facts)
        case Unary("neg", x):
            return normal(x, facts).scale(-1)
        case Binary("mul", lhs, rhs):
            left, right = _both(lhs, rhs, facts)
            if left.is_const:
                return right.scale(left.const)
            if right.is_const:
                return left.scale(right.const)
        case Binary("shl", lhs, Const(value, _)):
            return normal(lhs, facts).scale(1 << int(value))
        case Binary("div", lhs, Const(value, _)) if int(value) > 0:
            return _quotient(normal(lhs, facts), int(value), facts)
        case Binary("rem", lhs, Const(value, _)) if int(value) > 0:
            return _remainder(normal(lhs, facts), int(value), facts)
        case Binary("div" | "rem" as op, lhs, rhs):
            divisor = normal(rhs, facts)
            if divisor.is_const and divisor.const > 0:
                return normal(Binary(op, lhs, Const(divisor.const, rhs.dtype)), facts)
    return affine([(expr, 1)])


def _both(lhs: Expr, rhs: Expr, facts: Facts) -> tuple[Affine, Affine]:
    """Both normal forms. One variable is looked at once: each doubling of a chain would double the work."""
    left = normal(lhs, facts)
    return left, left if isinstance(lhs, Var) and lhs == rhs else normal(rhs, facts)


def _quotient(x: Affine, by: int, facts: Facts) -> Affine:
    if by == 1:
        return x
    inside = interval(x, facts)
    if inside.within(0, by - 1):
        return Affine((), 0)
    whole, rest = _divide(x, by)
    if whole.terms or whole.const:
        left = interval(rest, facts)
        if left.within(0, by - 1) and _not_negative(inside):
            return whole
        if _not_negative(inside) and _not_negative(left):
            return whole + affine([(_digit("div", rest, by, facts), 1)])
    return affine([(_digit("div", x, by, facts), 1)])


def _remainder(x: Affine, by: int, facts: Facts) -> Affine:
    inside = interval(x, facts)
    if inside.within(0, by - 1):
        return x
    _, rest = _divide(x, by)
    left = interval(rest, facts)
    if _not_negative(inside) and left.within(0, by - 1):
        return rest
    if _not_negative(inside) and _not_negative(left):
        return affine([(_digit("rem", rest, by, facts), 1)]) if not rest.is_const else Affine((), rest.const % by)
    return affine([(_digit("rem", x, by, facts), 1)])


def _digit(op: str, x: Affine, by: int, facts: Facts) -> Expr:
    """`x op by` as an atom; `(x / a) / b` is `x / (a * b)`."""
    if op == "div" and len(x.terms) == 1 and x.const == 0 and x.terms[0][1] == 1:
        match x.terms[0][0]:
            case Binary("div", inner, Const(first, _)) if int(first) > 0 and by > 0:
                return Binary("div", inner, index(int(first) * by))
    return Binary("div" if op == "div" else "rem", to_expr(x), index(by))


def _divide(x: Affine, by: int) -> tuple[Affine, Affine]:
    """x == whole * by + rest, with the terms `by` divides in whole."""
    whole = affine([(a, c // by) for a, c in x.terms if c % by == 0], x.const // by)
    rest = affine([(a, c) for a, c in x.terms if c % by], x.const % by)
    return whole, rest


def _join_digits(x: Affine, facts: Facts) -> Affine:
    for atom, coefficient in x.terms:
        match atom:
            case Binary("rem", inner, Const(value, _)):
                by = int(value)
                upper = _digit("div", normal(inner, facts), by, facts)
                if x.coefficient(upper) != coefficient * by:
                    continue
                rest = affine([t for t in x.terms if t[0] not in (atom, upper)], x.const)
                return _join_digits(rest + normal(inner, facts).scale(coefficient), facts)
    return x


def _not_negative(interval: Interval) -> bool:
    return interval.low is not None and interval.low >= 0


def is_exact(interval: Interval) -> bool:
    """Whether numbers in these bounds are what int64 arithmetic finds: nothing has wrapped."""
    return interval.within(-(1 << 63), (1 << 63) - 1)


def to_expr(x: Affine) -> Expr:
    """The shortest sum that says the same, int64."""
    total: Expr | None = None
    for atom, coefficient in x.terms:
        term = atom if abs(coefficient) == 1 else Binary("mul", atom, index(abs(coefficient)))
        if total is None:
            total = term if coefficient > 0 else Binary("sub", index(0), term)
        else:
            total = Binary("add" if coefficient > 0 else "sub", total, term)
    if total is None:
        return index(x.const)
    if x.const == 0:
        return total
    return Binary("add", total, index(x.const)) if x.const > 0 else Binary("sub", total, index(-x.const))


# ----------------------------------------------------------------------------------------------------------- ranges


def interval(x: Affine, facts: Facts = NOTHING) -> Interval:
    """Bounds of a sum from the bounds of its atoms and from the guards that bring them closer, one after the other."""
    box = _box(x, facts)
    low, high = (x, box.low), (x, box.high)
    for guard in facts.guards:
        # x >= x - guard and x <= x + guard; without guards, as a guard's own atoms may mention what it guards
        low = _closer(low, x, guard.scale(-1), lambda form: _box(form, facts.unguarded).low, operator.gt)
        high = _closer(high, x, guard, lambda form: _box(form, facts.unguarded).high, operator.lt)
    return Interval(low[1], high[1])


def _closer(
    best: tuple[Affine, int | None],
    x: Affine,
    guard: Affine,
    bound: Callable[[Affine], int | None],
    is_closer: Callable[[int, int], bool],
) -> tuple[Affine, int | None]:
    """The best form so far, or it, or `x`, with a guard added, if that has a closer bound."""
    for form in (x,) if best[0] is x else (best[0], x):
        for times in _multiples(form, guard):
            guarded = form + guard.scale(times)
            found = bound(guarded)
            if found is not None and (best[1] is None or is_closer(found, best[1])):
                best = guarded, found
    return best


def _multiples(x: Affine, guard: Affine) -> set[int]:
    """How many times a guard may help: once, or as often as cancels one of its atoms in `x`; never if it has none."""
    shared = [(atom, coefficient) for atom, coefficient in guard.terms if x.coefficient(atom)]
    found = {1} if shared else set()
    for atom, coefficient in shared:
        times, rest = divmod(abs(x.coefficient(atom)), abs(coefficient))
        if times and not rest:
            found.add(times)
    return found


def _box(x: Affine, facts: Facts) -> Interval:
    total = Interval(x.const, x.const)
    for atom, coefficient in x.terms:
        total = total + _atom_range(atom, facts).scale(coefficient)
    return total


def bounds(expr: Expr, facts: Facts = NOTHING) -> Interval:
    """Bounds of any integer expression."""
    return interval(normal(expr, facts), facts)


def _atom_range(atom: Expr, facts: Facts) -> Interval:
    match atom:
        case Var(name):
            return facts.ranges.get(name, _of_dtype(atom))
        case Binary("div", x, Const(value, _)) if int(value) > 0:
            inner = bounds(x, facts)
            return Interval(_truncate(inner.low, int(value)), _truncate(inner.high, int(value)))
        case Binary("rem", x, Const(value, _)) if int(value) > 0:
            inner = bounds(x, facts)
            top = int(value) - 1
            return Interval(0 if _not_negative(inner) else -top, top)
        case Binary("min", lhs, rhs):
            a, b = bounds(lhs, facts), bounds(rhs, facts)
            low = None if a.low is None or b.low is None else min(a.low, b.low)
            return Interval(low, Interval(None, a.high).meet(Interval(None, b.high)).high)
        case Binary("max", lhs, rhs):
            a, b = bounds(lhs, facts), bounds(rhs, facts)
            high = None if a.high is None or b.high is None else max(a.high, b.high)
            return Interval(Interval(a.low).meet(Interval(b.low)).low, high)
        case Binary("and", _, Const(value, _)) if int(value) >= 0:
            return Interval(0, int(value))
        case Select():
            return _select_range(atom, facts)
        case Cast(x, _) if x.dtype.is_bool:
            return Interval(0, 1)
        case Cast(x, dtype) if x.dtype.is_integer and dtype.is_integer:
            inner = bounds(x, facts)
            fits = _of_bits(dtype.kind == "int", dtype.bits)
            assert fits.low is not None and fits.high is not None
            return inner if inner.within(fits.low, fits.high) else fits
    return _of_dtype(atom)


def _select_range(select: Select, facts: Facts) -> Interval:
    if facts is NOTHING:
        facts = replace(facts)  # lives as long as the module: it must not keep expressions
    if id(select) in facts._selects:
        return facts._selects[id(select)][1]
    a, b = (
        (bounds(select.on_true, facts), bounds(select.on_false, facts)) if facts.in_select else _narrowed(select, facts)
    )
    low = None if a.low is None or b.low is None else min(a.low, b.low)
    high = None if a.high is None or b.high is None else max(a.high, b.high)
    facts._selects[id(select)] = (select, Interval(low, high))
    return Interval(low, high)


def _narrowed(select: Select, facts: Facts) -> tuple[Interval, Interval]:
    inside = replace(facts, in_select=True)
    return (
        bounds(select.on_true, inside.with_guard(select.cond)),
        bounds(select.on_false, inside.with_guard(select.cond, False)),
    )


def _truncate(value: int | None, by: int) -> int | None:
    if value is None:
        return None
    return value // by if value >= 0 else -(-value // by)


def _of_dtype(expr: Expr) -> Interval:
    dtype = expr.dtype
    if dtype.is_integer and dtype.bits < 64:
        return _of_bits(dtype.kind == "int", dtype.bits)
    return Interval(0, None) if dtype.kind == "uint" else ANY


def _of_bits(signed: bool, bits: int) -> Interval:
    return Interval(-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else Interval(0, (1 << bits) - 1)


def _guards(cond: Expr, holds: bool, facts: Facts) -> tuple[Affine, ...]:
    match cond:
        case Var(name) if name in facts.lets:
            return _guards(facts.lets[name], holds, facts)
        case Binary("and", lhs, rhs) if holds and cond.dtype == bool_:
            return _guards(lhs, True, facts) + _guards(rhs, True, facts)
        case Binary("or", lhs, rhs) if not holds and cond.dtype == bool_:
            return _guards(lhs, False, facts) + _guards(rhs, False, facts)
        case Unary("not", x) if x.dtype == bool_:
            return _guards(x, not holds, facts)
        case Compare(op, lhs, rhs) if lhs.dtype.is_integer:
            above = normal(lhs, facts) - normal(rhs, facts)  # lhs - rhs
            below = above.scale(-1)
            one = Affine((), 1)
            table = {
                ("lt", True): (below - one,),
                ("le", True): (below,),
                ("gt", True): (above - one,),
                ("ge", True): (above,),
                ("eq", True): (above, below),
                ("lt", False): (above,),
                ("le", False): (above - one,),
                ("gt", False): (below,),
                ("ge", False): (below - one,),
                ("ne", False): (above, below),
            }
            return table.get((op, holds), ())
    return ()


# ------------------------------------------------------------------------------------------------------ affine views


def variables(expr: Expr, facts: Facts = NOTHING) -> frozenset[str]:
    """Names of all variables an expression depends on, through `Let`s too."""
    found: set[str] = set()
    stack = [expr]
    while stack:
        current = stack.pop()
        if isinstance(current, Var) and current.name not in found:
            found.add(current.name)
            if current.name in facts.lets:
                stack.append(facts.lets[current.name])
        stack += operands(current)
    return frozenset(found)


def loads(expr: Expr) -> tuple[Load, ...]:
    """Every load in an expression, the outer ones first."""
    found: list[Load] = []
    stack = [expr]
    while stack:
        current = stack.pop()
        if isinstance(current, Load):
            found.append(current)
        stack += reversed(operands(current))
    return tuple(found)


def as_affine(expr: Expr, facts: Facts = NOTHING) -> Affine | None:
    """`const + sum(coefficient * variable)`, or None when the expression is not of that form."""
    form = normal(expr, facts)
    return form if all(isinstance(atom, Var) for atom, _ in form.terms) else None


def flat_index(buffer: Buffer, idx: tuple[Expr, ...], facts: Facts = NOTHING) -> Affine:
    """The row-major element number of an access."""
    total = Affine((), 0)
    stride = 1
    for extent, expr in zip(reversed(buffer.shape), reversed(idx), strict=True):
        total = total + normal(expr, facts).scale(stride)
        stride *= extent
    return _join_digits(total, facts)


def stride_of(buffer: Buffer, idx: tuple[Expr, ...], var: Var, facts: Facts = NOTHING) -> int | None:
    """Elements an access moves by when `var` grows by one; None when that is not constant."""
    form = flat_index(buffer, idx, facts)
    if any(var.name in variables(atom, facts) for atom, _ in form.terms if atom != var):
        return None
    return form.coefficient(var)
