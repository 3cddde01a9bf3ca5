"""Two ways to run a loop program on bytes: its plan, in one arena full of garbage, and directly, one buffer each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core.errors import BoundError
from graphc.kernel.ir import Kernel
from graphc.kernel.program import LoopProgram
from graphc.plan.build import arena_allocs, build
from graphc.plan.ir import Block, Branch, Copy, Launch, Plan, Ref, Repeat, Slot, While, chosen, exceeded
from graphc.plan.ir import counters as turns
from tests.plan.programs import Bytes, mix, slots

Runner = Callable[[Kernel, Sequence[Bytes], Sequence[Bytes]], None]

GARBAGE = 0xFF  # as float32 and float64 this is NaN


def garbage(nbytes: int) -> Bytes:
    return np.full(nbytes, GARBAGE, np.uint8)


def plan_of(programs: Sequence[LoopProgram], state: Sequence[Slot]) -> Plan:
    """The plan, with byte slots for inputs and outputs."""
    ins = [slots("x", [p.tensors[t].nbytes for t in p.inputs]) for p in programs]
    outs = [slots("y", [p.tensors[t].nbytes for t in p.outputs]) for p in programs]
    return build(programs, state, ins, outs)


class Machine:
    """Executes a plan. State persists between calls."""

    def __init__(self, plan: Plan, state: Sequence[Bytes], runner: Runner = mix) -> None:
        self.plan, self.runner = plan, runner
        self.state_segment = garbage(plan.state_bytes)
        for slot, data in zip(plan.state, state, strict=True):
            self.state_segment[slot.offset : slot.offset + data.nbytes] = data
        self.constants = garbage(plan.constant_bytes)
        for offset, array in plan.constants:
            self.constants[offset : offset + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def state(self) -> list[Bytes]:
        return [self.state_segment[s.offset : s.offset + s.slot.nbytes].copy() for s in self.plan.state]

    def call(self, name: str, inputs: Sequence[Bytes], step: int = 0) -> list[Bytes]:
        entry = self.plan.entries[name]
        outputs = [garbage(slot.nbytes) for slot in entry.outputs]
        read_only = [data.copy() for data in inputs]
        memory = _Memory(
            garbage(entry.arena_bytes),
            self.state_segment,
            self.constants,
            read_only,
            outputs,
            np.array([step]).view(np.uint8),
        )
        self._block(entry.block, memory, ())
        return outputs

    def _block(self, block: Block, memory: "_Memory", counters: tuple[int, ...]) -> None:
        for instruction in block.instructions:
            match instruction:
                case Launch(kernel, args, scratch):
                    areas = [memory.at(ref, counters) for ref in scratch]
                    self.runner(kernel, [memory.at(ref, counters) for ref in args], areas)
                    for area in areas:
                        area[:] = GARBAGE
                case Copy(source, target):
                    memory.at(target, counters)[:] = memory.at(source, counters).copy()
                case Repeat():
                    limit = None if instruction.limit is None else memory.number(instruction.limit, counters, np.int64)
                    for counter in turns(instruction, limit):
                        self._block(instruction.body, memory, (*counters, counter))
                case While():
                    self._while(instruction, memory, counters)
                case Branch(index):
                    self._block(chosen(instruction, memory.number(index, counters, np.int32)), memory, counters)

    def _while(self, loop: While, memory: "_Memory", counters: tuple[int, ...]) -> None:
        counter = 0
        while True:
            self._block(loop.cond, memory, (*counters, counter))
            if not memory.at(loop.flag, counters)[0]:
                break
            if counter == loop.bound:
                raise BoundError(exceeded(loop))
            self._block(loop.body, memory, (*counters, counter))
            counter += 1
        if loop.count is not None:
            memory.at(loop.count, counters)[:] = np.array([counter]).view(np.uint8)


@dataclass
class _Memory:
    arena: Bytes
    state: Bytes
    constants: Bytes
    inputs: list[Bytes]
    outputs: list[Bytes]
    step: Bytes

    def number(self, ref: Ref, counters: tuple[int, ...], dtype: type[np.signedinteger]) -> int:
        return int(self.at(ref, counters).copy().view(dtype)[0])

    def at(self, ref: Ref, counters: tuple[int, ...]) -> Bytes:
        segments = {"arena": self.arena, "state": self.state, "constants": self.constants, "step": self.step}
        slotted = {"input": self.inputs, "output": self.outputs}
        segment = slotted[ref.segment][ref.slot] if ref.segment in slotted else segments[ref.segment]
        start = ref.offset + sum(c * stride for c, stride in zip(counters, ref.strides, strict=False))
        if start < 0 or start + ref.nbytes > len(segment):
            raise IndexError(f"{ref} reaches outside its segment of {len(segment)} bytes")
        return segment[start : start + ref.nbytes]


def direct(
    program: LoopProgram, state: Sequence[Bytes], inputs: Sequence[Bytes], step: int = 0, runner: Runner = mix
) -> tuple[list[Bytes], list[Bytes]]:
    """Outputs and new state, with memory of its own for each tensor that is not a view."""
    memory: dict[int, Bytes] = {}
    for tensor in program.tensors.values():
        if tensor.view_of is None:
            outside = {"input": inputs, "state": state, "constant": program.constants}.get(tensor.role)
            data = garbage(tensor.nbytes) if outside is None else outside[tensor.slot].copy()
            memory[tensor.id] = np.array([step]).view(np.uint8) if tensor.role == "step" else data.view(np.uint8)

    def at(tensor_id: int) -> Bytes:
        tensor = program.tensors[tensor_id]
        if tensor.view_of is None:
            return memory[tensor_id]
        return at(tensor.view_of)[tensor.view_offset : tensor.view_offset + tensor.nbytes]

    for call in program.kernel_calls():
        runner(call.kernel, [at(t) for t in call.args], [garbage(b.nbytes) for b in arena_allocs(call.kernel)])
    updates = dict(program.state_updates)
    new = [at(updates[slot]).copy() if slot in updates else old.copy() for slot, old in enumerate(state)]
    return [at(t).copy() for t in program.outputs], new


def compare(programs: Sequence[LoopProgram], state_sizes: Sequence[int], steps: int = 2, seed: int = 0) -> str:
    """Run the plan and the programs side by side; the first difference in words, or nothing."""
    rng = np.random.default_rng(seed)
    state = [rng.integers(0, 256, size).astype(np.uint8) for size in state_sizes]
    machine = Machine(plan_of(programs, slots("s", state_sizes)), state)
    for step in range(steps):
        for program in programs:
            inputs = [rng.integers(0, 256, program.tensors[t].nbytes).astype(np.uint8) for t in program.inputs]
            wanted, state = direct(program, state, inputs, step)
            try:
                found = machine.call(program.name, inputs, step)
            except IndexError as error:
                return str(error)
            for what, left, right in (("output", wanted, found), ("state", state, machine.state())):
                for k, (a, b) in enumerate(zip(left, right, strict=True)):
                    if not np.array_equal(a, b):
                        return f"step {step} of {program.name}: {what} {k} differs"
    return ""
