"""The graph interpreter: runs a graph node by node with each op's NumPy meaning. The oracle of everything else."""

from collections.abc import Sequence

import numpy as np

from graphc.core.errors import BoundError, ShapeError
from graphc.core.source import UNKNOWN
from graphc.graph.ir import Graph, Node, Value


def interpret(graph: Graph, args: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of `graph` for arrays that match its inputs in shape and dtype; raises `ShapeError` otherwise."""
    if len(args) != len(graph.inputs):
        raise ShapeError(f"{graph.name}: takes {len(graph.inputs)} arguments, got {len(args)}")
    environment: dict[Value, np.ndarray] = {}
    for value, arg in zip(graph.inputs, args, strict=True):
        array = np.asarray(arg)
        if array.shape != value.shape or array.dtype != value.dtype.numpy:
            raise ShapeError(f"{graph.name}: input {value.name} is {value.type}, got {array.dtype}{list(array.shape)}")
        environment[value] = array
    last_use: dict[Value, int] = {v: i for i, node in enumerate(graph.nodes) for v in node.operands}
    kept = set(graph.outputs)
    for position, node in enumerate(graph.nodes):
        results = _run(node, [environment[v] for v in node.operands])
        environment.update(zip(node.results, results, strict=True))
        for value in set(node.operands):
            if last_use[value] == position and value not in kept:
                environment.pop(value, None)
    return [environment[value] for value in graph.outputs]


def _run(node: Node, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The results of a node; a loop that does not end within its bound is named by its line."""
    try:
        return node.op.meaning(node.attrs, *operands)
    except BoundError as error:
        if node.loc is UNKNOWN or str(error).endswith(")"):
            raise
        raise BoundError(f"{error} ({node.loc})") from None
