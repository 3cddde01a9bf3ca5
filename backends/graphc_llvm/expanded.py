"""Short loops whose counter decides which operand is read, or that interleave what they store, are written out.

`for p in 0..2: out[i, p] = select(p < 1, x[i], y[i])` reads both operands for each element. Written out, each copy
reads one of them. Copies that store side by side, where another loop moves on by all of them, are stored as one vector
of shuffled lanes (`statements`).

In: the axes of a nest and its body. Out: the axes that are left, and a body for all iterations of the others.
Guaranteed: iterations of these axes are independent, so that what they load may be loaded before any of them stores.
"""

from itertools import product
from math import prod

from graphc.kernel.affine import NOTHING, loads, stride_of, variables
from graphc.kernel.ir import Binary, Compare, Const, Expr, Let, Load, Select, Stmt, Store, index, operands
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.nests import Axis
from graphc.kernel.schedule.rewrite import Substitution, plus, times
from graphc.kernel.schedule.simplify import counter_range, simplify_block
from graphc.kernel.schedule.traverse import expressions, facts

MOST_ITERATIONS, MOST_COPIES = 4, 16


def expanded(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...], names: Names) -> tuple[tuple[Axis, ...], tuple[Stmt, ...]]:
    """The nest with short axes that decide what is read written out; the same one when there are none."""
    if not all(isinstance(statement, Let | Store) for statement in leaf) or _reads_back(leaf):
        return axes, leaf
    axes, leaf = _split(axes, leaf, names)
    wanted = _deciding(leaf) | _interleaving(axes, leaf)
    short = [axis for axis in axes if 1 < axis.extent <= MOST_ITERATIONS and axis.var.name in wanted]
    if not short or len(short) == len(axes) or prod(axis.extent for axis in short) > MOST_COPIES:
        return axes, leaf
    lets: list[Stmt] = []
    stores: list[Stmt] = []
    left = tuple(axis for axis in axes if axis not in short)
    known = NOTHING
    for axis in left:
        known = counter_range(axis.var, axis.extent, known)
    for numbers in product(*(range(axis.extent) for axis in short)):
        given = {axis.var.name: index(number) for axis, number in zip(short, numbers, strict=True)}
        copy = simplify_block(Substitution(names, given).block(leaf), known)
        lets += [statement for statement in copy if isinstance(statement, Let)]
        stores += [statement for statement in copy if isinstance(statement, Store)]
    return left, (*_used(lets, stores), *stores)


def _reads_back(leaf: tuple[Stmt, ...]) -> bool:
    """Whether some of what is loaded may just have been stored."""
    stored = {statement.buffer.name for statement in leaf if isinstance(statement, Store)}
    return any(isinstance(e, Load) and e.buffer.name in stored for s in leaf for e in expressions(s))


def _split(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...], names: Names) -> tuple[tuple[Axis, ...], tuple[Stmt, ...]]:
    """Axes whose remainder decides something as two: the quotient, and the remainder, which is short."""
    divisors = _divisors(leaf)
    found: list[Axis] = []
    given: dict[str, Expr] = {}
    for axis in axes:
        by = divisors.get(axis.var.name, set())
        (k,) = by if len(by) == 1 else (1,)
        if k == 1 or axis.extent % k or axis.extent == k:
            found.append(axis)
            continue
        outer, inner = names.var(axis.var.name), names.var(axis.var.name)
        given[axis.var.name] = plus(times(outer, k), inner)
        found += [Axis(outer, axis.extent // k), Axis(inner, k)]
    if not given:
        return axes, leaf
    return tuple(found), Substitution(names, given).block(leaf)


def _divisors(leaf: tuple[Stmt, ...]) -> dict[str, set[int]]:
    """What remainders of counters are taken by, in conditions of selects."""
    found: dict[str, set[int]] = {}
    for statement in leaf:
        for expr in expressions(statement):
            match expr:
                case Binary("rem", inner, Const(value, _)) if 1 < value <= MOST_ITERATIONS and not loads(inner):
                    for name in variables(inner):
                        found.setdefault(name, set()).add(int(value))
    return found


def _deciding(leaf: tuple[Stmt, ...]) -> set[str]:
    """Counters that conditions of selects are made of."""
    found: set[str] = set()
    for statement in leaf:
        for expr in expressions(statement):
            if isinstance(expr, Select):
                found |= _of_counters(expr.cond)
    return found


def _of_counters(cond: Expr) -> frozenset[str]:
    """What comparisons of integers that nobody has to read first depend on."""
    if isinstance(cond, Compare):
        is_plain = cond.lhs.dtype.is_integer and not loads(cond)
        return variables(cond) if is_plain else frozenset()
    return frozenset().union(*(_of_counters(each) for each in operands(cond))) if cond.dtype.is_bool else frozenset()


def _interleaving(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...]) -> set[str]:
    """Counters of loops that store side by side what another one stores apart."""
    found: set[str] = set()
    known = facts(leaf)
    for store in leaf:
        if isinstance(store, Store) and store.buffer.shape:
            strides = {axis.var.name: stride_of(store.buffer, store.index, axis.var, known) for axis in axes}
            found |= {a.var.name for a in axes if strides[a.var.name] == 1 and a.extent in strides.values()}
    return found


def _used(lets: list[Stmt], stores: list[Stmt]) -> list[Stmt]:
    """What the stores need, without the values that no copy takes any more."""
    needed = {name for store in stores for expr in expressions(store) for name in variables(expr)}
    kept: list[Stmt] = []
    for statement in reversed(lets):
        assert isinstance(statement, Let)
        if statement.var.name in needed:
            needed |= variables(statement.value)
            kept.append(statement)
    return kept[::-1]
