"""Traces in progress: the graph being built, its inputs, constants and captures, and the stack of active traces.

The stack is context-local (`contextvars`), so threads and tasks trace independently. A traced value belongs to one
trace; inside a nested trace, a value of an enclosing one becomes a capture: an extra, trailing input of the inner
graph. A value whose trace has ended is an error that says where it was made.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from graphc.core import dtypes
from graphc.core.digest import array_digest
from graphc.core.dtypes import DType
from graphc.core.errors import LeakedTracerError
from graphc.core.source import UNKNOWN, Loc, here
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Attrs, Graph, Op, TensorType, Value
from graphc.graph.ops.source import ConstantAttrs, constant

if TYPE_CHECKING:
    from graphc.tracing.tracer import Tracer

Scalar: TypeAlias = bool | int | float | complex
# typing.Union: `|` needs types on both sides, and Tracer is a name only
Array: TypeAlias = Union["Tracer", np.ndarray]
ArrayLike: TypeAlias = Union["Tracer", np.ndarray, np.generic, bool, int, float, complex, Sequence[object]]


def with_line(message: str, loc: Loc | None = None) -> str:
    """The message with the user's line at its end, where there is one.

    >>> from graphc.core.source import Loc
    >>> with_line("shapes differ", Loc("train.py", 31))
    'shapes differ (train.py:31)'
    """
    loc = here() if loc is None else loc
    return message if loc is UNKNOWN else f"{message} ({loc})"


class TracedValue:
    """What `bind` needs to know of a traced value; `Tracer` adds the array surface."""

    __slots__ = ("_loc", "_trace", "_value")

    def __init__(self, value: Value, trace: "Trace", loc: Loc) -> None:
        self._value = value
        self._trace = trace
        self._loc = loc

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.type.shape

    @property
    def dtype(self) -> DType:
        return self._value.type.dtype


class Trace:
    """One graph under construction. `wrap` makes the traced value the user sees from a graph value."""

    def __init__(self, name: str, tracer: "type[Tracer]") -> None:
        self.name = name
        self.ended = False
        self.captures: list[Tracer] = []
        self.primals: list[Graph] = []
        self.sanitize = False
        self._builder = GraphBuilder(name)
        self._tracer = tracer
        self._captured: dict[Value, Value] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes | str], Value] = {}

    def wrap(self, value: Value, loc: Loc) -> "Tracer":
        return self._tracer(value, self, loc)

    def input(self, type: TensorType, name: str) -> "Tracer":
        return self.wrap(self._builder.input(type, name), here())

    def add(self, op: Op, operands: Sequence["Tracer | np.ndarray"], attrs: Attrs, loc: Loc) -> "tuple[Tracer, ...]":
        """Append a node; operands that are arrays join as constants, those of enclosing traces as captures."""
        values = [self.value_of(operand) for operand in operands]
        return tuple(self.wrap(result, loc) for result in self._builder.add(op, values, attrs, loc))

    def inline(self, graph: Graph, operands: Sequence["Tracer | np.ndarray"], loc: Loc) -> "tuple[Tracer, ...]":
        """Copy the nodes of a graph here; they keep their own source lines."""
        values = [self.value_of(operand) for operand in operands]
        return tuple(self.wrap(result, loc) for result in self._builder.inline(graph, values))

    def constant(self, array: np.ndarray) -> "Tracer":
        return self.wrap(self._constant(array), here())

    def value_of(self, operand: "Tracer | np.ndarray") -> Value:
        """The graph value that stands for an array or a traced value in this trace."""
        if not isinstance(operand, TracedValue):
            return self._constant(operand)
        if operand._trace is self:
            return operand._value
        check_alive(operand)
        if operand._value not in self._captured:
            self._captured[operand._value] = self._builder.input(operand._value.type, operand._value.name)
            self.captures.append(operand)
        return self._captured[operand._value]

    def finish(self, outputs: Sequence["Tracer | np.ndarray"]) -> Graph:
        return self._builder.build([self.value_of(output) for output in outputs])

    def _constant(self, array: np.ndarray) -> Value:
        """Equal constants are one value. The array is copied: the program may change it after the trace."""
        array = np.asarray(array)
        snapshot = np.array(array, dtype=dtypes.dtype(array.dtype).numpy, order="C")
        snapshot.flags.writeable = False
        content = snapshot.tobytes() if snapshot.nbytes <= 64 else array_digest(snapshot)
        key = (snapshot.dtype.str, snapshot.shape, content)
        if key not in self._constants:
            self._constants[key] = self._builder.add1(constant, (), ConstantAttrs(snapshot), here())
        return self._constants[key]


_STACK: ContextVar[tuple[Trace, ...]] = ContextVar("graphc_traces", default=())


def is_tracing() -> bool:
    """Whether the code that runs now is being traced."""
    return bool(_STACK.get())


def current() -> Trace:
    """The innermost active trace; call only while `is_tracing()`."""
    return _STACK.get()[-1]


@contextmanager
def active(trace: Trace) -> Iterator[Trace]:
    """Make `trace` the innermost one for the duration of a `with` block, then end it."""
    token = _STACK.set((*_STACK.get(), trace))
    try:
        yield trace
    finally:
        trace.ended = True
        _STACK.reset(token)


def note_primal(graph: Graph) -> None:
    """Tell the outermost active trace that `graph` is about to be differentiated; `exe.text("trace")` shows it."""
    if is_tracing():
        _STACK.get()[0].primals.append(graph)


def ask_to_sanitize() -> None:
    """Tell all active traces that a part of what they trace asks for `sanitize=True`: then the whole program does."""
    for each in _STACK.get():
        each.sanitize = True


_SANITIZES: ContextVar[bool] = ContextVar("graphc_sanitizes", default=False)


def is_sanitizing() -> bool:
    """Whether what is traced now will be compiled with `sanitize=True`."""
    return _SANITIZES.get()


@contextmanager
def sanitizing(asked: bool) -> Iterator[None]:
    """What is traced inside will be compiled with `sanitize=True`, if `asked`."""
    token = _SANITIZES.set(asked or _SANITIZES.get())
    try:
        yield
    finally:
        _SANITIZES.reset(token)


def check_alive(tracer: TracedValue) -> None:
    """Raises `LeakedTracerError` unless the tracer belongs to an active trace of this context."""
    if tracer._trace in _STACK.get():
        return
    what = f"the traced value {tracer._value.type} made at {tracer._loc} in the trace of {tracer._trace.name}"
    if not tracer._trace.ended:
        raise LeakedTracerError(with_line(f"{what} is used in another thread or task than the one that traces it"))
    raise LeakedTracerError(
        with_line(
            f"{what} is used after that trace has ended. A traced function must return what it computes; "
            "a value stored in a list, attribute or global from inside it has no number"
        )
    )


def bind_nodes(op: Op, operands: Sequence["Tracer | np.ndarray"], attrs: Attrs = NO_ATTRS) -> "tuple[Tracer, ...]":
    """Append a node to the innermost active trace even if all operands are arrays."""
    for operand in operands:
        if isinstance(operand, TracedValue):
            check_alive(operand)
    return current().add(op, operands, attrs, here())
