"""`gc.program`: several traced functions over one state, compiled together and run natively for many steps.

Each entry is a function `(state, batch, step) -> (new state, outputs)`. State is a pytree of arrays that the program
owns; its buffers are updated in place. `step` is an int64 scalar.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from graphc.compilation import Compilation, Options, Timing, compile_program
from graphc.core import pytree
from graphc.core.collector import paused
from graphc.core.dtypes import int64
from graphc.core.errors import ArgumentError, TraceError
from graphc.core.records import dataclass
from graphc.execution.arguments import check_all, type_of
from graphc.execution.compiled import sanitized_options
from graphc.execution.cost import CostReport, cost_report
from graphc.execution.dump import after_compilation
from graphc.execution.memory import memory_of
from graphc.execution.profile import MOST_STEPS, ProfileReport
from graphc.execution.recording import record_batch, record_compiled
from graphc.execution.resident import Argument, call, check_arguments, of_the_host
from graphc.execution.stages import stage_text
from graphc.graph.ir import Graph, TensorType
from graphc.graph.program import EntryGraph, GraphProgram
from graphc.plan.report import MemoryReport
from graphc.runtime.protocol import Executable, Progress, ResidentCalls
from graphc.tracing import Spec, trace
from graphc.tracing.context import sanitizing
from graphc.tracing.spec import is_int

Poll = Callable[[Progress, object], bool]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One traced entry and how its arguments and results are packed."""

    graph: EntryGraph
    primals: tuple[Graph, ...]
    batch_tree: pytree.TreeDef
    batch_names: tuple[str, ...]
    output_tree: pytree.TreeDef
    output_types: tuple[TensorType, ...]
    sanitize: bool  # asked for by a function inside


class Program:
    """A compiled program with its state. Made by `gc.program`."""

    def __init__(self, state: object, entries: Mapping[str, Callable[..., object]], options: Options) -> None:
        leaves, self._state_tree = pytree.flatten(state)
        names = pytree.leaf_names(self._state_tree, "state")
        self._state_slots = tuple((n, type_of(leaf, n)) for n, leaf in zip(names, leaves, strict=True))
        given = check_all(leaves, [t for _, t in self._state_slots], names)
        self._initial: list[np.ndarray] = [np.array(array) for array in given]  # the caller's arrays stay the caller's
        if not entries:
            raise ArgumentError("program: needs at least one entry")
        self._functions = dict(entries)
        self._options = options
        self._entries: dict[tuple[str, object], str] = {}  # (name, batch signature) -> entry name in the plan
        self._traced: dict[str, _Entry] = {}
        self._compilation: Compilation | None = None
        self._reported: set[str] = set()
        self._running = 0  # runs under way: their memory must stay where it is
        self._trace_timings: list[Timing] = []

    def __repr__(self) -> str:
        return f"<program of {', '.join(self._functions)} over {len(self._state_slots)} arrays>"

    # ------------------------------------------------------------------------------------------------- running

    def call(self, entry: str, batch: object = (), step: int = 0) -> object:
        """Run one entry once and return its outputs; the state advances. Compiles on the first use of a signature."""
        _check_step("call", "step", step)
        name, arrays = self._prepare(entry, batch)
        outputs = call(self._executable, name, arrays, step)
        return pytree.unflatten(self._traced[name].output_tree, outputs)

    def run(
        self, entry: str, batch: object = (), *, first: int = 0, n: int, poll: Poll | None = None
    ) -> tuple[int, object]:
        """Run steps first .. first+n-1 natively, all on the same `batch` argument.

        Returns the number of steps done and the outputs stacked along a new leading axis of length n. `poll(progress,
        outputs so far)` is called about ten times a second; returning True stops after the current step. Ctrl-C stops
        likewise and is raised again with the state whole.
        """
        _check_step("run", "n", n)
        _check_step("run", "first", first)
        if n < 0:
            raise ArgumentError(f"run: n={n} must not be negative")
        name, arrays = self._prepare(entry, batch)
        tree = self._traced[name].output_tree

        def forward(progress: Progress, outputs: Sequence[np.ndarray]) -> bool:
            assert poll is not None
            return poll(progress, pytree.unflatten(tree, outputs))

        record_batch(self, name, batch, first, n)
        if self._running:
            raise ArgumentError("run: this program is running already, in another thread or around this call")
        self._running += 1
        try:
            # a program that takes no arrays on a GPU was given none
            executable = cast(ResidentCalls, self._executable)
            done, outputs = executable.run(name, arrays, first, n, forward if poll else None)
        finally:
            self._running -= 1
        return done, pytree.unflatten(tree, outputs)

    @property
    def state(self) -> object:
        """The state as a pytree of zero-copy NumPy views. Assigning a pytree of the same shape copies it in.

        Views are of the state as long as no new signature is compiled: then the state moves to other memory.
        """
        arrays = self._initial if self._compilation is None else self._executable.state()
        return pytree.unflatten(self._state_tree, arrays)

    @state.setter
    def state(self, tree: object) -> None:
        leaves, treedef = pytree.flatten(tree)
        if treedef != self._state_tree:
            raise ArgumentError(f"state: expected a pytree {self._state_tree}, got {treedef}")
        names = [name for name, _ in self._state_slots]
        fresh = check_all(leaves, [type for _, type in self._state_slots], names)
        current = self._initial if self._compilation is None else self._executable.state()
        for target, source in zip(current, [np.array(array) for array in fresh], strict=True):
            target[...] = source

    # ------------------------------------------------------------------------------------------------- looking inside

    def memory(self, entry: str | None = None) -> MemoryReport:
        """Peak bytes and what lives then, of one entry or of the one that needs most. Known before the first step."""
        return memory_of(self.compilation, entry)

    def cost(self, entry: str) -> CostReport:
        """Float operations and bytes of one entry, per kernel and per line."""
        self._known(entry)
        return cost_report(entry, self.compilation.optimized[entry], self.compilation.loops.get(entry))

    def text(self, stage: str) -> str:
        """The text of one stage (see `graphc.stages.STAGES`), all entries."""
        return stage_text(self.compilation, {name: item.primals for name, item in self._traced.items()}, stage)

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Seconds per stage and pass of the latest compilation, tracing first."""
        return (*self._trace_timings, *self.compilation.timings)

    def profile(
        self,
        entry: str,
        batch: object = None,
        *,
        first: int = 0,
        repeats: int | None = None,
        longest: int = MOST_STEPS,
        advance: bool = False,
        remeasure: bool = False,
    ) -> ProfileReport:
        """Time and roofline fraction of every kernel of an entry, as it runs from step `first` on.

        batch: None makes arrays up. repeats: how many steps are timed (default: as many as take 0.2 seconds), at most
        `longest` in a row. advance: let the steps count; otherwise the state is put back. remeasure: measure the limits
        of the machine again. Raises `UnsupportedError` for a backend that cannot time the kernels of a running program.
        """
        from graphc.execution.profiling import made_up, profile_entry  # reached only by this method

        if batch is None:
            self._known(entry)
            name, arrays = entry, made_up(self._batch_types(self._traced[entry]))
        else:
            name, given = self._prepare(entry, batch)
            arrays = of_the_host(given)
        if self._running:
            raise ArgumentError("profile: this program is running already, in another thread or around this call")
        self._running += 1
        try:
            return profile_entry(
                self.compilation,
                name,
                arrays,
                first=first,
                repeats=repeats,
                longest=longest,
                advance=advance,
                remeasure=remeasure,
            )
        finally:
            self._running -= 1

    def entry_names(self) -> list[str]:
        """Entries compiled so far."""
        return list(self._traced)

    # ------------------------------------------------------------------------------------------------- compiling

    def prepare(self, inputs: Mapping[str, object]) -> None:
        """Trace and compile entries for batches of these specs (or arrays), before the first run."""
        with paused():
            self._extend(inputs)

    @property
    def compilation(self) -> Compilation:
        """Everything the compiler made, stage by stage. Raises `ArgumentError` when that is nothing yet."""
        if self._compilation is None:
            raise ArgumentError("program: nothing is compiled yet; pass inputs={entry: batch specs} to gc.program")
        return self._compilation

    @property
    def _executable(self) -> Executable:
        executable = self.compilation.executable
        assert executable is not None
        return executable

    def _known(self, entry: str) -> None:
        if entry not in self._traced:
            raise ArgumentError(f"no compiled entry {entry!r}; compiled: {', '.join(self._traced) or 'none'}")

    def _prepare(self, entry: str, batch: object) -> tuple[str, Sequence[Argument]]:
        """The plan's entry for this batch signature, compiled if it is new, and the batch as checked arrays."""
        leaves, tree = pytree.flatten(batch)
        if self._compilation is not None and len(self._entries) == len(self._functions) and entry in self._traced:
            item = self._traced[entry]  # the common case: one signature per entry, nothing to hash
            if tree == item.batch_tree and self._fits(leaves, item):
                return entry, self._arguments(leaves, item)
        self._extend({entry: batch})
        name = self._entries[(entry, self._signature(batch))]
        item = self._traced[name]
        return name, self._arguments(leaves, item)

    def _arguments(self, leaves: list[object], item: _Entry) -> Sequence[Argument]:
        types = self._batch_types(item)
        return check_arguments(self._executable, leaves, types, item.batch_names, self._reported)

    def _batch_types(self, item: _Entry) -> tuple[TensorType, ...]:
        start = len(self._state_slots)
        return item.graph.graph.input_types[start : start + item.graph.num_inputs]

    def _fits(self, leaves: Sequence[object], item: _Entry) -> bool:
        return all(
            isinstance(leaf, np.ndarray) and leaf.shape == type.shape and leaf.dtype == type.dtype.numpy
            for leaf, type in zip(leaves, self._batch_types(item), strict=True)
        )

    def _signature(self, batch: object) -> object:
        leaves, tree = pytree.flatten(batch)
        names = pytree.leaf_names(tree, "batch")
        return tree, tuple(_leaf_type(leaf, name) for leaf, name in zip(leaves, names, strict=True))

    def _extend(self, inputs: Mapping[str, object]) -> None:
        """Trace entries for batch signatures that are new and compile them with all others; the state moves over.

        When that fails the program stays what it was.
        """
        traced, entries = dict(self._traced), dict(self._entries)
        timings: list[Timing] = []
        for entry, batch in inputs.items():
            if entry not in self._functions:
                raise ArgumentError(f"no entry {entry!r}; entries: {', '.join(self._functions)}")
            key = (entry, self._signature(batch))
            if key in entries:
                continue
            if self._running:
                raise ArgumentError(
                    f"entry {entry!r} has a new batch signature while a run is under way; "
                    "compile it before the run: gc.program(..., inputs={...}) or prepare"
                )
            entries[key] = name = _unused(entry, traced)
            start = time.perf_counter()
            traced[name] = self._trace(entry, name, batch)
            timings.append(Timing("trace", time.perf_counter() - start, name))
        if len(traced) > len(self._traced):
            self._compile(traced, timings)
            self._traced, self._entries = traced, entries

    def _trace(self, entry: str, name: str, batch: object) -> _Entry:
        state = pytree.unflatten(self._state_tree, [Spec(t.shape, t.dtype) for _, t in self._state_slots])
        leaves, batch_tree = pytree.flatten(batch)
        batch_names = pytree.leaf_names(batch_tree, "batch")
        types = [_leaf_type(leaf, n) for leaf, n in zip(leaves, batch_names, strict=True)]
        specs = pytree.unflatten(batch_tree, [Spec(t.shape, t.dtype) for t in types])
        with sanitizing(self._options.sanitize):
            traced = trace(self._functions[entry], (state, specs, Spec((), int64)), {}, name=name)
        if traced.captures:
            raise TraceError(f"entry {entry!r} uses a value of a trace around it; pass it as part of the batch")
        out_tree = traced.out_tree
        if out_tree.kind is not tuple or len(out_tree.children) != 2:
            raise TraceError(f"entry {entry!r} must return (new state, outputs), it returned {out_tree}")
        new_state, output_tree = out_tree.children
        if new_state != self._state_tree:
            raise TraceError(f"entry {entry!r}: the new state is {new_state}, the state is {self._state_tree}")
        for (slot, type), value in zip(self._state_slots, traced.graph.outputs, strict=False):
            if value.type != type:
                raise TraceError(f"entry {entry!r}: new {slot} is {value.type}, the state holds {type}")
        count = len(self._state_slots)
        aliases = tuple((i, i) for i in range(count))
        graph = Graph(name, traced.graph.inputs, traced.graph.nodes, traced.graph.outputs, aliases)
        output_names = tuple(pytree.leaf_names(output_tree, "output"))
        return _Entry(
            EntryGraph(graph, len(types), True, output_names),
            traced.primals,
            batch_tree,
            tuple(batch_names),
            output_tree,
            traced.graph.output_types[count:],
            traced.sanitize,
        )

    def _compile(self, traced: Mapping[str, _Entry], trace_timings: list[Timing]) -> None:
        entries = {name: item.graph for name, item in traced.items()}
        options = sanitized_options(self._options, any(item.sanitize for item in traced.values()))
        compilation = compile_program(GraphProgram(self._state_slots, entries), options)
        assert compilation.executable is not None
        current = self._initial if self._compilation is None else self._executable.state()
        for target, source in zip(compilation.executable.state(), current, strict=True):
            target[...] = source
        self._initial = []
        self._compilation, self._trace_timings = compilation, trace_timings
        after_compilation(compilation, {name: item.primals for name, item in traced.items()}, self.timings)
        record_compiled(self)


def _unused(entry: str, taken: Mapping[str, _Entry]) -> str:
    """A name for one more signature of an entry."""
    name, number = entry, len(taken)
    while name in taken:
        name, number = f"{entry}.{number}", number + 1
    return name


def _check_step(what: str, name: str, value: object) -> None:
    """Raise `ArgumentError` unless a number of steps, or of a step, is one that programs can count to."""
    if not is_int(value) or not -(2**63) <= value < 2**63:
        raise ArgumentError(f"{what}: {name}={value!r} must be a whole number that fits int64")


def _leaf_type(leaf: object, name: str) -> TensorType:
    return TensorType(leaf.shape, leaf.dtype) if isinstance(leaf, Spec) else type_of(leaf, name)
