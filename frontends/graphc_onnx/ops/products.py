"""Matrix products, of floats and of quantised integers."""

from __future__ import annotations

import re

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array
from graphc_onnx.ops.common import cast
from graphc_onnx.table import Row


def gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    product = gnp.matmul(gnp.transpose(a) if transA else a, gnp.transpose(b) if transB else b)
    scaled = product if alpha == 1.0 else product * alpha
    if c is None:
        return scaled
    return scaled + (c if beta == 1.0 else c * beta)


def _einsum(*operands: Array, equation: str) -> Array:
    return gnp.einsum(re.sub(r"\s", "", equation), *operands)


def _per_row(zero_point: Array | None) -> Array:
    """A zero point per row stands in a column."""
    if zero_point is None:
        return np.zeros((), np.int32)
    wide = cast(zero_point, np.int32)
    return gnp.reshape(wide, (-1, 1)) if len(wide.shape) == 1 and wide.shape[0] > 1 else wide


def matmul_integer(a: Array, b: Array, a_zero: Array | None = None, b_zero: Array | None = None) -> Array:
    lhs = cast(a, np.int32) - _per_row(a_zero)
    rhs = cast(b, np.int32) - (np.zeros((), np.int32) if b_zero is None else cast(b_zero, np.int32))
    return gnp.matmul(lhs, rhs)


ROWS = [
    Row("MatMul", 1, gnp.matmul),
    Row("Gemm", 7, gemm),
    Row("Einsum", 12, _einsum),
    Row("Det", 11, gnp.linalg.det),
    Row("MatMulInteger", 10, matmul_integer),
]
