"""Whether two iterations of a loop can touch the same element.

The proof looks at one number at a time: the index of each dimension, and the flat index. Where two iterations differ
in the loop counter, the numbers differ if the counter's stride cannot be made up for by the other counters.
"""

from dataclasses import dataclass
from math import gcd

from graphc.kernel.affine import Affine, Facts, Interval, bounds, flat_index, loads, normal, variables
from graphc.kernel.ir import Buffer, Const, Expr, For, Var


@dataclass(frozen=True)
class Access:
    """A load or store of `buffer[idx]` where `facts` hold."""

    buffer: Buffer
    idx: tuple[Expr, ...]
    stored: bool
    facts: Facts

    def __hash__(self) -> int:
        return hash((self.buffer.name, self.idx, self.stored))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Access):
            return NotImplemented
        mine = (self.buffer, self.idx, self.stored, self.facts.guards)
        return mine == (other.buffer, other.idx, other.stored, other.facts.guards)

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
    if not first.buffer.size:
        return False
    sides = zip(first.numbers(), second.numbers(), strict=True)
    return not any(_differ(a, b, first, second, scope) for a, b in sides)


def _differ(a: Affine, b: Affine, first: Access, second: Access, scope: Scope) -> bool:
    counter = scope.loop.var
    stride = a.coefficient(counter)
    if stride == 0 or stride != b.coefficient(counter):
        return False
    free: list[tuple[int, Interval]] = []  # terms that may differ between the iterations
    same: dict[Expr, int] = {}
    for form, access, sign in ((a, first, 1), (b, second, -1)):
        for atom, coefficient in form.terms:
            if atom == counter:
                continue
            if scope.is_same(atom, access.facts):
                same[atom] = same.get(atom, 0) + sign * coefficient
            elif isinstance(atom, Var):
                free.append((sign * coefficient, bounds(atom, access.facts)))
            else:
                return False
    if any(same.values()):
        return False
    return _no_solution(stride, _span(scope.loop), a.const - b.const, free)


def _span(loop: For) -> int | None:
    """The largest distance between two iterations."""
    return int(loop.extent.value) - 1 if isinstance(loop.extent, Const) else None


def _no_solution(stride: int, span: int | None, constant: int, free: list[tuple[int, Interval]]) -> bool:
    """Whether stride * d + constant + sum(free) is never 0 for 1 <= |d| <= span."""
    stride = abs(stride)
    small = Interval(constant, constant)
    step = 0
    for coefficient, values in free:
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
