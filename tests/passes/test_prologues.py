"""Operands of products are computed in their packing where that moves fewer bytes, and nowhere else."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.passes.partition import partition
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import same_bits

ROWS = "{lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}"
BATCH = f"""
graph f(%0: f32[200,48], %1: i32[32], %2: f32[48,64], %3: f32[32,64]) {{
  %4: f32[32,48] = gather(%0, %1) {{axis=0}}
  %5: f32[32,64] = dot_general(%4, %2) {ROWS}
  %6: f32[32,64] = mul(%5, %3)
  %7: f32[48,64] = dot_general(%4, %6) {{lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}}
  return %7
}}
"""
OPERAND = f"""
graph f(%0: f32[40,48], %1: f32[40,48], %2: f32[48,64]) {{
  %3: f32[40,48] = OP
  %4: f32[40,64] = dot_general(%3, %2) {ROWS}
  return %4
}}
"""


def kernels(graph: Graph) -> int:
    verify(graph)
    return sum(node.op.name == "fusion" for node in graph.nodes)


def arguments(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [
        rng.standard_normal(v.shape).astype(np.float32)
        if v.dtype.is_float
        else rng.integers(-3, 210, v.shape, np.int32)
        for v in graph.inputs
    ]


def test_a_batch_is_gathered_by_the_products_that_read_it() -> None:
    graph = parse(BATCH)
    assert kernels(partition(graph)) == 2
    assert same_bits(compile_and_run(graph, arguments(graph)), compile_and_run(graph, arguments(graph), fuse=False))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("add(%0, %1)", 1),
        ("exp(%0)", 2),  # as often as the operand is packed costs more than writing it once
        ("reverse(%0) {axes=(1,)}", 1),
    ],
)
def test_bytes_and_work_decide(op: str, expected: int) -> None:
    graph = parse(OPERAND.replace("OP", op))
    assert kernels(partition(graph)) == expected
    assert same_bits(compile_and_run(graph, arguments(graph)), compile_and_run(graph, arguments(graph), fuse=False))


def test_what_something_else_reads_is_written() -> None:
    graph = parse(OPERAND.replace("OP", "add(%0, %1)").replace("return %4", "return %4, %3"))
    assert kernels(partition(graph)) == 2


def test_the_native_kernels_have_the_bits_of_the_unfused() -> None:
    rng = np.random.default_rng(3)
    table = rng.standard_normal((300, 70)).astype(np.float32)
    rows = rng.integers(0, 300, 37).astype(np.int32)
    mask = rng.random((37, 70)) > 0.5
    w = rng.standard_normal((70, 45)).astype(np.float32)

    def fused(table, rows, mask, w):  # type: ignore[no-untyped-def]
        x = gnp.take(table, rows, axis=0)
        return gnp.where(mask, x * 0.5, gnp.zeros_like(x)) @ w

    def product(x, w):  # type: ignore[no-untyped-def]
        return x @ w

    args = (table, rows, mask, w)
    got = gc.compile(fused, *(gc.spec(a.shape, str(a.dtype)) for a in args))(*args)
    x = np.where(mask, table[rows] * np.float32(0.5), np.float32(0))
    want = gc.compile(product, gc.spec(x.shape), gc.spec(w.shape))(x, w)
    np.testing.assert_array_equal(got, want)
