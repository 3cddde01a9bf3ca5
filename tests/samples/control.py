"""Loops and branches."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, TensorType, Value
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.registry import lookup
from tests.samples.sample import Sample


def _region(name: str, inputs: Sequence[TensorType], fn: Callable[..., Sequence[Value]]) -> Graph:
    """A graph of `fn(compose, *inputs)`."""
    builder = GraphBuilder(name)
    values = [builder.input(type, f"x{k}") for k, type in enumerate(inputs)]
    return builder.build(list(fn(Compose(builder), *values)))


def control() -> Iterator[Sample]:
    row, number, flag = TensorType((3,), dtypes.float64), TensorType((), dtypes.int64), TensorType((), dtypes.bool_)
    w, h = np.array([0.5, -1.0, 0.25]), np.array([0.3, 0.1, -0.7])
    xs = np.linspace(-1, 1, 12).reshape(4, 3)

    def step(c: Compose, w: Value, h: Value, x: Value) -> Sequence[Value]:
        new = c(lookup("tanh"), c.add(c.mul(w, h), x))
        return new, c.mul(new, x)

    body = _region("step", [row] * 3, step)
    for length, reverse in ((4, False), (4, True), (1, False), (0, False)):
        attrs = ScanAttrs(body, 1, 1, length, reverse, False)
        yield Sample(
            "scan", f"{length}{'-reverse' * reverse}", (w, h, xs[:length]), attrs, ulp=16, differentiate=(0, 1, 2)
        )
    for count, reverse in ((3, False), (2, True), (-1, False), (9, True)):
        attrs = ScanAttrs(body, 1, 1, 4, reverse, True)
        inputs = (np.array(count), w, h, xs)
        name = f"counted-{count}{'-reverse' * reverse}"
        yield Sample("scan", name, inputs, attrs, ulp=16, differentiate=(1, 2, 3))
    swap = _region("swap", [row, row], lambda c, a, b: (b, a, a))
    yield Sample("scan", "swap", (w, h), ScanAttrs(swap, 0, 2, 3, False, False), differentiate=(0, 1))

    below = _region("below", [number, number, row], lambda c, n, i, h: (c(lookup("lt"), i, n),))
    assert below.output_types == (flag,)

    def doubled(c: Compose, n: Value, i: Value, h: Value) -> Sequence[Value]:
        return c.add(i, c.scalar(1, dtypes.int64)), c.mul(h, h)

    def taped(c: Compose, n: Value, i: Value, h: Value) -> Sequence[Value]:
        return *doubled(c, n, i, h), h

    plain = WhileAttrs(below, _region("doubled", [number, number, row], doubled), 1)
    bounded = WhileAttrs(below, _region("taped", [number, number, row], taped), 1, 3)
    for n in (0, 1, 3):
        inputs = (np.array(n), np.array(0), h)
        yield Sample("while", f"{n}", inputs, plain)
        yield Sample("while", f"bound-{n}", inputs, bounded, differentiate=(2,))

    first = _region("first", [row, row], lambda c, x, y: (c.mul(x, y), x))
    second = _region("second", [row, row], lambda c, x, y: (c(lookup("sin"), y), c.add(x, y)))
    third = _region("third", [row, row], lambda c, x, y: (y, c.mul(y, y)))
    for index in (0, 1, 2, -5, 5):
        inputs = (np.array(index, np.int32), w, h)
        yield Sample("branch", f"{index}", inputs, BranchAttrs((first, second, third)), ulp=4, differentiate=(1, 2))
