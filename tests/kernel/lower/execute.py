"""Run a `LoopProgram` with the loop interpreter, every kernel verified: what lowering is tested with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graphc.graph.ir import Graph, Value
from graphc.graph.verify import verify as verify_graph
from graphc.kernel.interpret import run
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import BranchCall, KernelCall, LoopCall, LoopProgram, Tensor
from graphc.kernel.verify import verify
from graphc.passes.partition import partition

Bytes = npt.NDArray[np.uint8]


def as_bytes(array: np.ndarray) -> Bytes:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()


class _Memory:
    """The tensors of a program, as bytes, so that views are really views."""

    def __init__(self, program: LoopProgram, state: Sequence[Bytes], inputs: Sequence[Bytes]) -> None:
        self.program = program
        self._of: dict[int, Bytes] = {}
        for tensor in program.tensors.values():
            if tensor.role != "temporary" and tensor.view_of is None:
                given = {"state": state, "input": inputs, "constant": program.constants}[tensor.role]
                self._of[tensor.id] = as_bytes(given[tensor.slot])

    def __getitem__(self, number: int) -> Bytes:
        tensor: Tensor = self.program.tensors[number]
        if tensor.view_of is not None:
            return self[tensor.view_of][tensor.view_offset : tensor.view_offset + tensor.nbytes]
        return self._of.setdefault(number, np.full(tensor.nbytes, 0xA5, np.uint8))


def run_bytes(program: LoopProgram, state: Sequence[Bytes], inputs: Sequence[Bytes]) -> tuple[list[Bytes], list[Bytes]]:
    """Outputs and new state."""
    memory = _Memory(program, state, inputs)
    for call in program.calls:
        match call:
            case KernelCall():
                _kernel(call, memory)
            case LoopCall():
                _loop(call, memory)
            case BranchCall(_, programs):
                count = len(programs[0].inputs)
                index = int(memory[call.args[0]].view(np.int32)[0])
                chosen = programs[min(max(index, 0), len(programs) - 1)]
                outputs, _ = run_bytes(chosen, (), [memory[n] for n in call.args[1 : 1 + count]])
                for number, array in zip(call.args[1 + count :], outputs, strict=True):
                    memory[number][:] = array
    updates = dict(program.state_updates)
    new = [memory[updates[slot]].copy() if slot in updates else old for slot, old in enumerate(state)]
    return [memory[number].copy() for number in program.outputs], new


def _kernel(call: KernelCall, memory: _Memory) -> None:
    verify(call.kernel)
    params = call.kernel.params
    # copies: views may be unaligned
    arrays = [np.array(memory[n]).view(p.buffer.dtype.numpy) for p, n in zip(params, call.args, strict=True)]
    run(call.kernel, arrays)
    for param, number, array in zip(params, call.args, arrays, strict=True):
        if param.mode != "in":
            memory[number][:] = array.view(np.uint8)


def _loop(call: LoopCall, memory: _Memory) -> None:
    parts, args = call.parts, call.args
    carries = [memory[args[k]].copy() for k in parts.inits]
    captures = [memory[args[k]] for k in parts.captures]
    most, made = call.count, 0
    if call.limited:
        assert most is not None
        most = min(max(int(memory[args[0]].view(np.int64)[0]), 0), most)

    def row(k: int, t: int) -> Bytes:
        whole, count = memory[args[k]], max(call.count or 1, 1)
        nbytes = len(whole) // count
        return whole[t * nbytes : (t + 1) * nbytes]

    while most is None or made < most or call.cond is not None:
        if call.cond is not None and not run_bytes(call.cond, carries, captures)[0][0][0]:
            break
        assert call.cond is None or most is None or made < most
        t = (most or 0) - 1 - made if call.reverse else made
        outputs, carries = run_bytes(call.body, carries, [*captures, *(row(k, t) for k in parts.xs)])
        for k, array in zip(parts.ys, outputs, strict=True):
            row(k, t)[:] = array
        made += 1
    for k, carry in zip(parts.finals, carries, strict=True):
        memory[args[k]][:] = carry
    if parts.counts:
        memory[args[-1]][:] = as_bytes(np.array(made))


def run_program(program: LoopProgram, arguments: Sequence[np.ndarray], outputs: Sequence[Value]) -> list[np.ndarray]:
    """Outputs for an entry without state and step."""
    found, _ = run_bytes(program, (), [as_bytes(array) for array in arguments])
    pairs = zip(found, outputs, strict=True)
    return [np.array(raw).view(value.dtype.numpy).reshape(value.shape) for raw, value in pairs]


def compile_and_run(graph: Graph, arguments: Sequence[np.ndarray], fuse: bool = True) -> list[np.ndarray]:
    """Partition, lower, run."""
    fused = partition(graph, fuse)
    verify_graph(fused)
    return run_program(lower_graph(fused, name="main"), arguments, graph.outputs)
