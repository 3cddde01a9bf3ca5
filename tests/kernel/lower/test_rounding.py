"""The order of rounding of sums and products, against the rule written out in NumPy: bit for bit."""

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, TensorType
from graphc.graph.ops.contraction import DotAttrs, dot_general
from graphc.graph.ops.movement import AxesAttrs
from graphc.graph.ops.reduction import reduce_sum
from graphc.kernel.arith import fma
from tests.kernel.lower.execute import compile_and_run


def tree(parts: list[np.ndarray]) -> np.ndarray:
    stride = 1
    while stride < len(parts):
        for i in range(0, len(parts) - stride, 2 * stride):
            parts[i] = parts[i] + parts[i + stride]
        stride *= 2
    return parts[0]


def rule(rows: np.ndarray) -> np.ndarray:
    """Sum over axis 0: chunks of 1024, 16 lanes, trees."""
    if len(rows) == 1:
        return rows[0]
    chunks: list[np.ndarray] = []
    for start in range(0, len(rows), 1024):
        lanes = [np.zeros(rows.shape[1:], np.float32) for _ in range(16)]
        for number, row in enumerate(rows[start : start + 1024]):
            lanes[number % 16] = lanes[number % 16] + row
        for half in (8, 4, 2, 1):
            lanes = [lanes[l] + lanes[l + half] for l in range(half)]
        chunks.append(lanes[0])
    return tree(chunks)


def summing(shape: tuple[int, ...], axes: tuple[int, ...]) -> Graph:
    builder = GraphBuilder("sum")
    x = builder.input(TensorType(shape, dtypes.float32))
    return builder.build([builder.add1(reduce_sum, [x], AxesAttrs(axes))])


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 1000, 1024, 1025, 5000])
def test_row_column_and_full_sums_follow_one_rule(n: int) -> None:
    x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
    wanted = rule(x)
    assert np.array_equal(compile_and_run(summing((n, 3), (0,)), [x])[0], wanted)
    assert np.array_equal(compile_and_run(summing((3, n), (1,)), [np.ascontiguousarray(x.T)])[0], wanted)
    assert np.array_equal(compile_and_run(summing((n,), (0,)), [x[:, 0].copy()])[0], wanted[0])


def test_several_axes_are_taken_in_row_major_order() -> None:
    x = np.random.default_rng(0).standard_normal((7, 2, 48)).astype(np.float32)
    wanted = rule(np.ascontiguousarray(x.transpose(0, 2, 1)).reshape(-1, 2))
    assert np.array_equal(compile_and_run(summing((7, 2, 48), (0, 2)), [x])[0], wanted)


@pytest.mark.parametrize("k", [0, 1, 5, 4096, 4097, 9000, 12288])
def test_products_are_chains_of_4096(k: int) -> None:
    rng = np.random.default_rng(k)
    x, y = rng.standard_normal((2, k)).astype(np.float32), rng.standard_normal((k, 3)).astype(np.float32)
    parts: list[np.ndarray] = []
    for start in range(0, max(k, 1), 4096):
        total = np.zeros((2, 3), np.float32)
        for i in range(start, min(start + 4096, k)):
            total = fma(np.broadcast_to(x[:, i, None], (2, 3)), np.broadcast_to(y[i], (2, 3)), total)
        parts.append(total)
    builder = GraphBuilder("dot")
    operands = [builder.input(TensorType(a.shape, dtypes.float32)) for a in (x, y)]
    graph = builder.build([builder.add1(dot_general, operands, DotAttrs((1,), (0,)))])
    assert np.array_equal(compile_and_run(graph, [x, y])[0], tree(parts))
