"""Derivative rows of the elementwise ops.

Where a derivative does not exist, what we give:
- abs'(0) = 0, sign' = floor' = ... = 0.
- max(x, y) and min(x, y) at x == y: the whole derivative goes to y. One operand a constant: it goes to the constant, so
  that the derivative of max(x, 0) and of max(0, x) at 0 is 0 (ReLU).
- pow(x, y) at x == 0: d/dy is 0.

Complex numbers: tangents are complex, and a cotangent u of z stands for the linear function t -> real part of u t (no
conjugate). So the rows of functions of one complex variable are those of floats, and the gradient of a real function
f(a + ib) is df/da - i df/db, as in JAX: its conjugate is the direction of ascent.
"""

import math
from collections.abc import Sequence

from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Op, Value
from graphc.graph.ops import elementwise as ops
from graphc.transform.autodiff.rows import IsConstant, Jvp, Linear, Partials, Row, Tangent, Zero, zeros_for

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


def _gaussian(c: Compose, x: Value, factor: float) -> Value:
    """factor * exp(-x^2)"""
    return c.scale(c(ops.exp, c.neg(c.mul(x, x))), factor)


def _atan_dx(c: Compose, t: Value, z: Value, x: Value) -> Value:
    # t / (1 + x^2); far out, where x^2 overflows, the quotient is 0 as it should be
    if x.dtype.is_complex:
        turned = c(ops.complex_, c.neg(c(ops.imag, x)), c(ops.real, x))
        return c.div(c.div(t, c.add(c.like(x, 1), turned)), c.sub(c.like(x, 1), turned))
    return c.div(t, c.add(c.mul(x, x), c.like(x, 1)))


def _asin_dx(c: Compose, t: Value, z: Value, x: Value) -> Value:
    # t / (sqrt(1 - x) sqrt(1 + x)), on the side of the branch cuts that the sign of zero says: 0 - 0 would lose it
    less, more = c.neg(c.sub(x, c.like(x, 1))), c.sub(x, c.like(x, -1))
    return c.div(c.div(t, c(ops.sqrt, less)), c(ops.sqrt, more))


def _pow_dx(c: Compose, t: Value, z: Value, x: Value, y: Value) -> Value:
    # y * x^(y-1); at y == 0 the exponent is replaced, because 0 * 0^-1 would be NaN
    one = c.like(y, 1)
    exponent = c.select(c(ops.eq, y, c.like(y, 0)), one, y)
    return c.mul(t, c.mul(y, c(ops.pow_, x, c.sub(exponent, one))))


def _pow_dy(c: Compose, t: Value, z: Value, x: Value, y: Value) -> Value:
    # x^y * log x; at x == 0 it is 0 (the limit for y > 0), where log alone would be -inf
    positive = c.select(c(ops.eq, x, c.like(x, 0)), c.like(x, 1), x)
    return c.mul(t, c.mul(z, c(ops.log, positive)))


def _rem_dy(c: Compose, t: Value, z: Value, x: Value, y: Value) -> Value:
    # x - trunc(x/y) y; the quotient is whole, so rounding (x - z) / y removes the error of the division
    return c.neg(c.mul(t, c(ops.round_, c.div(c.sub(x, z), y))))


def _extremum(better: Op) -> Jvp:
    def rule(c: Compose, node: Node, tangents: Sequence[Tangent], is_constant: IsConstant) -> tuple[Tangent]:
        (x, y), (tx, ty) = node.operands, tangents
        # strictly better wins; a tie goes to y, or to the constant if there is one
        if is_constant(x) and not is_constant(y):
            to_y = c(better, y, x)
            return (c.select(to_y, zeros_for(c, ty, y), zeros_for(c, tx, x)),)
        to_x = c(better, x, y)
        return (c.select(to_x, zeros_for(c, tx, x), zeros_for(c, ty, y)),)

    return Jvp(rule)


def _add_jvp(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    first, *rest = [t for t in tangents if t is not None]
    return c.add(first, rest[0]) if rest else first


def _sub_jvp(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    tx, ty = tangents
    if ty is None:
        assert tx is not None
        return tx
    return c.neg(ty) if tx is None else c.sub(tx, ty)


def _mul_transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    x, y = node.operands
    return (c.mul(ct, y), None) if linear[0] else (None, c.mul(ct, x))


def _select_transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    condition, zero = node.operands[0], c.zeros(ct.type)
    return (
        None,
        c.select(condition, ct, zero) if linear[1] else None,
        c.select(condition, zero, ct) if linear[2] else None,
    )


def _saved_jvp(c: Compose, node: Node, tangents: Sequence[Tangent]) -> Value:
    (tangent,) = tangents
    assert tangent is not None
    return tangent


def _cast_transpose(c: Compose, node: Node, linear: Sequence[bool], ct: Value) -> tuple[Tangent, ...]:
    dtype = node.operands[0].dtype
    if ct.dtype.is_complex and not dtype.is_complex:
        ct = c(ops.real, ct)
    return (c.cast(ct, dtype),)


def _abs_dx(c: Compose, t: Value, z: Value, x: Value) -> Value:
    if not x.dtype.is_complex:
        return c.mul(t, c(ops.sign, x))
    # the real part of t conj(x) / |x|, and 0 at 0
    size = c.select(c.eq(z, c.like(z, 0)), c.like(z, 1), z)
    a, b = c.div(c(ops.real, x), size), c.div(c(ops.imag, x), size)
    return c(ops.real, c.mul(t, c(ops.complex_, a, c.neg(b))))


LINEAR: dict[Op, Row] = {
    ops.neg: Linear(lambda c, node, linear, ct: (c.neg(ct),)),
    ops.add: Linear(lambda c, node, linear, ct: (ct, ct), jvp=_add_jvp),
    ops.sub: Linear(lambda c, node, linear, ct: (ct, c.neg(ct) if linear[1] else None), jvp=_sub_jvp),
    ops.mul: Linear(_mul_transpose, apart=True),
    ops.div: Linear(
        lambda c, node, linear, ct: (c.div(ct, node.operands[1]), None),
        apart=True,
        fixed={1: lambda c, t, z, x, y: c.neg(c.mul(t, c.div(z, y)))},  # -x / y^2 without squaring y
    ),
    ops.select: Linear(_select_transpose),
    ops.saved: Linear(lambda c, node, linear, ct: (ct,), jvp=_saved_jvp),  # tangents are not saved
    ops.cast: Linear(_cast_transpose),
    # A cotangent u of z stands for the real part of the product u z.
    ops.real: Linear(lambda c, node, linear, ct: (c(ops.complex_, ct, c.like(ct, 0)),)),
    ops.imag: Linear(lambda c, node, linear, ct: (c(ops.complex_, c.like(ct, 0), c.neg(ct)),)),
    ops.complex_: Linear(lambda c, node, linear, ct: (c(ops.real, ct), c.neg(c(ops.imag, ct)))),
}

PARTIALS: dict[Op, Row] = {
    ops.abs_: Partials((_abs_dx,)),
    ops.exp: Partials((lambda c, t, z, x: c.mul(t, z),)),
    ops.expm1: Partials((lambda c, t, z, x: c.mul(t, c(ops.exp, x)),)),  # z + 1 would lose everything near z == -1
    ops.log: Partials((lambda c, t, z, x: c.div(t, x),)),
    ops.log1p: Partials((lambda c, t, z, x: c.div(t, c.add(x, c.like(x, 1))),)),
    ops.sqrt: Partials((lambda c, t, z, x: c.div(t, c.add(z, z)),)),
    ops.sin: Partials((lambda c, t, z, x: c.mul(t, c(ops.cos, x)),)),
    ops.cos: Partials((lambda c, t, z, x: c.mul(t, c.neg(c(ops.sin, x))),)),
    ops.atan: Partials((_atan_dx,)),
    ops.asin: Partials((_asin_dx,)),
    ops.acos: Partials((lambda c, t, z, x: c.neg(_asin_dx(c, t, z, x)),)),
    # 1 - z^2 with less cancellation where z is near 1
    ops.tanh: Partials((lambda c, t, z, x: c.mul(t, c.mul(c.sub(c.like(z, 1), z), c.add(c.like(z, 1), z))),)),
    ops.erf: Partials((lambda c, t, z, x: c.mul(t, _gaussian(c, x, _TWO_OVER_SQRT_PI)),)),
    ops.erfc: Partials((lambda c, t, z, x: c.mul(t, _gaussian(c, x, -_TWO_OVER_SQRT_PI)),)),
    # s(x) s(-x), which does not vanish where s(x) rounds to 1
    ops.sigmoid: Partials((lambda c, t, z, x: c.mul(t, c.mul(z, c(ops.sigmoid, c.neg(x)))),)),
    ops.pow_: Partials((_pow_dx, _pow_dy)),
    ops.rem: Partials((lambda c, t, z, x, y: t, _rem_dy)),
}

JVPS: dict[Op, Row] = {ops.max_: _extremum(ops.gt), ops.min_: _extremum(ops.lt)}

_ZERO: tuple[tuple[Op, ...], ...] = (
    (ops.sign, ops.floor, ops.ceil, ops.trunc, ops.round_, ops.stop_gradient, ops.bitcast, ops.within),
    (ops.is_finite, ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge),
    (ops.not_, ops.and_, ops.or_, ops.xor, ops.shift_left, ops.shift_right),
)

ROWS: dict[Op, Row] = {**LINEAR, **PARTIALS, **JVPS, **{op: Zero() for family in _ZERO for op in family}}
