"""Sums of products of bfloat16, as one step per iteration.

In: the leaf of a nest of independent loops. Lowering writes such a sum in pairs, the odd term of each first:

    acc = fma(f32(x[2 * p + 1]), f32(y[2 * p + 1]), acc)
    acc = fma(f32(x[2 * p]), f32(y[2 * p]), acc)

Out: where the processor has a dot product instruction, the leaf with `acc = dot_pair(pair of x, pair of y, acc)` in
place of the two. What is packed for a register tile is then the pairs, as uint32. A pair that lies side by side in
memory that the kernel only reads is one load; otherwise it is put together from its halves.

Elsewhere the two become one step in a loop of two turns, `x[2 * p + 1 - turn]`; what is packed is float32 in that
order.
"""

from dataclasses import replace

from graphc.core.dtypes import bfloat16, float32, uint16, uint32
from graphc.kernel.ir import (
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Const,
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
    in_pairs,
    index,
)
from graphc.kernel.schedule.edit import Names
from graphc.kernel.schedule.rewrite import loop, plus
from graphc_llvm.axes import LANES
from graphc_llvm.host import has_dot_instruction


def paired(leaf: tuple[Stmt, ...], read_only: frozenset[str], names: Names) -> tuple[Stmt, ...]:
    """The leaf in pairs, as far as it sums products of bfloat16. `read_only`: buffers the kernel never writes."""
    result: list[Stmt] = []
    for statement in leaf:
        match statement:
            case For(body=body):
                new = _pair(body, read_only, names) or paired(body, read_only, names)
                result.append(replace(statement, body=new))
            case If(_, then, orelse):
                then, orelse = (paired(part, read_only, names) for part in (then, orelse))
                result.append(replace(statement, then=then, orelse=orelse))
            case _:
                result.append(statement)
    return tuple(result)


def _pair(body: tuple[Stmt, ...], read_only: frozenset[str], names: Names) -> tuple[Stmt, ...] | None:
    """The body of a summed loop as one step; None when it is not two steps of one sum."""
    lets = tuple(s for s in body if isinstance(s, Let))
    match [s for s in body if not isinstance(s, Let)]:
        case [
            Store(acc, at, Fma(Cast(x1), Cast(y1), Load() as old)) as store,
            Store(acc0, at0, Fma(Cast(x0), Cast(y0), Load() as old0)),
        ] if (acc, at, old) == (acc0, at0, old0) and old == Load(acc, at):
            if acc.dtype != float32 or any(x.dtype != bfloat16 for x in (x0, y0, x1, y1)):
                return None
            if any(isinstance(e, Load) and e.buffer == acc for let in lets for e in (let.value,)):
                return None
            if not has_dot_instruction(LANES):
                turn = names.var("turn")
                x, y = _in_turn(x0, x1, turn), _in_turn(y0, y1, turn)
                if x is None or y is None:
                    return None
                step = replace(store, value=Fma(Cast(x, float32), Cast(y, float32), old))
                return (loop(turn, 2, "serial", (*lets, step)),)
            x, y = _together(x0, x1, read_only), _together(y0, y1, read_only)
            return (*lets, replace(store, value=DotPair(x, y, old)))
    return None


def _in_turn(low: Expr, high: Expr, turn: Var) -> Expr | None:
    """`high` in turn 0, `low` in turn 1, where they differ in indices by one; None where they do not."""
    if low == high:
        return low
    if high == plus(low, index(1)):
        return Binary("sub", high, turn)
    match low, high:
        case Cast(x, dtype), Cast(y, other) if dtype == other:
            found = _in_turn(x, y, turn)
            return None if found is None else Cast(found, dtype)
        case Load(buffer, place), Load(other_buffer, following) if buffer == other_buffer:
            places = [_in_turn(a, b, turn) for a, b in zip(place, following, strict=True)]
            return Load(buffer, tuple(p for p in places if p is not None)) if None not in places else None
    return None


def _together(low: Expr, high: Expr, read_only: frozenset[str]) -> Expr:
    match low, high:
        case Load(Buffer() as buffer, (*outer, place)), Load(other, (*outer_too, following)):
            half = _half(place)
            near = other == buffer and outer == outer_too and following == plus(place, index(1))
            if near and half is not None and buffer.name in read_only and buffer.shape[-1] % 2 == 0:
                return Load(in_pairs(buffer), (*outer, half))
    bits = [Cast(Bitcast(x, uint16), uint32) for x in (low, high)]
    return Binary("or", bits[0], Binary("shl", bits[1], Const(16, uint32)))


def _half(place: Expr) -> Expr | None:
    """Half of an index that is even by its form; None otherwise."""
    match place:
        case Const(int(value)) if value % 2 == 0:
            return index(value // 2)
        case Binary("mul", x, Const(int(factor))) if factor % 2 == 0:
            return x if factor == 2 else Binary("mul", x, index(factor // 2))
        case Binary("add", x, y):
            left, right = _half(x), _half(y)
            return plus(left, right) if left is not None and right is not None else None
    return None
