"""Differentiation of graphs: `jvp` (forward mode), `linearize`, `transpose`, `vjp` (reverse mode). Graph in, graph out.

Only floats have tangents and cotangents: wherever a list of output tangents or cotangents is taken or given, it has one
entry per *float* output, in order. Derived graphs declare no donation. Nodes added keep the user's line, as "tangent
of" or "gradient of" it.
"""

from collections.abc import Sequence

from graphc.core.errors import ArgumentError, GradientError
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.prune import dependents, live_nodes
from graphc.transform.autodiff.backward import pull_back
from graphc.transform.autodiff.derive import Deriver, order_late
from graphc.transform.autodiff.divide import divide
from graphc.transform.autodiff.rows import Tangent, zeros_for

TANGENT, GRADIENT = "tangent of", "gradient of"


def jvp(graph: Graph, tangent_inputs: Sequence[bool]) -> Graph:
    """Forward mode: primals, then tangents of the marked inputs -> outputs, then tangents of the float outputs.

    Raises `GradientError` for a marked input that is not a float, and for an op without a derivative rule.
    """
    active = _checked(graph, tangent_inputs)
    found = Deriver(TANGENT).forward(graph, active, split=False)
    builder = GraphBuilder(f"{graph.name}.jvp")
    builder.inputs += [*found.inputs, *found.tangent_inputs]
    builder.nodes += found.nodes
    tangents = _all_floats(Compose(builder), found.outputs, found.tangents)
    outputs = (*found.outputs, *tangents)
    return Graph(builder.name, tuple(builder.inputs), live_nodes(builder.nodes, outputs), outputs)


def linearize(graph: Graph, wrt: Sequence[bool]) -> tuple[Graph, Graph]:
    """`(forward, linear)`. forward: primals -> outputs, then residuals. linear: residuals, then tangents of the marked
    inputs -> tangents of the float outputs.

    Raises as `jvp` does.
    """
    active = _checked(graph, wrt)
    found = Deriver(TANGENT).forward(graph, active, split=True)
    forward, linear, residuals = divide(found)
    outputs = (*found.outputs, *residuals)
    builder = GraphBuilder(f"{graph.name}.linear")
    builder.inputs += [*residuals, *found.tangent_inputs]
    builder.nodes += linear
    tangents = _all_floats(Compose(builder), found.outputs, found.tangents)
    return (
        Graph(f"{graph.name}.forward", found.inputs, live_nodes(forward, outputs), outputs),
        builder.build(tangents),
    )


def vjp(graph: Graph, wrt: Sequence[bool]) -> Graph:
    """Reverse mode: primals, then cotangents of the float outputs -> outputs, then cotangents of the marked inputs.

    The primal nodes come first, in their order; then the transposed ones. Raises as `jvp` does.
    """
    active = _checked(graph, wrt)
    deriver = Deriver(GRADIENT)
    found = deriver.forward(graph, active, split=True)
    depends = dependents(found.nodes, found.tangent_inputs)
    linear = [node for node in found.nodes if not depends.isdisjoint(node.operands)]
    other = [node for node in found.nodes if depends.isdisjoint(node.operands)]

    builder = GraphBuilder(f"{graph.name}.vjp")
    builder.inputs += found.inputs
    builder.nodes += other
    seeds: list[tuple[Value, Value]] = []
    for value, tangent in zip(found.outputs, found.tangents, strict=True):
        if not value.dtype.is_inexact:
            continue
        cotangent = builder.input(value.type)
        if tangent is not None:
            seeds.append((tangent, cotangent))
    live = live_nodes(linear, [tangent for tangent, _ in seeds])
    cotangents = pull_back(builder, live, depends, seeds, deriver, GRADIENT)

    c = Compose(builder)
    marked = [v for v, is_active in zip(found.inputs, active, strict=True) if is_active]
    gradients = [zeros_for(c, cotangents.get(t), v) for t, v in zip(found.tangent_inputs, marked, strict=True)]
    outputs = (*found.outputs, *gradients)
    nodes = live_nodes(builder.nodes, outputs)
    return Graph(builder.name, tuple(builder.inputs), _ordered(nodes, found.primal, set(other)), outputs)


def transpose(graph: Graph, linear: Sequence[bool]) -> Graph:
    """The transpose of a graph that is linear in the marked inputs: the other inputs, then cotangents of the outputs ->
    cotangents of the marked inputs. All of these are floats.
    """
    found = Deriver(GRADIENT).transpose(graph, tuple(linear), (True,) * len(graph.outputs))
    unknowns = [v for v, is_linear in zip(graph.inputs, linear, strict=True) if is_linear]
    builder = GraphBuilder(found.graph.name)
    builder.inputs += found.graph.inputs
    builder.nodes += found.graph.nodes
    given = iter(found.graph.outputs)
    c = Compose(builder)
    pairs = zip(unknowns, found.active, strict=True)
    return builder.build([zeros_for(c, next(given) if is_active else None, v) for v, is_active in pairs])


def _ordered(nodes: Sequence[Node], primal: frozenset[Node], other: set[Node]) -> tuple[Node, ...]:
    first = [node for node in nodes if node in primal]
    coefficients = [node for node in nodes if node in other and node not in primal]
    return order_late(first, coefficients, [node for node in nodes if node not in other])


def _all_floats(c: Compose, outputs: Sequence[Value], tangents: Sequence[Tangent]) -> list[Value]:
    return [zeros_for(c, t, v) for v, t in zip(outputs, tangents, strict=True) if v.dtype.is_inexact]


def _checked(graph: Graph, marked: Sequence[bool]) -> tuple[bool, ...]:
    if len(marked) != len(graph.inputs):
        raise ArgumentError(f"{graph.name} has {len(graph.inputs)} inputs, got {len(marked)} flags")
    for i, (value, is_marked) in enumerate(zip(graph.inputs, marked, strict=True)):
        if is_marked and not value.dtype.is_inexact:
            users = graph.users.get(value, ())
            line = f" ({users[0].loc})" if users else ""
            name = f" ({value.name})" if value.name else ""
            raise GradientError(
                f"{graph.name}: argument {i}{name} is {value.type}; only floats have derivatives, "
                f"so do not differentiate by it or cast it to a float{line}"
            )
    return tuple(bool(m) for m in marked)
