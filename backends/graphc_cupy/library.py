"""Contractions for a library, when the user asks for speed: `precision="library"`, or "tf32" for tensor cores.

In: a phase of a kernel as lowering writes it. Out: the same in steps: operands that are computed in the kernel are
written to memory, the nest that is a matrix product and nothing else, and what the kernel goes on with on its result.
The product stays a nest of parallel loops, which is its meaning: `phases` makes a library call of it.
"""

from graphc.core.dtypes import float32
from graphc.kernel.affine import flat_index, variables
from graphc.kernel.ir import Alloc, Buffer, Expr, Fma, For, Let, Load, Stmt, Store, Var
from graphc.kernel.schedule import nests
from graphc.kernel.schedule.edit import Block, Names, map_block, map_expr
from graphc.kernel.schedule.nests import Axis, nest
from graphc.kernel.schedule.rewrite import Substitution
from graphc_cupy.products import Compute, Sum, Term, operand, product_of, sum_of


def by_library(statement: For, names: Names, compute: Compute) -> Block | None:
    """The steps of a contraction; None when no library call computes it."""
    axes, leaf = nest(statement)
    found = sum_of(leaf)
    if found is None:
        return None
    packed = _packed(found, axes, names)
    if packed is None:
        return None
    before, head = packed
    scratch = Alloc(found.scratch)
    whole = _parallel(axes, (scratch, *head, *found.tail))
    if product_of(whole, compute) is not None:
        return (*before, whole)
    result = Buffer(names.fresh("product"), float32, tuple(axis.extent for axis in axes), "arena")
    place = tuple(axis.var for axis in axes)
    total = Var(names.fresh("total"), float32)
    stored = (Let(total, found.total), Store(result, place, total))
    product = Substitution(names).block((_parallel(axes, (scratch, *head, *stored)),))
    if product_of(product[0], compute) is None:
        return None
    return (*before, Alloc(result), *product, _parallel(axes, _on(found, Load(result, place))))


def _on(found: Sum, value: Load) -> Block:
    """What becomes of the total, with another expression in its place."""

    def node(expr: Expr) -> Expr:
        return value if expr == found.total else expr

    return map_block(found.tail, lambda expr: map_expr(expr, node))


def _packed(found: Sum, axes: tuple[Axis, ...], names: Names) -> tuple[Block, Block] | None:
    """Operands that are computed or gathered, written to memory; the sum of what was written."""
    if all(_lies(side) for term in found.terms for side in (term.x, term.y)):
        return (), found.head
    if len(found.terms) != 1 or len(found.terms[0].loops) != 1:
        return None
    (term,) = found.terms
    before: list[Stmt] = []
    sides = {}
    for name, expr in (("left", term.x), ("right", term.y)):
        if not _lies(expr):
            used = tuple(axis for axis in (*axes, *term.loops) if axis.var.name in variables(expr))
            if not used:
                return None  # the same number everywhere is no matrix
            written, load = _written(name, expr, used, names)
            before += written
            sides[name] = load
    return tuple(before), _summing(found, term, sides)


def _lies(expr: Expr) -> bool:
    """Whether an operand is in memory, at places that are sums of counters: a gathered one is not."""
    load = operand(expr)
    return load is not None and all(isinstance(atom, Var) for atom, _ in flat_index(load.buffer, load.index).terms)


def _written(name: str, expr: Expr, axes: tuple[Axis, ...], names: Names) -> tuple[Block, Load]:
    """Memory that an operand is written to along the axes it depends on, and what reads it from there."""
    buffer = Buffer(names.fresh(name), float32, tuple(axis.extent for axis in axes), "arena")
    place = tuple(axis.var for axis in axes)
    stored = Substitution(names).block((_parallel(axes, (Store(buffer, place, expr),)),))
    return (Alloc(buffer), *stored), Load(buffer, place)


def _summing(found: Sum, term: Term, sides: dict[str, Load]) -> Block:
    """The head with other operands."""

    def node(expr: Expr) -> Expr:
        if isinstance(expr, Fma) and (expr.a, expr.b) == (term.x, term.y):
            return Fma(sides.get("left", term.x), sides.get("right", term.y), expr.c)
        return expr

    return map_block(found.head, lambda expr: map_expr(expr, node))


def _parallel(axes: tuple[Axis, ...], body: Block) -> For:
    (loop,) = nests.around([(axis.var, axis.extent) for axis in axes], "parallel", body)  # there is an axis at least
    assert isinstance(loop, For)
    return loop
