"""Lowering of movement, source and index primitives: which element of which operand a result element is.

Where a result element has no source (padding) the load behind it is clamped into bounds and its value not used.
"""

from graphc.core.dtypes import int64, uint32, uint64
from graphc.core.errors import UnsupportedError
from graphc.graph.dims import matching_dims
from graphc.graph.ir import Node, Value
from graphc.graph.layout import one_number
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.movement import (
    AxesAttrs,
    AxisAttrs,
    BroadcastAttrs,
    PadAttrs,
    ShapeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from graphc.graph.ops.sliding import WindowsAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs, ShuffleAttrs
from graphc.kernel.ir import Binary, Cast, Compare, Const, Expr, Load, Select, Store, index
from graphc.kernel.lower.emit import Emitter, Pull, PullRule
from graphc.kernel.lower.expr import Index, add, all_of, between, clamp, const, convert, delinear, div, linear, mul, rem
from graphc.kernel.math import philox, shuffle_index, swap_or_not


def _reshape(emitter: Emitter, node: Node, idx: Index) -> Pull:
    source, target = node.operands[0].shape, node.result.shape
    found: list[Expr] = []
    for left, right in matching_dims(source, target):
        here = tuple(source[d] for d in left)
        there = tuple(target[d] for d in right)
        found += delinear(linear([idx[d] for d in right], there), here)
    return (yield node.operands[0], tuple(found))


def _transpose(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, TransposeAttrs)
    found: list[Expr] = [index(0)] * len(idx)
    for position, dim in zip(idx, node.attrs.permutation, strict=True):
        found[dim] = position
    return (yield node.operands[0], tuple(found))


def _broadcast(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, BroadcastAttrs)
    (x,) = node.operands
    found = (index(0) if extent == 1 else idx[dim] for extent, dim in zip(x.shape, node.attrs.dims, strict=True))
    return (yield x, tuple(found))


def _slice(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, SliceAttrs)
    found = (
        add(mul(position, step), index(start))
        for position, start, step in zip(idx, node.attrs.start, node.attrs.step, strict=True)
    )
    return (yield node.operands[0], tuple(found))


def _reverse(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, AxesAttrs)
    x = node.operands[0]
    found = (
        Binary("sub", index(extent - 1), position) if dim in node.attrs.axes else position
        for dim, (position, extent) in enumerate(zip(idx, x.shape, strict=True))
    )
    return (yield x, tuple(found))


def _pad(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, PadAttrs)
    x, fill = node.operands
    outside = yield fill, ()
    if x.type.size == 0:
        return outside
    conditions: list[Expr] = []
    found: list[Expr] = []
    widths = zip(idx, x.shape, node.attrs.low, node.attrs.high, node.attrs.interior, strict=True)
    for position, extent, low, high, interior in widths:
        step = interior + 1
        if interior:
            # counted from a place that is no later than the first one, so that no dividend is negative
            before = -(-low // step)
            position = add(position, index(before * step - low))
            conditions.append(Compare("eq", rem(position, step), index(0)))
            position, low, high = div(position, step), before, high // step
        if low or high:
            conditions.append(between(position, low, low + extent))
            position = clamp(Binary("sub", position, index(low)) if low else position, extent)
        found.append(position)
    inside = yield x, tuple(found)
    condition = all_of(conditions)
    return inside if condition is None else Select(condition, inside, outside)


def _windows(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, WindowsAttrs)
    (x,) = node.operands
    found = list(idx[: x.type.rank])
    rows = zip(node.attrs.dims, node.attrs.stride, node.attrs.dilation, idx[x.type.rank :], strict=True)
    for dim, stride, dilation, tap in rows:
        found[dim] = add(mul(found[dim], stride), mul(tap, dilation))
    return (yield x, tuple(found))


def _concatenate(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, AxisAttrs)
    axis = node.attrs.axis
    parts = [x for x in node.operands if x.shape[axis] > 0]
    ends: list[int] = []
    values: list[Expr] = []
    for x in parts:
        start = ends[-1] if ends else 0
        ends.append(start + x.shape[axis])
        local = Binary("sub", idx[axis], index(start)) if start else idx[axis]
        local = clamp(local, x.shape[axis]) if len(parts) > 1 else local
        values.append((yield x, (*idx[:axis], local, *idx[axis + 1 :])))
    result = values[-1]
    for end, value in zip(reversed(ends[:-1]), reversed(values[:-1]), strict=True):
        result = Select(Compare("lt", idx[axis], index(end)), value, result)
    return result


def nearest(position: Expr, extent: int) -> Expr:
    """A data-dependent index clamped into [0, extent), as int64; exact for every integer dtype."""
    dtype = position.dtype
    largest = (1 << (dtype.bits - (dtype.kind == "int"))) - 1
    if extent - 1 < largest:
        position = Binary("min", position, const(extent - 1, dtype))
    if dtype.kind == "int":
        position = Binary("max", position, const(0, dtype))
    return position if dtype is int64 else Cast(position, int64)


def _gather(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, GatherAttrs)
    x, indices = node.operands
    axis, batch = node.attrs.axis, node.attrs.batch_dims
    end = axis + indices.type.rank - batch
    position = yield indices, (*idx[:batch], *idx[axis:end])
    chosen = emitter.let(nearest(position, x.shape[axis]), "at")
    return (yield x, (*idx[:axis], chosen, *idx[end:]))


def _constant(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, ConstantAttrs)
    number = one_number(node.attrs.value)
    if number is None:
        raise UnsupportedError(f"constant {node.result.type} inside a fusion is not one repeated value ({node.loc})")
    yield from ()  # a rule is a generator, also one that asks for nothing
    return const(number, node.result.dtype)


def _iota(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, IotaAttrs)
    position = idx[node.attrs.axis]
    yield from ()
    return convert(position, node.attrs.dtype)


def _random_bits(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, ShapeAttrs)
    (key,) = node.operands
    rows = key.type.rank - 1  # dims of the result that have a key each
    low = yield key, (*idx[:rows], index(0))
    high = yield key, (*idx[:rows], index(1))
    flat = emitter.let(linear(idx[rows:], node.attrs.shape[rows:]), "flat")
    words = philox(Cast(div(flat, 4), uint64), Const(0, uint64), low, high, emitter.let)
    which = emitter.let(rem(flat, 4))
    result = words[3]
    for number in (2, 1, 0):
        result = Select(Compare("eq", which, index(number)), words[number], result)
    return result


def _shuffle_index(emitter: Emitter, node: Node, idx: Index) -> Pull:
    assert isinstance(node.attrs, ShuffleAttrs)
    indices, keys = node.operands
    size = Const(node.attrs.n, uint32)
    start = yield indices, idx
    row = idx[: keys.type.rank - 2]  # of a permutation of its own
    if emitter.naming and keys in emitter.stored:
        return (yield from _shuffle_loop(emitter, start, size, keys, row))
    rounds: list[tuple[Expr, Expr]] = []
    for number in range(keys.shape[-2]):
        first = yield keys, (*row, index(number), index(0))
        second = yield keys, (*row, index(number), index(1))
        rounds.append((first, second))
    return shuffle_index(start, size, rounds, emitter.let)


def _shuffle_loop(emitter: Emitter, start: Expr, size: Expr, keys: Value, row: Index) -> Pull:
    """The rounds as a loop over keys that lie in memory: there may be a hundred of them."""
    place = emitter.buffer("place", uint32, (), "register")
    emitter.append(Store(place, (), start))
    number = emitter.fresh("round")
    emitter.open()
    before = emitter.read(Load(place, ()))
    first = yield keys, (*row, number, index(0))
    second = yield keys, (*row, number, index(1))
    emitter.append(Store(place, (), swap_or_not(before, size, (first, second), emitter.let)))
    emitter.close_nest([(number, keys.shape[-2], "serial")])
    return emitter.read(Load(place, ()))


RULES: dict[str, PullRule] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "reverse": _reverse,
    "pad": _pad,
    "windows": _windows,
    "concatenate": _concatenate,
    "gather": _gather,
    "constant": _constant,
    "iota": _iota,
    "random_bits": _random_bits,
    "shuffle_index": _shuffle_index,
}
