"""Batching rows of loops and branches.

A loop over a batch is one loop of the batched body. Where examples make different numbers of iterations, it makes as
many as the longest of them, and the carries of an example stay as they are once it is done. A branch whose index
differs between examples becomes all branches, of which each example takes one.
"""

from collections.abc import Sequence

from graphc.core.dtypes import int32, int64
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, TensorType, Value
from graphc.graph.ops import control as ops
from graphc.graph.ops import elementwise
from graphc.graph.ops.control import COUNT, BranchAttrs, ScanAttrs, WhileAttrs
from graphc.transform.batching.rows import Batcher, BatchRegion, Operands, Row, with_batch

Results = tuple[Sequence[Value], Sequence[bool]]


def _swapped(c: Compose, x: Value) -> Value:
    """The first two dims of x, batch and rows, exchanged."""
    return c.transpose(x, (1, 0, *range(2, x.type.rank)))


def _per_example(c: Compose, flags: Value, on_true: Value, on_false: Value) -> Value:
    """For each example one of two values: `flags` has the batch dim alone."""
    return c.select(c.broadcast(flags, on_true.shape, (0,)), on_true, on_false)


def _any(c: Compose, flags: Value) -> Value:
    ones = c.cast(flags, int32)
    return c(elementwise.ne, c.reduce_max(ones, (0,)), c.scalar(0, int32))


def _inputs(builder: GraphBuilder, values: Sequence[Value]) -> list[Value]:
    return [builder.input(value.type, value.name) for value in values]


def _settled(
    batcher: Batcher, body: Graph, captures: Sequence[bool], carries: Sequence[bool], xs: Sequence[bool]
) -> tuple[Graph, list[bool], list[bool]]:
    """The batched body, which of its carries and which of its ys are batched: a carry that becomes it is from the
    start.
    """
    marked, count = list(carries), len(carries)
    while True:
        found = batcher.batch(body, [*captures, *marked, *xs], [*marked, *([False] * (len(body.outputs) - count))])
        if list(found.outputs[:count]) == marked:
            return found.graph, marked, list(found.outputs[count:])
        marked = list(found.outputs[:count])


def _scan(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, ScanAttrs)
    if attrs.counted and operands.batched[0]:
        return _scan_of_counts(batcher, c, attrs, operands)
    first, second = attrs.first + attrs.num_captures, attrs.first + attrs.num_captures + attrs.num_carries
    flags = operands.batched
    body, carried, of_ys = _settled(
        batcher, attrs.body, flags[attrs.first : first], flags[first:second], flags[second:]
    )
    values = list(operands.values[:first])
    values += _carries(c, operands, first, carried)
    values += [_swapped(c, operands.values[k]) if flags[k] else operands.values[k] for k in range(second, len(flags))]
    again = ScanAttrs(body, attrs.num_captures, attrs.num_carries, attrs.length, attrs.reverse, attrs.counted)
    results = c.builder.add(ops.scan, values, again, c.loc)
    split = attrs.num_carries
    ys = [_swapped(c, y) if mark else y for y, mark in zip(results[split:], of_ys, strict=True)]
    return [*results[:split], *ys], [*carried, *of_ys]


def _carries(c: Compose, operands: Operands, first: int, marked: Sequence[bool]) -> list[Value]:
    """First values of carries, with the batch dim where the carry has it."""
    return [
        with_batch(c, operands.values[first + k], operands.batched[first + k] or not mark, operands.size)
        for k, mark in enumerate(marked)
    ]


def _scan_of_counts(batcher: Batcher, c: Compose, attrs: ScanAttrs, operands: Operands) -> Results:
    """Each example has rows of its own number: one loop over the rows of the longest."""
    first, second = attrs.first + attrs.num_captures, attrs.first + attrs.num_captures + attrs.num_carries
    flags, carries = operands.batched, attrs.num_carries
    every = [True] * carries
    body, _, of_ys = _settled(batcher, attrs.body, flags[1:first], every, flags[second:])
    counts, most = operands.values[0], c.reduce_max(operands.values[0], (0,))
    bounds = [c.scalar(n, int64) for n in (0, attrs.length)]
    most = c(elementwise.min_, c(elementwise.max_, most, bounds[0]), bounds[1])

    builder = GraphBuilder(body.name)
    inside = Compose(builder, c.loc)
    limits = builder.input(counts.type, "counts")
    captures = _inputs(builder, body.inputs[: attrs.num_captures])
    row = builder.input(COUNT, "row")
    olds = _inputs(builder, body.inputs[attrs.num_captures : attrs.num_captures + carries])
    xs = _inputs(builder, body.inputs[attrs.num_captures + carries :])
    made = builder.inline(body, [*captures, *olds, *xs])
    running = inside(elementwise.lt, inside.broadcast(row, limits.shape, ()), limits)
    news = [_per_example(inside, running, new, old) for new, old in zip(made[:carries], olds, strict=True)]
    ys = [
        _per_example(inside, running, full, inside.zeros(full.type))
        for y, mark in zip(made[carries:], of_ys, strict=True)
        for full in (with_batch(inside, y, mark, operands.size),)
    ]
    following = inside.add(row, inside.scalar(-1 if attrs.reverse else 1, int64))
    whole = builder.build([following, *news, *ys])

    start = c.add(most, c.scalar(-1, int64)) if attrs.reverse else bounds[0]
    values = [most, counts, *operands.values[1:first], start, *_carries(c, operands, first, every)]
    values += [_swapped(c, operands.values[k]) if flags[k] else operands.values[k] for k in range(second, len(flags))]
    again = ScanAttrs(whole, 1 + attrs.num_captures, 1 + carries, attrs.length, attrs.reverse, True)
    _, *results = c.builder.add(ops.scan, values, again, c.loc)
    return [*results[:carries], *(_swapped(c, y) for y in results[carries:])], [True] * len(results)


def _while(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, WhileAttrs)
    split, flags = attrs.num_captures, operands.batched
    body, carried, of_ys = _settled(batcher, attrs.body, flags[:split], flags[split:], ())
    asked = batcher.batch(attrs.cond, [*flags[:split], *carried])
    if asked.outputs[0]:
        return _while_of_examples(batcher, c, attrs, operands)
    values = [*operands.values[:split], *_carries(c, operands, split, carried)]
    results = c.builder.add(ops.while_, values, WhileAttrs(asked.graph, body, split, attrs.bound), c.loc)
    count = attrs.num_carries
    ys = [_swapped(c, y) if mark else y for y, mark in zip(results[count : count + attrs.num_ys], of_ys, strict=True)]
    rest = results[count + attrs.num_ys :]
    return [*results[:count], *ys, *rest], [*carried, *of_ys, *(False for _ in rest)]


def _while_of_examples(batcher: Batcher, c: Compose, attrs: WhileAttrs, operands: Operands) -> Results:
    """Each example ends when its own condition says so."""
    split, carries, size = attrs.num_captures, attrs.num_carries, operands.size
    flags, every = operands.batched, [True] * attrs.num_carries
    body, _, of_ys = _settled(batcher, attrs.body, flags[:split], every, ())
    asked = batcher.batch(attrs.cond, [*flags[:split], *every], [True]).graph
    counts = TensorType((size,), int64)

    builder = GraphBuilder(asked.name)
    inside = Compose(builder, c.loc)
    captures = _inputs(builder, body.inputs[:split])
    builder.input(counts, "counts")
    olds = _inputs(builder, body.inputs[split:])
    cond = builder.build([_any(inside, builder.inline(asked, [*captures, *olds])[0])])

    builder = GraphBuilder(body.name)
    inside = Compose(builder, c.loc)
    captures = _inputs(builder, body.inputs[:split])
    done, olds = builder.input(counts, "counts"), _inputs(builder, body.inputs[split:])
    (running,) = builder.inline(asked, [*captures, *olds])
    made = builder.inline(body, [*captures, *olds])
    news = [_per_example(inside, running, new, old) for new, old in zip(made[:carries], olds, strict=True)]
    ys = [
        _per_example(inside, running, full, inside.zeros(full.type))
        for y, mark in zip(made[carries:], of_ys, strict=True)
        for full in (with_batch(inside, y, mark, size),)
    ]
    whole = builder.build([inside.add(done, inside.cast(running, int64)), *news, *ys])

    values = [*operands.values[:split], c.zeros(counts), *_carries(c, operands, split, every)]
    found, *results = c.builder.add(ops.while_, values, WhileAttrs(cond, whole, split, attrs.bound), c.loc)
    stacked = [_swapped(c, y) for y in results[carries : carries + attrs.num_ys]]
    rest = [] if attrs.bound is None else [found]
    return [*results[:carries], *stacked, *rest], [True] * (carries + len(stacked) + len(rest))


def _branch(batcher: Batcher, c: Compose, node: Node, operands: Operands) -> Results:
    attrs = node.attrs
    assert isinstance(attrs, BranchAttrs)
    flags = operands.batched[1:]
    every = [operands.batched[0]] * len(node.results)
    found = [batcher.batch(graph, flags, every) for graph in attrs.branches]
    united = [any(column) for column in zip(*(each.outputs for each in found), strict=True)]
    graphs = [batcher.batch(graph, flags, united).graph for graph in attrs.branches]
    if not operands.batched[0]:
        return c.builder.add(ops.branch, operands.values, BranchAttrs(tuple(graphs)), c.loc), united
    index, values = operands.values[0], operands.values[1:]
    results = list(c.builder.inline(graphs[0], values))
    for number, graph in enumerate(graphs[1:], 1):
        others = c.builder.inline(graph, values)
        here = c(elementwise.ge, index, c.full(index.type, number))
        results = [_per_example(c, here, new, old) for new, old in zip(others, results, strict=True)]
    return results, united


ROWS: dict[Op, Row] = {
    ops.scan: BatchRegion(_scan),
    ops.while_: BatchRegion(_while),
    ops.branch: BatchRegion(_branch),
}
