"""Complex arithmetic as arithmetic on real and imaginary parts: after this pass nothing computes with complex numbers.

In: any graph. Out: the same function, in which complex values are only the inputs, outputs and constants of graphs and
what calls take and give, made by `complex` and read by `real` and `imag`. Lowering stores them as NumPy does, real part
first; everything between the two sees floats.

The formulas below are the meaning of the ops in bits: each operation rounds once, in this order. Special values follow
from them; where NumPy's rules for infinite parts differ, they are not followed.

| op                     | result                                                                              |
|------------------------|-------------------------------------------------------------------------------------|
| add sub neg, sums, ... | part by part; so are movements, `select`, gathers and scatters                       |
| mul                    | (ac - bd, ad + bc)                                                                   |
| div                    | Smith's quotient, by the larger part of the divisor                                  |
| abs                    | m sqrt(1 + (n/m)^2), m the larger part and n the smaller, which overflows only late  |
| log                    | (log m + log1p((n/m)^2) / 2, atan2(b, a))                                            |
| exp, sin, cos          | e^a (cos b, sin b); (sin a cosh b, cos a sinh b); (cos a cosh b, -sin a sinh b)      |
| tanh                   | Kahan's, which does not overflow                                                     |
| sqrt                   | Kahan's; the real part is not negative                                               |
| pow                    | exp(y log x); x^0 is 1, and 0^y is 0                                                 |
| prod                   | halves are multiplied, then the halves of that, and so on; padded with ones          |
| dot_general            | (ac - bd, ad + bc) of four real products, each added up as any other                 |
"""

from collections.abc import Callable
from math import pi, prod

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import UnsupportedError
from graphc.core.records import dataclass
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import contraction, cumulative, indexing, reduction, source
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.movement import AxesAttrs
from graphc.passes.rewrite import with_regions

Pair = tuple[Value, Value]
Formula = Callable[[Compose, Node, list[Pair]], Pair]


# --------------------------------------------------------------------------------------------------------- real parts


@dataclass(frozen=True, slots=True)
class _Reals:
    """Real formulas that several complex ones share."""

    c: Compose

    def less(self, x: Value, y: Value) -> Value:
        return self.c(ops.lt, x, y)

    def below(self, x: Value, number: float) -> Value:
        return self.less(x, self.c.like(x, number))

    def plus(self, x: Value, number: float) -> Value:
        return self.c.add(x, self.c.like(x, number))

    def is_zero(self, x: Value) -> Value:
        return self.c.eq(x, self.c.like(x, 0))

    def abs(self, x: Value) -> Value:
        return self.c(ops.abs_, x)

    def sqrt(self, x: Value) -> Value:
        return self.c(ops.sqrt, x)

    def exp(self, x: Value) -> Value:
        return self.c(ops.exp, x)

    def is_negative(self, x: Value) -> Value:
        """Whether the sign is minus, that of -0 too."""
        c = self.c
        return self.below(c.select(self.is_zero(x), c.div(c.like(x, 1), x), x), 0)

    def with_sign(self, size: Value, of: Value) -> Value:
        return self.c.select(self.is_negative(of), self.c.neg(size), size)

    def larger(self, a: Value, b: Value) -> tuple[Value, Value]:
        """The larger of |a| and |b|, and what the smaller is to it; 1 where they are equal, 0 and infinite ones too."""
        c = self.c
        x, y = self.abs(a), self.abs(b)
        m, n = c(ops.max_, x, y), c(ops.min_, x, y)
        return m, c.select(c.eq(m, n), c.like(m, 1), c.div(n, m))

    def size(self, a: Value, b: Value) -> Value:
        c = self.c
        m, r = self.larger(a, b)
        return c.mul(m, self.sqrt(self.plus(c.mul(r, r), 1.0)))

    def angle(self, b: Value, a: Value) -> Value:
        """atan2(b, a)"""
        c = self.c
        m, r = self.larger(a, b)
        t = c(ops.atan, c.select(self.is_zero(m), m, r))
        t = c.select(self.less(self.abs(a), self.abs(b)), c.sub(c.like(t, pi / 2), t), t)
        return self.with_sign(c.select(self.is_negative(a), c.sub(c.like(t, pi), t), t), b)

    def sinh_cosh(self, x: Value) -> Pair:
        c = self.c
        size = self.abs(x)
        e, less = self.exp(size), c(ops.expm1, size)
        inverse = c.div(c.like(e, 1), e)
        near = c.add(less, c.div(less, self.plus(less, 1.0)))
        sinh = c.scale(c.select(self.below(size, 1.0), near, c.sub(e, inverse)), 0.5)
        return self.with_sign(sinh, x), c.scale(c.add(e, inverse), 0.5)


# ----------------------------------------------------------------------------------------------------------- formulas


def _product(c: Compose, x: Pair, y: Pair) -> Pair:
    (a, b), (p, q) = x, y
    return c.sub(c.mul(a, p), c.mul(b, q)), c.add(c.mul(a, q), c.mul(b, p))


def _mul(c: Compose, node: Node, given: list[Pair]) -> Pair:
    return _product(c, *given)


def _div(c: Compose, node: Node, given: list[Pair]) -> Pair:
    (a, b), (p, q) = given
    reals = _Reals(c)
    swapped = reals.less(reals.abs(p), reals.abs(q))
    large, small = c.select(swapped, q, p), c.select(swapped, p, q)
    r = c.select(reals.is_zero(large), large, c.div(small, large))
    divisor = c.add(large, c.mul(small, r))
    x, y = c.select(swapped, b, a), c.select(swapped, a, b)
    imaginary = c.sub(y, c.mul(x, r))
    imaginary = c.select(swapped, c.neg(imaginary), imaginary)
    return c.div(c.add(x, c.mul(y, r)), divisor), c.div(imaginary, divisor)


def _exponential(c: Compose, a: Value, b: Value) -> Pair:
    size = _Reals(c).exp(a)
    imaginary = c.mul(size, c(ops.sin, b))
    return c.mul(size, c(ops.cos, b)), c.select(_Reals(c).is_zero(b), b, imaginary)


def _logarithm(c: Compose, a: Value, b: Value) -> Pair:
    reals = _Reals(c)
    m, r = reals.larger(a, b)
    return c.add(c(ops.log, m), c.scale(c(ops.log1p, c.mul(r, r)), 0.5)), reals.angle(b, a)


def _sqrt(c: Compose, node: Node, given: list[Pair]) -> Pair:
    ((a, b),) = given
    reals = _Reals(c)
    t = reals.sqrt(c.add(c.scale(reals.abs(a), 0.5), c.scale(reals.size(a, b), 0.5)))
    other = c.div(reals.abs(b), c.add(t, t))
    left = reals.is_negative(a)
    nothing = reals.is_zero(t)
    real = c.select(nothing, t, c.select(left, other, t))
    return real, c.select(nothing, b, reals.with_sign(c.select(left, t, other), b))


def _sin(c: Compose, node: Node, given: list[Pair]) -> Pair:
    ((a, b),) = given
    sinh, cosh = _Reals(c).sinh_cosh(b)
    return c.mul(c(ops.sin, a), cosh), c.mul(c(ops.cos, a), sinh)


def _cos(c: Compose, node: Node, given: list[Pair]) -> Pair:
    ((a, b),) = given
    sinh, cosh = _Reals(c).sinh_cosh(b)
    return c.mul(c(ops.cos, a), cosh), c.neg(c.mul(c(ops.sin, a), sinh))


def _tanh(c: Compose, node: Node, given: list[Pair]) -> Pair:
    """W. Kahan, "Branch cuts for complex elementary functions", 1987."""
    ((a, b),) = given
    reals = _Reals(c)
    sine, cosine = c(ops.sin, b), c(ops.cos, b)
    far = reals.less(c.like(a, 11 if a.dtype is dtypes.float32 else 22), reals.abs(a))
    s, _ = reals.sinh_cosh(c.select(far, c.like(a, 0), a))
    t = c.div(sine, cosine)
    beta = reals.plus(c.mul(t, t), 1.0)
    rho = reals.sqrt(reals.plus(c.mul(s, s), 1.0))
    divisor = reals.plus(c.mul(c.mul(beta, s), s), 1.0)
    rest = c.scale(c.mul(c.mul(sine, cosine), reals.exp(c.scale(reals.abs(a), -2.0))), 4.0)
    real = c.select(far, reals.with_sign(c.like(a, 1), a), c.div(c.mul(c.mul(beta, rho), s), divisor))
    return real, c.select(far, rest, c.div(t, divisor))


def _pow(c: Compose, node: Node, given: list[Pair]) -> Pair:
    x, y = given
    is_zero, is_one = _both_zero(c, x), _both_zero(c, y)
    base = c.select(is_zero, c.like(x[0], 1), x[0])
    real, imaginary = _exponential(c, *_product(c, y, _logarithm(c, base, x[1])))
    one, zero = c.like(real, 1), c.like(real, 0)
    real = c.select(is_one, one, c.select(is_zero, zero, real))
    return real, c.select(c(ops.or_, is_one, is_zero), zero, imaginary)


def _both_zero(c: Compose, x: Pair) -> Value:
    return c(ops.and_, _Reals(c).is_zero(x[0]), _Reals(c).is_zero(x[1]))


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
    x = tuple(c.reshape(c.transpose(part, order), (*shape, count)) for part in (a, b))
    length = 1 << max(count - 1, 0).bit_length()
    axis = len(shape)
    x = tuple(c.pad_axis(part, fill, axis, 0, length - count) for part, fill in zip(x, (1.0, 0.0), strict=True))
    while length > 1:
        ways = min(length, _AT_ONCE)
        length //= ways
        pieces: list[Pair] = []
        for i in range(ways):
            real, imaginary = (c.slice_axis(part, axis, i * length, (i + 1) * length) for part in x)
            pieces.append((real, imaginary))
        while len(pieces) > 1:
            half = len(pieces) // 2
            pieces = [_product(c, low, high) for low, high in zip(pieces[:half], pieces[half:], strict=True)]
        x = pieces[0]
    return c.reshape(x[0], shape), c.reshape(x[1], shape)


def _cast(c: Compose, node: Node, given: list[Pair]) -> Pair:
    ((a, b),) = given
    dtype = node.result.dtype.part
    real = c.cast(a, dtype)
    return real, c.cast(b, dtype) if node.operands[0].dtype.is_complex else c.like(real, 0)


_FORMULAS: dict[Op, Formula] = {
    ops.mul: _mul,
    ops.div: _div,
    ops.exp: lambda c, node, given: _exponential(c, *given[0]),
    ops.log: lambda c, node, given: _logarithm(c, *given[0]),
    ops.sqrt: _sqrt,
    ops.sin: _sin,
    ops.cos: _cos,
    ops.tanh: _tanh,
    ops.pow_: _pow,
    ops.cast: _cast,
    contraction.dot_general: _dot,
    reduction.reduce_prod: _prod,
}
# Of complex operands something else: the parts come in, one value goes out.
_READS: dict[Op, Callable[[Compose, list[Pair]], Value]] = {
    ops.real: lambda c, given: given[0][0],
    ops.imag: lambda c, given: given[0][1],
    ops.abs_: lambda c, given: _Reals(c).size(*given[0]),
    ops.eq: lambda c, given: c(ops.and_, *(c.eq(x, y) for x, y in zip(*given, strict=True))),
    ops.ne: lambda c, given: c(ops.or_, *(c(ops.ne, x, y) for x, y in zip(*given, strict=True))),
    ops.cast: lambda c, given: c(ops.or_, *(c.cast(part, dtypes.bool_) for part in given[0])),
}
_PARTWISE: frozenset[Op] = frozenset(
    {ops.neg, ops.add, ops.sub, ops.select, ops.stop_gradient, ops.saved}
    | {reduction.reduce_sum, cumulative.cumsum, indexing.gather, indexing.scatter, indexing.scatter_add}
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
