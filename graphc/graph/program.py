"""A program of graphs: several entries over one state, and the protocol of a backend that runs graphs directly."""

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, TensorType


@dataclass(frozen=True, slots=True)
class EntryGraph:
    """One entry. Graph inputs: all state slots, then `num_inputs` caller inputs, then the step (int64 scalar) if
    `takes_step`.

    Graph outputs: the new value of every state slot, then the caller's outputs.
    """

    graph: Graph
    num_inputs: int
    takes_step: bool
    output_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphProgram:
    """State slots (name and type) and entries by name."""

    state: tuple[tuple[str, TensorType], ...]
    entries: dict[str, EntryGraph]


@runtime_checkable
class GraphBackend(Protocol):
    """A backend that executes graphs rather than plans (the reference oracle)."""

    name: str
    consumes: Literal["graph"]

    def load_graphs(self, program: GraphProgram) -> object:
        """An object with the methods of `graphc.runtime.protocol.Executable`."""
        ...

    def doctor(self) -> Sequence[tuple[str, bool, str]]: ...


def zero_state(program: GraphProgram) -> list[np.ndarray]:
    """Zero-filled arrays for the state slots."""
    return [np.zeros(type.shape, type.dtype.numpy) for _, type in program.state]
