"""Loop interchange: iterations of a loop around a leaf run inside the loops of the leaf instead, in step.

In: a leaf and the axis whose iterations begin, begin + 1, ... are wanted together. Out: the leaf's own loops, and in
them, around each group of simple statements, loops over these iterations. Scratch of the leaf, and what one group hands
to another, gets a copy for each iteration. Guaranteed: an iteration computes what it did, in the order it did; as no
iteration of the axis touches what another one writes, no bit changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from graphc.core.records import dataclass
from graphc.kernel.affine import loads, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, Alloc, Buffer, Expr, For, Let, Load, LoopKind, Stmt, Store, Var, walk
from graphc.kernel.schedule.edit import Names, map_block, map_expr
from graphc.kernel.schedule.nests import extent_of
from graphc.kernel.schedule.rewrite import Substitution, plus
from graphc.kernel.schedule.traverse import needed

Loops = Callable[[Var, tuple[Stmt, ...]], tuple[Stmt, ...]]


def can_interchange(leaf: tuple[Stmt, ...]) -> bool:
    """Whether the leaf is made of loops of constant extent and of straight code."""
    return all(
        isinstance(s, Let | Store | Accumulate | Alloc) or (isinstance(s, For) and extent_of(s) is not None)
        for s in walk(leaf)
    )


@dataclass(frozen=True, slots=True)
class Interchange:
    """`count` iterations of `axis` from `begin` on. `loops` makes the loops over their numbers around a block, copied.

    `neighbours`: the copies of one element of scratch lie together; else each copy of scratch lies together.
    """

    axis: Var
    begin: Expr
    count: int
    loops: Loops
    neighbours: bool
    names: Names

    def block(self, leaf: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """The leaf with the iterations inside."""
        return self._block(leaf, {}, {})

    def _block(
        self, statements: tuple[Stmt, ...], moved: Mapping[str, Buffer], known: Mapping[str, Let]
    ) -> tuple[Stmt, ...]:
        """`moved`: scratch by its old name; `known`: what a group of this block may have to compute again."""
        result: list[Stmt] = []
        group: list[Stmt] = []
        moved, known = dict(moved), dict(known)
        for position, statement in enumerate((*statements, None)):
            if isinstance(statement, Let | Store | Accumulate):
                group.append(statement)
                continue
            rest = statements[position:]
            for kept in self._handed_over(group, rest, known):
                moved[kept.name] = self._copies(kept)
                result.append(Alloc(moved[kept.name]))
            if any(not isinstance(s, Let) for s in group):
                result += self._everywhere(tuple(group), moved, known)
            group = []
            if isinstance(statement, Alloc):
                moved[statement.buffer.name] = self._copies(statement.buffer)
                result.append(Alloc(moved[statement.buffer.name]))
            elif isinstance(statement, For):
                counter = self.names.var(statement.var.name)
                body = Substitution(self.names, {statement.var.name: counter}).block(statement.body)
                kind: LoopKind = "serial" if self.neighbours else statement.kind  # lanes are along the axis
                result.append(For(counter, statement.extent, kind, self._block(body, moved, known)))
        return tuple(result)

    def _handed_over(self, group: list[Stmt], rest: tuple[Stmt, ...], known: dict[str, Let]) -> list[Buffer]:
        """Scratch for values that later groups need and that are read from memory, which may have changed by then.

        The stores go to the end of `group`. `known` gets what later groups begin with.
        """
        wanted = {name for s in walk(rest) for e in expressions(s) for name in variables(e)}
        kept: list[Buffer] = []
        for let in [s for s in reversed(group) if isinstance(s, Let) and s.var.name in wanted]:
            if not loads(let.value):
                wanted |= variables(let.value)
            else:
                buffer = Buffer(self.names.fresh("kept"), let.var.dtype, (), "register")
                group.append(Store(buffer, (), let.var))
                known[let.var.name] = Let(let.var, Load(buffer, ()))
                kept.append(buffer)
        known |= {s.var.name: s for s in group if isinstance(s, Let) and s.var.name not in known}
        return kept

    def _copies(self, buffer: Buffer) -> Buffer:
        shape = (*buffer.shape, self.count) if self.neighbours else (self.count, *buffer.shape)
        space = "worker" if self.neighbours else buffer.space
        return replace(buffer, name=self.names.fresh(buffer.name), shape=shape, space=space)

    def _everywhere(
        self, group: tuple[Stmt, ...], moved: Mapping[str, Buffer], known: Mapping[str, Let]
    ) -> tuple[Stmt, ...]:
        """The group, and what it needs, for each iteration."""
        number = self.names.var(self.axis.name)

        def place(buffer: Buffer, at: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
            if buffer.name not in moved:
                return buffer, at
            return moved[buffer.name], (*at, number) if self.neighbours else (number, *at)

        def node(expr: Expr) -> Expr:
            if isinstance(expr, Load):
                return Load(*place(expr.buffer, expr.index))
            return plus(self.begin, number) if expr == self.axis else expr

        body = map_block(needed(group, known) + group, lambda expr: map_expr(expr, node), place)
        return self.loops(number, body)
