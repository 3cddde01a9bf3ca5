"""A graph with inputs as text: what the fuzzer writes when it finds something, and what is replayed for ever after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core.dtypes import dtype
from graphc.graph.ir import Graph, Node, TensorType, Value
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
        rows = [json.dumps(_numbers(x)) for x in self.inputs]
        large = constants(self.graph)
        rows += [json.dumps([name, x.dtype.name, list(x.shape), _numbers(x)]) for name, x in sorted(large.items())]
        return "\n".join([print_graph(self.graph).rstrip(), "---", *rows]) + "\n"

    @staticmethod
    def read(text: str) -> Case:
        """What `text` wrote."""
        source, _, rest = text.partition("\n---\n")
        rows = [json.loads(line) for line in rest.splitlines()]
        named = [r for r in rows if len(r) == 4 and isinstance(r[0], str)]
        large = {name: _array(values, TensorType(tuple(shape), dtype(kind))) for name, kind, shape, values in named}
        graph = parse(source, large)
        inputs = [_array(values, type) for values, type in zip(rows, graph.input_types, strict=False)]
        return Case(graph, tuple(inputs))


def _numbers(x: np.ndarray) -> list[object]:
    """The elements; of complex ones both parts, one after the other."""
    flat = np.ascontiguousarray(x).reshape(-1)
    found: list[object] = (flat.view(flat.real.dtype) if x.dtype.kind == "c" else flat).tolist()
    return found


def _array(numbers: list[object], type: TensorType) -> np.ndarray:
    kind = type.dtype
    return np.array(numbers, kind.part.numpy).view(kind.numpy).reshape(type.shape)


MOST_TRIES = 150  # to make a failing case smaller


def smallest_failure(case: Case, check: Callable[[Case], object]) -> Case:
    """The first node that fails the check alone, on what it gets in the case; else the first that fails with all that
    it needs, or the whole case, with fewer outputs and with results of nodes as inputs as long as it fails.
    """
    graph = case.graph
    for smaller in _alone(case):
        if _fails(smaller, check):
            return smaller
    parts = (_with_its_needs(case, node) for node in graph.nodes)
    found = next((part for part in parts if _fails(part, check)), case)
    tries = MOST_TRIES
    while True:
        for smaller in (*_with_fewer_outputs(found), *_with_fewer_nodes(found)):
            if tries == 0:
                return found
            tries -= 1
            if _fails(smaller, check):
                found = smaller
                break
        else:
            return found


def _fails(case: Case, check: Callable[[Case], object]) -> bool:
    try:
        check(case)
    except Exception:  # any failure of the part will do
        return True
    return False


def _with_fewer_outputs(case: Case) -> Iterator[Case]:
    """Halves of the outputs; without one of them."""
    outputs, half = case.graph.outputs, len(case.graph.outputs) // 2
    if half:
        yield from (_cut(case, kept) for kept in (outputs[:half], outputs[half:]))
    if half > 1 or len(outputs) == 3:
        yield from (_cut(case, (*outputs[:k], *outputs[k + 1 :])) for k in range(len(outputs)))


def _with_fewer_nodes(case: Case) -> Iterator[Case]:
    """One node less: its results are inputs. Nodes whose results are outputs stay."""
    graph = case.graph
    known = dict(zip(graph.inputs, case.inputs, strict=True))
    for k, node in enumerate(graph.nodes):
        arrays = [np.asarray(x) for x in node.op.meaning(node.attrs, *(known[v] for v in node.operands))]
        known.update(zip(node.results, arrays, strict=True))
        if node.operands and graph.outputs and set(graph.outputs).isdisjoint(node.results):
            nodes = (*graph.nodes[:k], *graph.nodes[k + 1 :])
            less = Graph(graph.name, (*graph.inputs, *node.results), nodes, graph.outputs)
            yield _cut(Case(less, (*case.inputs, *arrays)), graph.outputs)


def _alone(case: Case) -> Iterator[Case]:
    """Each node as a graph, its operands as inputs."""
    known = dict(zip(case.graph.inputs, case.inputs, strict=True))
    for node in case.graph.nodes:
        arrays = node.op.meaning(node.attrs, *(known[v] for v in node.operands))
        known.update(zip(node.results, map(np.asarray, arrays), strict=True))
        operands = tuple(dict.fromkeys(node.operands))
        inputs = tuple(Value(v.type, v.name) for v in operands)
        renamed = dict(zip(operands, inputs, strict=True))
        results = tuple(Value(v.type) for v in node.results)
        copy = Node(node.op, tuple(renamed[v] for v in node.operands), node.attrs, results, node.loc)
        yield Case(Graph(case.graph.name, inputs, (copy,), results), tuple(known[v] for v in operands))


def _with_its_needs(case: Case, node: Node) -> Case:
    return _cut(case, node.results)


def _cut(case: Case, outputs: Sequence[Value]) -> Case:
    """What leads to these values, with the inputs that are used."""
    graph = case.graph
    part = prune(Graph(graph.name, graph.inputs, graph.nodes, tuple(outputs)))
    used = {v for n in part.nodes for v in n.operands} | set(part.outputs)
    kept = [i for i, v in enumerate(graph.inputs) if v in used]
    cut = Graph(graph.name, tuple(graph.inputs[i] for i in kept), part.nodes, part.outputs)
    return Case(cut, tuple(case.inputs[i] for i in kept))
