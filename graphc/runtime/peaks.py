"""What a machine can do at best: fused multiply-adds out of registers, and a stream over a working set of memory.

In: a backend, a number of threads. Out: flops and bytes per second, measured with kernels that the backend schedules,
compiles and runs as any others, so they are limits of the code it makes. The kernels are written as lowering would, of
parallel loops; only how many iterations keep the machine busy is asked of its `Target`. A multiply-add is two flops.
Guaranteed: a peak is the best of several interleaved rounds, because nothing is above a peak; it is measured once and
kept in the cache folder.
"""

import json
import math
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np

from graphc.core import config
from graphc.core.dtypes import DType, bfloat16, float32, uint32
from graphc.core.errors import UnsupportedError
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
from graphc.plan.build import arena_allocs
from graphc.plan.ir import Block, Entry, Launch, Plan, Ref, Slot
from graphc.plan.memory import align
from graphc.runtime.protocol import Backend, Profiler, Target

CHUNKS = 32  # vectors of each core
ITERATIONS = 4096  # of the loop around the chains
ACCUMULATORS = 12  # more than latency times units of any processor today, and few enough for 16 registers
UNROLLED = 16  # so many that no schedule takes several vectors at once, whose sums would not fit registers
STREAMED_BYTES = 200_000_000  # of one run: milliseconds, so that starting threads does not count
SMALLEST = 2**14  # bytes of a working set: smaller ones are loop overhead
ROUNDS, MOST_ROUNDS = 20, 200
FMA, STREAM = "fma", "stream"


@dataclass(frozen=True, slots=True)
class Probe:
    """A kernel that shows a limit: each `run` does `amount` flops, or moves `amount` bytes, and says in what time.

    repeat: does it so many times, with nothing in between, for whoever has a clock.
    """

    name: str
    run: Callable[[], float]
    amount: int
    repeat: Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where kernels run. `threads` None: as many as the backend likes, which does not let them be chosen."""

    backend: Backend
    threads: int | None = None
    device: int | None = None

    @property
    def target(self) -> Target:
        """The machine found at run time."""
        return self.backend.target(self.device)

    @property
    def cores(self) -> int:
        """How many of its cores take part."""
        return self.target.cores if self.threads is None else self.threads


@dataclass(frozen=True, slots=True)
class Peaks:
    """Limits of a machine on a number of threads: flops per second by dtype, bytes per second of a working set."""

    threads: int | None
    flops_per_second: Mapping[str, float]
    bytes_per_second: float
    working_set: int

    def least_seconds(self, flops: int, nbytes: int, dtype: str = "float32") -> float:
        """No kernel of so many flops and bytes is faster."""
        return max(flops / self.flops_per_second[dtype], nbytes / self.bytes_per_second)


def peaks(machine: Machine, working_set: int, dtypes: Sequence[DType] = (float32,), remeasure: bool = False) -> Peaks:
    """The limits; what is not known yet is measured now, in some tenths of a second. `remeasure` forgets all there is.

    A working set counts as the nearest power of the fourth root of two.
    """
    nearest = nearest_size(working_set)
    store = _Store.of(machine)
    known = {} if remeasure else store.read()
    names = [*(f"{FMA} {each.name}" for each in dtypes), f"{STREAM} {nearest}"]
    missing = [name for name in names if name not in known]
    if missing:
        probes = [_probe(name, machine, dtypes) for name in missing]
        known |= measure(probes)
        store.write(known)
    rates = {each.name: known[f"{FMA} {each.name}"] for each in dtypes}
    return Peaks(machine.threads, rates, known[f"{STREAM} {nearest}"], nearest)


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
            rate = probe.amount / max(probe.run(), 1e-9)
            if rate > 1.01 * best[probe.name]:
                last = number
            best[probe.name] = max(best[probe.name], rate)
        if number - last >= rounds:
            break
    return best


def _probe(name: str, machine: Machine, dtypes: Sequence[DType]) -> Probe:
    kind, _, detail = name.partition(" ")
    if kind == STREAM:
        return stream_probe(machine, int(detail))
    return fma_probe(machine, next(each for each in dtypes if each.name == detail))


# --------------------------------------------------------------------------------------------------- on disk


@dataclass(frozen=True, slots=True)
class _Store:
    """Rates by name, of one machine, backend and number of threads, in a file of all of them."""

    path: Path | None  # None: the cache is off
    key: str

    @staticmethod
    def of(machine: Machine) -> "_Store":
        folder = config.cache_folder()
        target = machine.target
        name = f"{platform.node()} {target.name} {target.vector_bits} {config.available_cores()} cores"
        path = None if folder is None else folder / "peaks.json"
        return _Store(path, f"{machine.backend.name} on {name}, {machine.threads} threads")

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


def fma_probe(machine: Machine, dtype: DType = float32) -> Probe:
    """Independent chains of products of `dtype` that are added up, in enough vector registers to keep every unit busy.

    Of bfloat16 they are chains of pairs, whose sums are float32.
    """
    bits, vectors = machine.target.vector_bits, CHUNKS * machine.cores
    if dtype is bfloat16:
        lanes = vectors * bits // 32
        kernel, given, expected = pair_kernel(lanes), _pairs(lanes), np.arange(1.0, ACCUMULATORS + 1)[:, None]
    else:
        lanes = vectors * bits // (8 * dtype.itemsize)
        kernel, given, expected = fma_kernel(lanes, dtype), _factors(lanes, dtype), np.ones(())
    run, repeat, result = _loaded(machine, kernel, given)
    if not np.all(result == expected):
        raise AssertionError("the chains of multiply-adds must end where they should")
    amount = (4 if dtype is bfloat16 else 2) * result.size * ITERATIONS * UNROLLED
    return Probe(f"{FMA} {dtype.name}", run, amount, repeat)


def _factors(lanes: int, dtype: DType) -> np.ndarray:
    """Starts of the chains, then the factor. They differ: LLVM would compute equal chains once."""
    starts = np.arange(1, ACCUMULATORS + 1, dtype=dtype.numpy)
    return np.append(starts, dtype.numpy.type(0.5)).repeat(lanes).reshape(-1, lanes)


def _pairs(lanes: int) -> np.ndarray:
    """Starts of the chains as float32, then the factors (1, -1) and (1, 1): each pair adds 1 - 1."""
    starts = np.arange(1, ACCUMULATORS + 1, dtype=np.float32).view(np.uint32)
    return np.append(starts, np.array([0xBF803F80, 0x3F803F80], np.uint32)).repeat(lanes).reshape(-1, lanes)


def fma_kernel(lanes: int, dtype: DType = float32) -> Kernel:
    """Chains `x = x * 0.5 + 0.5`."""
    given, x = Buffer("given", dtype, (ACCUMULATORS + 1, lanes)), Var("x", dtype)

    def factors(lane: Var) -> tuple[Stmt, ...]:
        return (Let(x, Load(given, (index(ACCUMULATORS), lane))),)

    return _chains(given, dtype, factors, lambda start: start, lambda old: Fma(old, x, x))


def pair_kernel(lanes: int) -> Kernel:
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
) -> Kernel:
    """Chains for every lane."""
    lanes = given.shape[1]
    out, sums = Buffer("out", dtype, (ACCUMULATORS, lanes)), Buffer("sums", dtype, (ACCUMULATORS,), "register")
    count, lane = Var("count"), Var("lane")

    def each(name: str, statement: Callable[[Var], Stmt]) -> Stmt:
        number = Var(name)
        return For(number, index(ACCUMULATORS), "unroll", (statement(number),))

    chain = tuple(each(f"i{n}", lambda i: Store(sums, (i,), step(Load(sums, (i,))))) for n in range(UNROLLED))
    tile = (
        *factors(lane),
        Alloc(sums),
        each("first", lambda i: Store(sums, (i,), start(Load(given, (i, lane))))),
        For(count, index(ITERATIONS), "serial", chain),
        each("last", lambda i: Store(out, (i, lane), Load(sums, (i,)))),
    )
    body = (For(lane, index(lanes), "parallel", tile),)
    return Kernel(FMA, (Param(given, "in"), Param(out, "out")), body)


def stream_probe(machine: Machine, nbytes: int) -> Probe:
    """`a = a * 0.5 + b` in place over two arrays of together `nbytes`.

    They are cut into as many rows as the machine works on at the same time, and each row is gone over again and again.
    """
    rows = machine.cores * machine.target.rows_per_core
    shape = (rows, max(nbytes // (8 * rows), 1))
    moved = 3 * 4 * prod(shape)  # two are read, one is written
    repeats = max(STREAMED_BYTES // moved, 1)
    run, repeat, result = _loaded(machine, stream_kernel(shape, repeats), np.ones(shape, np.float32))
    if not np.allclose(result, 2 - 0.5**repeats):
        raise AssertionError("the stream must approach 2")
    return Probe(f"{STREAM} {nbytes}", run, moved * repeats, repeat)


def stream_kernel(shape: tuple[int, int], repeats: int) -> Kernel:
    """The stream over rows of `shape` = (rows, elements): `a` starts at 1 and lies in the arena."""
    rows, elements = shape
    b, out, a = Buffer("b", float32, shape), Buffer("out", float32, (rows,)), Buffer("a", float32, shape, "arena")
    half, one = Const(0.5, float32), Const(1.0, float32)

    def sweep(name: str, value: Callable[[tuple[Expr, ...]], Expr], row: Var) -> Stmt:
        at = (row, Var(name))
        return For(Var(name), index(elements), "parallel", (Store(a, at, value(at)),))

    first, again, last = Var("first"), Var("again"), Var("last")
    update = sweep("update", lambda at: Fma(Load(a, at), half, Load(b, at)), again)
    body = (
        Alloc(a),
        For(first, index(rows), "parallel", (sweep("fill", lambda at: one, first),)),
        For(again, index(rows), "parallel", (For(Var("repeat"), index(repeats), "serial", (update,)),)),
        For(last, index(rows), "parallel", (Store(out, (last,), Load(a, (last, index(0)))),)),
    )
    return Kernel(STREAM, (Param(b, "in"), Param(out, "out")), body)


def _loaded(
    machine: Machine, kernel: Kernel, given: np.ndarray
) -> tuple[Callable[[], float], Callable[[int], object], np.ndarray]:
    """The kernel ready to run: `run` and `repeat` of a `Probe`, and its result."""
    plan = _plan(machine.backend.schedule(kernel).kernel)
    executable = loaded = machine.backend.load(plan, machine.threads, machine.device)
    if not isinstance(executable, Profiler):
        raise UnsupportedError(f"the {machine.backend.name} backend does not time kernels")
    (result,) = executable.call(kernel.name, [given])

    def run() -> float:
        return float(executable.profile(kernel.name, [given], 0, 1).seconds.sum())

    def repeat(times: int) -> object:
        return loaded.run(kernel.name, [given], 0, times)

    return run, repeat, result


def _plan(kernel: Kernel) -> Plan:
    """A plan that launches a scheduled kernel of one input and one output, with its scratch one after the other."""
    taken, given = (param.buffer for param in kernel.params)
    args = (Ref("input", 0, taken.nbytes), Ref("output", 0, given.nbytes))
    slots = [Slot(buffer.name, buffer.dtype, buffer.shape) for buffer in (taken, given)]
    scratch: list[Ref] = []
    arena = 0
    for buffer in arena_allocs(kernel):
        scratch.append(Ref("arena", arena, buffer.nbytes))
        arena += align(buffer.nbytes)
    block = Block((Launch(kernel, args, tuple(scratch)),))
    entry = Entry(kernel.name, (slots[0],), (slots[1],), block, arena, (), arena)
    return Plan((), 0, (), 0, {kernel.name: entry})
