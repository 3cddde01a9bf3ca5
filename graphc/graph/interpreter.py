"""The graph interpreter: runs a graph node by node with each op's NumPy meaning. The oracle of everything else.

`watching(see)` shows every node with its arrays as it runs, those inside loops too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field

import numpy as np

from graphc.core.errors import BoundError, ShapeError
from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN
from graphc.graph.ir import Graph, Node, Value

Arrays = Sequence[np.ndarray]


@dataclass(slots=True)
class Watch:
    """Who looks on. `inside`: the nodes around the one that runs, outermost first, each with its iteration."""

    see: Callable[[Node, Arrays, Arrays], None]
    inside: list[tuple[Node, int | None]] = field(default_factory=list)


_WATCH: ContextVar[Watch | None] = ContextVar("graphc_watch", default=None)


@contextmanager
def watching(see: Callable[[Node, Arrays, Arrays], None]) -> Iterator[Watch]:
    """Inside, `see(node, operands, results)` is called after each node."""
    watch = Watch(see)
    token = _WATCH.set(watch)
    try:
        yield watch
    finally:
        _WATCH.reset(token)


def interpret(graph: Graph, args: Sequence[np.ndarray], iteration: int | None = None) -> list[np.ndarray]:
    """Outputs of `graph` for arrays that match its inputs in shape and dtype; raises `ShapeError` otherwise.

    iteration: of the loop whose body this is, for who looks on.
    """
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
    watch = _WATCH.get()
    if watch is not None and watch.inside:
        watch.inside[-1] = watch.inside[-1][0], iteration
    for position, node in enumerate(graph.nodes):
        operands = [environment[v] for v in node.operands]
        results = _run(node, operands) if watch is None else _watched(node, operands, watch)
        environment.update(zip(node.results, results, strict=True))
        for value in set(node.operands):
            if last_use[value] == position and value not in kept:
                environment.pop(value, None)
    return [environment[value] for value in graph.outputs]


def _watched(node: Node, operands: Arrays, watch: Watch) -> tuple[np.ndarray, ...]:
    watch.inside.append((node, None))
    results = _run(node, operands)
    watch.inside.pop()
    watch.see(node, operands, results)
    return results


def _run(node: Node, operands: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The results of a node; a loop that does not end within its bound is named by its line."""
    try:
        return node.op.meaning(node.attrs, *operands)
    except BoundError as error:
        if node.loc is UNKNOWN or str(error).endswith(")"):
            raise
        raise BoundError(f"{error} ({node.loc})") from None
