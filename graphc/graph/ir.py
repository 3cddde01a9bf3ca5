"""The tensor IR: immutable, typed SSA over tensors.

A `Graph` lists its inputs, its nodes in an order in which every operand is defined before it is used, and its outputs.
A
`Node` applies an `Op` (with attributes, a frozen dataclass per op) to operand values and defines result values.
Regions (bodies of
`call`, `fusion`, ...) are closed graphs held in attributes: what they use from outside is passed as an operand.

Values are compared by identity; whole graphs by structure (names and source lines do not count).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, fields
from functools import cached_property
from typing import Literal

import numpy as np

from graphc.core.dtypes import DType
from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN, Loc


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype. Shapes are ints: there are no symbolic dimensions."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> "TensorType":
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: DType) -> "TensorType":
        return TensorType(self.shape, dtype)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Attrs:
    """Base of every op's attributes; an op without attributes uses this class itself."""


NO_ATTRS = Attrs()

OpKind = Literal[
    "elementwise",
    "reduction",
    "movement",
    "contraction",
    "index",
    "cumulative",
    "linalg",
    "window",
    "source",
    "structural",
]
# elementwise: result[i] depends on operands[i]; movement: elements move, none is computed; index: which element moves
# depends on data (gather, scatter); cumulative: a result depends on all before it along an axis; linalg: matrices are
# taken as a whole; window: sums and extremes over sliding windows, made of other ops before lowering; source: makes
# values from attributes (and a key); structural: holds regions.


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One primitive: name, attribute class, type rule, and meaning in NumPy.

    `infer(operand types, attrs)` returns the result types or raises ShapeError / DTypeError with a message that
    starts with the
    op's name. `meaning(attrs, *arrays)` returns the result arrays; it is the specification the backends are compared
    with. Derivatives, lowering and so on are rows in tables of other layers, keyed by the op.
    """

    name: str
    kind: OpKind
    attrs: type[Attrs]
    infer: "Callable[[tuple[TensorType, ...], Attrs], tuple[TensorType, ...]]" = field(repr=False)
    meaning: "Callable[..., tuple[np.ndarray, ...]]" = field(repr=False)

    def __str__(self) -> str:
        return self.name


class Value:
    """One tensor in a graph: an input or a result of a node. `name` is a hint for people."""

    __slots__ = ("name", "type")

    def __init__(self, type: TensorType, name: str = "") -> None:
        self.type = type
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    def __repr__(self) -> str:
        return f"<{self.name or 'value'}: {self.type}>"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One application of an op."""

    op: Op
    operands: tuple[Value, ...]
    attrs: Attrs
    results: tuple[Value, ...]
    loc: Loc = UNKNOWN

    @property
    def result(self) -> Value:
        """The only result of a node that has one."""
        (value,) = self.results
        return value


@dataclass(frozen=True, eq=False)
class Graph:
    """A closed function over tensors. `aliases` declares donation: (output index, input index) pairs."""

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    aliases: tuple[tuple[int, int], ...] = ()

    @cached_property
    def producers(self) -> Mapping[Value, Node]:
        """The node that defines each value; inputs are absent."""
        return {result: node for node in self.nodes for result in node.results}

    @cached_property
    def users(self) -> Mapping[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order; values read by none are absent. Outputs do not count as reads."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for operand in dict.fromkeys(node.operands):
                found.setdefault(operand, []).append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    @cached_property
    def returned(self) -> frozenset[Value]:
        """The outputs, as a set."""
        return frozenset(self.outputs)

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return tuple(value.type for value in self.inputs)

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        return tuple(value.type for value in self.outputs)

    @cached_property
    def structure(self) -> tuple[object, ...]:
        """A hashable description that is equal for graphs that differ in names and source lines only."""
        number: dict[Value, int] = {}
        for value in self.inputs:
            number[value] = len(number)
        rows: list[object] = []
        for node in self.nodes:
            rows.append((node.op.name, tuple(number[v] for v in node.operands), attrs_key(node.attrs)))
            for value in node.results:
                number[value] = len(number)
        outputs = tuple(number[v] for v in self.outputs)
        return (tuple(v.type for v in self.inputs), tuple(rows), outputs, self.aliases)

    @cached_property
    def _structure_hash(self) -> int:
        return hash(self.structure)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Graph)
            and self._structure_hash == other._structure_hash
            and self.structure == other.structure
        )

    def __hash__(self) -> int:
        return self._structure_hash

    def __str__(self) -> str:
        from graphc.graph.text import print_graph  # the printer reads this module

        return print_graph(self)


def attrs_key(attrs: Attrs) -> tuple[object, ...]:
    """A hashable, structural form of attributes: arrays by content, graphs by structure."""
    return tuple(_key(getattr(attrs, f.name)) for f in fields(attrs))


def _key(value: object) -> object:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, Graph):
        return value.structure
    if isinstance(value, float):
        return ("float", value.hex())  # tells -0.0 from 0.0, and NaN equals NaN
    return value


def regions(node: Node) -> Iterator[Graph]:
    """The graphs a node holds in its attributes, alone or in tuples."""
    for f in fields(node.attrs):
        yield from graphs_of(getattr(node.attrs, f.name))


def graphs_of(value: object) -> "tuple[Graph, ...]":
    """The graphs an attribute is made of: one, or a tuple of them."""
    if isinstance(value, Graph):
        return (value,)
    return tuple(v for v in value if isinstance(v, Graph)) if isinstance(value, tuple) else ()
