"""csr_dot: every row of the result is owned by one iteration, which adds up the stored elements in order. Columns of
the dense matrix are taken some at a time, so that their sums stay in registers and its rows are read in runs.
"""

from collections.abc import Callable

from graphc.graph.ir import Graph, Value
from graphc.kernel.ir import Binary, Expr, Fma, For, Kernel, Load, Store, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import add, clamp, const, convert, int64, mul

Write = Callable[[Var, Expr], None]
WIDE = 32  # columns taken together


def lower_csr_dot(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one csr_dot; its operands may be computed on the way in."""
    builder = KernelBuilder(original, original, memory)
    node = next(n for n in original.nodes if n.op.name == "csr_dot")
    rows, columns = node.result.shape
    whole, rest = divmod(columns, WIDE)
    if whole:
        _write(builder, node.operands, rows, WIDE, 0, whole)
    if rest:
        _write(builder, node.operands, rows, rest, whole * WIDE, 1)
    return builder.finish(name)


def _write(builder: KernelBuilder, operands: tuple[Value, ...], rows: int, wide: int, first: int, blocks: int) -> None:
    data, indices, indptr, dense = operands
    emitter = builder.emitter
    row, block = emitter.fresh("i"), emitter.fresh("b")
    emitter.open()
    emitter.floor = len(emitter.scopes) - 1
    count = data.type.size
    start, stop = (_place(emitter.pull(indptr, (add(row, index(k)),)), count) for k in (0, 1))
    start, length = emitter.let(start), emitter.let(Binary("max", Binary("sub", stop, start), index(0)))
    sums = emitter.buffer("sums", dense.dtype, (wide,), "worker")

    def each(write: Write) -> None:
        lane = emitter.fresh("l")
        emitter.open()
        write(lane, add(add(mul(block, wide), index(first)), lane))
        emitter.close_nest([(lane, wide, "parallel")])

    each(lambda lane, column: emitter.append(Store(sums, (lane,), const(0, dense.dtype))))
    if count:
        step = emitter.fresh("k")
        emitter.open()
        place = emitter.let(clamp(add(start, step), count))
        factor = emitter.pull(data, (place,))
        there = emitter.let(_place(emitter.pull(indices, (place,)), dense.shape[0] - 1))

        def more(lane: Var, column: Expr) -> None:
            value = Fma(factor, emitter.pull(dense, (there, column)), Load(sums, (lane,)))
            emitter.append(Store(sums, (lane,), value))

        each(more)
        emitter.append(For(step, length, "serial", emitter.close()))
    each(lambda lane, column: builder.store(0, (row, column), emitter.read(Load(sums, (lane,)))))
    emitter.close_phase([row, block], (rows, blocks))


def _place(position: Expr, last: int) -> Expr:
    """As int64, in [0, last]."""
    return clamp(convert(position, int64), last + 1)
