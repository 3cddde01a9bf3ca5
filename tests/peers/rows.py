"""A graph in the functions of another library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.graph.ir import Graph, Value

Row = Callable[..., tuple[Any, ...]]  # attributes, operands -> results
Rows = Mapping[str, Row]


def run(rows: Rows, graph: Graph, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs of `graph`, each node computed by the row of its op."""
    known: dict[Value, Any] = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        results = rows[node.op.name](node.attrs, *(known[v] for v in node.operands))
        known.update(zip(node.results, results, strict=True))
    return tuple(known[v] for v in graph.outputs)


def structural(rows: Rows) -> dict[str, Row]:
    """Rows of ops that compute what the graph they hold computes."""
    held = ("call", "fusion", "custom_jvp", "custom_vjp", "linear_call", "checkpoint")
    return {name: lambda a, *xs: run(rows, a.graph, xs) for name in held} | {"barrier": lambda a, x, *after: (x,)}
