"""Run scheduled kernels from their CUDA text on this machine's processor, and compare them with the interpreter."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from graphc.kernel import interpret
from graphc.kernel.ir import Kernel
from graphc.kernel.verify import verify
from graphc.plan.build import arena_allocs
from graphc_cupy import nvrtc
from graphc_cupy.phases import Phase, phases
from graphc_cupy.recipes import schedule
from graphc_cupy.source import source_of
from tests.emulated.toolchain import RUN, build, compiler, sanitizer

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")
needs_sanitizer = pytest.mark.skipif(sanitizer() is None, reason="the compiler has no address sanitizer")
needs_nvrtc = pytest.mark.skipif(not nvrtc.is_installed(), reason='there is no NVRTC: pip install "graphc[gpu]"')
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}
Arrays = list[np.ndarray]


class Library:
    """Compiled phases, to be run in any order of threads and blocks."""

    def __init__(self, source: str, found: Sequence[Phase], sanitize: bool = False) -> None:
        named = {phase.name: phase for phase in found}
        self._library = ctypes.CDLL(str(build(source, list(named), sanitize)))
        self._run = {name: RUN((f"run_{name}", self._library)) for name in named}
        self._together = {name: "__sync" in p.text or "__shfl" in p.text for name, p in named.items()}

    def launch(self, phase: Phase, addresses: Sequence[int], order: str = "forward", seed: int = 0) -> None:
        """Run all blocks of a phase."""
        words = [ctypes.c_void_p(address) for address in addresses]
        argv = (ctypes.c_void_p * max(len(words), 1))(*(ctypes.addressof(word) for word in words))
        shape = (phase.blocks, phase.threads, phase.shared_bytes)
        problem = self._run[phase.name](argv, *shape, ORDERS[order], seed, self._together[phase.name])
        if problem is not None:
            raise AssertionError(f"{phase.name}: {problem.decode()}\n{phase.text}")


@dataclass(slots=True)
class Cases:
    """Kernels that are compiled together, which is much faster than one by one."""

    cases: list[tuple[Kernel, Kernel, Arrays]] = field(default_factory=list)

    def add(self, kernel: Kernel, inputs: Arrays) -> None:
        """A kernel as lowering writes it: it is scheduled, and the schedule verified."""
        scheduled = schedule(kernel).kernel
        verify(scheduled)
        self.add_scheduled(scheduled, inputs, kernel)

    def add_scheduled(self, scheduled: Kernel, inputs: Arrays, meaning: Kernel | None = None) -> None:
        self.cases.append((meaning or scheduled, scheduled, inputs))

    @property
    def source(self) -> str:
        return source_of([phase for _, kernel, _ in self.cases for phase in phases(kernel)])

    def check(self, orders: Sequence[str] = tuple(ORDERS), sanitize: bool = False) -> None:
        """Fails unless results have the bits of the interpreter in every order of threads."""
        emitted = [phases(kernel) for _, kernel, _ in self.cases]
        library = Library(self.source, [phase for each in emitted for phase in each], sanitize)
        for (meaning, kernel, inputs), found in zip(self.cases, emitted, strict=True):
            wanted = interpreted(meaning, inputs)
            for order in orders:
                for got, want in zip(run(library, kernel, found, inputs, order), wanted, strict=True):
                    assert same_bits(got, want), f"{kernel.name}, {order}: emulated\n{got}\ninterpreted\n{want}"


def run(library: Library, kernel: Kernel, found: Sequence[Phase], inputs: Arrays, order: str) -> Arrays:
    """The outputs of a kernel; what is undefined at first is full of odd bytes."""
    arrays = _arguments(kernel, inputs)
    scratch = [np.full(buffer.nbytes, 0xA5, np.uint8) for buffer in arena_allocs(kernel)]
    everything = [*arrays, *scratch]
    for phase in found:
        library.launch(phase, [everything[k].ctypes.data for k in phase.args], order)
    return [array for array, param in zip(arrays, kernel.params) if param.mode != "in"]


def interpreted(kernel: Kernel, inputs: Arrays) -> Arrays:
    """The outputs by the meaning of the loop IR."""
    arrays = _arguments(kernel, inputs)
    interpret.run(kernel, arrays)
    return [array for array, param in zip(arrays, kernel.params) if param.mode != "in"]


def _arguments(kernel: Kernel, inputs: Arrays) -> Arrays:
    given = iter(inputs)
    return [
        np.array(next(given), order="C") if p.mode == "in" else np.zeros(p.buffer.shape, p.buffer.dtype.numpy)
        for p in kernel.params
    ]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, but any NaN equals any other."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    nan = (a != a) & (b != b)
    bits = f"u{a.itemsize}"
    return bool(np.all(nan | (a.view(bits) == b.view(bits))))
