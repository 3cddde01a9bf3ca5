"""The graph verifier. Raises `VerifyError` naming the graph, node and invariant.

Invariants of a graph:
 1. Inputs are distinct values.
 2. Every operand is an input or a result of an earlier node.
 3. Every value is defined once.
 4. Attributes are of the op's attribute class.
 5. Result types are what the op's type rule gives for its operands and attributes.
 6. Outputs are defined.
 7. Aliases name existing outputs and inputs of equal type; no output and no input appears twice.
 8. Regions hold to all of this too.
 9. Constant arrays have a dtype graphc knows.
"""

from graphc.core.errors import GraphcError, VerifyError
from graphc.graph.ir import Graph, Node, Value, regions


def verify(graph: Graph) -> None:
    """Check every invariant of `graph` and its regions."""
    stack = [graph]
    seen: set[int] = set()
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        _verify_one(current)
        stack += [region for node in current.nodes for region in regions(node)]


def _verify_one(graph: Graph) -> None:
    defined: set[Value] = set()
    for value in graph.inputs:
        if value in defined:
            raise VerifyError(f"{graph.name}: input {value!r} appears twice")
        defined.add(value)
    for position, node in enumerate(graph.nodes):
        _verify_node(graph, position, node, defined)
        defined.update(node.results)
    for value in graph.outputs:
        if value not in defined:
            raise VerifyError(f"{graph.name}: output {value!r} is not defined")
    _verify_aliases(graph)


def _verify_node(graph: Graph, position: int, node: Node, defined: set[Value]) -> None:
    where = f"{graph.name}, node {position} ({node.op.name}, {node.loc})"
    for value in node.operands:
        if value not in defined:
            raise VerifyError(f"{where}: operand {value!r} is not defined before its use")
    for value in node.results:
        if value in defined:
            raise VerifyError(f"{where}: result {value!r} is defined twice")
    if type(node.attrs) is not node.op.attrs:
        raise VerifyError(f"{where}: attributes are {type(node.attrs).__name__}, not {node.op.attrs.__name__}")
    try:
        types = node.op.infer(tuple(value.type for value in node.operands), node.attrs)
    except GraphcError as error:
        raise VerifyError(f"{where}: {error}") from error
    if types != tuple(value.type for value in node.results):
        raise VerifyError(f"{where}: results are {[str(v.type) for v in node.results]}, not {[str(t) for t in types]}")


def _verify_aliases(graph: Graph) -> None:
    for side, limit in ((0, len(graph.outputs)), (1, len(graph.inputs))):
        numbers = [alias[side] for alias in graph.aliases]
        if len(set(numbers)) != len(numbers) or any(not 0 <= number < limit for number in numbers):
            raise VerifyError(f"{graph.name}: aliases {graph.aliases} do not name distinct inputs and outputs")
    for output, source in graph.aliases:
        if graph.outputs[output].type != graph.inputs[source].type:
            raise VerifyError(
                f"{graph.name}: output {output} ({graph.outputs[output].type}) cannot reuse "
                f"input {source} ({graph.inputs[source].type})"
            )
