"""What part each node plays in the partition.

core: computed by exactly one kernel. free: copied into every kernel that reads it, because reading through it costs no
more than reading memory (movement, iota, one repeated value, casts). view: another name for memory that exists. bare:
constants, loops and branches, and concatenates whose operands can be made in place.
"""

from typing import Literal

from graphc.graph.dims import matching_dims
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.layout import is_flat_concatenate, one_number, slice_offset
from graphc.graph.ops.control import CONTROL
from graphc.graph.ops.movement import SliceAttrs
from graphc.graph.ops.source import ConstantAttrs

Role = Literal["core", "free", "view", "bare"]

FREE_OPS = frozenset(
    {"broadcast", "transpose", "slice", "reverse", "iota", "pad", "windows", "stop_gradient", "saved", "within"}
)
FREE_OPS |= frozenset({"real", "imag"})
CHEAP_OPS = frozenset({"neg", "abs", "not", "add", "sub", "mul", "max", "min", "and", "or", "xor", "select", "cast"})
CHEAP_OPS |= frozenset({"eq", "ne", "lt", "le", "gt", "ge", "bitcast", "is_finite", "sign"})
SMALL_CONCATENATE = 4096  # bytes: below, a concatenate is computed like any other elementwise work


def keeps_dims(node: Node) -> bool:
    """Whether a reshape only adds and drops dims of extent 1."""
    left, right = node.operands[0].shape, node.result.shape
    return all(
        [left[d] for d in i if left[d] != 1] == [right[d] for d in j if right[d] != 1]
        for i, j in matching_dims(left, right)
    )


def roles(graph: Graph) -> dict[Node, Role]:
    """The role of every node."""
    return _Roles(graph).run()


class _Roles:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.role: dict[Node, Role] = {}
        self.in_memory: set[Value] = set(graph.inputs)  # roots and views of them

    def run(self) -> dict[Node, Role]:
        for node in self.graph.nodes:
            self.role[node] = self._first_role(node)
            if self.role[node] == "view" or (self.role[node] == "bare" and node.op.name != "concatenate"):
                self.in_memory.update(node.results)
        for node in self.graph.nodes:
            self._settle_concatenate(node)
        for value in self.graph.outputs:
            self._materialise(value)
        for node in reversed(self.graph.nodes):
            if self.role[node] in ("view", "bare"):
                for value in node.operands:
                    self._materialise(value)
        return self.role

    def _first_role(self, node: Node) -> Role:
        name = node.op.name
        if node.op in CONTROL:
            return "bare"
        if name == "constant":
            assert isinstance(node.attrs, ConstantAttrs)
            return "bare" if one_number(node.attrs.value) is None else "free"
        if name == "reshape":
            if node.operands[0] in self.in_memory:
                return "view"
            return "free" if keeps_dims(node) else "view"
        if name == "barrier":
            return "view"
        if name == "slice" and node.operands[0] in self.in_memory and slice_offset(node) is not None:
            return "view"
        if isinstance(node.attrs, SliceAttrs) and max(node.attrs.step, default=1) > 1:
            # a product reads each element many times, and steps would be in the way each time
            return "core" if self._feeds(node.result, "dot_general") else "free"
        if name == "pad" and self._feeds(node.result, "windows"):
            return "core" if self._feeds(node.result, "dot_general") else "free"
        if name == "pad" and any(x not in self.in_memory for x in node.operands[:1]):
            return "core"
        if name in FREE_OPS:
            return "free"
        if name in CHEAP_OPS and self._is_cheap(node):
            return "free"
        return "core"

    def _feeds(self, value: Value, name: str) -> bool:
        """Whether an op of that name reads a value, be it through windows and transposes: without a copy in memory."""
        stack = [value]
        while stack:
            for user in self.graph.users.get(stack.pop(), ()):
                if user.op.name == name:
                    return True
                moves = user.op.name in ("windows", "transpose", "reverse")
                if moves or (user.op.name == "reshape" and keeps_dims(user)):
                    stack += user.results
        return False

    def _is_cheap(self, node: Node) -> bool:
        """One array that lies in memory anyway, and constants: computing it again costs less than keeping it."""
        arrays = [value for value in node.operands if not self._is_constant(value)]
        if len(arrays) > 1 or node.result.type.size == 0:
            return False
        users = self.graph.users.get(node.result, ())
        if any(user.op.kind not in ("elementwise", "reduction") for user in users):
            return False
        return all(value in self.in_memory for value in arrays)

    def _is_constant(self, value: Value) -> bool:
        producer = self.graph.producers.get(value)
        while producer is not None and producer.op.name in ("broadcast", "reshape"):
            producer = self.graph.producers.get(producer.operands[0])
        return producer is not None and self.role.get(producer) == "free" and not producer.operands

    def _settle_concatenate(self, node: Node) -> None:
        """Flat and large, of different values that some kernel makes: made in place."""
        if node.op.name != "concatenate" or not is_flat_concatenate(node):
            return
        if node.result.type.nbytes <= SMALL_CONCATENATE:
            return
        origins: list[Value] = []
        for operand in node.operands:
            value = operand
            while (producer := self.graph.producers.get(value)) is not None and producer.op.name == "reshape":
                value = producer.operands[0]
            if producer is None or value in self.in_memory:
                return
            origins.append(value)
        if len(set(origins)) == len(origins):
            self.role[node] = "bare"

    def _materialise(self, value: Value) -> None:
        """This value is read from memory: no copy inside a kernel will do."""
        node = self.graph.producers.get(value)
        if node is None or self.role[node] != "free":
            return
        self.role[node] = "view" if node.op.name == "reshape" else "core"
        if self.role[node] == "view":
            self._materialise_operand(node)

    def _materialise_operand(self, node: Node) -> None:
        while (producer := self.graph.producers.get(node.operands[0])) is not None:
            if self.role[producer] != "free":
                return
            self.role[producer] = "view" if producer.op.name == "reshape" else "core"
            if self.role[producer] == "core":
                return
            node = producer
