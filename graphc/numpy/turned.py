"""Complex functions that are others a quarter turn away, such as sinh(z) = -i sin(iz): parts change places, exactly."""

from graphc.graph.ir import Op
from graphc.graph.ops import elementwise as ops
from graphc.numpy.float_bits import signbit
from graphc.tracing.bind import bind1
from graphc.tracing.context import Array


def turn(z: Array) -> Array:
    """iz"""
    return bind1(ops.complex_, bind1(ops.neg, bind1(ops.imag, z)), bind1(ops.real, z))


def turn_back(z: Array) -> Array:
    """-iz"""
    return bind1(ops.complex_, bind1(ops.imag, z), bind1(ops.neg, bind1(ops.real, z)))


def turned(op: Op, z: Array) -> Array:
    """-i op(iz)"""
    return turn_back(bind1(op, turn(z)))


def acosh(z: Array) -> Array:
    """i acos(z) above the real axis, -i acos(z) below it."""
    angle = bind1(ops.acos, z)
    real, imaginary = bind1(ops.real, angle), bind1(ops.imag, angle)
    below = signbit(bind1(ops.imag, z))
    width = bind1(ops.select, below, imaginary, bind1(ops.neg, imaginary))
    return bind1(ops.complex_, width, bind1(ops.select, below, bind1(ops.neg, real), real))
