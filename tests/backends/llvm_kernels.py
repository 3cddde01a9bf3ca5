"""Run one kernel, or a hand-written block, on the CPU backend and on the interpreter."""

from dataclasses import dataclass, field, replace

import numpy as np

from graphc.kernel import interpret
from graphc.kernel.ir import Alloc, Binary, Expr, Kernel, index
from graphc.kernel.program import Scheduled
from graphc.plan.ir import Block, Entry, Launch, Plan, Ref, Slot
from graphc_llvm.executable import CpuExecutable


def plan_of(*kernels: Kernel | Scheduled) -> Plan:
    """A plan that launches each kernel once in an entry named by its position; what is no input is an output.

    What a scheduled kernel reads packed is packed first.
    """
    given = [kernel if isinstance(kernel, Scheduled) else Scheduled(kernel) for kernel in kernels]
    return Plan((), 0, (), 0, {str(number): _entry(str(number), kernel) for number, kernel in enumerate(given)})


def _entry(name: str, scheduled: Scheduled) -> Entry:
    kernel, packs = replace(scheduled.kernel, name=f"{scheduled.kernel.name}.{name}"), scheduled.packs
    inputs: list[Slot] = []
    outputs: list[Slot] = []
    args: list[Ref] = []
    for param in kernel.params[: len(kernel.params) - len(packs)]:
        slots = inputs if param.mode == "in" else outputs
        args.append(Ref("input" if param.mode == "in" else "output", 0, param.buffer.nbytes, len(slots)))
        slots.append(Slot(param.buffer.name, param.buffer.dtype, param.buffer.shape))
    scratch: list[Ref] = []
    top = 0
    launches: list[Launch] = []
    for number, pack in enumerate(packs):
        nbytes = pack.kernel.params[-1].buffer.nbytes
        packed, top = Ref("arena", top, nbytes), top + -(-nbytes // 64) * 64
        named = replace(pack.kernel, name=f"{pack.kernel.name}.{name}.{number}")
        launches.append(Launch(named, (*(args[place] for place in pack.reads), packed)))
    args += [launch.args[-1] for launch in launches]
    for statement in kernel.body:
        if isinstance(statement, Alloc) and statement.buffer.space == "arena":
            scratch.append(Ref("arena", top, statement.buffer.nbytes))
            top += -(-statement.buffer.nbytes // 64) * 64
    block = Block((*launches, Launch(kernel, tuple(args), tuple(scratch))))
    return Entry(name, tuple(inputs), tuple(outputs), block, top, (), top)


def run_native(kernel: Kernel | Scheduled, inputs: list[np.ndarray], threads: int = 1) -> list[np.ndarray]:
    """The outputs of the compiled kernel."""
    return CpuExecutable(plan_of(kernel), threads).call("0", inputs)


def run_interpreted(kernel: Kernel, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs by the meaning of the loop IR."""
    given = iter(inputs)
    args = [
        next(given).copy() if p.mode == "in" else np.zeros(p.buffer.shape, p.buffer.dtype.numpy) for p in kernel.params
    ]
    interpret.run(kernel, args)
    return [array for array, param in zip(args, kernel.params) if param.mode != "in"]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, but any NaN equals any other."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    nan = np.isnan(a) & np.isnan(b)
    bits = f"u{a.itemsize}"
    return bool(np.all(nan | (a.view(bits) == b.view(bits))))


def agree(kernel: Kernel, inputs: list[np.ndarray], threads: int = 1) -> None:
    """Fails unless compiled and interpreted outputs have the same bits."""
    cases = Cases()
    cases.add(kernel, inputs)
    cases.check(threads)


@dataclass(slots=True)
class Cases:
    """Kernels that are compiled together, which is much faster than one by one."""

    cases: list[tuple[Kernel, list[np.ndarray]]] = field(default_factory=list)

    def add(self, kernel: Kernel, inputs: list[np.ndarray]) -> None:
        self.cases.append((kernel, inputs))

    def check(self, threads: int = 1) -> None:
        """Fails unless compiled and interpreted outputs have the same bits."""
        assert self.cases
        executable = CpuExecutable(plan_of(*(kernel for kernel, _ in self.cases)), threads)
        for number, (kernel, inputs) in enumerate(self.cases):
            for got, wanted in zip(executable.call(str(number), inputs), run_interpreted(kernel, inputs), strict=True):
                assert same_bits(got, wanted), f"{kernel.name}: compiled\n{got}\ninterpreted\n{wanted}"


def plus(x: Expr, y: Expr | int) -> Expr:
    return Binary("add", x, index(y) if isinstance(y, int) else y)


def times(x: Expr, y: int) -> Expr:
    return Binary("mul", x, index(y))
