"""`sanitize=True`: a program that finds where a NaN or infinity comes from, and indices that lie outside.

In: a traced program. `extended` gives it one state slot and each entry one output more, for the *fault* (see
`graphc.passes.sanitize`), before anything else: the passes and the cache see a program like any other. After the passes
`with_checks` fills these in. In a step with a fault, and in all steps after it, the state stays as it was, so that
nothing is lost and nobody needs to stop a native run at once.

`SanitizedExecutable` reads the fault after each stretch of steps. If there is one, it runs that one step again with the
graph interpreter, which knows what the step was given, to say which element of which tensor it was.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import IndexRangeError, NonFiniteError, SanitizeError
from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN
from graphc.graph.interpreter import Watch, interpret, watching
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.elementwise import WithinAttrs
from graphc.graph.program import EntryGraph, GraphProgram
from graphc.passes.sanitize import FAULT, Check, Checked, check_of
from graphc.runtime.protocol import Executable, KernelText, LaunchTimes, Profiler, Progress

SLOT = "sanitize"


def extended(program: GraphProgram) -> GraphProgram:
    """The program with a place for faults: the last state slot, and the last output of each entry."""
    count = len(program.state)
    entries = {name: _with_fault(entry, count) for name, entry in program.entries.items()}
    return GraphProgram((*program.state, (SLOT, FAULT)), entries)


def _with_fault(entry: EntryGraph, count: int) -> EntryGraph:
    graph, fault = entry.graph, Value(FAULT, SLOT)
    inputs = (*graph.inputs[:count], fault, *graph.inputs[count:])
    outputs = (*graph.outputs[:count], fault, *graph.outputs[count:], fault)
    aliases = tuple((o + (o >= count), i + (i >= count)) for o, i in graph.aliases)
    names = entry.output_names or tuple(f"output{k}" for k in range(len(graph.outputs) - count))
    whole = Graph(graph.name, inputs, graph.nodes, outputs, (*aliases, (count, count)))
    return EntryGraph(whole, entry.num_inputs, entry.takes_step, (*names, SLOT))


class SanitizedExecutable:
    """An `Executable` of the program that its user wrote, around that of the extended program.

    checked: the entries as they are computed, with their checks; only looked at after a fault.
    """

    def __init__(self, inner: Executable, program: GraphProgram, checked: Callable[[], Mapping[str, Checked]]) -> None:
        self._inner = inner
        self._program = program  # extended
        self._checked = checked

    @property
    def scratch_bytes(self) -> int:
        return self._inner.scratch_bytes

    def call(self, entry: str, inputs: Sequence[np.ndarray], step: int = 0) -> list[np.ndarray]:
        """Run one entry once. Raises `SanitizeError`."""
        self._check_given(entry, inputs, step)
        outputs = self._inner.call(entry, inputs, step)
        fault = int(outputs.pop())
        if fault:
            self._fail(entry, inputs, step, fault)
        return outputs

    def run(
        self,
        entry: str,
        inputs: Sequence[np.ndarray],
        first: int,
        n: int,
        poll: Callable[[Progress, Sequence[np.ndarray]], bool] | None = None,
    ) -> tuple[int, list[np.ndarray]]:
        """Run steps until one has a fault. Raises `SanitizeError`, with the state as it was before that step."""
        if n > 0:
            self._check_given(entry, inputs, first)

        def look(progress: Progress, outputs: Sequence[np.ndarray]) -> bool:
            if outputs[-1][: progress.done].any():
                return True
            return poll is not None and poll(progress, outputs[:-1])

        try:
            done, outputs = self._inner.run(entry, inputs, first, n, look)
        except KeyboardInterrupt:
            self._inner.state()[-1][...] = 0  # what was done is kept; a fault comes again in the next run
            raise
        faults = outputs.pop()[:done]
        if faults.any():
            bad = int(np.argmax(faults != 0))
            self._fail(entry, inputs, first + bad, int(faults[bad]))
        return done, outputs

    def state(self) -> list[np.ndarray]:
        return self._inner.state()[:-1]

    def texts(self) -> Mapping[str, Sequence[KernelText]]:
        return self._inner.texts()

    # ------------------------------------------------------------------------------------------------- faults

    def _check_given(self, entry: str, inputs: Sequence[np.ndarray], step: int) -> None:
        """Raise `NonFiniteError` for NaN in an argument or in the state."""
        graph, count = self._program.entries[entry].graph, len(self._program.state)
        at = f"step {step}: " if self._program.entries[entry].takes_step else ""
        named = [(name, array) for (name, _), array in zip(self._program.state, self.state())]
        named += [(f"argument {v.name}", array) for v, array in zip(graph.inputs[count:], inputs)]
        for name, array in named:
            if not dtypes.holds_floats(array) and array.dtype.kind != "c":
                continue
            is_nan = np.isnan(array)
            if not is_nan.any():
                continue
            element = _first_place(is_nan)
            said = f"sanitize: {at}{name} holds NaN{_at(element)}"
            raise NonFiniteError(said, step=step, element=element, argument=name.removeprefix("argument "))

    def _fail(self, entry: str, inputs: Sequence[np.ndarray], step: int, fault: int) -> NoReturn:
        """Raise the error of a fault; the state is still that before the step."""
        self._inner.state()[-1][...] = 0
        checked, item = self._checked()[entry], self._program.entries[entry]
        arguments = [*(np.array(array) for array in self._inner.state()), *inputs]
        if item.takes_step:
            arguments.append(np.array(step, np.int64))
        finder = _Finder(checked)
        with suppress(_Stop), np.errstate(all="ignore"), watching(finder.see) as watch:
            finder.watch = watch
            interpret(checked.graph, arguments)
        found = finder.found or _Found(checked.checks[check_of(fault)], None, "", ())
        raise _error(found, step, item.takes_step)


class SanitizedProfiler(SanitizedExecutable):
    """One whose backend can time kernels."""

    def __init__(self, inner: Executable, program: GraphProgram, checked: Callable[[], Mapping[str, Checked]]) -> None:
        super().__init__(inner, program, checked)
        assert isinstance(inner, Profiler)
        self._profiler: Profiler = inner

    @property
    def threads(self) -> int | None:
        return self._profiler.threads

    def profile(self, entry: str, inputs: Sequence[np.ndarray], first: int, n: int) -> LaunchTimes:
        return self._profiler.profile(entry, inputs, first, n)


def sanitized(
    inner: Executable, program: GraphProgram, checked: Callable[[], Mapping[str, Checked]]
) -> SanitizedExecutable:
    """The executable for users of the program that was extended to `program`."""
    return (SanitizedProfiler if isinstance(inner, Profiler) else SanitizedExecutable)(inner, program, checked)


class _Stop(Exception):
    """The check that failed was found."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A check that failed: where, with which numbers, and in which iterations of which loops."""

    check: Check
    element: tuple[int, ...] | None
    detail: str
    inside: tuple[tuple[Node, int | None], ...]


class _Finder:
    """Looks on while a step is run again, until a check fails."""

    def __init__(self, checked: Checked) -> None:
        self.watch: Watch | None = None
        self.found: _Found | None = None
        self._nodes = {check.node for check in checked.checks}
        self._later = {check.node for check in checked.checks if check.kind == "formula"}
        self._checks = {check.mask: check for check in checked.checks}
        indices = (check.node.operands[check.position] for check in checked.checks if check.kind == "index")
        self._indices: dict[Value, np.ndarray] = dict.fromkeys(indices, np.zeros(0))
        self._latest: dict[Node, tuple[Sequence[np.ndarray], Sequence[np.ndarray]]] = {}

    def see(self, node: Node, operands: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        if node in self._nodes:  # its checks come right after it, or are those of a formula
            self._latest = {known: arrays for known, arrays in self._latest.items() if known in self._later}
            self._latest[node] = operands, results
        for value, array in zip(node.operands, operands):
            if value in self._indices:
                self._indices[value] = array
        for value, mask in zip(node.results, results):
            check = self._checks.get(value)
            if check is None or not mask.any():
                continue
            assert self.watch is not None
            if check.kind == "index":
                element = _first_place(mask)
                detail = f" {int(self._indices[check.node.operands[check.position]][element])}"
            else:
                element, detail = _numbers(check, mask, *self._latest[check.node])
            self.found = _Found(check, element, detail, tuple(self.watch.inside))
            raise _Stop


def _numbers(
    check: Check, mask: np.ndarray, operands: Sequence[np.ndarray], results: Sequence[np.ndarray]
) -> tuple[tuple[int, ...], str]:
    """Where a value check failed, and the numbers it is about."""
    result = dtypes.widened(results[check.position])
    classes = np.where(np.isnan(result), 2, np.where(np.isinf(result), 1, 0))
    where = mask if mask.shape == result.shape else classes == classes.max()
    element = _first_place(where)
    made = float(result[element])
    given = ""
    if check.node.op.kind == "elementwise" and check.kind == "value":
        given = f" of {' and '.join(_number(dtypes.widened(operand)[element]) for operand in operands)}"
    return element, f"{given} made {'NaN' if np.isnan(made) else 'Inf' if made > 0 else '-Inf'}"


def _number(value: np.generic) -> str:
    return f"{float(value):.6g}"


def _first_place(mask: np.ndarray) -> tuple[int, ...]:
    """The first true element in row-major order."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _at(element: tuple[int, ...] | None) -> str:
    return f" at {list(element)}" if element else ""


def _error(found: _Found, step: int, takes_step: bool) -> SanitizeError:
    check, node = found.check, found.check.node
    is_backward = any(each.loc.role.startswith("gradient") for each in (node, *(outer for outer, _ in found.inside)))
    loc = "" if node.loc is UNKNOWN else str(node.loc)
    place = f" ({'backward' if is_backward else 'forward'} pass{', ' + loc if loc else ''})"
    name = node.attrs.what if isinstance(node.attrs, WithinAttrs) else node.op.name
    if check.kind == "formula" and node.loc.composite is not None:
        name = node.loc.composite.op
    start = f"sanitize: step {step}: {name}" if takes_step else f"sanitize: {name}"
    kind: type[SanitizeError] = IndexRangeError if check.kind == "index" else NonFiniteError
    if check.kind == "index":
        index = f"index{found.detail}{_at(found.element)} of {node.operands[check.position].type}"
        where = f", {check.where}" if check.where else ""
        text = f"{start}: {index} is outside {check.low}..{check.high - 1}{where}"
    else:
        made = found.detail or " made a NaN or Inf"
        text = f"{start}{made}{_at(found.element)} of {node.results[check.position].type}"
    iterations = tuple(i for _, i in found.inside if i is not None)
    around = "".join(
        f", in iteration {i} of {outer.op.name} ({outer.loc})" for outer, i in reversed(found.inside) if i is not None
    )
    end = f"; the state is as it was before step {step}" if takes_step else ""
    return kind(
        f"{text}{place}{around}{end}",
        step=step,
        op=name,
        source=loc,
        is_backward=is_backward,
        element=found.element,
        iterations=iterations,
    )
