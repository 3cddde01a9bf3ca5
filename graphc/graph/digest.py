"""The content of graphs as one digest: what a compiled program on disk is found by.

Equal for graphs that differ in names and source lines only, in every process; different as soon as an op, an operand,
an attribute, a type, an output or an alias differs. Linear in nodes; each array is hashed once.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import fields

import numpy as np

from graphc.core.digest import array_digest
from graphc.core.dtypes import DType
from graphc.graph.ir import Attrs, Graph, Node, TensorType, Value, graphs_of

INLINE_BYTES = 256  # arrays up to this size are written out, larger ones stand as their digest


class GraphDigests:
    """Digests of graphs; `arrays` are the large constants met so far, by digest."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._graphs: dict[int, tuple[Graph, str]] = {}  # by identity; the graph itself is kept so that it stays so
        self._attrs: dict[int, str] = {}  # likewise: the graphs keep their attributes
        self._types: dict[tuple[tuple[int, ...], str], str] = {}

    def of(self, graph: Graph) -> str:
        """The digest of a graph and of the regions in it."""
        for region in _regions_first(graph):
            if id(region) not in self._graphs:
                self._graphs[id(region)] = (region, hashlib.sha256(self._text(region).encode()).hexdigest())
        return self._graphs[id(graph)][1]

    def _text(self, graph: Graph) -> str:
        """One line per node. Values are numbered in the order of their definition."""
        number: dict[Value, str] = {}
        for value in graph.inputs:
            number[value] = str(len(number))
        lines = [" ".join([self._type(value.type) for value in graph.inputs])]
        for node in graph.nodes:
            operands = ",".join([number[value] for value in node.operands])
            results = " ".join([self._type(value.type) for value in node.results])
            lines.append(f"{node.op.name}({operands}){self._attributes(node.attrs)}{results}")
            for value in node.results:
                number[value] = str(len(number))
        lines.append(" ".join([number[value] for value in graph.outputs]))
        lines.append(repr(graph.aliases))
        return "\n".join(lines)

    def _type(self, type: TensorType) -> str:
        key = (type.shape, type.dtype.short)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = str(type)
        return found

    def _attributes(self, attrs: Attrs) -> str:
        found = self._attrs.get(id(attrs))
        if found is None:
            values = [self._value(getattr(attrs, name)) for name in _field_names(attrs)]
            found = self._attrs[id(attrs)] = "{" + ";".join(values) + "}"
        return found

    def _value(self, value: object) -> str:
        """One attribute as text that tells its type: 1, True and 1.0 differ, and so do 0.0 and -0.0."""
        kind = type(value)
        if kind in _PLAIN:
            return _PLAIN[kind](value)
        if isinstance(value, tuple):
            return "(" + ",".join([self._value(item) for item in value]) + ")"
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Graph):
            return "@" + self._graphs[id(value)][1]
        raise TypeError(f"graphs with attributes of type {kind.__name__} have no digest")

    def _array(self, array: np.ndarray) -> str:
        if array.nbytes <= INLINE_BYTES:
            return f"{array.dtype.str}{array.shape}{array.tobytes().hex()}"
        digest = array_digest(array)
        self.arrays[digest] = array
        return "$" + digest


_PLAIN: dict[type, Callable[..., str]] = {
    bool: repr,
    int: repr,
    str: repr,
    type(None): repr,
    float: lambda value: "f" + value.hex(),
    DType: lambda value: value.short,
}


_FIELDS: dict[type, tuple[str, ...]] = {}  # names of the attributes of each class met


def _field_names(attrs: Attrs) -> tuple[str, ...]:
    kind = type(attrs)
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return _FIELDS[kind]


def _regions_first(graph: Graph) -> Iterator[Graph]:
    """Every region below a graph, inner ones first, then the graph; without recursion."""
    stack: list[tuple[Graph, bool]] = [(graph, False)]
    seen: set[int] = set()
    while stack:
        current, expanded = stack.pop()
        if expanded:
            yield current
        elif id(current) not in seen:
            seen.add(id(current))
            stack.append((current, True))
            stack += [(region, False) for node in current.nodes for region in _regions_of(node)]


def _regions_of(node: Node) -> list[Graph]:
    return [graph for name in _field_names(node.attrs) for graph in graphs_of(getattr(node.attrs, name))]
