"""Build graphs node by node: the type rule of each op runs as its node is added, so what is built is well typed."""

from collections.abc import Sequence

from graphc.core.errors import GraphcError
from graphc.core.source import UNKNOWN, Loc
from graphc.graph.ir import NO_ATTRS, Attrs, Graph, Node, Op, TensorType, Value


def infer(op: Op, operands: Sequence[TensorType], attrs: Attrs, loc: Loc) -> tuple[TensorType, ...]:
    """Result types of an op; a type error is raised again with the user's line at its end."""
    try:
        return op.infer(tuple(operands), attrs)
    except GraphcError as error:
        if loc is UNKNOWN or getattr(error, "_has_line", False):
            raise
        located = type(error)(f"{error} ({loc})")
        located._has_line = True  # type: ignore[attr-defined]
        raise located from None


class GraphBuilder:
    """Collects inputs and nodes; `build(outputs)` closes the graph."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []

    def input(self, type: TensorType, name: str = "") -> Value:
        value = Value(type, name)
        self.inputs.append(value)
        return value

    def add(self, op: Op, operands: Sequence[Value], attrs: Attrs = NO_ATTRS, loc: Loc = UNKNOWN) -> tuple[Value, ...]:
        """Append a node and return its results."""
        types = infer(op, [value.type for value in operands], attrs, loc)
        node = Node(op, tuple(operands), attrs, tuple(Value(t) for t in types), loc)
        self.nodes.append(node)
        return node.results

    def add1(self, op: Op, operands: Sequence[Value], attrs: Attrs = NO_ATTRS, loc: Loc = UNKNOWN) -> Value:
        """Append a node that has one result."""
        (value,) = self.add(op, operands, attrs, loc)
        return value

    def inline(self, graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Copy the nodes of `graph` here with `operands` as its inputs; returns its outputs."""
        mapping = dict(zip(graph.inputs, operands, strict=True))
        for node in graph.nodes:
            self.copy(node, mapping)
        return tuple(mapping[value] for value in graph.outputs)

    def copy(self, node: Node, mapping: "dict[Value, Value]") -> None:
        """Append a copy of `node` with operands taken from `mapping`, and enter its results there."""
        results = tuple(Value(value.type, value.name) for value in node.results)
        operands = tuple(mapping[value] for value in node.operands)
        self.nodes.append(Node(node.op, operands, node.attrs, results, node.loc))
        mapping.update(zip(node.results, results, strict=True))

    def build(self, outputs: Sequence[Value], aliases: tuple[tuple[int, int], ...] = ()) -> Graph:
        return Graph(self.name, tuple(self.inputs), tuple(self.nodes), tuple(outputs), aliases)
