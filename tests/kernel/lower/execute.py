"""Run a `LoopProgram` with the loop interpreter, every kernel verified: what lowering is tested with."""

from collections.abc import Sequence

import numpy as np

from graphc.graph.ir import Graph, Value
from graphc.graph.verify import verify as verify_graph
from graphc.kernel.interpret import run
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import LoopProgram, Tensor
from graphc.kernel.verify import verify
from graphc.passes.partition import partition


def run_program(program: LoopProgram, arguments: Sequence[np.ndarray], outputs: Sequence[Value]) -> list[np.ndarray]:
    """Outputs for an entry without state and step. Memory is bytes, so that views are really views."""
    memory: dict[int, np.ndarray] = {}

    def place(tensor: Tensor) -> np.ndarray:
        if tensor.view_of is not None:
            whole = place(program.tensors[tensor.view_of])
            return whole[tensor.view_offset : tensor.view_offset + tensor.nbytes]
        if tensor.id not in memory:
            memory[tensor.id] = np.full(tensor.nbytes, 0xA5, np.uint8)
        return memory[tensor.id]

    for number, array in zip(program.inputs, arguments, strict=True):
        memory[number] = np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()
    for tensor in program.tensors.values():
        if tensor.role == "constant":
            memory[tensor.id] = np.ascontiguousarray(program.constants[tensor.slot]).reshape(-1).view(np.uint8)
    for call in program.calls:
        verify(call.kernel)
        arrays: list[np.ndarray] = []
        for param, number in zip(call.kernel.params, call.args, strict=True):
            raw = place(program.tensors[number])
            arrays.append(np.array(raw).view(param.buffer.dtype.numpy))  # a copy: views may be unaligned
        run(call.kernel, arrays)
        for param, number, array in zip(call.kernel.params, call.args, arrays, strict=True):
            if param.mode != "in":
                place(program.tensors[number])[:] = array.view(np.uint8)
    results: list[np.ndarray] = []
    for number, value in zip(program.outputs, outputs, strict=True):
        raw = np.array(place(program.tensors[number]))
        results.append(raw.view(value.dtype.numpy).reshape(value.shape))
    return results


def compile_and_run(graph: Graph, arguments: Sequence[np.ndarray], fuse: bool = True) -> list[np.ndarray]:
    """Partition, lower, run."""
    fused = partition(graph, fuse)
    verify_graph(fused)
    return run_program(lower_graph(fused, name="main"), arguments, graph.outputs)
