"""Finding a contraction in a nest of independent loops.

In: the axes of the nest and the body of its innermost loop (the leaf). A leaf is a contraction when it sums products
into scratch of its own: the innermost summed loops hold `Let`s and multiply-adds, `Store(acc, at, Fma(x, y, Load(acc,
at)))` or a `DotPair` in place of the `Fma`.
Out: a `Contraction`, or None. The multiplicands may be any pure expressions: a cast, a mask, a gathered row.
"""

from collections.abc import Iterator
from dataclasses import field, replace

from graphc.core.dtypes import bfloat16, uint32
from graphc.core.records import dataclass
from graphc.kernel.affine import Facts, loads, stride_of, variables
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Buffer,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Let,
    Load,
    Stmt,
    Store,
    Var,
    While,
    walk,
)
from graphc.kernel.schedule.nests import Axis, extent_of
from graphc.kernel.schedule.rewrite import Substitution
from graphc.kernel.schedule.traverse import expressions, facts


@dataclass(frozen=True, slots=True)
class Operand:
    """One multiplicand and the `Let`s it is made from, in order."""

    value: Expr
    lets: tuple[Let, ...]
    uses: frozenset[str]  # every name it depends on, through `Let`s too
    loads: tuple[Load, ...]
    _moves: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)  # every blocking tried asks again

    def moves_by(self, counter: str, known: Facts) -> bool:
        """Whether every access stands still or moves on by one element when the counter does."""
        if counter not in self._moves:
            steps = (stride_of(x.buffer, x.index, Var(counter), known) for x in self.loads)
            self._moves[counter] = all(step in (0, 1) for step in steps)
        return self._moves[counter]

    def evaluated(self, buffer: Buffer, to: tuple[Expr, ...], at: Substitution) -> tuple[Stmt, ...]:
        """The operand stored to `buffer[to]`, which is written in terms of new names."""
        *lets, last = at.block((*self.lets, Store(buffer, (), self.value)))
        assert isinstance(last, Store)
        return (*lets, replace(last, buffer=buffer, index=to))

    @property
    def is_plain(self) -> bool:
        """A load, or a pair of loads, whose address is computed without reading memory."""
        if self.lets:
            return False
        if isinstance(self.value, Load):
            return len(self.loads) == 1
        return self.value.dtype == uint32 and len(self.loads) == 2 and all(x.dtype == bfloat16 for x in self.loads)


@dataclass(frozen=True, slots=True)
class Step:
    """One multiply-add: `store` adds x times y to an element."""

    store: Store
    value: Fma | DotPair

    @property
    def x(self) -> Expr:
        return self.value.a

    @property
    def y(self) -> Expr:
        return self.value.b


def as_step(statement: Stmt) -> Step | None:
    """The multiply-add that a statement is."""
    match statement:
        case Store(buffer, at, (Fma(_, _, old) | DotPair(_, _, old)) as value) if old == Load(buffer, at):
            return Step(statement, value)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Sum:
    """One nest of summed loops, outer to inner, around a multiply-add."""

    loops: tuple[For, ...]
    store: Store
    value: Fma | DotPair  # what it stores
    x: Operand
    y: Operand

    def extents(self, operand: Operand) -> tuple[tuple[str, int], ...] | None:
        """The summed loops an operand depends on, with their extents; None when one is not constant."""
        found: list[tuple[str, int]] = []
        for loop in self.loops:
            if loop.var.name in operand.uses:
                extent = extent_of(loop)
                if extent is None:
                    return None
                found.append((loop.var.name, extent))
        return tuple(found)

    @property
    def length(self) -> int:
        """Terms of the sum, as far as they are known."""
        total = 1
        for loop in self.loops:
            total *= extent_of(loop) or 16
        return total


@dataclass(frozen=True, slots=True)
class Contraction:
    """The parts of a contraction nest."""

    axes: tuple[Axis, ...]
    leaf: tuple[Stmt, ...]
    sums: tuple[Sum, ...]
    known: Facts
    stores: tuple[Store, ...]  # to memory that outlives the leaf

    @property
    def length(self) -> int:
        """Terms of all sums of one element."""
        return sum(s.length for s in self.sums)

    @property
    def own(self) -> frozenset[str]:
        """Scratch of the leaf."""
        return frozenset(s.buffer.name for s in walk(self.leaf) if isinstance(s, Alloc))


def as_contraction(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...], several: bool = False) -> Contraction | None:
    """The contraction a leaf is, if it is one that tiles can compute.

    several: sums count whose innermost loop holds more than one multiply-add; they have the same loops.
    """
    if any(isinstance(s, While) for s in walk(leaf)):
        return None
    known = facts(leaf)
    own = frozenset(s.buffer for s in walk(leaf) if isinstance(s, Alloc))
    sums = tuple(_sums(leaf, (), own, known, several))
    if not sums or not _reads_hold(leaf, sums):
        return None
    stores = tuple(s for s in walk(leaf) if isinstance(s, Store) and s.buffer not in own)
    return Contraction(axes, leaf, sums, known, stores)


def _sums(
    block: tuple[Stmt, ...], around: tuple[For, ...], own: frozenset[Buffer], known: Facts, several: bool
) -> Iterator[Sum]:
    for statement in block:
        if isinstance(statement, For):
            loops = (*around, statement)
            steps = _steps(statement, own, known)
            if len(steps) == 1 or (several and steps):
                for step in steps:
                    yield Sum(loops, step.store, step.value, _operand(step.x, known), _operand(step.y, known))
            else:
                yield from _sums(statement.body, loops, own, known, several)


def _steps(loop: For, own: frozenset[Buffer], known: Facts) -> tuple[Step, ...]:
    """The multiply-adds an innermost summed loop holds, after `Let`s; none when it holds something else."""
    steps = [as_step(s) for s in loop.body if not isinstance(s, Let)]
    found = tuple(step for step in steps if step is not None)
    if loop.kind != "serial" or len(found) < len(steps) or not all(step.store.buffer in own for step in found):
        return ()
    stays = all(loop.var.name not in variables(i, known) for step in found for i in step.store.index)
    return found if stays else ()


def _operand(value: Expr, known: Facts) -> Operand:
    uses = variables(value, known)
    lets = tuple(Let(Var(name, let.dtype), let) for name, let in known.lets.items() if name in uses)
    reads = tuple(dict.fromkeys(load for expr in (value, *(let.value for let in lets)) for load in loads(expr)))
    return Operand(value, lets, uses, reads)


def _reads_hold(leaf: tuple[Stmt, ...], sums: tuple[Sum, ...]) -> bool:
    """Whether operands and `Let`s may be evaluated elsewhere in the leaf: nothing they read is stored there."""
    stored = {s.buffer.name for s in walk(leaf) if isinstance(s, Store)}
    stored |= {b.name for s in walk(leaf) if isinstance(s, Accumulate) for b, _ in s.targets}
    read = {load.buffer.name for each in sums for operand in (each.x, each.y) for load in operand.loads}
    last = max((n for n, s in enumerate(leaf) if isinstance(s, For | Alloc)), default=-1)
    early = [s for n, s in enumerate(leaf) if n < last and isinstance(s, Let)]
    early += [
        s for outer in leaf[: last + 1] if isinstance(outer, For | If) for s in walk((outer,)) if isinstance(s, Let)
    ]
    read |= {e.buffer.name for let in early for e in expressions(let) if isinstance(e, Load)}
    return not read & stored
