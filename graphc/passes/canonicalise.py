"""One way to write each thing, so that later passes have less to recognise. Every result keeps its bits.

Constants stand on the right, and those of one number are that number, broadcast; stop_gradient and saved are gone;
movements that follow each other are one, those that do nothing are none; a reshape that only adds dims of extent 1
disappears into the broadcast after it (NumPy's keepdims); transposes sink into contractions; signs move outwards.
"""

from dataclasses import replace

from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.layout import one_number
from graphc.graph.ops import contraction, elementwise, movement, reduction, source
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.passes.canonical_movement import MOVEMENT
from graphc.passes.rewrite import COMMUTATIVE, AnyRule, Context, NodeRule, Rule, Var, op, rewrite

x, y, z = Var("x"), Var("y"), Var("z")
neg, add, sub = op(elementwise.neg), op(elementwise.add), op(elementwise.sub)
mul, div = op(elementwise.mul), op(elementwise.div)
select, not_ = op(elementwise.select), op(elementwise.not_)
FLOAT = ("float",)

_MIRRORED: dict[Op, Op] = {
    **{o: o for o in COMMUTATIVE},
    elementwise.lt: elementwise.gt,
    elementwise.gt: elementwise.lt,
    elementwise.le: elementwise.ge,
    elementwise.ge: elementwise.le,
}


def _constant_to_the_right(context: Context, node: Node) -> Value | None:
    """c + x = x + c;  c < x = x > c"""
    a, b = node.operands
    if not context.is_constant(a) or context.is_constant(b):
        return None
    return context.compose(node)(_MIRRORED[node.op], b, a)


def _uniform_constant(context: Context, node: Node) -> Value | None:
    """A constant whose elements are all one number is that number, broadcast."""
    assert isinstance(node.attrs, source.ConstantAttrs)
    number = one_number(node.attrs.value) if node.attrs.value.size > 1 else None
    if number is None:
        return None
    c = context.compose(node)
    return c.spread(c.constant(number), node.result.shape)


def _itself(context: Context, node: Node) -> Value | None:
    """stop_gradient(x) = x;  saved(x) = x"""
    return node.operands[0]


def _holds(inner: Value, outer: Value) -> bool:
    """Whether the dtype of `outer` holds every value of the dtype of `inner`."""
    a, b = inner.dtype, outer.dtype
    if a == b or a.is_bool:
        return True
    if b.is_float:
        digits = {"bfloat16": 8, "float16": 11, "float32": 24, "float64": 53}[b.name]
        return a.bits < b.bits if a.is_float else a.bits - (a.kind == "int") <= digits
    if a.is_float or b.is_bool:
        return False
    return a.bits - (a.kind == "int") <= b.bits - (b.kind == "int") and (a.kind == "uint" or b.kind == "int")


def _cast(context: Context, node: Node) -> Value | None:
    """cast(x, its own dtype) = x;  cast(cast(x, wider), t) = cast(x, t)"""
    (value,) = node.operands
    target = node.result.dtype
    if value.dtype == target:
        return value
    inner = context.made_by(value, elementwise.cast)
    if inner is None or not _holds(inner.operands[0], value):
        return None
    # integers wrap and floats saturate on the way to an integer, so the path must not change which
    if value.dtype.is_float and not inner.operands[0].dtype.is_float and target.is_integer:
        return None
    return context.compose(node).cast(inner.operands[0], target)


def _bitcast(context: Context, node: Node) -> Value | None:
    """bitcast(x, its own dtype) = x;  bitcast(bitcast(x)) = bitcast(x)"""
    (value,) = node.operands
    if value.dtype == node.result.dtype:
        return value
    inner = context.made_by(value, elementwise.bitcast)
    if inner is None:
        return None
    return context.compose(node)(elementwise.bitcast, inner.operands[0], attrs=node.attrs)


def _reduction(context: Context, node: Node) -> Value | None:
    """Over no axes: the operand; over axes of extent 1: a reshape (but a float sum turns -0.0 into 0.0)."""
    assert isinstance(node.attrs, movement.AxesAttrs)
    (value,) = node.operands
    if not node.attrs.axes:
        return value
    if any(value.shape[axis] != 1 for axis in node.attrs.axes):
        return None
    if node.op is reduction.reduce_sum and value.dtype.is_float:
        return None
    return context.compose(node).reshape(value, node.result.shape)


def _dot_of_transpose(context: Context, node: Node) -> Value | None:
    """dot(transpose(x), y) = dot(x, y) over other dims, where the free dims of x stay in order; likewise for y."""
    assert isinstance(node.attrs, DotAttrs)
    attrs, (lhs, rhs) = node.attrs, node.operands
    left = _untransposed(context, lhs, attrs.lhs_contract, attrs.lhs_batch)
    if left is not None:
        value, contract, batch = left
        return context.compose(node).dot_general(value, rhs, replace(attrs, lhs_contract=contract, lhs_batch=batch))
    right = _untransposed(context, rhs, attrs.rhs_contract, attrs.rhs_batch)
    if right is None:
        return None
    value, contract, batch = right
    return context.compose(node).dot_general(lhs, value, replace(attrs, rhs_contract=contract, rhs_batch=batch))


def _untransposed(
    context: Context, value: Value, contract: tuple[int, ...], batch: tuple[int, ...]
) -> tuple[Value, tuple[int, ...], tuple[int, ...]] | None:
    moved = context.made_by(value, movement.transpose)
    if moved is None:
        return None
    assert isinstance(moved.attrs, movement.TransposeAttrs)
    permutation = moved.attrs.permutation
    free = [permutation[d] for d in free_dims(value.type.rank, contract, batch)]
    if free != sorted(free):
        return None
    return moved.operands[0], tuple(permutation[d] for d in contract), tuple(permutation[d] for d in batch)


def _transpose_of_dot(context: Context, node: Node) -> Value | None:
    """transpose(dot(x, y)) = dot(y, x) where it exchanges the free dims of x and y."""
    assert isinstance(node.attrs, movement.TransposeAttrs)
    product = context.made_by(node.operands[0], contraction.dot_general)
    if product is None or context.is_shared(product.result):
        return None
    attrs, (lhs, rhs) = product.attrs, product.operands
    assert isinstance(attrs, DotAttrs)
    batch = len(attrs.lhs_batch)
    middle = batch + lhs.type.rank - len(attrs.lhs_contract) - batch
    exchanged = (*range(batch), *range(middle, node.result.type.rank), *range(batch, middle))
    if node.attrs.permutation != exchanged:
        return None
    swapped = DotAttrs(attrs.rhs_contract, attrs.lhs_contract, attrs.rhs_batch, attrs.lhs_batch, attrs.dtype)
    return context.compose(node).dot_general(rhs, lhs, swapped)


def _part(context: Context, node: Node) -> Value | None:
    """real(complex(x, y)) = x;  imag(complex(x, y)) = y"""
    whole = context.made_by(node.operands[0], elementwise.complex_)
    return None if whole is None else whole.operands[0 if node.op is elementwise.real else 1]


def _whole(context: Context, node: Node) -> Value | None:
    """complex(real(z), imag(z)) = z"""
    real, imag = (context.made_by(v, op) for v, op in zip(node.operands, (elementwise.real, elementwise.imag)))
    if real is None or imag is None or real.operands != imag.operands:
        return None
    return real.operands[0]


RULES: tuple[AnyRule, ...] = (
    NodeRule((elementwise.real, elementwise.imag), _part),
    NodeRule((elementwise.complex_,), _whole),
    NodeRule(tuple(_MIRRORED), _constant_to_the_right),
    NodeRule((source.constant,), _uniform_constant),
    NodeRule((elementwise.stop_gradient, elementwise.saved), _itself),
    NodeRule((elementwise.cast,), _cast),
    NodeRule((elementwise.bitcast,), _bitcast),
    *MOVEMENT,
    NodeRule((reduction.reduce_sum, reduction.reduce_prod, reduction.reduce_max, reduction.reduce_min), _reduction),
    NodeRule((contraction.dot_general,), _dot_of_transpose),
    NodeRule((movement.transpose,), _transpose_of_dot),
    # signs: exact, because rounding is symmetric
    Rule(neg(neg(x)), x),
    Rule(add(x, neg(y)), sub(x, y)),
    Rule(sub(x, neg(y)), add(x, y)),
    Rule(mul(neg(x), neg(y)), mul(x, y)),
    Rule(mul(neg(x), y), neg(mul(x, y))),
    Rule(div(neg(x), neg(y)), div(x, y), FLOAT),
    Rule(div(neg(x), y), neg(div(x, y)), FLOAT),
    Rule(div(x, neg(y)), neg(div(x, y)), FLOAT),
    Rule(not_(not_(x)), x),
    Rule(select(not_(x), y, z), select(x, z, y)),
)


@dataclass(frozen=True, slots=True)
class Canonicalise:
    """Rewrite to canonical form.

    >>> from graphc.graph.parser import parse
    >>> print(
    ...     Canonicalise().run(
    ...         parse('''
    ... graph f(%0: f32[4,3] x) {
    ...   %1: f32[] = constant() {value=f32[]{2.0}}
    ...   %2: f32[3,4] = broadcast(%1) {shape=(3, 4), dims=()}
    ...   %3: f32[3,4] = transpose(%0) {permutation=(1, 0)}
    ...   %4: f32[3,4] = sub(%2, %3)
    ...   %5: f32[4,3] = transpose(%3) {permutation=(1, 0)}
    ...   %6: f32[3,4] = add(%2, %3)
    ...   return %4, %5, %6
    ... }''')
    ...     )
    ... )
    graph f(%0: f32[4,3] x) {
      %1: f32[] = constant() {value=f32[]{2.0}}
      %2: f32[3,4] = broadcast(%1) {shape=(3, 4), dims=()}
      %3: f32[3,4] = transpose(%0) {permutation=(1, 0)}
      %4: f32[3,4] = sub(%2, %3)
      %5: f32[3,4] = add(%3, %2)
      return %4, %0, %5
    }
    <BLANKLINE>
    """

    name: str = "canonicalise"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, RULES)
