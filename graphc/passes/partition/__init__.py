"""Partition: which nodes become one kernel, and in which order kernels run."""

from dataclasses import replace

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.control import ScanAttrs, WhileAttrs
from graphc.graph.prune import prune
from graphc.passes.inline import Inline
from graphc.passes.partition.assemble import assemble
from graphc.passes.partition.barriers import put_aside, put_back, without_barriers
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.grouping import groups
from graphc.passes.partition.order import order
from graphc.passes.partition.phases import join_phases
from graphc.passes.partition.prologues import prologues
from graphc.passes.partition.recompute import recomputed
from graphc.passes.partition.roles import roles
from graphc.passes.partition.updates import split_updates
from graphc.passes.rewrite import with_regions
from graphc.passes.windows import Windows


def partition(graph: Graph, fuse: bool = True, log: Log = None) -> Graph:
    """The same function made of `fusion` nodes, with views, constants, loops and branches left bare at the top
    level. The bodies of these are partitioned likewise.

    fuse=False gives every node a kernel of its own: the bits of the results are the same, only slower. What was decided
    by bytes is appended to `log`.
    """
    graph = with_regions(Windows().run(Inline(fusions=True).run(graph)), _carries_donated)
    return with_regions(graph, lambda g: _partition(g, fuse, log))


def _carries_donated(graph: Graph) -> Graph:
    """The graph with the bodies of its loops told which result takes the place of which input."""
    nodes = tuple(_with_donation(node) for node in graph.nodes)
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)):
        return graph
    return Graph(graph.name, graph.inputs, nodes, graph.outputs, graph.aliases)


def _with_donation(node: Node) -> Node:
    attrs = node.attrs
    if not isinstance(attrs, ScanAttrs | WhileAttrs) or not attrs.num_carries:
        return node
    body = attrs.body
    aliases = tuple((k, attrs.num_captures + k) for k in range(attrs.num_carries))
    body = Graph(body.name, body.inputs, body.nodes, body.outputs, aliases)
    return Node(node.op, node.operands, replace(attrs, body=body), node.results, node.loc)


def _partition(graph: Graph, fuse: bool, log: Log) -> Graph:
    graph, waits = put_aside(prune(graph))
    if not fuse:
        role = roles(graph)
        alone = [[node] for node in graph.nodes if role[node] == "core"]
        return without_barriers(order(put_back(assemble(graph, role, alone), graph, alone, waits)))
    graph = split_updates(graph, log)
    role = roles(graph)
    grouped = groups(graph, role, log)
    again = recomputed(graph, role, grouped, prologues(graph, role, grouped, log), log)
    fused = put_back(assemble(graph, role, grouped, again), graph, grouped, waits)
    return without_barriers(join_phases(order(fused), log))


def explain(graph: Graph) -> str:
    """What the partition of a graph decides by bytes, one line per choice."""
    log: list[Decision] = []
    partition(graph, log=log)
    return "\n".join(map(str, log))


__all__ = ["Decision", "explain", "partition"]
