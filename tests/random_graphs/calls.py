"""Steps that call a graph: plainly, with rules for derivatives, or within a checkpoint."""

from collections.abc import Callable

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import GradientError
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Attrs, Graph, Op, TensorType, Value
from graphc.graph.ops import custom, indexing, structural
from graphc.transform import autodiff
from tests.random_graphs.grower import Grower, Maker, Rejected


def _call(g: Grower) -> None:
    op = g.one_of(_CALLS)
    operands: list[Value] = []
    if op is custom.linear_call and g.wish is not None and g.wish.dtype.is_integer:
        callee = _lookup(g.wish.dtype)
    else:
        operands = [g.pick() for _ in range(1 + g.below(2))]
        inner = g.inside([(operand.type, g.array[operand]) for operand in operands])
        callee = inner.finish(f"callee_{len(g.builder.nodes)}").graph
        operands += g.taken(inner, len(operands))
    try:
        attrs = _ATTRS[op](g, callee)
    except GradientError:  # a loop without a bound, say
        raise Rejected from None
    if isinstance(attrs, custom.LinearCallAttrs):
        operands = [
            g.of_type(type) for type in (*attrs.transpose.input_types[: attrs.residuals], *attrs.transpose.output_types)
        ]
    g.add(op, *operands, attrs=attrs)
    if g.chance(0.4):
        g.add(op, *operands, attrs=attrs)


def _lookup(indices: DType) -> Graph:
    """What is linear in floats, with indices as residuals."""
    builder = GraphBuilder("lookup")
    operands = [builder.input(TensorType((3,), dtypes.float32)), builder.input(TensorType((2,), indices))]
    return builder.build([builder.add1(indexing.gather, operands, indexing.GatherAttrs(0, 0))])


def _floats(graph: Graph) -> list[bool]:
    return [v.dtype.is_inexact for v in graph.inputs]


def _plain_call(g: Grower, graph: Graph) -> Attrs:
    return structural.CallAttrs(graph)


def _custom_jvp(g: Grower, graph: Graph) -> Attrs:
    return custom.CustomJvpAttrs(graph, autodiff.jvp(graph, _floats(graph)), 0)


def _custom_vjp(g: Grower, graph: Graph) -> Attrs:
    forward, linear = autodiff.linearize(graph, _floats(graph))
    backward = autodiff.transpose(linear, _tangents(forward, graph, linear))
    return custom.CustomVjpAttrs(graph, forward, backward, 0)


def _linear_call(g: Grower, graph: Graph) -> Attrs:
    forward, linear = autodiff.linearize(graph, _floats(graph))
    if not linear.outputs:
        raise Rejected
    flags = _tangents(forward, graph, linear)
    return custom.LinearCallAttrs(linear, autodiff.transpose(linear, flags), flags.count(False))


def _tangents(forward: Graph, graph: Graph, linear: Graph) -> list[bool]:
    """Which inputs of the linear part are tangents: those after the residuals."""
    residuals = len(forward.outputs) - len(graph.outputs)
    return [number >= residuals for number in range(len(linear.inputs))]


def _checkpoint(g: Grower, graph: Graph) -> Attrs:
    late = tuple(g.chance(0.3) for _ in graph.inputs)
    return custom.CheckpointAttrs(graph, late)


_ATTRS: dict[Op, Callable[[Grower, Graph], Attrs]] = {
    structural.call: _plain_call,
    custom.custom_jvp: _custom_jvp,
    custom.custom_vjp: _custom_vjp,
    custom.linear_call: _linear_call,
    custom.checkpoint: _checkpoint,
}
_CALLS = (*_ATTRS, structural.call, custom.checkpoint)

MAKERS = {"call": Maker(_call, tuple(_ATTRS), 2)}
