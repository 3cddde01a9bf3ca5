"""Names and source lines of kernels, for people."""

from dataclasses import replace

from graphc.core.source import UNKNOWN
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.structural import FusionAttrs
from graphc.kernel.ir import Kernel

MAX_NAME = 40  # characters

_SHORT = {"dot_general": "dot", "reduce_sum": "sum", "reduce_max": "max", "reduce_min": "min", "reduce_prod": "prod"}
_SILENT = {"broadcast", "reshape", "constant", "stop_gradient", "saved", "within"}


def sources_of(graph: Graph, value: Value) -> str:
    """The user's line of a value of a fusion body: where it is made, or else where it is first read."""
    node = graph.producers.get(value)
    if node is None:
        node = next(iter(graph.users.get(value, ())), None)
    return "" if node is None or node.loc is UNKNOWN else str(node.loc)


def _opened(graph: Graph) -> list[Node]:
    """The nodes of a body; of a body of fusions, those inside them."""
    found: list[Node] = []
    for node in graph.nodes:
        found += node.attrs.graph.nodes if isinstance(node.attrs, FusionAttrs) else (node,)
    return found


def labelled(kernel: Kernel, body: Graph) -> Kernel:
    """The kernel with the types and lines of the values of the body it computes."""
    values = (*body.inputs, *body.outputs)
    params = tuple(
        replace(param, source=f"{value.type} {sources_of(body, value)}".rstrip())
        for param, value in zip(kernel.params, values, strict=True)
    )
    lines = tuple(dict.fromkeys(str(node.loc) for node in _opened(body) if node.loc.line))
    return replace(kernel, params=params, sources=lines)


def kernel_name(graph: Graph) -> str:
    """What is inside: `dot_add_max`, `max_sub_exp_sum_div`; at most 40 characters."""
    nodes = sorted(_opened(graph), key=lambda n: n.op.kind != "contraction")  # what it is about comes first
    spoken = [_SHORT.get(n.op.name, n.op.name) for n in nodes if n.op.name not in _SILENT]
    parts = list(dict.fromkeys(spoken)) or ["copy"]
    name = parts[0]
    for position, part in enumerate(parts[1:], 1):
        left = len(parts) - position
        if len(name) + 1 + len(part) > MAX_NAME - 4:
            return f"{name}_{left}ops"
        name = f"{name}_{part}"
    return name
