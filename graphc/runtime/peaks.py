"""What a machine can do at best: fused multiply-adds out of registers, and a stream over a working set of memory.

In: a backend, a number of threads. Out: flops and bytes per second, measured with kernels of the backend's own code
generator and threads, so they are limits of the code it makes. A multiply-add is two flops. Guaranteed: a peak is the
best of several interleaved rounds, because nothing is above a peak; it is measured once and kept in the cache folder.
"""

import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from graphc.core import config
from graphc.core.dtypes import DType, bfloat16, float32, uint32
from graphc.core.records import dataclass
from graphc.kernel.ir import (
    Alloc,
    Bitcast,
    Buffer,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    Kernel,
    Let,
    Load,
    Param,
    Stmt,
    Store,
    Var,
    index,
)
from graphc.plan.ir import Block, Entry, Launch, Plan, Ref, Slot
from graphc.runtime.protocol import Backend

CHUNKS, ITERATIONS = 64, 16384
ACCUMULATORS = 12  # more than latency times units of any processor today, and few enough for 16 registers
UNROLLED = 4
STREAMED_BYTES = 200_000_000  # of one run: milliseconds, so that starting threads does not count
SMALLEST = 2**14  # bytes of a working set: smaller ones are loop overhead
ROUNDS, MOST_ROUNDS = 20, 200
FMA, STREAM = "fma", "stream"


@dataclass(frozen=True, slots=True)
class Probe:
    """A kernel that shows a limit: each `run` does `amount` flops, or moves `amount` bytes."""

    name: str
    run: Callable[[], object]
    amount: int


@dataclass(frozen=True, slots=True)
class Peaks:
    """Limits of a machine on a number of threads: flops per second by dtype, bytes per second of a working set."""

    threads: int
    flops_per_second: Mapping[str, float]
    bytes_per_second: float
    working_set: int

    def least_seconds(self, flops: int, nbytes: int, dtype: str = "float32") -> float:
        """No kernel of so many flops and bytes is faster."""
        return max(flops / self.flops_per_second[dtype], nbytes / self.bytes_per_second)


def peaks(
    backend: Backend, threads: int, working_set: int, dtypes: Sequence[DType] = (float32,), remeasure: bool = False
) -> Peaks:
    """The limits; what is not known yet is measured now, in some tenths of a second. `remeasure` forgets all there is.

    A working set counts as the nearest power of the fourth root of two.
    """
    nearest = nearest_size(working_set)
    store = _Store.of(backend, threads)
    known = {} if remeasure else store.read()
    names = [*(f"{FMA} {each.name}" for each in dtypes), f"{STREAM} {nearest}"]
    missing = [name for name in names if name not in known]
    if missing:
        probes = [_probe(name, backend, threads, dtypes) for name in missing]
        known |= measure(probes)
        store.write(known)
    rates = {each.name: known[f"{FMA} {each.name}"] for each in dtypes}
    return Peaks(threads, rates, known[f"{STREAM} {nearest}"], nearest)


def nearest_size(nbytes: int) -> int:
    """The size that a working set is measured as.

    >>> nearest_size(1_000_000)
    1048576
    """
    return round(2 ** (round(4 * math.log2(max(nbytes, SMALLEST))) / 4))


def measure(probes: Sequence[Probe], rounds: int = ROUNDS) -> dict[str, float]:
    """The best rate of each probe: a round runs all of them one after the other.

    It ends when so many rounds in a row found nothing that is 1% better: neighbours that use the machine meanwhile
    make it last longer, rather than the peak lower.
    """
    best = dict.fromkeys((probe.name for probe in probes), 0.0)
    for probe in probes:
        probe.run()  # wakes threads, touches memory
    last = 0
    for number in range(MOST_ROUNDS):
        for probe in probes:
            start = time.perf_counter()
            probe.run()
            rate = probe.amount / (time.perf_counter() - start)
            if rate > 1.01 * best[probe.name]:
                last = number
            best[probe.name] = max(best[probe.name], rate)
        if number - last >= rounds:
            break
    return best


def _probe(name: str, backend: Backend, threads: int, dtypes: Sequence[DType]) -> Probe:
    kind, _, detail = name.partition(" ")
    if kind == STREAM:
        return stream_probe(backend, threads, int(detail))
    return fma_probe(backend, threads, next(each for each in dtypes if each.name == detail))


# --------------------------------------------------------------------------------------------------- on disk


@dataclass(frozen=True, slots=True)
class _Store:
    """Rates by name, of one machine, backend and number of threads, in a file of all of them."""

    path: Path | None  # None: the cache is off
    key: str

    @staticmethod
    def of(backend: Backend, threads: int) -> "_Store":
        folder = config.cache_folder()
        target = backend.target()
        machine = f"{platform.node()} {target.name} {target.vector_bits} {config.available_cores()} cores"
        path = None if folder is None else folder / "peaks.json"
        return _Store(path, f"{backend.name} on {machine}, {threads} threads")

    def read(self) -> dict[str, float]:
        """What is known. A file that is not as it was written knows nothing."""
        found = self._file().get(self.key, {})
        if not isinstance(found, dict):
            return {}
        return {str(k): v for k, v in found.items() if isinstance(v, float) and math.isfinite(v) and v > 0}

    def write(self, rates: Mapping[str, float]) -> None:
        """Keep the rates; the other machines in the file stay. A folder that cannot be used keeps nothing."""
        if self.path is None:
            return
        text = json.dumps({**self._file(), self.key: dict(rates)}, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".new-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, self.path)
        except OSError:
            return  # measured again next time

    def _file(self) -> dict[str, object]:
        if self.path is None:
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


# ------------------------------------------------------------------------------------------------ the kernels


def fma_probe(backend: Backend, threads: int, dtype: DType = float32) -> Probe:
    """Independent chains of products of `dtype` that are added up, in enough vector registers to keep every unit busy.

    Of bfloat16 they are chains of pairs, whose sums are float32.
    """
    bits = backend.target().vector_bits
    if dtype is bfloat16:
        plan, given, expected = pair_plan(bits // 32), _pairs(bits // 32), np.arange(1.0, ACCUMULATORS + 1)[:, None]
    else:
        lanes = bits // (8 * dtype.itemsize)
        plan, given, expected = fma_plan(lanes, dtype), _factors(lanes, dtype), np.ones(())
    executable = backend.load(plan, threads)
    result = executable.call(FMA, [given])[0]
    if not np.all(result == expected):
        raise AssertionError("the chains of multiply-adds must end where they should")
    amount = (4 if dtype is bfloat16 else 2) * result.size * ITERATIONS * UNROLLED
    return Probe(f"{FMA} {dtype.name}", lambda: executable.call(FMA, [given]), amount)


def _factors(lanes: int, dtype: DType) -> np.ndarray:
    """Starts of the chains, then the factor. They differ: LLVM would compute equal chains once."""
    starts = np.arange(1, ACCUMULATORS + 1, dtype=dtype.numpy)
    return np.append(starts, dtype.numpy.type(0.5)).repeat(lanes).reshape(-1, lanes)


def _pairs(lanes: int) -> np.ndarray:
    """Starts of the chains as float32, then the factors (1, -1) and (1, 1): each pair adds 1 - 1."""
    starts = np.arange(1, ACCUMULATORS + 1, dtype=np.float32).view(np.uint32)
    return np.append(starts, np.array([0xBF803F80, 0x3F803F80], np.uint32)).repeat(lanes).reshape(-1, lanes)


def fma_plan(lanes: int, dtype: DType = float32) -> Plan:
    """Chains `x = x * 0.5 + 0.5`."""
    given, x = Buffer("given", dtype, (ACCUMULATORS + 1, lanes)), Var("x", dtype)

    def factors(lane: Var) -> tuple[Stmt, ...]:
        return (Let(x, Load(given, (index(ACCUMULATORS), lane))),)

    return _chains(given, dtype, factors, lambda start: start, lambda old: Fma(old, x, x))


def pair_plan(lanes: int) -> Plan:
    """Chains of dot products of pairs of bfloat16, added up in float32."""
    given = Buffer("given", uint32, (ACCUMULATORS + 2, lanes))
    x, y = Var("x", uint32), Var("y", uint32)

    def factors(lane: Var) -> tuple[Stmt, ...]:
        return tuple(Let(v, Load(given, (index(ACCUMULATORS + n), lane))) for n, v in enumerate((x, y)))

    return _chains(given, float32, factors, lambda start: Bitcast(start, float32), lambda old: DotPair(x, y, old))


def _chains(
    given: Buffer,
    dtype: DType,
    factors: Callable[[Var], tuple[Stmt, ...]],
    start: Callable[[Expr], Expr],
    step: Callable[[Expr], Expr],
) -> Plan:
    """A plan of one kernel, written as it is to be emitted: threads outside, vectors inside."""
    lanes = given.shape[1]
    out, sums = Buffer("out", dtype, (CHUNKS, ACCUMULATORS, lanes)), Buffer("sums", dtype, (ACCUMULATORS,), "register")
    chunk, count, lane = Var("chunk"), Var("count"), Var("lane")

    def each(name: str, statement: Callable[[Var], Stmt]) -> Stmt:
        number = Var(name)
        return For(number, index(ACCUMULATORS), "unroll", (statement(number),))

    chain = tuple(each(f"i{n}", lambda i: Store(sums, (i,), step(Load(sums, (i,))))) for n in range(UNROLLED))
    tile = (
        *factors(lane),
        Alloc(sums),
        each("first", lambda i: Store(sums, (i,), start(Load(given, (i, lane))))),
        For(count, index(ITERATIONS), "serial", chain),
        each("last", lambda i: Store(out, (chunk, i, lane), Load(sums, (i,)))),
    )
    body = (For(chunk, index(CHUNKS), "parallel", (For(lane, index(lanes), "vector", tile),)),)
    return _plan(Kernel(FMA, (Param(given, "in"), Param(out, "out")), body))


def stream_probe(backend: Backend, threads: int, nbytes: int) -> Probe:
    """`a = a * 0.5 + b` in place over two arrays of together `nbytes`, each thread again and again over a part."""
    lanes = backend.target().vector_bits // 32
    rows = max(nbytes // (8 * threads * UNROLLED * lanes), 1)
    shape = (threads, rows, UNROLLED, lanes)
    moved = 3 * 4 * prod(shape)  # two are read, one is written
    repeats = max(STREAMED_BYTES // moved, 1)
    executable = backend.load(stream_plan(shape, repeats), threads)
    inputs = [np.ones(shape, np.float32)]
    if not np.allclose(executable.call(STREAM, inputs)[0], 2 - 0.5**repeats):
        raise AssertionError("the stream must approach 2")
    return Probe(f"{STREAM} {nbytes}", lambda: executable.call(STREAM, inputs), moved * repeats)


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
    return _plan(Kernel(STREAM, (Param(b, "in"), Param(out, "out")), body), (Ref("arena", 0, a.nbytes),))


def _plan(kernel: Kernel, scratch: tuple[Ref, ...] = ()) -> Plan:
    """A plan that launches a kernel of one input and one output."""
    taken, given = (param.buffer for param in kernel.params)
    args = (Ref("input", 0, taken.nbytes), Ref("output", 0, given.nbytes))
    slots = [Slot(buffer.name, buffer.dtype, buffer.shape) for buffer in (taken, given)]
    block = Block((Launch(kernel, args, scratch),))
    arena = sum(ref.nbytes for ref in scratch)
    entry = Entry(kernel.name, (slots[0],), (slots[1],), block, arena, (), arena)
    return Plan((), 0, (), 0, {kernel.name: entry})
