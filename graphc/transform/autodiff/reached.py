"""Which results of a node depend on its marked operands, looking into the graphs that it holds."""

from collections.abc import Sequence

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.custom import CheckpointAttrs, CustomJvpAttrs, CustomVjpAttrs
from graphc.graph.ops.structural import CallAttrs
from graphc.transform.autodiff.loops import Loop
from graphc.transform.autodiff.marked import Flags, only

Called = CallAttrs | CustomJvpAttrs | CustomVjpAttrs | CheckpointAttrs


def reached(graph: Graph, marked: Sequence[bool]) -> Flags:
    """Which outputs depend on the marked inputs."""
    moving = set(only(graph.inputs, marked))
    for node in graph.nodes:
        flags = tuple(v in moving for v in node.operands)
        if any(flags):
            moving.update(only(node.results, results_reached(node, flags)))
    return tuple(v in moving for v in graph.outputs)


def results_reached(node: Node, flags: Flags) -> Flags:
    """Which results depend on the marked operands, of which there are some."""
    attrs = node.attrs
    if isinstance(attrs, ScanAttrs | WhileAttrs):
        loop = Loop.of(node)
        moving = inputs_of_body(loop, flags)
        made = reached(loop.body, moving)
        first, carries = len(loop.captures), len(loop.carries)
        made = (*moving[first : first + carries], *made[carries:])  # a carry of tangents ends as one, if only as zero
        return made + (False,) * (len(node.results) - len(made))
    if isinstance(attrs, BranchAttrs):
        columns = zip(*(reached(graph, flags[1:]) for graph in attrs.branches), strict=True)
        return tuple(flags[0] or any(column) for column in columns)
    if isinstance(attrs, Called):
        return reached(attrs.graph, flags)
    return (True,) * len(node.results)


def inputs_of_body(loop: Loop, flags: Flags) -> Flags:
    """Which inputs of the body depend on the marked operands, in some iteration."""
    known = list(flags[len(loop.count) :])
    first, carries = len(loop.captures), len(loop.carries)
    while True:
        made = reached(loop.body, known)
        more = [a or b for a, b in zip(known[first : first + carries], made[:carries], strict=True)]
        if more == known[first : first + carries]:
            return tuple(known)
        known[first : first + carries] = more
