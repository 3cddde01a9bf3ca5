"""What schedules ask about loops: the nest of independent loops, and how well an axis suits vector lanes."""

from collections.abc import Set

from graphc.core.records import dataclass
from graphc.kernel.affine import Facts, stride_of, variables
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Buffer,
    CallLibrary,
    Const,
    Expr,
    For,
    If,
    Let,
    Load,
    Prefetch,
    Stmt,
    Store,
    Var,
    While,
    operands,
    walk,
)
from graphc.kernel.schedule.nests import Axis as Axis
from graphc.kernel.schedule.nests import extent_of
from graphc.kernel.schedule.nests import nest as nest
from graphc.kernel.schedule.traverse import expressions, facts
from graphc_llvm.cost import UNKNOWN_EXTENT
from graphc_llvm.spans import is_short

LANES = 16  # of elements up to four bytes; wider ones take half as many


def lanes_for(statements: tuple[Stmt, ...]) -> int:
    """Lanes of a vector loop over these statements: 16, or 8 when an 8-byte element is computed with."""
    for buffer in touched(statements):
        if buffer.dtype.bits == 64 and (buffer.dtype.is_float or buffer.space != "param"):  # not indices
            return LANES // 2
    return LANES


def touched(statements: tuple[Stmt, ...]) -> set[Buffer]:
    """All buffers read or written."""
    return {access.buffer for access in accesses(statements)}


@dataclass(frozen=True, slots=True)
class Touch:
    """One access: how often it happens per run of the block, and the innermost parallel loop around it in the block."""

    buffer: Buffer
    index: tuple[Expr, ...]
    is_store: bool
    times: float
    inner: Axis | None


def accesses(statements: tuple[Stmt, ...], times: float = 1.0, inner: Axis | None = None) -> list[Touch]:
    """Every load and store of a block."""
    found: list[Touch] = []
    for statement in statements:
        found += [Touch(e.buffer, e.index, False, times, inner) for e in expressions(statement) if isinstance(e, Load)]
        match statement:
            case Store(buffer, idx, _):
                found.append(Touch(buffer, idx, True, times, inner))
            case Accumulate(targets, _, _):
                found += [Touch(buffer, idx, True, times, inner) for buffer, idx in targets]
            case For(var, _, kind, body):
                extent = extent_of(statement)
                around = Axis(var, extent) if kind == "parallel" and extent is not None else inner
                found += accesses(body, times * (UNKNOWN_EXTENT if extent is None else extent), around)
            case If(_, then, orelse):
                found += accesses(then, times, inner) + accesses(orelse, times, inner)
            case While(_, bound, body):
                found += accesses(body, times * min(bound, UNKNOWN_EXTENT), inner)
            case Let() | Alloc() | Prefetch() | CallLibrary():
                continue
    return found


def penalty(axis: Axis, leaf: tuple[Stmt, ...]) -> float:
    """The cost of all accesses of the leaf when `axis` runs in lanes."""
    known = facts(leaf)
    own = {s.buffer.name for s in walk(leaf) if isinstance(s, Alloc)}
    return sum(t.times * _each(t, axis, known, own) for t in accesses(leaf))


def inner_penalty(leaf: tuple[Stmt, ...]) -> float:
    """The same when the innermost parallel loops inside the leaf run in lanes instead."""
    known = facts(leaf)
    return sum(t.times * (1.0 if t.inner is None else _each(t, t.inner, known, frozenset())) for t in accesses(leaf))


def _each(touch: Touch, axis: Axis, known: Facts, own: Set[str]) -> float:
    lanes = max(min(axis.extent, LANES), 1)
    if touch.buffer.name in own:
        cheap = not any(_varies(expr, axis, known, own) for expr in touch.index)
    else:
        stride = stride_of(touch.buffer, touch.index, axis.var, known)
        if stride in (2, 4) and touch.buffer.shape[-1:] == (stride,) and isinstance(touch.index[-1], Const):
            return 2.0 / lanes  # pairs are read and written whole
        if not touch.is_store and is_short(stride):
            return (1.0 + abs(stride or 0)) / lanes
        cheap = stride in (0, 1)
    if cheap:
        return 1.0 / lanes
    return 2.0 if touch.is_store else 1.0


def _varies(index: Expr, axis: Axis, known: Facts, own: Set[str]) -> bool:
    """Whether a place in scratch of the iteration is looked up in what differs from iteration to iteration."""
    stack, seen = [index], set[str]()
    while stack:
        expr = stack.pop()
        if isinstance(expr, Load) and (expr.buffer.name in own or any(_has(i, axis, known) for i in expr.index)):
            return True
        if isinstance(expr, Var) and expr.name in known.lets and expr.name not in seen:
            seen.add(expr.name)
            stack.append(known.lets[expr.name])
        stack += operands(expr)
    return False


def _has(expr: Expr, axis: Axis, known: Facts) -> bool:
    return axis.var.name in variables(expr, known)
