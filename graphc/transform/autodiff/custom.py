"""Derivative rows of functions with rules of their own, of linear calls, and of checkpoints.

A checkpoint is linearised into the function itself, which gives what is saved besides, and a linear part that computes
everything else again from the operands: it is a checkpoint too, whose residuals are late, and stays one when it is
transposed or differentiated further.
"""

from collections.abc import Sequence

from graphc.core.errors import GradientError
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import custom as ops
from graphc.graph.ops import elementwise
from graphc.graph.ops.custom import CheckpointAttrs, CustomJvpAttrs, CustomVjpAttrs, LinearCallAttrs, linear_graph
from graphc.graph.prune import live_nodes
from graphc.transform.autodiff.rows import Derive, Linear, LinearisedGraph, Region, Row, Tangent, zeros_for
from graphc.transform.autodiff.structural import call, in_two_calls, jvp_of, linearise_of, scatter, transpose_of

Derived = tuple[Sequence[Value], Sequence[Tangent]]


def _present(tangents: Sequence[Tangent]) -> tuple[bool, ...]:
    return tuple(t is not None for t in tangents)


def _given(tangents: Sequence[Tangent]) -> list[Value]:
    return [t for t in tangents if t is not None]


def _moving(c: Compose, node: Node, tangents: Sequence[Tangent], captures: int) -> list[Value]:
    """Tangents of all float operands that the user's rule knows of; raises for one it does not."""
    split = len(node.operands) - captures
    if any(t is not None for t in tangents[split:]):
        raise GradientError(
            f"{node.op.name}: {_graph_of(node).name} closes over a value that is differentiated, which its rule cannot "
            f"know of; make it an argument ({node.loc})"
        )
    pairs = zip(tangents[:split], node.operands[:split], strict=True)
    return [zeros_for(c, t, x) for t, x in pairs if x.dtype.is_inexact]


def _graph_of(node: Node) -> Graph:
    assert isinstance(node.attrs, CustomJvpAttrs | CustomVjpAttrs)
    return node.attrs.graph


def _of_floats(results: Sequence[Value], tangents: Sequence[Value]) -> list[Tangent]:
    return scatter(tangents, [v.dtype.is_inexact for v in results])


# ----------------------------------------------------------------------------------------------------- custom_jvp


def _rule(node: Node) -> Graph:
    assert isinstance(node.attrs, CustomJvpAttrs)
    if node.attrs.rule is None:
        raise GradientError(
            f"custom_jvp: {node.attrs.graph.name} is differentiated more often than its rule, which calls it, was "
            f"traced ({node.loc})"
        )
    return node.attrs.rule


def _custom_jvp(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]) -> Derived:
    assert isinstance(node.attrs, CustomJvpAttrs)
    moving = _moving(c, node, tangents, node.attrs.captures)
    results = call(c, _rule(node), [*node.operands, *moving])
    count = len(node.results)
    return results[:count], _of_floats(node.results, results[count:])


def _custom_jvp_linearise(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]) -> Derived:
    assert isinstance(node.attrs, CustomJvpAttrs)
    derived = derive.divide(_rule(node), len(node.operands), node.loc)
    captures = node.attrs.captures
    return in_two_calls(c, derived, node.operands, lambda: _moving(c, node, tangents, captures), len(node.results))


# ----------------------------------------------------------------------------------------------------- custom_vjp


def _custom_vjp(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]) -> Derived:
    """The transpose of the backward rule, where it is linear, is the forward mode that belongs to it."""
    attrs = node.attrs
    assert isinstance(attrs, CustomVjpAttrs)
    results = call(c, attrs.forward, node.operands)
    count = len(node.results)
    moving = _moving(c, node, tangents, attrs.captures)
    residuals = len(results) - count
    graph, why = _transposed(derive, attrs.backward, residuals)
    linear = LinearCallAttrs(graph, attrs.backward, residuals, why)
    found = c.builder.add(ops.linear_call, [*results[count:], *moving], linear, c.loc)
    return results[:count], _of_floats(node.results, found)


def _transposed(derive: Derive, backward: Graph, residuals: int) -> tuple[Graph | None, str]:
    """Residuals, tangents of the inputs -> tangents of the outputs; None, and why, where the rule is not linear."""
    try:
        derived = derive.transpose_rule(backward, residuals)
    except GradientError as error:
        return None, str(error)
    builder = GraphBuilder(derived.graph.name)
    builder.inputs += derived.graph.inputs
    builder.nodes += derived.graph.nodes
    wanted = zip(scatter(derived.graph.outputs, derived.active), backward.inputs[residuals:], strict=True)
    return builder.build([zeros_for(Compose(builder), t, v) for t, v in wanted]), ""


# ---------------------------------------------------------------------------------------------------- linear_call


def _linear_call(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent], split: bool) -> Derived:
    attrs = node.attrs
    assert isinstance(attrs, LinearCallAttrs)
    if any(t is not None for t in tangents[: attrs.residuals]):  # of the coefficients: a function like others
        rule = linearise_of if split else jvp_of
        return rule(derive, c, linear_graph(attrs, node.loc), node.operands, tangents)
    results = c.builder.add(node.op, node.operands, attrs, c.loc)
    fixed, moved = node.operands[: attrs.residuals], tangents[attrs.residuals :]
    moving = [zeros_for(c, t, x) for t, x in zip(moved, node.operands[attrs.residuals :], strict=True)]
    return results, c.builder.add(node.op, [*fixed, *moving], attrs, c.loc)


def _linear_call_transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    attrs = node.attrs
    assert isinstance(attrs, LinearCallAttrs)
    if any(linear[: attrs.residuals]):
        return transpose_of(derive, c, linear_graph(attrs, node.loc), node.operands, linear, cotangents)
    given = [zeros_for(c, ct, v) for ct, v in zip(cotangents, node.results, strict=True)]
    found = call(c, attrs.transpose, [*node.operands[: attrs.residuals], *given])
    wanted = zip(found, linear[attrs.residuals :], strict=True)
    return [None] * attrs.residuals + [ct if is_linear else None for ct, is_linear in wanted]


# ----------------------------------------------------------------------------------------------------- checkpoint


def _checkpoint(c: Compose, graph: Graph, operands: Sequence[Value], late: Sequence[bool]) -> tuple[Value, ...]:
    return c.builder.add(ops.checkpoint, operands, CheckpointAttrs(graph, tuple(late)), c.loc)


def _checkpoint_jvp(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]) -> Derived:
    attrs = node.attrs
    assert isinstance(attrs, CheckpointAttrs)
    derived = derive.jvp(attrs.graph, _present(tangents))
    late = [is_late for is_late, t in zip(attrs.late, tangents, strict=True) if t is not None]
    results = _checkpoint(c, derived.graph, [*node.operands, *_given(tangents)], [*attrs.late, *late])
    count = len(node.results)
    return results[:count], scatter(results[count:], derived.active)


def _checkpoint_linearise(derive: Derive, c: Compose, node: Node, tangents: Sequence[Tangent]) -> Derived:
    attrs = node.attrs
    assert isinstance(attrs, CheckpointAttrs)
    derived = derive.linearise(attrs.graph, _present(tangents))
    count = len(node.results)
    if not any(derived.active):
        return _checkpoint(c, attrs.graph, node.operands, attrs.late), [None] * count
    again = _computed_again(derived, count)
    forward = derived.forward
    outputs = (*forward.outputs[:count], *again.saved)
    kept = Graph(forward.name, forward.inputs, live_nodes(forward.nodes, outputs), outputs)
    results = _checkpoint(c, kept, node.operands, attrs.late)
    residuals = [*(node.operands[i] for i in again.operands), *results[count:]]
    found = _checkpoint(c, again.graph, [*residuals, *_given(tangents)], again.late)
    return results[:count], scatter(found, derived.active)


@dataclass(frozen=True, slots=True)
class _Again:
    """`graph`: operands of the checkpoint, by number, saved values, then tangents -> tangents of the results. `late`:
    the inputs that something is computed from which was computed before.
    """

    graph: Graph
    operands: list[int]
    saved: list[Value]
    late: tuple[bool, ...]


def _computed_again(derived: LinearisedGraph, count: int) -> _Again:
    """The linear part from the operands and what is saved; `count` results are not residuals."""
    forward, linear = derived.forward, derived.linear
    before = set(live_nodes(forward.nodes, forward.outputs[:count]))
    builder = GraphBuilder(linear.name)
    known: dict[Value, Value] = {v: Value(v.type, v.name) for v in forward.inputs}
    saved = {node.result: Value(node.result.type) for node in forward.nodes if node.op is elementwise.saved}
    named = {node.operands[0]: saved[node.result] for node in forward.nodes if node.op is elementwise.saved}
    known |= saved
    repeated: set[Node] = set()
    for node in forward.nodes:
        if node.op is not elementwise.saved:
            builder.copy(node, known)
            repeated.update(builder.nodes[-1:] if node in before else ())
            known.update((v, named[v]) for v in node.results if v in named)  # rules read what is named by itself
    residuals = [forward.inputs[i] if where == "input" else forward.outputs[i] for where, i in derived.residuals]
    moving = [Value(v.type, v.name) for v in linear.inputs[len(residuals) :]]
    outputs = builder.inline(linear, [*(known[v] for v in residuals), *moving])
    nodes = live_nodes(builder.nodes, outputs)
    used = {*outputs, *(v for node in nodes for v in node.operands)}
    numbers = [i for i, v in enumerate(forward.inputs) if known[v] in used]
    read = [v for v, stand_in in saved.items() if stand_in in used]
    inputs = (*(known[forward.inputs[i]] for i in numbers), *(saved[v] for v in read), *moving)
    from_these: set[Value] = set()
    for node in reversed(nodes):
        moves = node.op.kind in ("movement", "source")  # not worth to be kept apart
        if node in repeated if not moves else not from_these.isdisjoint(node.results):
            from_these.update(node.operands)
    return _Again(Graph(builder.name, inputs, nodes, outputs), numbers, read, tuple(v in from_these for v in inputs))


def _checkpoint_transpose(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    attrs = node.attrs
    assert isinstance(attrs, CheckpointAttrs)
    derived = derive.transpose(attrs.graph, tuple(linear), _present(cotangents))
    fixed = [(v, late) for v, late, moves in zip(node.operands, attrs.late, linear, strict=True) if not moves]
    given = _given(cotangents)
    results: Sequence[Value] = ()
    if any(derived.active):
        late = [*(is_late for _, is_late in fixed), *(False for _ in given)]
        results = _checkpoint(c, derived.graph, [*(v for v, _ in fixed), *given], late)
    of_linear = iter(scatter(results, derived.active))
    return [next(of_linear) if is_linear else None for is_linear in linear]


def _barrier(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    return zeros_for(c, tangents[0], node.operands[0])


def _of_graph(
    derive: Derive, c: Compose, node: Node, linear: Sequence[bool], cotangents: Sequence[Tangent]
) -> Sequence[Tangent]:
    """A function applied to tangents inside a rule, which is linear: its own rule is about derivatives."""
    return transpose_of(derive, c, _graph_of(node), node.operands, linear, cotangents)


ROWS: dict[Op, Row] = {
    ops.custom_jvp: Region(_custom_jvp, _custom_jvp_linearise, _of_graph),
    ops.custom_vjp: Region(_custom_vjp, _custom_vjp, _of_graph),
    ops.linear_call: Region(
        lambda derive, c, node, tangents: _linear_call(derive, c, node, tangents, split=False),
        lambda derive, c, node, tangents: _linear_call(derive, c, node, tangents, split=True),
        _linear_call_transpose,
    ),
    ops.checkpoint: Region(_checkpoint_jvp, _checkpoint_linearise, _checkpoint_transpose),
    ops.barrier: Linear(lambda c, node, linear, ct: (ct, *(None for _ in node.operands[1:])), jvp=_barrier),
}
