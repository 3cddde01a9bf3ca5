"""Derivative rows of windows.

A convolution is linear in each operand and transposed into convolutions: the gradient by the input slides the flipped
kernel over the cotangent, whose elements lie a stride apart; the gradient by the kernel slides the cotangent, dilated
by the stride, over the input. So is the sum of windows. The largest (smallest) element of a window has the whole
derivative; among equals the first in row-major order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from graphc.core import dtypes
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, TensorType, Value
from graphc.graph.ops import elementwise, movement
from graphc.graph.ops import sliding as ops
from graphc.graph.ops.contraction import free_dims
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs, Sliding, WindowsAttrs, dilated
from graphc.graph.sliding import padded, taps, windows
from graphc.transform.autodiff.rows import Linear, Row, Tangent


def _reversed(each: Sliding) -> Sliding:
    """What slides over the windows of `each` and meets, at each of its elements, the windows it is part of."""
    low = (each.size - 1) * each.dilation - each.low
    reach = (each.extent - 1) * each.base + (each.size - 1) * each.dilation + 1
    high = reach - low - dilated(each.places, each.stride)
    return Sliding(each.places, each.size, each.base, low, high, each.stride, each.dilation)


def _by_taps(each: Sliding) -> Sliding:
    """What slides over the elements and meets, for each tap, the elements that it is multiplied with."""
    reach = (each.size - 1) * each.dilation + (each.places - 1) * each.stride + 1
    high = reach - each.low - dilated(each.extent, each.base)
    return Sliding(each.extent, each.places, each.dilation, each.low, high, each.base, each.stride)


def _conv_attrs(
    lhs_contract: Sequence[int],
    rhs_contract: Sequence[int],
    lhs_spatial: Sequence[int],
    rhs_spatial: Sequence[int],
    sliding: Sequence[Sliding],
    lhs_batch: Sequence[int],
    rhs_batch: Sequence[int],
) -> ConvAttrs:
    return ConvAttrs(
        tuple(lhs_contract),
        tuple(rhs_contract),
        tuple(lhs_spatial),
        tuple(rhs_spatial),
        tuple(each.stride for each in sliding),
        tuple(each.low for each in sliding),
        tuple(each.high for each in sliding),
        tuple(each.base for each in sliding),
        tuple(each.dilation for each in sliding),
        tuple(lhs_batch),
        tuple(rhs_batch),
    )


def _ordered(c: Compose, x: Value, dims: Sequence[int]) -> Value:
    """The value whose dims come as `dims` says, in the order of their numbers."""
    return c.transpose(x, tuple(dims.index(d) for d in range(len(dims))))


def _conv(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    attrs = node.attrs
    assert isinstance(attrs, ConvAttrs)
    lhs, rhs = node.operands
    by_lhs = linear[0]
    if ct.type.size == 0 or (lhs if by_lhs else rhs).type.size == 0:
        return None, None
    ct = c.cast(ct, lhs.dtype)  # see the row of dot_general
    sliding = attrs.sliding(lhs.shape, rhs.shape)
    lhs_free, rhs_free = free_dims(lhs.type.rank, attrs.lhs_taken), free_dims(rhs.type.rank, attrs.rhs_taken)
    batch = range(len(attrs.lhs_batch))
    middle = len(batch) + len(lhs_free)
    end = middle + len(rhs_free)
    ct_lhs, ct_rhs, ct_spatial = range(len(batch), middle), range(middle, end), range(end, ct.type.rank)
    if by_lhs:
        back = [_reversed(each) for each in sliding]
        own = _conv_attrs(ct_rhs, rhs_free, ct_spatial, attrs.rhs_spatial, back, batch, attrs.rhs_batch)
        product = c(ops.conv_general, ct, rhs, attrs=replace(own, flipped=not attrs.flipped))
        paired = [attrs.lhs_contract[attrs.rhs_contract.index(d)] for d in sorted(attrs.rhs_contract)]
        return _ordered(c, product, [*attrs.lhs_batch, *lhs_free, *paired, *attrs.lhs_spatial]), None
    back = [_by_taps(each) for each in sliding]
    own = _conv_attrs(lhs_free, ct_lhs, attrs.lhs_spatial, ct_spatial, back, attrs.lhs_batch, batch)
    product = c(ops.conv_general, lhs, ct, attrs=own)
    paired = [attrs.rhs_contract[attrs.lhs_contract.index(d)] for d in sorted(attrs.lhs_contract)]
    found = _ordered(c, product, [*attrs.rhs_batch, *paired, *rhs_free, *attrs.rhs_spatial])
    return None, c.reverse(found, tuple(sorted(attrs.rhs_spatial))) if attrs.flipped else found


def _fold(c: Compose, ct: Value, x: TensorType, attrs: WindowsAttrs) -> Value:
    """The transpose of `windows`: every element adds up its places in windows, one dim after the other."""
    for n in reversed(range(len(attrs.dims))):
        dim, size, stride, dilation = attrs.dims[n], attrs.size[n], attrs.stride[n], attrs.dilation[n]
        ct = _fold_dim(c, ct, dim, x.rank + n, x.shape[dim], (size, stride, dilation))
    return ct


def _fold_dim(c: Compose, ct: Value, dim: int, tap: int, extent: int, row: tuple[int, int, int]) -> Value:
    size, stride, dilation = row
    rank = ct.type.rank
    if size == stride and dilation == 1:  # windows side by side: no element is in two
        order = [d for d in range(rank) if d != tap]
        order.insert(dim + 1, tap)
        flat = c.transpose(ct, tuple(order))
        shape = flat.shape
        flat = c.reshape(flat, (*shape[:dim], shape[dim] * size, *shape[dim + 2 :]))
        rest = extent - flat.shape[dim]
        return c.pad_axis(flat, 0, dim, 0, rest) if rest else flat
    total: Value | None = None
    for k in range(size):
        one = c.slice_axis(ct, tap, k, k + 1)
        one = c.reshape(one, tuple(e for d, e in enumerate(one.shape) if d != tap))
        low, high, interior = [0] * (rank - 1), [0] * (rank - 1), [0] * (rank - 1)
        low[dim], interior[dim] = k * dilation, stride - 1
        high[dim] = extent - low[dim] - dilated(one.shape[dim], stride)
        placed = c.pad(one, c.scalar(0, ct.dtype), tuple(low), tuple(high), tuple(interior))
        total = placed if total is None else c.add(total, placed)
    assert total is not None
    return total


def _windows(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, WindowsAttrs)
    if ct.type.size == 0:
        return (None,)
    return (_fold(c, ct, node.operands[0].type, node.attrs),)


def _reduce_attrs(reducer: str, dims: tuple[int, ...], sliding: Sequence[Sliding]) -> ReduceWindowAttrs:
    return ReduceWindowAttrs(
        reducer,
        dims,
        tuple(each.size for each in sliding),
        tuple(each.stride for each in sliding),
        tuple(each.low for each in sliding),
        tuple(each.high for each in sliding),
        tuple(each.base for each in sliding),
        tuple(each.dilation for each in sliding),
    )


def _sum(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    assert isinstance(node.attrs, ReduceWindowAttrs)
    if ct.type.size == 0 or node.operands[0].type.size == 0:
        return (None,)
    back = [_reversed(each) for each in node.attrs.sliding(node.operands[0].shape)]
    return (c(ops.reduce_window, ct, attrs=_reduce_attrs("sum", node.attrs.dims, back)),)


FEW = 64  # taps that are compared one by one


def _reduce_jvp(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    """The tangent of the sum, or of the first extreme element."""
    attrs = node.attrs
    assert isinstance(attrs, ReduceWindowAttrs)
    (x,), (t,) = node.operands, tangents
    assert t is not None
    if attrs.reducer == "sum":
        return c(node.op, t, attrs=attrs)
    if 0 in (x.type.size, node.result.type.size):
        return c.zeros(node.result.type)
    sliding = attrs.sliding(x.shape)
    given = padded(c, x, attrs.dims, sliding, attrs.identity(x.dtype))
    plain = [Sliding(given.shape[d], s.size, s.stride, 0, 0, 1, s.dilation) for d, s in zip(attrs.dims, sliding)]
    if prod(attrs.size) > FEW:
        return _reduce_jvp_of_many(c, node, given, padded(c, t, attrs.dims, sliding, 0), plain)
    first = _first(c, node, list(taps(c, given, attrs.dims, plain)))
    # All taps side by side, and selected together: transposed, what is kept is `first`, not a selection for each tap.
    apart = [c.reshape(tap, (1, *tap.shape)) for tap in _inside(c, t, attrs.dims, sliding)]
    found = c.concatenate(apart, 0) if len(apart) > 1 else apart[0]
    number = c.iota(found.shape, dtypes.int32, 0)
    is_first = c.eq(c.broadcast_over(first, found.shape, (0,)), number)
    return c.reduce_sum(c.select(is_first, found, c.zeros(found.type)), (0,))


def _inside(c: Compose, x: Value, dims: Sequence[int], sliding: Sequence[Sliding]) -> Iterator[Value]:
    """For each tap, in row-major order, the element that every window has there: 0 where that is none of x.

    Like `taps` of what is padded, but each is a slice of x itself, so that the transpose adds up in the shape of x.
    """
    if any(each.base > 1 for each in sliding):
        given = padded(c, x, dims, sliding, 0)
        yield from taps(
            c,
            given,
            dims,
            [Sliding(given.shape[d], s.size, s.stride, 0, 0, 1, s.dilation) for d, s in zip(dims, sliding)],
        )
        return
    shape = list(x.shape)
    for dim, each in zip(dims, sliding, strict=True):
        shape[dim] = each.places
    for numbers in product(*(range(each.size) for each in sliding)):
        start, stop, step = [0] * x.type.rank, list(x.shape), [1] * x.type.rank
        low, high = [0] * x.type.rank, [0] * x.type.rank
        for dim, each, number in zip(dims, sliding, numbers, strict=True):
            begin = number * each.dilation - each.low
            first = min(max(-(begin // each.stride), 0), each.places)
            last = max(min((each.extent - 1 - begin) // each.stride + 1, each.places), first)
            start[dim], step[dim] = begin + first * each.stride, each.stride
            stop[dim] = begin + (last - 1) * each.stride + 1
            if first == last:
                start[dim] = stop[dim] = 0
            low[dim], high[dim] = first, each.places - last
        tap = c(movement.slice_, x, attrs=movement.SliceAttrs(tuple(start), tuple(stop), tuple(step)))
        yield c.pad(tap, c.scalar(0, x.dtype), tuple(low), tuple(high)) if any((*low, *high)) else tap


def _first(c: Compose, node: Node, found: Sequence[Value]) -> Value:
    """The number of the first tap that is the result; a NaN is the result where there is one."""
    first = c.full(node.result.type.with_dtype(dtypes.int32), len(found))
    for number in reversed(range(len(found))):
        tap = found[number]
        is_nan = c(elementwise.ne, tap, tap)
        is_result = c(elementwise.or_, c.eq(tap, node.result), is_nan)
        first = c.select(is_result, c.like(first, number), first)
    return first


def _reduce_jvp_of_many(c: Compose, node: Node, given: Value, moved: Value, sliding: Sequence[Sliding]) -> Value:
    """With the windows side by side in memory."""
    attrs = node.attrs
    assert isinstance(attrs, ReduceWindowAttrs)
    sizes, strides, dilations = zip(*((each.size, each.stride, each.dilation) for each in sliding), strict=True)
    rank, count = given.type.rank, prod(each.size for each in sliding)
    flat = (*node.result.shape, count)
    seen, carried = (c.reshape(windows(c, x, attrs.dims, sizes, strides, dilations), flat) for x in (given, moved))
    number = (c.argmax if attrs.reducer == "max" else c.argmin)(seen, rank)
    first = c.broadcast_over(c.cast(number, dtypes.int32), flat, (rank,))
    chosen = c.select(c.eq(c.iota(flat, dtypes.int32, rank), first), carried, c.zeros(carried.type))
    return c.reduce_sum(chosen, (rank,))


ROWS: dict[Op, Row] = {
    ops.windows: Linear(_windows),
    ops.conv_general: Linear(_conv, apart=True),
    # only sums are linear: the tangent of an extreme element is made of other ops
    ops.reduce_window: Linear(_sum, jvp=_reduce_jvp),
}
