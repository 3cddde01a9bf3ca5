"""Partition: which nodes become one kernel, and in which order kernels run."""

from graphc.graph.ir import Graph
from graphc.graph.prune import prune
from graphc.passes.inline import Inline
from graphc.passes.partition.assemble import assemble
from graphc.passes.partition.decisions import Decision, Log
from graphc.passes.partition.grouping import groups
from graphc.passes.partition.order import order
from graphc.passes.partition.phases import join_phases
from graphc.passes.partition.prologues import prologues
from graphc.passes.partition.recompute import recomputed
from graphc.passes.partition.roles import roles
from graphc.passes.partition.updates import split_updates
from graphc.passes.windows import Windows


def partition(graph: Graph, fuse: bool = True, log: Log = None) -> Graph:
    """The same function made of `fusion` nodes, with views and constants left bare at the top level.

    fuse=False gives every node a kernel of its own: the bits of the results are the same, only slower. What was decided
    by bytes is appended to `log`.
    """
    graph = prune(Windows().run(Inline(fusions=True).run(graph)))
    if not fuse:
        role = roles(graph)
        return order(assemble(graph, role, [[node] for node in graph.nodes if role[node] == "core"]))
    graph = split_updates(graph, log)
    role = roles(graph)
    grouped = groups(graph, role, log)
    again = recomputed(graph, role, grouped, prologues(graph, role, grouped, log), log)
    return join_phases(order(assemble(graph, role, grouped, again)), log)


def explain(graph: Graph) -> str:
    """What the partition of a graph decides by bytes, one line per choice."""
    log: list[Decision] = []
    partition(graph, log=log)
    return "\n".join(map(str, log))


__all__ = ["Decision", "explain", "partition"]
