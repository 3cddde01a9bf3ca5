"""Forms of opset 1 to 6 that models of PyTorch's first exporter have: broadcasting had to be asked for."""

from __future__ import annotations

from collections.abc import Callable

import graphc.numpy as gnp
from graphc.api import Array, ShapeError
from graphc_onnx.ops.common import Ints, normal
from graphc_onnx.ops.elementwise import divide, power, prelu, variadic
from graphc_onnx.ops.products import gemm
from graphc_onnx.table import Row


def _aligned(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """The second operand is a run of dims of the first one, at the end of these or from `axis` on."""

    def old(
        x: Array, y: Array, *, axis: int | None = None, broadcast: int = 0, consumed_inputs: Ints | None = None
    ) -> Array:
        if not broadcast and x.shape != y.shape:
            raise ShapeError(f"shapes {list(x.shape)} and {list(y.shape)} differ, and attribute broadcast is not set")
        if axis is not None and y.shape:
            after = len(x.shape) - normal(axis, len(x.shape)) - len(y.shape)
            y = gnp.reshape(y, (*y.shape, *(1,) * after))
        return function(x, y)

    return old


def _gemm(
    a: Array,
    b: Array,
    c: Array,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 0,
) -> Array:
    return gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)


def _prelu(x: Array, slope: Array, *, consumed_inputs: Ints | None = None) -> Array:
    """One slope, or one for each channel (dim 1)."""
    if len(slope.shape) == 1 and slope.shape[0] != 1 and len(x.shape) > 1:
        slope = gnp.reshape(slope, (-1, *(1,) * (len(x.shape) - 2)))
    return prelu(x, slope)


ROWS = [
    Row("Add", 1, _aligned(gnp.add), until=6),
    Row("Sub", 1, _aligned(gnp.subtract), until=6),
    Row("Mul", 1, _aligned(gnp.multiply), until=6),
    Row("Div", 1, _aligned(divide), until=6),
    Row("Pow", 1, _aligned(power), until=6),
    Row("Gemm", 1, _gemm, until=6),
    Row("PRelu", 1, _prelu, until=6),
    Row("Max", 1, variadic(gnp.maximum), until=7),
    Row("Min", 1, variadic(gnp.minimum), until=7),
    Row("Sum", 1, variadic(gnp.add), until=7),
]
