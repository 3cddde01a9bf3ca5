"""Arithmetic, comparison, logic, functions, activations and casts, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc.nn import functional as F
from graphc_onnx.ops.common import cast, dtype_of, element_type, in_float32, is_float, only
from graphc_onnx.table import Row

# --------------------------------------------------------------------------------------------------------- arithmetic


def divide(x: Array, y: Array) -> Array:
    """Integers are divided towards zero."""
    if is_float(x):
        return gnp.divide(x, y)
    if dtype_of(x).kind == "u":
        return gnp.floor_divide(x, y)
    down = gnp.floor_divide(x, y)
    inexact = gnp.not_equal(gnp.multiply(down, y), x)
    return gnp.add(down, cast(gnp.logical_and(inexact, gnp.not_equal(gnp.less(x, 0), gnp.less(y, 0))), dtype_of(x)))


def _mod(x: Array, y: Array, *, fmod: int = 0) -> Array:
    if not fmod:
        return gnp.remainder(x, y)
    return gnp.fmod(x, y) if is_float(x) else gnp.subtract(x, gnp.multiply(divide(x, y), y))


def power(x: Array, y: Array) -> Array:
    """In the type of the base."""
    if is_float(x):
        return gnp.power(x, cast(y, dtype_of(x)))
    if is_float(y):
        return cast(gnp.power(cast(x, np.float64), cast(y, np.float64)), dtype_of(x))
    return _whole_power(x, y)


def _whole_power(x: Array, exponent: Array) -> Array:
    """By squaring. A negative exponent gives 0 but for 1 and -1, whose powers depend on its last bit alone."""
    last = gnp.bitwise_and(exponent, 1)
    within = gnp.where(gnp.logical_or(gnp.greater(exponent, 63), gnp.less(exponent, 0)), last + 62, exponent)
    square, result = x, gnp.ones_like(x)
    for bit in range(6):  # a higher power of anything but 0, 1 and -1 does not fit 64 bits
        is_set = gnp.not_equal(gnp.bitwise_and(within, 1 << bit), 0)
        result = gnp.where(is_set, gnp.multiply(result, square), result)
        square = gnp.multiply(square, square)
    unit = gnp.equal(gnp.multiply(x, x), 1)
    return gnp.where(gnp.logical_or(gnp.greater_equal(exponent, 0), unit), result, gnp.zeros_like(result))


def variadic(combine: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def function(*operands: Array) -> Array:
        if not operands:
            raise ArgumentError("needs at least one input")
        return reduce(combine, operands)

    return function


def _mean(*operands: Array) -> Array:
    return gnp.divide(variadic(gnp.add)(*operands), len(operands))


def _clip_by_attributes(x: Array, *, min: float = -math.inf, max: float = math.inf) -> Array:
    return gnp.clip(x, None if min == -math.inf else min, None if max == math.inf else max)


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    result = x if low is None else gnp.maximum(x, low)
    return result if high is None else gnp.minimum(result, high)


def _shift(x: Array, y: Array, *, direction: str) -> Array:
    """Bits that are shifted out are gone, also all of them; to the right a negative number stays negative."""
    only("direction", direction, "LEFT", "RIGHT")
    bits = dtype_of(x).itemsize * 8
    if direction == "RIGHT" and dtype_of(x).kind == "i":
        return gnp.right_shift(x, gnp.minimum(y, bits - 1))
    inside = gnp.less(y, bits)
    by = gnp.where(inside, y, gnp.zeros_like(y))
    shifted = gnp.left_shift(x, by) if direction == "LEFT" else gnp.right_shift(x, by)
    return gnp.where(inside, shifted, gnp.zeros_like(shifted))


ARITHMETIC = [
    Row("Add", 7, gnp.add),
    Row("Sub", 7, gnp.subtract),
    Row("Mul", 7, gnp.multiply),
    Row("Div", 7, divide),
    Row("Mod", 10, _mod),
    Row("Pow", 7, power),
    Row("Max", 8, variadic(gnp.maximum)),
    Row("Min", 8, variadic(gnp.minimum)),
    Row("Sum", 8, variadic(gnp.add)),
    Row("Mean", 8, _mean),
    Row("Clip", 6, _clip_by_attributes, until=10),
    Row("Clip", 11, _clip),
    Row("Neg", 6, gnp.negative),
    Row("Abs", 6, gnp.abs),
    Row("Sign", 9, gnp.sign),
    Row("Reciprocal", 6, gnp.reciprocal),
    Row("BitShift", 11, _shift),
    Row("BitwiseAnd", 18, gnp.bitwise_and),
    Row("BitwiseOr", 18, gnp.bitwise_or),
    Row("BitwiseXor", 18, gnp.bitwise_xor),
    Row("BitwiseNot", 18, gnp.bitwise_invert),
]

# ----------------------------------------------------------------------------------------------- comparison and logic


def _is_inf(x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    negative = gnp.less(x, 0)
    wanted = gnp.where(negative, gnp.full_like(negative, bool(detect_negative)), bool(detect_positive))
    return gnp.logical_and(gnp.isinf(x), wanted)


def _equal(x: Array, y: Array) -> Array:
    if isinstance(x, np.ndarray) and x.dtype == object:
        return np.asarray(x == np.asarray(y), bool)
    return gnp.equal(x, y)


def _where(condition: Array, x: Array, y: Array) -> Array:
    return gnp.where(condition, x, y)


LOGIC = [
    Row("And", 7, gnp.logical_and),
    Row("Or", 7, gnp.logical_or),
    Row("Xor", 7, gnp.logical_xor),
    Row("Not", 1, gnp.logical_not),
    Row("Equal", 7, _equal),
    Row("Less", 7, gnp.less),
    Row("LessOrEqual", 12, gnp.less_equal),
    Row("Greater", 7, gnp.greater),
    Row("GreaterOrEqual", 12, gnp.greater_equal),
    Row("Where", 9, _where),
    Row("IsNaN", 9, gnp.isnan),
    Row("IsInf", 10, _is_inf),
]

# ---------------------------------------------------------------------------------------------------------- functions


def _asin(x: Array) -> Array:
    """2 atan(x / (1 + sqrt(1 - x^2))): exact where x is 1, small where x is."""
    root = gnp.sqrt((1.0 - x) * (1.0 + x))
    return gnp.multiply(2.0, gnp.atan(gnp.divide(x, gnp.add(1.0, root))))


def _acos(x: Array) -> Array:
    return gnp.multiply(2.0, gnp.atan(gnp.sqrt(gnp.divide(1.0 - x, 1.0 + x))))


def _asinh(x: Array) -> Array:
    size = gnp.abs(x)
    square = size * size
    value = gnp.log1p(size + square / (1.0 + gnp.sqrt(1.0 + square)))
    return gnp.where(gnp.less(x, 0), -value, value)


def _acosh(x: Array) -> Array:
    above = x - 1.0
    return gnp.log1p(above + gnp.sqrt(above * (x + 1.0)))


def _atanh(x: Array) -> Array:
    return gnp.multiply(0.5, gnp.log1p(2.0 * x / (1.0 - x)))


FUNCTIONS = [
    Row("Exp", 6, gnp.exp),
    Row("Log", 6, gnp.log),
    Row("Sqrt", 6, gnp.sqrt),
    Row("Ceil", 6, gnp.ceil),
    Row("Floor", 6, gnp.floor),
    Row("Round", 11, gnp.rint),
    Row("Erf", 9, gnp.erf),
    Row("Sin", 7, gnp.sin),
    Row("Cos", 7, gnp.cos),
    Row("Tan", 7, gnp.tan),
    Row("Asin", 7, _asin),
    Row("Acos", 7, _acos),
    Row("Atan", 7, gnp.atan),
    Row("Sinh", 9, gnp.sinh),
    Row("Cosh", 9, gnp.cosh),
    Row("Tanh", 6, gnp.tanh),
    Row("Asinh", 9, _asinh),
    Row("Acosh", 9, _acosh),
    Row("Atanh", 9, _atanh),
]

# -------------------------------------------------------------------------------------------------------- activations


def _relu(x: Array) -> Array:
    return gnp.maximum(x, 0)


def _leaky_relu(x: Array, *, alpha: float = 0.01) -> Array:
    return gnp.where(gnp.less(x, 0), x * alpha, x)


def prelu(x: Array, slope: Array) -> Array:
    return gnp.where(gnp.less(x, 0), gnp.multiply(x, slope), x)


def _elu(x: Array, *, alpha: float = 1.0) -> Array:
    return gnp.where(gnp.less(x, 0), alpha * gnp.expm1(x), x)


def _celu(x: Array, *, alpha: float = 1.0) -> Array:
    return gnp.maximum(x, 0.0) + gnp.minimum(alpha * gnp.expm1(x / alpha), 0.0)


def _selu(x: Array, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Array:
    return gamma * gnp.where(gnp.greater(x, 0), x, alpha * gnp.expm1(x))


def _thresholded_relu(x: Array, *, alpha: float = 1.0) -> Array:
    return gnp.where(gnp.greater(x, alpha), x, gnp.zeros_like(x))


def _hard_sigmoid(x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    return gnp.clip(alpha * x + beta, 0.0, 1.0)


def _hard_swish(x: Array) -> Array:
    return x * gnp.clip(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)


def _softsign(x: Array) -> Array:
    return x / (1.0 + gnp.abs(x))


def _mish(x: Array) -> Array:
    return x * gnp.tanh(F.softplus(x))


def _gelu(x: Array, *, approximate: str = "none") -> Array:
    return F.gelu(x, approximate)


def _swish(x: Array, *, alpha: float = 1.0) -> Array:
    return x * gnp.sigmoid(alpha * x)


def _shrink(x: Array, *, lambd: float = 0.5, bias: float = 0.0) -> Array:
    inside = gnp.where(gnp.greater(x, lambd), gnp.subtract(x, bias), gnp.zeros_like(x))
    return gnp.where(gnp.less(x, -lambd), gnp.add(x, bias), inside)


ACTIVATIONS = [
    Row("Relu", 6, _relu),
    Row("LeakyRelu", 6, _leaky_relu),
    Row("PRelu", 7, prelu),
    Row("Elu", 6, _elu),
    Row("Celu", 12, _celu),
    Row("Selu", 6, _selu),
    Row("ThresholdedRelu", 10, _thresholded_relu),
    Row("Sigmoid", 6, gnp.sigmoid),
    Row("HardSigmoid", 6, _hard_sigmoid),
    Row("HardSwish", 14, _hard_swish),
    Row("Softplus", 1, in_float32(F.softplus)),
    Row("Softsign", 1, _softsign),
    Row("Mish", 18, _mish),
    Row("Gelu", 20, in_float32(_gelu)),
    Row("Swish", 24, _swish),
    Row("Shrink", 9, _shrink),
]

# -------------------------------------------------------------------------------------------------------------- casts


def _cast(x: Array, *, to: int, saturate: int = 1, round_mode: str = "up") -> Array:
    """saturate and round_mode are about 8-bit floats, which graphc does not have."""
    return cast(x, element_type(to))


def _cast_like(x: Array, like: Array, *, saturate: int = 1, round_mode: str = "up") -> Array:
    return cast(x, dtype_of(like))


def _bit_cast(x: Array, *, to: int) -> Array:
    return cast(x, element_type(to)) if dtype_of(x) == np.bool_ else x.view(element_type(to))


CASTS = [
    Row("Cast", 6, _cast),
    Row("CastLike", 15, _cast_like),
    Row("BitCast", 26, _bit_cast),
]

ROWS = ARITHMETIC + LOGIC + FUNCTIONS + ACTIVATIONS + CASTS
