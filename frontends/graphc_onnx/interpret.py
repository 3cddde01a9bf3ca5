"""Runs the nodes of a model on arrays, traced or not: under a trace, this is the import.

Values that are known while tracing (constants, shapes, what follows from them) are computed at once, so that shapes,
axes and the like are plain numbers when a row asks for them. Every other value carries its `sources`: the names of
what would have to be known for it to be known. Where a row needs a number that is not known, `NeedsKnown` names them,
and whoever runs the model starts again with these known.

An op without a row is replaced by its definition in terms of other ops, from the model or from ONNX's own schemas.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

import graphc.api as gc
from graphc.api import GraphcError, UnsupportedError
from graphc_onnx import proto
from graphc_onnx.definitions import definition
from graphc_onnx.ops import TABLE
from graphc_onnx.table import Body, Data, ModelError, NodeContext, NotInLoop, Row, WantsKnown

NOTHING: frozenset[str] = frozenset()


class NeedsKnown(Exception):
    """A number that shapes the program follows from these values, which are not known while tracing."""

    def __init__(self, sources: frozenset[str], what: str) -> None:
        super().__init__(what)
        self.sources = sources
        self.what = what


@dataclass(frozen=True, slots=True)
class Value:
    """An ONNX value, and what would have to be known for it to be known."""

    data: Data
    sources: frozenset[str] = NOTHING


Scope = Mapping[str, Value]
Where = tuple[Sequence[NodeProto], int]  # the nodes of a graph, and the place of one among them


def input_named(name: str) -> str:
    """The source that is an input of the model."""
    return f"input {name!r}"


def parameter_named(name: str) -> str:
    """The source that is a parameter of the model."""
    return f"parameter {name!r}"


def result_of(node: NodeProto) -> str:
    """The source that is the first result of a node whose value the program makes."""
    return f"result {next(iter(node.output), '')!r}"


def is_known(data: Data) -> bool:
    """Whether the value is a number (or several) now."""
    if isinstance(data, list):
        return all(is_known(item) for item in data)
    return data is None or isinstance(data, np.ndarray)


@dataclass(frozen=True)
class Library:
    """What names of ops mean in a graph: the opset of each domain, and the functions that the model brings."""

    file: str
    opsets: Mapping[str, int]
    functions: Mapping[tuple[str, str, str], FunctionProto] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelProto, file: str) -> Library:
        functions = {(proto.domain_of(f.domain), f.name, f.overload): f for f in model.functions}
        return cls(file, _opsets(model.opset_import), functions)


def _opsets(imports: Sequence[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {proto.domain_of(entry.domain): entry.version for entry in imports}


class Interpreter:
    """Runs graphs; `known` are the sources that are to be known."""

    def __init__(self, library: Library, known: frozenset[str]) -> None:
        self._library = library
        self._known = known
        self._count = 0
        self._line: gc.Loc | None = None  # the node of the main graph that runs

    def graph(self, graph: GraphProto, scope: Scope) -> list[Value]:
        """The outputs of a graph, whose inputs and initializers (of the main graph) are in the scope."""
        names = dict(scope)
        for initializer in graph.initializer:
            if initializer.name not in names:
                names[initializer.name] = Value(proto.tensor(initializer, self._library.file))
        self._nodes(graph.node, names, self._library)
        return [self._output(names, output.name, graph.name) for output in graph.output]

    def _output(self, names: Scope, name: str, graph: str) -> Value:
        if name not in names:
            raise ModelError(f"{self._library.file}: output {name!r} of graph {graph!r} is computed by no node")
        return names[name]

    def _nodes(self, nodes: Sequence[NodeProto], names: dict[str, Value], library: Library) -> None:
        for place, node in enumerate(nodes):
            results = self._at(place, node, lambda: self._node(node, names, library, (nodes, place)))  # noqa: B023
            for name, result in zip(node.output, results, strict=False):
                if name:
                    names[name] = result

    def _at(self, place: int, node: NodeProto, run: Callable[[], list[Value]]) -> list[Value]:
        """Run a node. What it adds to a trace comes from the file of the model, and from the number of the node there;
        for nodes of bodies and functions, of the one in the main graph that they belong to."""
        if self._line is not None:
            return run()
        self._line = gc.Loc(self._library.file, place + 1, node.op_type)
        try:
            with gc.at(self._line):
                return run()
        finally:
            self._line = None

    def _node(self, node: NodeProto, names: dict[str, Value], library: Library, where: Where) -> list[Value]:
        self._count += 1
        domain = proto.domain_of(node.domain)
        opset = library.opsets.get(domain)
        label = f"node {node.name!r}" if node.name else f"the node that computes {next(iter(node.output), '')!r}"
        place = f"{library.file}: {label} ({f'{domain}.' if domain else ''}{node.op_type}, opset {opset})"
        operands = [self._operand(name, names, place) for name in node.input]
        while operands and operands[-1] is None:
            operands.pop()
        function = library.functions.get((domain, node.op_type, node.overload))
        if function is not None:
            return self._function(function, node, operands, names, library, place)
        if opset is None:
            raise ModelError(f"{place}: the model does not say which opset of {domain or 'ai.onnx'!r} it uses")
        row = TABLE.find(domain, node.op_type, opset)
        if row is not None:
            context = self._context(node, opset, names, library, where) if row.takes_node else None
            return self._row(row, node, operands, names, place, context)
        meaning = definition(node, [None if o is None else o.data for o in operands], domain, opset)
        if meaning is not None:
            opsets = {"": onnx.defs.onnx_opset_version(), **library.opsets, **_opsets(meaning.opset_import)}
            inner = Library(library.file, opsets, library.functions)
            return self._function(meaning, node, operands, names, inner, place)
        raise _no_row(domain, node.op_type, opset, place)

    def _operand(self, name: str, names: Scope, place: str) -> Value | None:
        if not name:
            return None
        if name not in names:
            raise ModelError(f"{place}: input {name!r} is computed by no earlier node")
        return names[name]

    # --------------------------------------------------------------------------------------------------------- rows

    def _row(
        self,
        row: Row,
        node: NodeProto,
        operands: list[Value | None],
        names: dict[str, Value],
        place: str,
        context: NodeContext | None,
    ) -> list[Value]:
        least, most = row.arity
        if not least <= len(operands) <= most:
            raise ModelError(f"{place}: has {len(operands)} inputs, takes {least} to {most}")
        attributes, captured, all_known = self._attributes(node, row, names, place)
        if context is not None:
            attributes["node"] = context
        for index in row.known:
            if index < len(operands):
                self._check_known(operands[index], row, index, place)
        data = [None if operand is None else operand.data for operand in operands]
        sources = frozenset().union(captured, *(operand.sources for operand in operands if operand is not None))
        all_known = all_known and all(is_known(item) for item in data)
        fold = all_known and (not row.makes or result_of(node) in self._known)
        try:
            result = _at_once(lambda: row.function(*data, **attributes)) if fold else row.function(*data, **attributes)
        except WantsKnown as wish:
            self._check_known(operands[wish.index], row, wish.index, place)
            raise
        except GraphcError as error:
            raise _placed(error, place) from error
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError) as error:
            raise ModelError(f"{place}: {type(error).__name__}: {error}") from error
        results = list(result) if isinstance(result, tuple) else [result]
        if all_known and not fold:
            sources = frozenset({result_of(node)})
        return [Value(_plain(item), NOTHING if is_known(item) else sources) for item in results]

    def _context(
        self, node: NodeProto, opset: int, names: dict[str, Value], library: Library, where: Where
    ) -> NodeContext:
        def recompute(given: Mapping[str, Data], wanted: str) -> Data:
            local = {**names, **{name: Value(data) for name, data in given.items()}}
            nodes, place = where
            self._nodes(_needed(nodes[:place], wanted, frozenset(given)), local, library)
            return self._output(local, wanted, library.file).data

        used = tuple(bool(name) for name in node.output)
        return NodeContext(node.name, node.op_type, opset, used, self._count, recompute)

    def _check_known(self, operand: Value | None, row: Row, index: int, place: str) -> None:
        if operand is None or is_known(operand.data):
            return
        what = f"{place}: the value of input {index} shapes the program"
        if row.of_constants:
            raise UnsupportedError(
                f"{what}, and it follows from {_listed(operand.sources)}: the shape of the result depends on data"
            )
        if not operand.sources:
            raise NotInLoop(f"{what}, and it is computed in a loop or branch")
        raise NeedsKnown(operand.sources, what)

    def _attributes(
        self, node: NodeProto, row: Row, names: dict[str, Value], place: str
    ) -> tuple[dict[str, object], frozenset[str], bool]:
        """Attributes by name; the sources of what their graphs read from this one, and whether all of that is known."""
        found: dict[str, object] = {}
        captured, all_known = NOTHING, True
        for entry in node.attribute:
            if entry.name not in row.parameters or entry.name == "node":
                raise UnsupportedError(f"{place}: attribute {entry.name!r} is not supported")
            value = proto.attribute(entry, place)
            if isinstance(value, GraphProto):
                value, sources = self._body(value, names)
                captured |= sources
                all_known = all_known and value.captures_known
            found[entry.name] = value
        return found, captured, all_known

    def _body(self, graph: GraphProto, names: dict[str, Value]) -> tuple[Body, frozenset[str]]:
        reads = {name: names[name] for name in _free_names(graph) if name in names}
        known = all(is_known(value.data) for value in reads.values())

        def call(inputs: list[Data]) -> list[Data]:
            own = {info.name: Value(data) for info, data in zip(graph.input, inputs, strict=True)}
            return [value.data for value in self.graph(graph, {**reads, **own})]

        body = Body(tuple(i.name for i in graph.input), tuple(o.name for o in graph.output), call, known)
        return body, frozenset().union(*(value.sources for value in reads.values() if not is_known(value.data)))

    # ---------------------------------------------------------------------------------------------------- functions

    def _function(
        self,
        function: FunctionProto,
        node: NodeProto,
        operands: list[Value | None],
        names: dict[str, Value],
        library: Library,
        place: str,
    ) -> list[Value]:
        """A function is its nodes, with the attributes of the call put in."""
        if len(operands) > len(function.input):
            raise ModelError(f"{place}: has {len(operands)} inputs, takes {len(function.input)}")
        opsets = {**library.opsets, **_opsets(function.opset_import)}
        inner = Library(place, opsets, library.functions)
        given = {entry.name: entry for entry in node.attribute}
        defaults = {entry.name: entry for entry in function.attribute_proto}
        local: dict[str, Value] = {
            name: operand for name, operand in zip(function.input, operands, strict=False) if operand is not None
        }
        for name in function.input:
            local.setdefault(name, Value(None))
        nodes = [_with_attributes(inside, {**defaults, **given}) for inside in function.node]
        self._nodes(nodes, local, inner)
        return [
            self._output(local, name, function.name) if wanted else Value(None)
            for name, wanted in zip(function.output, node.output, strict=False)
        ]


def _at_once(compute: Callable[[], object]) -> Data | tuple[Data, ...]:
    """Outside any trace, where everything is computed by NumPy."""
    return contextvars.Context().run(compute)  # type: ignore[return-value]  # rows return data


def _plain(item: object) -> Data:
    """NumPy's scalars are 0-d arrays."""
    return np.asarray(item) if isinstance(item, np.generic) else cast(Data, item)


def _listed(sources: frozenset[str]) -> str:
    return ", ".join(sorted(sources)) or "a value of a loop or branch"


def _placed(error: GraphcError, place: str) -> GraphcError:
    """The error, saying which node it is about; one that comes from inside a body or function says so already."""
    text = str(error)
    file = place.partition(": ")[0]
    return error if text.startswith(file) else type(error)(f"{place}: {text}")


def _no_row(domain: str, op: str, opset: int, place: str) -> GraphcError:
    try:
        onnx.defs.get_schema(op, opset, domain)
    except onnx.defs.SchemaError:
        return ModelError(f"{place}: ONNX has no such op in this opset")
    return UnsupportedError(f"{place}: this op is not supported")


def _with_attributes(node: NodeProto, given: Mapping[str, onnx.AttributeProto]) -> NodeProto:
    """The node with references to attributes of the function replaced; those that were not given are left out."""
    if not any(entry.ref_attr_name or entry.HasField("g") for entry in node.attribute):
        return node
    result = NodeProto()
    result.CopyFrom(node)
    del result.attribute[:]
    for entry in node.attribute:
        if entry.ref_attr_name:
            if entry.ref_attr_name not in given:
                continue
            copied = result.attribute.add()
            copied.CopyFrom(given[entry.ref_attr_name])
            copied.name = entry.name
            continue
        copied = result.attribute.add()
        copied.CopyFrom(entry)
        if copied.HasField("g"):
            inside = [_with_attributes(inner, given) for inner in copied.g.node]
            del copied.g.node[:]
            copied.g.node.extend(inside)
    return result


def _needed(nodes: Sequence[NodeProto], wanted: str, given: frozenset[str]) -> list[NodeProto]:
    """The nodes that compute a value from given ones."""
    names, kept = {wanted}, []
    for node in reversed(nodes):
        if not (names - given).isdisjoint(node.output):
            kept.append(node)
            names |= set(node.input)
    return kept[::-1]


def _free_names(graph: GraphProto) -> set[str]:
    """Names that a graph reads and does not make."""
    made = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
    free: set[str] = set()
    for node in graph.node:
        read = {name for name in node.input if name}
        for entry in node.attribute:
            if entry.HasField("g"):
                read |= _free_names(entry.g)
        free |= read - made
        made |= set(node.output)
    return free | ({info.name for info in graph.output} - made)
