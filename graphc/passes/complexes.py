"""Complex arithmetic as arithmetic on real and imaginary parts: after this pass nothing computes with complex numbers.

In: any graph. Out: the same function, in which complex values are only the inputs, outputs and constants of graphs and
what calls take and give, made by `complex` and read by `real` and `imag`. Lowering stores them as NumPy does, real part
first; everything between the two sees floats.

The formulas are the meaning of the ops in bits: each operation rounds once, in the order they are written. Special
values of functions are those of C99; those of products and quotients follow from the formulas.

| op                     | result                                                                              |
|------------------------|-------------------------------------------------------------------------------------|
| add sub neg, sums, ... | part by part; so are movements, `select`, gathers and scatters                       |
| mul                    | (ac - bd, ad + bc)                                                                   |
| div                    | Smith's quotient, by the larger part of the divisor                                  |
| abs                    | m sqrt(1 + (n/m)^2), m the larger part and n the smaller, which overflows only late  |
| functions              | see `complex_functions`                                                              |
| prod                   | halves are multiplied, then the halves of that, and so on                            |
| cumprod, recurrences   | in chunks of 16, see `complex_scans`                                                 |
| dot_general            | (ac - bd, ad + bc) of four real products, each added up as any other                 |
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import UnsupportedError
from graphc.core.records import dataclass
from graphc.core.source import Composite
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import contraction, cumulative, custom, indexing, reduction, source, windows
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.movement import AxesAttrs
from graphc.passes import complex_functions as functions
from graphc.passes import complex_scans as scans
from graphc.passes.complex_functions import Pair
from graphc.passes.rewrite import with_regions

Formula = Callable[[Compose, Node, list[Pair]], Pair]


# ----------------------------------------------------------------------------------------------------------- formulas


def _mul(c: Compose, node: Node, given: list[Pair]) -> Pair:
    return functions.product(c, *given)


def _of_one(formula: Callable[[Compose, Value, Value], Pair]) -> Formula:
    return lambda c, node, given: formula(c, *given[0])


def _dot(c: Compose, node: Node, given: list[Pair]) -> Pair:
    assert isinstance(node.attrs, contraction.DotAttrs)
    attrs = contraction.DotAttrs(
        node.attrs.lhs_contract, node.attrs.rhs_contract, node.attrs.lhs_batch, node.attrs.rhs_batch
    )
    (a, b), (p, q) = given
    real = c.sub(c.dot_general(a, p, attrs), c.dot_general(b, q, attrs))
    return real, c.add(c.dot_general(a, q, attrs), c.dot_general(b, p, attrs))


_AT_ONCE = 16  # pieces of a product that one kernel multiplies: a power of two, so the order is that of halves


def _prod(c: Compose, node: Node, given: list[Pair]) -> Pair:
    assert isinstance(node.attrs, AxesAttrs)
    ((a, b),) = given
    if not node.attrs.axes:
        return a, b
    kept = tuple(d for d in range(a.type.rank) if d not in node.attrs.axes)
    shape = tuple(a.shape[d] for d in kept)
    order, count = (*kept, *node.attrs.axes), prod(a.shape[d] for d in node.attrs.axes)
    x: Pair = (c.reshape(c.transpose(a, order), (*shape, count)), c.reshape(c.transpose(b, order), (*shape, count)))
    axis, length = len(shape), 1 << max(count - 1, 0).bit_length()
    if not count:
        return c.full(node.result.type.with_dtype(a.dtype), 1), c.full(node.result.type.with_dtype(a.dtype), 0)
    while length > 1:
        ways = min(length, _AT_ONCE)
        length //= ways
        pieces = [_piece(c, x, i * length, length) for i in range(ways) if i * length < x[0].shape[axis]]
        while len(pieces) > 1:
            half = (len(pieces) + 1) // 2
            multiplied = [functions.product(c, low, high) for low, high in zip(pieces, pieces[half:], strict=False)]
            pieces = [*multiplied, *pieces[len(multiplied) : half]]
        x = pieces[0]
    return c.reshape(x[0], shape), c.reshape(x[1], shape)


def _piece(c: Compose, x: Pair, start: int, length: int) -> Pair:
    """So many elements of the last axis; what is missing at its end is 1."""
    axis = x[0].type.rank - 1
    stop = min(start + length, x[0].shape[axis])
    real, imaginary = (c.slice_axis(part, axis, start, stop) for part in x)
    if stop < start + length:
        missing = start + length - stop
        return c.pad_axis(real, 1.0, axis, 0, missing), c.pad_axis(imaginary, 0.0, axis, 0, missing)
    return real, imaginary


def _cast(c: Compose, node: Node, given: list[Pair]) -> Pair:
    ((a, b),) = given
    dtype = node.result.dtype.part
    real = c.cast(a, dtype)
    return real, c.cast(b, dtype) if node.operands[0].dtype.is_complex else c.like(real, 0)


def _iota(c: Compose, node: Node, given: list[Pair]) -> Pair:
    assert isinstance(node.attrs, source.IotaAttrs)
    real = c(source.iota, attrs=replace(node.attrs, dtype=node.attrs.dtype.part))
    return real, c.like(real, 0)


_FORMULAS: dict[Op, Formula] = {
    ops.mul: _mul,
    ops.div: lambda c, node, given: functions.quotient(c, *given),
    ops.exp: _of_one(functions.exponential),
    ops.expm1: _of_one(functions.exponential_less_one),
    ops.log: _of_one(functions.logarithm),
    ops.log1p: _of_one(functions.logarithm_of_one_more),
    ops.sqrt: _of_one(functions.square_root),
    ops.sin: _of_one(functions.sine),
    ops.cos: _of_one(functions.cosine),
    ops.tanh: _of_one(functions.hyperbolic_tangent),
    ops.asin: _of_one(functions.arcsine),
    ops.acos: _of_one(functions.arccosine),
    ops.atan: _of_one(functions.arctangent),
    ops.pow_: lambda c, node, given: functions.power(c, *given),
    ops.cast: _cast,
    contraction.dot_general: _dot,
    reduction.reduce_prod: _prod,
    cumulative.cumprod: scans.cumulative_product,
    cumulative.linear_recurrence: scans.linear_recurrence,
    source.iota: _iota,
}
# Of complex operands something else: the parts come in, one value goes out.
_READS: dict[Op, Callable[[Compose, list[Pair]], Value]] = {
    ops.real: lambda c, given: given[0][0],
    ops.imag: lambda c, given: given[0][1],
    ops.abs_: lambda c, given: functions.Reals(c).size(*given[0]),
    ops.eq: lambda c, given: c(ops.and_, *(c.eq(x, y) for x, y in zip(*given, strict=True))),
    ops.ne: lambda c, given: c(ops.or_, *(c(ops.ne, x, y) for x, y in zip(*given, strict=True))),
    ops.cast: lambda c, given: c(ops.or_, *(c.cast(part, dtypes.bool_) for part in given[0])),
    custom.barrier: lambda c, given: c(custom.barrier, *(part for pair in given for part in pair)),
}
_PARTWISE: frozenset[Op] = frozenset(
    {ops.neg, ops.add, ops.sub, ops.select, ops.stop_gradient, ops.saved}
    | {reduction.reduce_sum, cumulative.cumsum, indexing.gather, indexing.scatter, indexing.scatter_add}
    | {windows.dynamic_slice, windows.dynamic_update_slice}
)


# ----------------------------------------------------------------------------------------------------------- the pass


class _Split:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = GraphBuilder(graph.name)
        self.replaced: dict[Value, Value] = {}
        self.parts: dict[Value, Pair] = {}

    def run(self) -> Graph:
        for value in self.graph.inputs:
            self.replaced[value] = value
        for node in self.graph.nodes:
            values = (*node.operands, *node.results)
            if node.op.kind == "structural" or not any(value.dtype.is_complex for value in values):
                self._whole(node)
            else:
                self._node(Compose(self.builder, node.loc), node)
        outputs = tuple(self._joined(value) for value in self.graph.outputs)
        return Graph(self.graph.name, self.graph.inputs, tuple(self.builder.nodes), outputs, self.graph.aliases)

    def _whole(self, node: Node) -> None:
        """A node that takes and gives complex values as they are."""
        for value in node.operands:
            self.replaced[value] = self._joined(value)
        self.builder.copy(node, self.replaced)

    def _node(self, c: Compose, node: Node) -> None:
        (result,) = node.results
        if node.op is source.constant:
            assert isinstance(node.attrs, source.ConstantAttrs)
            whole = node.attrs.value
            self.parts[result] = c.constant(np.array(whole.real)), c.constant(np.array(whole.imag))
            return
        if node.op is ops.complex_:
            real, imaginary = (self.replaced[value] for value in node.operands)
            self.parts[result] = real, imaginary
            return
        given = [self._pair(c, value) for value in node.operands]
        if node.op.kind == "elementwise" and (node.op in _FORMULAS or node.op is ops.abs_):
            c = Compose(self.builder, node.loc.part_of(Composite(node.op.name)))
        if not result.dtype.is_complex:
            self.replaced[result] = _READS[node.op](c, given)
        elif node.op in _FORMULAS:
            self.parts[result] = _FORMULAS[node.op](c, node, given)
        elif node.op in _PARTWISE or node.op.kind == "movement":
            real, imaginary = (c(node.op, *(pair[part] for pair in given), attrs=node.attrs) for part in (0, 1))
            self.parts[result] = real, imaginary
        else:
            raise UnsupportedError(f"{node.op.name}: {result.dtype} is not supported ({node.loc})")

    def _pair(self, c: Compose, value: Value) -> Pair:
        """The parts; of what is not complex (a condition, indices) itself, twice."""
        if value in self.parts:
            return self.parts[value]
        here = self.replaced[value]
        if not value.dtype.is_complex:
            return here, here
        self.parts[value] = c(ops.real, here), c(ops.imag, here)
        return self.parts[value]

    def _joined(self, value: Value) -> Value:
        if value not in self.replaced:
            producer = self.graph.producers[value]
            self.replaced[value] = Compose(self.builder, producer.loc)(ops.complex_, *self.parts[value])
        return self.replaced[value]


def _split(graph: Graph) -> Graph:
    if not any(value.dtype.is_complex for node in graph.nodes for value in (*node.operands, *node.results)):
        return graph
    if all(_is_split(node) for node in graph.nodes):
        return graph
    return _Split(graph).run()


def _is_split(node: Node) -> bool:
    if node.op in (ops.real, ops.imag, ops.complex_) or node.op.kind == "structural":
        return True
    return not any(value.dtype.is_complex for value in (*node.operands, *node.results))


@dataclass(frozen=True, slots=True)
class Complexes:
    """Compute with real and imaginary parts.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Complexes().run(
    ...         parse('''
    ... graph f(%0: c64[3] x, %1: c64[3] y) {
    ...   %2: c64[3] = add(%0, %1)
    ...   %3: f32[3] = real(%2)
    ...   return %2, %3
    ... }''')
    ...     )
    ... )
    graph f(%0: c64[3] x, %1: c64[3] y) {
      %2: f32[3] = real(%0)
      %3: f32[3] = imag(%0)
      %4: f32[3] = real(%1)
      %5: f32[3] = imag(%1)
      %6: f32[3] = add(%2, %4)
      %7: f32[3] = add(%3, %5)
      %8: c64[3] = complex(%6, %7)
      return %8, %6
    }
    <BLANKLINE>
    """

    name: str = "complexes"

    def run(self, graph: Graph) -> Graph:
        return with_regions(graph, _split)
