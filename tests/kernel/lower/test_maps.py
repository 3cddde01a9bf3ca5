"""Maps of several results: one loop nest, every result at the place of the loops."""

import numpy as np
import pytest

from graphc.core.errors import UnsupportedError
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.kernel.interpret import run
from graphc.kernel.ir import Binary, Kernel, Store, walk
from graphc.kernel.lower.fusion import lower_body
from graphc.kernel.verify import verify

# What a dim of its own (the iota's) makes of the dims of one result must not separate it from the other.
RESULTS_OF_ONE_LOOP = """
graph f(%0: i64[3,2,3,2], %1: i64[3,1,3]) {
  %2: i64[2,3,2] = iota() {shape=(2, 3, 2), dtype=i64, axis=2}
  %3: i64[3,2,3,2] = broadcast(%2) {shape=(3, 2, 3, 2), dims=(1, 2, 3)}
  %4: i64[3,2,3,2] = min(%3, %0)
  %5: i64[3,2,1,3,2] = broadcast(%1) {shape=(3, 2, 1, 3, 2), dims=(0, 2, 3)}
  return %4, %5
}
"""

ONE_RESULT_HAS_A_PADDED_DIM = """
graph f(%0: f32[4,5], %1: f32[4,0,5], %2: f32[]) {
  %3: f32[4,1,5] = pad(%1, %2) {low=(0, 1, 0), high=(0, 0, 0), interior=(0, 0, 0)}
  %4: f32[4,5] = neg(%0)
  return %4, %3
}
"""

UNLIKE = """
graph f(%0: f32[2,3], %1: f32[6]) {
  %2: f32[2,3] = neg(%0)
  %3: f32[6] = neg(%1)
  return %2, %3
}
"""


def _stores(kernel: Kernel) -> list[Store]:
    return [statement for statement in walk(kernel.body) if isinstance(statement, Store)]


def _results(kernel: Kernel, graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    given = [np.ascontiguousarray(a).reshape(p.buffer.shape) for a, p in zip(arrays, kernel.params, strict=False)]
    outputs = [np.zeros(p.buffer.shape, p.buffer.dtype.numpy) for p in kernel.params if p.mode == "out"]
    run(kernel, [*given, *outputs])
    return [found.reshape(value.shape) for found, value in zip(outputs, graph.outputs, strict=True)]


@pytest.mark.parametrize("text", [RESULTS_OF_ONE_LOOP, ONE_RESULT_HAS_A_PADDED_DIM])
def test_no_result_needs_arithmetic_on_the_loops(text: str) -> None:
    graph = parse(text)
    kernel = lower_body(graph)
    verify(kernel)
    first, second = _stores(kernel)
    assert not any(isinstance(place, Binary) for place in (*first.index, *second.index))
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-3, 9, value.shape).astype(value.dtype.numpy) for value in graph.inputs]
    for found, wanted in zip(_results(kernel, graph, arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_results_of_other_shapes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"f32\[2,3\], f32\[6\] are not made by one loop nest"):
        lower_body(parse(UNLIKE))
