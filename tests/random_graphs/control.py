"""Steps with loops and branches."""

from collections.abc import Sequence

import numpy as np

from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, Value
from graphc.graph.ops import control, elementwise, source
from tests.random_graphs.grower import Grower, Maker, Rejected


def _next(inner: Grower, carries: Sequence[Value]) -> list[Value]:
    return [inner.pick(lambda v, type=carry.type: v.type == type) for carry in carries]


def _scan(g: Grower) -> None:
    carries = [g.pick() for _ in range(g.below(3))]
    xs = [g.pick(lambda v: v.type.rank > 0 and v.shape[0] <= 8)] if g.chance(0.6) else []
    length = xs[0].shape[0] if xs else g.below(4)
    types = [x.type.with_shape(x.shape[1:]) for x in xs]
    rows = [(type, g.array[x][0] if length else g.data(type)) for type, x in zip(types, xs, strict=True)]
    given = [*((carry.type, g.array[carry]) for carry in carries), *rows]
    inner = g.inside(given)
    if not inner.pool:
        raise Rejected
    inputs = inner.builder.inputs[: len(given)]
    outputs = [*_next(inner, carries), *(inner.pick() for _ in range(g.below(2) + (not carries)))]
    captures = g.taken(inner, len(given))
    ordered = (*inner.builder.inputs[len(given) :], *inputs)
    body = Graph(f"body_{len(g.builder.nodes)}", ordered, tuple(inner.builder.nodes), tuple(outputs))
    counted = g.chance(0.3)
    attrs = control.ScanAttrs(body, len(captures), len(carries), length, g.chance(0.4), counted)
    count = [g.constant(control.COUNT)] if counted else []
    g.add(control.scan, *count, *captures, *carries, *xs, attrs=attrs)


def _while(g: Grower) -> None:
    carries = [g.pick() for _ in range(1 + g.below(2))]
    inner = g.inside([(carry.type, g.array[carry]) for carry in carries])
    outputs = _next(inner, carries)
    has_derivative = any(v.dtype.is_inexact for v in (*inner.builder.inputs, *outputs))
    bound = 4 if has_derivative or g.chance(0.6) else None
    if bound is not None and g.chance(0.6):
        outputs.append(inner.pick())
    captures = g.taken(inner, len(carries))
    number = Value(control.COUNT, "i")
    inputs = (*inner.builder.inputs[len(carries) :], number, *inner.builder.inputs[: len(carries)])
    following = inner.builder.add1(elementwise.add, (number, _number(inner.builder, 1)))
    body = Graph(f"body_{len(g.builder.nodes)}", inputs, tuple(inner.builder.nodes), (following, *outputs))
    asked = GraphBuilder(f"cond_{len(g.builder.nodes)}")
    own = [asked.input(value.type) for value in inputs]
    cond = asked.build([asked.add1(elementwise.lt, (own[len(captures)], _number(asked, g.below(4))))])
    start = g.add(source.constant, attrs=source.ConstantAttrs(np.array(0)))
    g.add(control.while_, *captures, start, *carries, attrs=control.WhileAttrs(cond, body, len(captures), bound))


def _number(builder: GraphBuilder, value: int) -> Value:
    return builder.add1(source.constant, (), source.ConstantAttrs(np.array(value)))


def _branch(g: Grower) -> None:
    given = [g.pick() for _ in range(1 + g.below(2))]
    grown = [g.inside([(value.type, g.array[value]) for value in given]) for _ in range(1 + g.below(3))]
    results = [_next(inner, given) for inner in grown]
    taken = [g.taken(inner, len(given)) for inner in grown]
    branches = []
    for chosen, (inner, outputs) in enumerate(zip(grown, results, strict=True)):
        inputs = list(inner.builder.inputs[: len(given)])
        for number, values in enumerate(taken):
            own = inner.builder.inputs[len(given) :]
            inputs += own if number == chosen else [Value(value.type) for value in values]
        branches.append(Graph(f"branch_{chosen}", tuple(inputs), tuple(inner.builder.nodes), tuple(outputs)))
    index = g.constant(control.INDEX) if g.choices.floats_only else g.of_type(control.INDEX)
    more = [value for values in taken for value in values]
    g.add(control.branch, index, *given, *more, attrs=control.BranchAttrs(tuple(branches)))


MAKERS = {
    "scan": Maker(_scan, (control.scan,)),
    "while": Maker(_while, (control.while_,)),
    "branch": Maker(_branch, (control.branch,)),
}
