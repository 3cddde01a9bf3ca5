"""Finding a contraction in a nest of independent loops.

In: the axes of the nest and the body of its innermost loop (the leaf). A leaf is a contraction when it sums products
into scratch of its own: the innermost summed loops hold `Let`s and then `Store(acc, at, Fma(x, y, Load(acc, at)))`, or
a `DotPair` in place of the `Fma`.
Out: a `Contraction`, or None. The multiplicands may be any pure expressions: a cast, a mask, a gathered row.
"""

from collections.abc import Iterator
from dataclasses import field

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

    @property
    def is_plain(self) -> bool:
        """A load, or a pair of loads, whose address is computed without reading memory."""
        if self.lets:
            return False
        if isinstance(self.value, Load):
            return len(self.loads) == 1
        return self.value.dtype == uint32 and len(self.loads) == 2 and all(x.dtype == bfloat16 for x in self.loads)


@dataclass(frozen=True, slots=True)
class Sum:
    """One nest of summed loops, outer to inner, around one multiply-add."""

    loops: tuple[For, ...]
    store: Store
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


def as_contraction(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...]) -> Contraction | None:
    """The contraction a leaf is, if it is one that register tiles can compute."""
    if any(isinstance(s, While) for s in walk(leaf)):
        return None
    known = facts(leaf)
    own = frozenset(s.buffer for s in walk(leaf) if isinstance(s, Alloc))
    sums = tuple(_sums(leaf, (), own, known))
    if not sums or not _reads_hold(leaf, sums):
        return None
    stores = tuple(s for s in walk(leaf) if isinstance(s, Store) and s.buffer not in own)
    return Contraction(axes, leaf, sums, known, stores)


def _sums(block: tuple[Stmt, ...], around: tuple[For, ...], own: frozenset[Buffer], known: Facts) -> Iterator[Sum]:
    for statement in block:
        if isinstance(statement, For):
            loops = (*around, statement)
            match statement.body:
                case (*lets, Store(buffer, at, (Fma(x, y, Load() as old) | DotPair(x, y, Load() as old))) as store) if (
                    statement.kind == "serial"
                    and old == Load(buffer, at)
                    and buffer in own
                    and all(isinstance(s, Let) for s in lets)
                    and all(statement.var.name not in variables(i, known) for i in at)
                ):
                    yield Sum(loops, store, _operand(x, known), _operand(y, known))
                case _:
                    yield from _sums(statement.body, loops, own, known)


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
