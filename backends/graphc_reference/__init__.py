"""The reference backend: runs graphs on the graph interpreter, one NumPy call per node. Slow, simple, the oracle."""

from collections.abc import Sequence
from typing import Literal

from graphc.graph.program import GraphProgram
from graphc_reference.executable import ReferenceExecutable


class ReferenceBackend:
    """Executes graphs directly; implements `graphc.graph.program.GraphBackend`."""

    name = "reference"
    consumes: Literal["graph"] = "graph"

    def load_graphs(self, program: GraphProgram) -> ReferenceExecutable:
        return ReferenceExecutable(program)

    def doctor(self) -> Sequence[tuple[str, bool, str]]:
        return [("graph interpreter", True, "always available")]


backend = ReferenceBackend()
