"""What the machine can do: a worker that runs fused multiply-adds out of registers, and a stream over memory.

Both are made by graphc's own code generator and shared out by its threads, so they are limits for the code it makes.
Flops count a fused multiply-add as two.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from benchmarks.measure import Samples, System, Worker
from benchmarks.serve import Case, Prepare, Request, serve
from graphc.core.dtypes import float32
from graphc.kernel.ir import Alloc, Buffer, Const, Expr, Fma, For, Kernel, Let, Load, Param, Stmt, Store, Var, index
from graphc.plan.ir import Block, Entry, Launch, Plan, Ref, Slot
from graphc.runtime.discovery import find_backend

PEAK = System("peak", "benchmarks.peak", "peak")

CHUNKS, ITERATIONS = 64, 16384
ACCUMULATORS = 12  # more than latency times units of any processor today, and few enough for 16 registers
UNROLLED = 4
STREAMED_BYTES = 200_000_000  # of one call: milliseconds, so that starting threads does not count
FMA, STREAM = "fma", "stream"


def load(threads: int) -> Prepare:
    """Nothing but graphc is needed, and it is imported with this module."""

    def prepare(case: Request) -> Case:
        return _fma(threads) if case["name"] == FMA else _stream(threads, int(str(case["nbytes"])))

    return prepare


def _fma(threads: int) -> Case:
    """Independent chains `x = x * 0.5 + 0.5` in as many vector registers as keep every unit busy."""
    backend = find_backend("cpu")
    lanes = backend.target().vector_bits // 32
    executable = backend.load(fma_plan(lanes), threads)
    # The chains start from different numbers: LLVM would compute equal ones once. The last row is the factor.
    starts = np.arange(1, ACCUMULATORS + 1, dtype=np.float32)
    inputs = [np.append(starts, np.float32(0.5)).repeat(lanes).reshape(-1, lanes)]
    result = executable.call(FMA, inputs)[0]
    if not np.all(result == 1.0):
        raise AssertionError("the chains of multiply-adds must end at 1")

    def run(steps: int) -> None:
        for _ in range(steps):
            executable.call(FMA, inputs)

    return Case(run, {"flops": 2 * result.size * ITERATIONS * UNROLLED})


def fma_plan(lanes: int) -> Plan:
    """A plan of one kernel, written as it is to be emitted: threads outside, vectors inside."""
    given, out = (
        Buffer("given", float32, (ACCUMULATORS + 1, lanes)),
        Buffer("out", float32, (CHUNKS, ACCUMULATORS, lanes)),
    )
    sums = Buffer("sums", float32, (ACCUMULATORS,), "register")
    chunk, count, lane, x = Var("chunk"), Var("count"), Var("lane"), Var("x", float32)

    def each(name: str, statement: Callable[[Var], Stmt]) -> Stmt:
        number = Var(name)
        return For(number, index(ACCUMULATORS), "unroll", (statement(number),))

    chain = tuple(each(f"i{n}", lambda i: Store(sums, (i,), Fma(Load(sums, (i,)), x, x))) for n in range(UNROLLED))
    tile = (
        Let(x, Load(given, (index(ACCUMULATORS), lane))),
        Alloc(sums),
        each("first", lambda i: Store(sums, (i,), Load(given, (i, lane)))),
        For(count, index(ITERATIONS), "serial", chain),
        each("last", lambda i: Store(out, (chunk, i, lane), Load(sums, (i,)))),
    )
    body = (For(chunk, index(CHUNKS), "parallel", (For(lane, index(lanes), "vector", tile),)),)
    return plan_of(Kernel(FMA, (Param(given, "in"), Param(out, "out")), body))


def _stream(threads: int, nbytes: int) -> Case:
    """`a = a * 0.5 + b` in place over two arrays of together `nbytes`, each thread again and again over a part."""
    backend = find_backend("cpu")
    lanes = backend.target().vector_bits // 32
    rows = max(nbytes // (8 * threads * UNROLLED * lanes), 1)
    shape = (threads, rows, UNROLLED, lanes)
    moved = 3 * 4 * prod(shape)  # two are read, one is written
    repeats = max(STREAMED_BYTES // moved, 1)
    executable = backend.load(stream_plan(shape, repeats), threads)
    inputs = [np.ones(shape, np.float32)]
    if not np.allclose(executable.call(STREAM, inputs)[0], 2 - 0.5**repeats):
        raise AssertionError("the stream must approach 2")

    def run(steps: int) -> None:
        for _ in range(steps):
            executable.call(STREAM, inputs)

    return Case(run, {"bytes": moved * repeats})


def stream_plan(shape: tuple[int, ...], repeats: int) -> Plan:
    """A plan of one kernel over `shape` = (threads, rows, vectors, lanes): `a` starts at 1 and lies in the arena."""
    threads, rows, vectors, lanes = shape
    b, out = Buffer("b", float32, shape), Buffer("out", float32, (threads, lanes))
    a = Buffer("a", float32, shape, "arena")
    half, one = Const(0.5, float32), Const(1.0, float32)

    def sweep(name: str, value: Callable[[tuple[Expr, ...]], Expr], thread: Var) -> Stmt:
        row, vector, lane = Var(f"{name}_row"), Var(f"{name}_vector"), Var(f"{name}_lane")
        at = (thread, row, vector, lane)
        inner = For(vector, index(vectors), "unroll", (Store(a, at, value(at)),))
        return For(row, index(rows), "serial", (For(lane, index(lanes), "vector", (inner,)),))

    first, again, last = Var("first"), Var("again"), Var("last")
    fill = sweep("fill", lambda at: one, first)
    update = sweep("update", lambda at: Fma(Load(a, at), half, Load(b, at)), again)
    lane = Var("lane")
    result = Store(out, (last, lane), Load(a, (last, index(0), index(0), lane)))
    body = (
        Alloc(a),
        For(first, index(threads), "parallel", (fill,)),
        For(again, index(threads), "parallel", (For(Var("repeat"), index(repeats), "serial", (update,)),)),
        For(last, index(threads), "parallel", (For(lane, index(lanes), "vector", (result,)),)),
    )
    return plan_of(Kernel(STREAM, (Param(b, "in"), Param(out, "out")), body), (Ref("arena", 0, a.nbytes),))


def plan_of(kernel: Kernel, scratch: tuple[Ref, ...] = ()) -> Plan:
    """A plan that launches a kernel of one input and one output."""
    taken, given = (param.buffer for param in kernel.params)
    args = (Ref("input", 0, taken.nbytes), Ref("output", 0, given.nbytes))
    slots = [Slot(buffer.name, buffer.dtype, buffer.shape) for buffer in (taken, given)]
    block = Block((Launch(kernel, args, scratch),))
    arena = sum(ref.nbytes for ref in scratch)
    entry = Entry(kernel.name, (slots[0],), (slots[1],), block, arena, (), arena)
    return Plan((), 0, (), 0, {kernel.name: entry})


def prepare_peaks(worker: Worker, working_set: Sequence[int]) -> None:
    """Make ready the multiply-adds, and a stream for each of these working sets."""
    worker.prepare(FMA)
    for nbytes in working_set:
        worker.prepare(stream_name(nbytes), nbytes=nbytes)


def stream_name(nbytes: int) -> str:
    """The case of a working set."""
    return f"{STREAM} {nbytes}"


def flops_per_second(worker: Worker, samples: dict[tuple[str, str], Samples]) -> float:
    """The peak: of the fastest round, because a peak is what nothing is above."""
    return float(str(worker.cases[FMA]["flops"])) / min(samples[worker.name, FMA].seconds)


def bytes_per_second(worker: Worker, samples: dict[tuple[str, str], Samples], nbytes: int) -> float:
    """The bandwidth of the memory that a working set lies in."""
    name = stream_name(nbytes)
    return float(str(worker.cases[name]["bytes"])) / min(samples[worker.name, name].seconds)


if __name__ == "__main__":
    serve({"peak": load})
