"""The canonicalisation rules of movements: compositions are one node, and what moves nothing is gone."""

from graphc.graph.ir import Node, Value
from graphc.graph.ops import movement as m
from graphc.passes.rewrite import Context, NodeRule


def _is_identity(node: Node) -> bool:
    match node.attrs:
        case m.TransposeAttrs(permutation):
            return permutation == tuple(range(len(permutation)))
        case m.SliceAttrs():
            return node.result.shape == node.operands[0].shape
        case m.PadAttrs(low, high, _):
            return node.result.shape == node.operands[0].shape and not any((*low, *high))
        case m.AxesAttrs(axes):
            return all(node.result.shape[axis] <= 1 for axis in axes)
        case m.AxisAttrs():
            return len(node.operands) == 1
    return node.result.shape == node.operands[0].shape  # reshape, broadcast


def _identity(context: Context, node: Node) -> Value | None:
    """A movement that moves nothing is its operand."""
    return node.operands[0] if _is_identity(node) else None


def _of_scalar(context: Context, node: Node) -> Value | None:
    """move(broadcast(scalar)) = broadcast(scalar)"""
    spread = context.made_by(node.operands[0], m.broadcast)
    if spread is None or spread.operands[0].type.rank > 0:
        return None
    return context.compose(node).spread(spread.operands[0], node.result.shape)


def _reshape(context: Context, node: Node) -> Value | None:
    """reshape(reshape(x)) = reshape(x)"""
    inner = context.made_by(node.operands[0], m.reshape)
    return None if inner is None else context.compose(node).reshape(inner.operands[0], node.result.shape)


def _transpose(context: Context, node: Node) -> Value | None:
    """transpose(transpose(x)) = transpose(x);  transpose(broadcast(x)) = broadcast(x);  reshape if no wide dim moves"""
    assert isinstance(node.attrs, m.TransposeAttrs)
    (value,), permutation = node.operands, node.attrs.permutation
    c = context.compose(node)
    wide = [d for d in permutation if value.shape[d] != 1]
    if wide == sorted(wide) or value.type.size == 0:
        return c.reshape(value, node.result.shape)
    inner = context.made_by(value, m.transpose)
    if inner is not None:
        assert isinstance(inner.attrs, m.TransposeAttrs)
        return c.transpose(inner.operands[0], tuple(inner.attrs.permutation[d] for d in permutation))
    spread = context.made_by(value, m.broadcast)
    if spread is None:
        return None
    assert isinstance(spread.attrs, m.BroadcastAttrs)
    dims = tuple(permutation.index(d) for d in spread.attrs.dims)
    if list(dims) != sorted(dims):
        return None
    return c.broadcast(spread.operands[0], node.result.shape, dims)


def _broadcast(context: Context, node: Node) -> Value | None:
    """broadcast to as many elements = reshape;  broadcast(broadcast(x)) = broadcast(x);  broadcast(reshape(x)) =
    broadcast(x) where the reshape only adds or drops dims of extent 1.
    """
    assert isinstance(node.attrs, m.BroadcastAttrs)
    (value,), shape, dims = node.operands, node.attrs.shape, node.attrs.dims
    c = context.compose(node)
    if value.type.size == node.result.type.size:
        return c.reshape(value, shape)
    spread = context.made_by(value, m.broadcast)
    if spread is not None:
        assert isinstance(spread.attrs, m.BroadcastAttrs)
        return c.broadcast(spread.operands[0], shape, tuple(dims[d] for d in spread.attrs.dims))
    inner = context.made_by(value, m.reshape)
    if inner is None:
        return None
    (source,) = inner.operands
    # the dims of `value` that are wider than 1, in order, must be those of the source
    wide = [(e, dims[d]) for d, e in enumerate(value.shape) if e != 1]
    if [e for e in source.shape if e != 1] != [e for e, _ in wide]:
        return None
    placed = _place(source.shape, [d for _, d in wide], shape)
    return None if placed is None else c.broadcast(source, shape, placed)


def _place(extents: tuple[int, ...], wide: list[int], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Result dims for the operand dims: the wide ones as given, those of extent 1 wherever there is room between."""
    dims: list[int] = []
    left = list(wide)
    for extent in extents:
        if extent != 1:
            dims.append(left.pop(0))
            continue
        free = dims[-1] + 1 if dims else 0
        if free >= (left[0] if left else len(shape)):
            return None
        dims.append(free)
    return tuple(dims)


def _slice(context: Context, node: Node) -> Value | None:
    """slice(slice(x)) = slice(x);  slice(concatenate(..., x, ...)) = slice(x) where it reads x alone."""
    assert isinstance(node.attrs, m.SliceAttrs)
    attrs, (value,) = node.attrs, node.operands
    inner = context.made_by(value, m.slice_)
    if inner is not None:
        assert isinstance(inner.attrs, m.SliceAttrs)
        starts, steps = inner.attrs.start, inner.attrs.step
        extents = node.result.shape
        start = tuple(a + b * s for a, b, s in zip(starts, attrs.start, steps, strict=True))
        step = tuple(s * t for s, t in zip(steps, attrs.step, strict=True))
        stop = tuple(a + (n - 1) * s + 1 if n else a for a, n, s in zip(start, extents, step, strict=True))
        if any(a > e for a, e in zip(start, inner.operands[0].shape, strict=True)):
            return None  # an empty slice that starts past the end
        return context.compose(node).slice(inner.operands[0], start, stop, step)
    joined = context.made_by(value, m.concatenate)
    return None if joined is None else _slice_of_concatenate(context, node, attrs, joined)


def _slice_of_concatenate(context: Context, node: Node, attrs: m.SliceAttrs, joined: Node) -> Value | None:
    assert isinstance(joined.attrs, m.AxisAttrs)
    axis, offset = joined.attrs.axis, 0
    if node.result.shape[axis] == 0:
        return None
    last = attrs.start[axis] + (node.result.shape[axis] - 1) * attrs.step[axis]
    for part in joined.operands:
        extent = part.shape[axis]
        if offset <= attrs.start[axis] and last < offset + extent:
            start, stop = list(attrs.start), list(attrs.stop)
            start[axis], stop[axis] = attrs.start[axis] - offset, last + 1 - offset
            return context.compose(node).slice(part, tuple(start), tuple(stop), attrs.step)
        offset += extent
    return None


def _concatenate(context: Context, node: Node) -> Value | None:
    """concatenate without its empty operands"""
    assert isinstance(node.attrs, m.AxisAttrs)
    axis = node.attrs.axis
    parts = [v for v in node.operands if v.shape[axis] > 0]
    if len(parts) == len(node.operands):
        return None
    if not parts:
        return node.operands[0]
    return parts[0] if len(parts) == 1 else context.compose(node).concatenate(parts, axis)


def _reverse(context: Context, node: Node) -> Value | None:
    """reverse(reverse(x)) = x on the axes both have"""
    assert isinstance(node.attrs, m.AxesAttrs)
    inner = context.made_by(node.operands[0], m.reverse)
    if inner is None:
        return None
    assert isinstance(inner.attrs, m.AxesAttrs)
    axes = sorted(set(node.attrs.axes) ^ set(inner.attrs.axes))
    return context.compose(node).reverse(inner.operands[0], tuple(axes)) if axes else inner.operands[0]


_ALL = (m.reshape, m.transpose, m.broadcast, m.slice_, m.pad, m.concatenate, m.reverse)

MOVEMENT: tuple[NodeRule, ...] = (
    NodeRule(_ALL, _identity),
    NodeRule((m.reshape, m.transpose, m.broadcast, m.slice_, m.reverse), _of_scalar),
    NodeRule((m.reshape,), _reshape),
    NodeRule((m.transpose,), _transpose),
    NodeRule((m.broadcast,), _broadcast),
    NodeRule((m.slice_,), _slice),
    NodeRule((m.concatenate,), _concatenate),
    NodeRule((m.reverse,), _reverse),
)
