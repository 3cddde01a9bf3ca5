"""A graph with inputs as text: what the fuzzer writes when it finds something, and what is replayed for ever after."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphc.core.dtypes import dtype
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.graph.prune import prune
from graphc.graph.text import constants, print_graph


@dataclass(frozen=True)
class Case:
    """A graph and inputs for it."""

    graph: Graph
    inputs: tuple[np.ndarray, ...]

    def text(self) -> str:
        """The graph, a line `---`, one line of JSON per input, then one per large constant (by digest)."""
        rows = [json.dumps(x.ravel().tolist()) for x in self.inputs]
        large = constants(self.graph)
        rows += [
            json.dumps([name, x.dtype.name, list(x.shape), x.ravel().tolist()]) for name, x in sorted(large.items())
        ]
        return "\n".join([print_graph(self.graph).rstrip(), "---", *rows]) + "\n"

    @staticmethod
    def read(text: str) -> Case:
        """What `text` wrote."""
        source, _, rest = text.partition("\n---\n")
        rows = [json.loads(line) for line in rest.splitlines()]
        named = [r for r in rows if len(r) == 4 and isinstance(r[0], str)]
        large = {name: np.array(values, dtype(kind).numpy).reshape(shape) for name, kind, shape, values in named}
        graph = parse(source, large)
        inputs = [
            np.array(values, type.dtype.numpy).reshape(type.shape)
            for values, type in zip(rows, graph.input_types, strict=False)
        ]
        return Case(graph, tuple(inputs))


def smallest_failure(case: Case, check: Callable[[Case], None]) -> Case:
    """The first node of the graph that fails the check by itself (with what it needs); the whole case if none does."""
    graph = case.graph
    for node in graph.nodes:
        part = prune(Graph(graph.name, graph.inputs, graph.nodes, node.results))
        used = {v for n in part.nodes for v in n.operands} | set(part.outputs)
        kept = [i for i, v in enumerate(graph.inputs) if v in used]
        cut = Graph(graph.name, tuple(graph.inputs[i] for i in kept), part.nodes, part.outputs)
        smaller = Case(cut, tuple(case.inputs[i] for i in kept))
        try:
            check(smaller)
        except Exception:  # any failure of the part will do
            return smaller
    return case
