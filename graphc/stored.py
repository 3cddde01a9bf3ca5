"""Compiled programs on disk: the key a program is found by, what is written, and how it is loaded.

The key is a digest of the traced graphs (not of names and source lines), the options, the flags, the source of the
compiler, and what the backend says it depends on. A hit skips everything after tracing. What is written is JSON and
bytes: the sizes and offsets of the plan, the backend's code, and those constants that are not in the graphs.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from graphc.core import config
from graphc.core.digest import array_digest, source_digest
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.graph.digest import INLINE_BYTES, GraphDigests
from graphc.graph.program import GraphProgram
from graphc.plan.ir import Block, Entry, Plan, Slot, StateSlot
from graphc.runtime.blocks import from_block, to_block
from graphc.runtime.cache import ObjectCache
from graphc.runtime.protocol import CachingBackend, Executable

FORMAT = "2"  # of what is written; raise it when that changes
# What decides about compiled code, besides the backend. Tracing is not among it: its result is hashed.
_FOLDERS = ("core", "graph", "passes", "kernel", "plan", "runtime")
_SOURCES = (*_FOLDERS, "compiler.py", "scheduling.py", "compilation.py", "sanitized.py", "stored.py")
# Flags that do not change what is compiled; every other flag is part of the key.
_HARMLESS = ("GRAPHC_CACHE", "GRAPHC_DUMP", "GRAPHC_TIME", "GRAPHC_VERIFY", "GRAPHC_BACKEND")


@dataclass(frozen=True, slots=True)
class Found:
    """A program from the disk, ready to run. `description` is what `describe` says about its plan."""

    executable: Executable
    description: Mapping[str, object]


class Store:
    """The place of one program in the cache."""

    def __init__(self, backend: CachingBackend, program: GraphProgram, key: str, digests: GraphDigests) -> None:
        self.key = key
        self._backend = backend
        self._program = program
        self._arrays = digests.arrays
        self._cache = ObjectCache.default()

    def load(
        self,
        check: Callable[[Plan, int], None],
        plan: Callable[[], Plan],
        threads: int | None,
        device: int | None,
    ) -> Found | None:
        """The program, if it is there. `check(layout, scratch bytes)` may raise, first before anything is allocated."""
        payload = self._cache.get(self.key)
        if payload is None:
            return None
        written, (code, inline) = from_block(payload)
        layout = self._layout(written, inline)
        check(layout, 0)
        try:
            executable = self._backend.restore(code, layout, plan, threads, device)
        except BackendError as error:
            warnings.warn(
                f"graphc: cached program does not load, compiling again: {error}", RuntimeWarning, stacklevel=2
            )
            return None
        check(layout, executable.scratch_bytes)
        return Found(executable, written["plan"])

    def keep(self, plan: Plan, executable: Executable) -> None:
        """Write the program."""
        places: list[object] = []
        inline: list[bytes] = []
        for _, array in plan.constants:
            digest = array_digest(array) if array.nbytes > INLINE_BYTES else ""
            if digest in self._arrays:
                places.append(digest)
            else:
                places.append([array.dtype.str, array.shape])
                inline.append(array.tobytes())
        code = self._backend.save(executable)
        self._cache.put(self.key, to_block({"plan": describe(plan), "constants": places}, [code, b"".join(inline)]))

    def _layout(self, written: Mapping[str, object], inline: bytes) -> Plan:
        """The plan without instructions and lifetimes; its slots are named by the program."""
        plan = cast("dict[str, list[object]]", written["plan"])
        offsets = cast("list[int]", plan["constants"])
        constants: list[tuple[int, np.ndarray]] = []
        start = 0
        for offset, place in zip(offsets, cast("list[object]", written["constants"]), strict=True):
            if isinstance(place, str):
                constants.append((offset, self._arrays[place]))
                continue
            dtype, shape = cast("tuple[str, list[int]]", place)
            array = np.frombuffer(inline, dtype, int(np.prod(shape, dtype=np.int64)), start).reshape(shape)
            start += array.nbytes
            constants.append((offset, array))
        state = zip(self._program.state, cast("list[int]", plan["state"]), strict=True)
        entries = {}
        for name, (arena_bytes, lower_bound) in cast("dict[str, tuple[int, int]]", plan["entries"]).items():
            inputs, outputs = slots(self._program, name)
            entries[name] = Entry(name, tuple(inputs), tuple(outputs), Block(()), arena_bytes, (), lower_bound)
        return Plan(
            tuple(StateSlot(Slot(name, type.dtype, type.shape), offset) for (name, type), offset in state),
            cast("int", plan["state_bytes"]),
            tuple(constants),
            cast("int", plan["constant_bytes"]),
            entries,
        )


def describe(plan: Plan) -> dict[str, object]:
    """The sizes and offsets of a plan, as JSON has them."""
    return {
        "state": [slot.offset for slot in plan.state],
        "state_bytes": plan.state_bytes,
        "constants": [offset for offset, _ in plan.constants],
        "constant_bytes": plan.constant_bytes,
        "entries": {name: [entry.arena_bytes, entry.lower_bound_bytes] for name, entry in plan.entries.items()},
    }


def slots(program: GraphProgram, name: str) -> tuple[list[Slot], list[Slot]]:
    """Input and output slots of an entry, named for error messages."""
    entry = program.entries[name]
    graph = entry.graph
    state = len(program.state)
    inputs = [Slot(v.name, v.dtype, v.shape) for v in graph.inputs[state : state + entry.num_inputs]]
    names = entry.output_names or tuple(f"output{i}" for i in range(len(graph.outputs) - state))
    outputs = [Slot(n, v.dtype, v.shape) for n, v in zip(names, graph.outputs[state:], strict=True)]
    return inputs, outputs


def store_of(
    backend: object,
    program: GraphProgram,
    choices: Mapping[str, object],
    flags: Mapping[str, str],
) -> Store | None:
    """Where a program is kept; None when nothing is: the cache is off, or the backend or a graph cannot take part.

    choices: the options of the compilation, all of which are part of the key.
    """
    if config.cache_folder() is None or not isinstance(backend, CachingBackend):
        return None
    threads, device = cast("int | None", choices["threads"]), cast("int | None", choices["device"])
    sources = source_digest(Path(__file__).parent, _SOURCES)
    fingerprint = backend.fingerprint(threads, device)
    if sources is None or fingerprint is None:
        return None
    digests = GraphDigests()
    try:
        parts = program_parts(program, digests)
    except TypeError:  # an op of somebody else's has attributes that no digest is known for
        return None
    settings = [f"{name}={value!r}" for name, value in choices.items()]
    settings += [f"{name}={value}" for name, value in flags.items() if name not in _HARMLESS]
    key = ObjectCache.key("program", FORMAT, sources, np.__version__, fingerprint, *settings, *parts)
    return Store(backend, program, key, digests)


def program_parts(program: GraphProgram, digests: GraphDigests) -> list[str]:
    """Texts that differ when two programs do."""
    parts = [" ".join(str(type) for _, type in program.state)]
    for name, entry in program.entries.items():
        parts += [name, digests.of(entry.graph), str(entry.num_inputs), str(entry.takes_step)]
    return parts
