"""An ONNX model as a program: a function of arrays with named inputs, outputs and parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from onnx import GraphProto, ModelProto

import graphc.api as gc
from graphc.api import ArgumentError, Array, CompiledFunction, DTypeError, ShapeError
from graphc_onnx import proto
from graphc_onnx.interpret import (
    Interpreter,
    Library,
    NeedsKnown,
    Value,
    input_named,
    is_known,
    parameter_named,
)
from graphc_onnx.ops import TABLE
from graphc_onnx.proto import Port, domain_of
from graphc_onnx.table import Data

Key: TypeAlias = tuple[object, ...]
CAPACITY = 128  # compiled signatures that are kept
LARGEST_KNOWN = 4096  # elements of an input whose value a program is specialised for


class Model:
    """An ONNX model. Call it with arrays, by position or name; it compiles itself per signature.

    parameters: the floating-point initializers by name, NumPy arrays. They are arguments of the compiled program: what
    is put into this dict is what the next call uses. `apply(parameters, *inputs)` is the same as a function of both,
    to be traced, differentiated and jitted. inputs, outputs: name, dtype and shape of each.

    Integer inputs whose values are shapes, axes, pads and the like may differ from call to call: the program is
    compiled for each value.
    """

    def __init__(
        self,
        model: ModelProto,
        file: str,
        backend: str | None = None,
        threads: int | None = None,
        sanitize: bool = False,
    ) -> None:
        self.file = file
        self.name = model.graph.name or Path(file).stem
        self._graph = model.graph
        self._library = Library.of(model, file)
        tensors = {entry.name: proto.tensor(entry, file) for entry in model.graph.initializer}
        self.inputs: tuple[Port, ...] = tuple(
            proto.port(info) for info in model.graph.input if info.name not in tensors
        )
        self.outputs: tuple[Port, ...] = tuple(proto.port(info) for info in model.graph.output)
        structural = _structural(model.graph, self._library)
        self.parameters: dict[str, np.ndarray] = {
            name: array for name, array in tensors.items() if _is_float(array) and name not in structural
        }
        self._constants = {name: array for name, array in tensors.items() if name not in self.parameters}
        self._options = {"backend": backend, "threads": threads, "sanitize": sanitize}
        self._known: frozenset[str] = frozenset()
        self._programs: OrderedDict[Key, Callable[[Sequence[Data]], list[Data]]] = OrderedDict()

    def __repr__(self) -> str:
        takes, gives = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        return f"<ONNX model {self.name}({takes}) -> ({gives}), {len(self.parameters)} parameters>"

    def __call__(self, *inputs: object, **named: object) -> Data | tuple[Data, ...]:
        """The output, or a tuple of the outputs. Raises errors of `graphc` that name the node they are about."""
        data = self._bound(inputs, named)
        results = self._program(data)(data)
        return results[0] if len(results) == 1 else tuple(results)

    def apply(self, parameters: Mapping[str, Array], *inputs: Data, **named: Data) -> Data | tuple[Data, ...]:
        """The output (or a tuple of them) for these parameters; a plain function of arrays and traced values."""
        results = self._run(parameters, self._bound(inputs, named))
        return results[0] if len(results) == 1 else tuple(results)

    # ------------------------------------------------------------------------------------------------------ arguments

    def _bound(self, inputs: Sequence[object], named: Mapping[str, object]) -> list[Data]:
        """The inputs in order, checked against what the model says of them."""
        if len(inputs) > len(self.inputs):
            raise ArgumentError(f"{self.name}: takes {len(self.inputs)} inputs, got {len(inputs)}")
        given = dict(zip((port.name for port in self.inputs), inputs, strict=False))
        for name, data in named.items():
            if name in given or all(port.name != name for port in self.inputs):
                problem = "is given twice" if name in given else "is no input"
                raise ArgumentError(f"{self.name}: {name!r} {problem}; inputs are {', '.join(map(str, self.inputs))}")
            given[name] = data
        missing = [str(port) for port in self.inputs if port.name not in given]
        if missing:
            raise ArgumentError(f"{self.name}: inputs are missing: {', '.join(missing)}")
        return [self._checked(port, given[port.name]) for port in self.inputs]

    def _checked(self, port: Port, given: object) -> Data:
        if port.dtype != "string":
            _check_dtype(port, self.file)
        if port.kind != "tensor":
            return _nested(given)
        array = _array(given, port.dtype)
        place = f"{self.name}: input {port.name!r}"
        if not isinstance(array, gc.Tracer) and np.dtype(array.dtype).name != port.dtype and port.dtype != "string":
            raise DTypeError(f"{place} is {port.dtype}, got {np.dtype(array.dtype).name}")
        if port.shape is None:
            return array
        fits = len(port.shape) == len(array.shape) and all(
            not isinstance(want, int) or want == extent for want, extent in zip(port.shape, array.shape, strict=True)
        )
        if not fits:
            raise ShapeError(f"{place} is {port}, got shape {list(array.shape)}")
        return array

    # ------------------------------------------------------------------------------------------------------- programs

    def _is_fixed(self, port: Port) -> bool:
        return port.dtype == "string" or input_named(port.name) in self._known

    def _program(self, data: Sequence[Data]) -> Callable[[Sequence[Data]], list[Data]]:
        """The compiled program for such inputs."""
        while True:
            key = tuple(
                _content(item) if self._is_fixed(port) else _signature(item)
                for port, item in zip(self.inputs, data, strict=True)
            )
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            try:
                program = self._compile(data)
            except NeedsKnown as need:
                self._specialise(need, data)
                continue
            self._programs[key] = program
            if len(self._programs) > CAPACITY:
                self._programs.popitem(last=False)
            return program

    def _specialise(self, need: NeedsKnown, data: Sequence[Data]) -> None:
        """From now on the values that are needed are known: programs are compiled for them."""
        if need.sources <= self._known:
            raise gc.UnsupportedError(f"{need.what}, and it is not known while tracing")
        for port, item in zip(self.inputs, data, strict=True):
            if input_named(port.name) not in need.sources:
                continue
            if isinstance(item, np.ndarray) and item.size > LARGEST_KNOWN:
                raise ShapeError(f"{need.what}, and it follows from input {port.name!r}, which is too large for that")
        self._known |= need.sources

    def _compile(self, data: Sequence[Data]) -> Callable[[Sequence[Data]], list[Data]]:
        fixed = {place: data[place] for place, port in enumerate(self.inputs) if self._is_fixed(port)}
        if len(fixed) == len(data) and not self.parameters:
            results = self._run({}, data)
            if all(map(is_known, results)):
                return lambda inputs: results
        known: dict[int, Data] = {}  # outputs that are no results of the program: strings, and what is empty

        def main(parameters: Mapping[str, Array], rest: Sequence[Data]) -> list[Data]:
            waiting = iter(rest)
            inputs = [fixed[place] if place in fixed else next(waiting) for place in range(len(self.inputs))]
            results = self._run(parameters, inputs)
            known.update({place: item for place, item in enumerate(results) if _is_foreign(item)})
            return [item for place, item in enumerate(results) if place not in known]

        main.__name__ = _identifier(self.name)
        rest = [item for place, item in enumerate(data) if place not in fixed]
        compiled = gc.compile(main, self.parameters, rest, **self._options)  # type: ignore[arg-type]
        return lambda inputs: self._execute(compiled, inputs, fixed, known)

    def _execute(
        self, compiled: CompiledFunction, inputs: Sequence[Data], fixed: Mapping[int, Data], known: Mapping[int, Data]
    ) -> list[Data]:
        rest = [item for place, item in enumerate(inputs) if place not in fixed]
        results = iter(compiled(self.parameters, rest))  # type: ignore[call-overload]
        return [known[place] if place in known else next(results) for place in range(len(self.outputs))]

    def _run(self, parameters: Mapping[str, Array], inputs: Sequence[Data]) -> list[Data]:
        """Interpret the graph; what turns out to be needed while tracing and can be known is known then."""
        if set(parameters) != set(self.parameters):
            wrong = sorted(set(parameters) ^ set(self.parameters))
            raise ArgumentError(f"{self.name}: parameters that are missing or unknown: {', '.join(wrong)}")
        while True:
            scope = {name: Value(array) for name, array in self._constants.items()}
            for name, own in self.parameters.items():
                source = parameter_named(name)
                scope[name] = Value(own) if source in self._known else _value(parameters[name], source)
            for port, item in zip(self.inputs, inputs, strict=True):
                scope[port.name] = _value(item, input_named(port.name))
            try:
                results = Interpreter(self._library, self._known).graph(self._graph, scope)
                return [result.data for result in results]
            except NeedsKnown as need:
                of_inputs = {input_named(port.name) for port in self.inputs}
                if need.sources & of_inputs or need.sources <= self._known:
                    raise
                self._known |= need.sources


def load(path: str | Path, *, backend: str | None = None, threads: int | None = None, sanitize: bool = False) -> Model:
    """The model in an `.onnx` file, opset 9 or newer. Raises `ModelError` for a file that is none, or is malformed."""
    return from_proto(proto.read(Path(path)), str(path), backend=backend, threads=threads, sanitize=sanitize)


def from_proto(
    model: ModelProto,
    file: str = "<model>",
    *,
    backend: str | None = None,
    threads: int | None = None,
    sanitize: bool = False,
) -> Model:
    """The model in a protocol buffer; `file` stands for it in messages."""
    if model.graph.sparse_initializer:
        raise gc.UnsupportedError(f"{file}: sparse initializers are not supported")
    return Model(model, file, backend, threads, sanitize)


# ---------------------------------------------------------------------------------------------------------- arguments


def _array(given: object, dtype: str) -> Array:
    if isinstance(given, (np.ndarray, gc.Tracer)):
        return given
    if isinstance(given, np.generic):
        return np.asarray(given)
    if hasattr(given, "__dlpack__") or hasattr(given, "__array_interface__"):
        return given  # type: ignore[no-any-return, return-value, unused-ignore]  # an array of another library
    return np.asarray(given, object if dtype == "string" else dtype)


def _check_dtype(port: Port, file: str) -> None:
    try:
        gc.spec((), port.dtype)
    except gc.GraphcError as error:
        raise gc.UnsupportedError(f"{file}: input {port}: {error}") from error


def _nested(given: object) -> Data:
    if given is None or isinstance(given, (np.ndarray, gc.Tracer)):
        return given
    if isinstance(given, (list, tuple)):
        return [_nested(item) for item in given]
    return np.asarray(given)


def _value(data: Data, source: str) -> Value:
    return Value(data) if is_known(data) else Value(data, frozenset({source}))


def _signature(data: Data) -> Key:
    if isinstance(data, list):
        return tuple(_signature(item) for item in data)
    return () if data is None else (tuple(data.shape), str(data.dtype))


def _content(data: Data) -> Key:
    if isinstance(data, list):
        return tuple(_content(item) for item in data)
    if data is None:
        return ()
    array = np.asarray(data)
    return (array.shape, str(array.dtype), tuple(array.ravel().tolist()))


def _is_foreign(data: Data) -> bool:
    """Whether a result is none that a compiled program can have."""
    if isinstance(data, list):
        return not data or any(_is_foreign(item) for item in data)
    return data is None or (
        isinstance(data, np.ndarray) and data.dtype.kind in "OUSV" and data.dtype.name != "bfloat16"
    )


def _identifier(name: str) -> str:
    text = "".join(c if c.isalnum() else "_" for c in name)
    return text if text.isidentifier() else f"model_{text}"


# ---------------------------------------------------------------------------------------------------------- parameters


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _structural(graph: GraphProto, library: Library) -> set[str]:
    """Initializers that shape the program (the scales of a Resize): they are no parameters."""
    found: set[str] = set()
    for node in graph.node:
        domain = domain_of(node.domain)
        row = TABLE.find(domain, node.op_type, library.opsets.get(domain, 0))
        if row is not None:
            found |= {node.input[index] for index in row.known if index < len(node.input)}
    return found
