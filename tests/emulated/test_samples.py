"""Every primitive as CUDA: each sample's kernel has the interpreter's bits in every order of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphc.graph.ops.linalg import BY_LIBRARY
from graphc.kernel.ir import Kernel
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import KernelCall
from graphc.passes.complexes import Complexes
from graphc.passes.partition import partition
from tests.emulated.kernels import Cases, needs_compiler, needs_sanitizer
from tests.emulated.sanitized import under_sanitizer
from tests.samples import SAMPLES, Sample, graph_of

PARTS = 32  # NVRTC takes more than twice the time for twice the source
PART = [pytest.param(k, marks=[] if k == 0 else [pytest.mark.slow]) for k in range(PARTS)]


def kernels(sample: Sample) -> Iterator[tuple[Kernel, list[np.ndarray]]]:
    """The kernel of a sample with its inputs; none where nothing is computed, or a library of the host computes it."""
    program = lower_graph(partition(Complexes().run(graph_of(sample))), name="main")
    if sample.op in {op.name for op in BY_LIBRARY}:
        return
    if len(program.calls) != 1 or not isinstance(program.calls[0], KernelCall):
        return
    (call,) = program.calls
    given = dict(zip(program.inputs, sample.inputs, strict=True))
    inputs: list[np.ndarray] = []
    for param, number in zip(call.kernel.params, call.args, strict=True):
        if param.mode == "in":
            tensor = program.tensors[number]
            owner = number if tensor.view_of is None else tensor.view_of
            array = program.constants[tensor.slot] if tensor.role == "constant" else given[owner]
            flat = np.ascontiguousarray(array).reshape(-1).view(param.buffer.dtype.numpy)  # complex numbers are pairs
            first = tensor.view_offset // flat.itemsize
            seen = flat[first : first + param.buffer.size]
            inputs.append(seen.reshape(param.buffer.shape))
    yield call.kernel, inputs


def cases_of(part: int) -> Cases:
    cases = Cases()
    for sample in SAMPLES[part::PARTS]:
        for kernel, inputs in kernels(sample):
            cases.add(kernel, inputs)
    assert len(cases.cases) > 100
    return cases


@needs_compiler
@pytest.mark.parametrize("part", PART)
def test_samples_have_the_interpreters_bits(part: int) -> None:
    cases_of(part).check()


@needs_sanitizer
@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_samples_stay_in_their_buffers(part: int) -> None:
    done = under_sanitizer("-m", "tests.emulated.sanitized", "samples", str(part))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "kernels" in done.stdout
