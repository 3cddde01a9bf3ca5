"""Batching of every primitive: what an example gives in a batch is what it gives alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.registry import all_ops
from graphc.graph.verify import verify
from graphc.transform.autodiff import jvp, vjp
from graphc.transform.batching import batch
from graphc.transform.batching.rows import NoBatching
from graphc.transform.batching.table import ROWS
from tests.fuzz.checks import run_on
from tests.random_graphs import random_graph, same_bits
from tests.samples import SAMPLES, Sample, graph_of
from tests.transform.corners import CORNERS

SIZE = 3
SUMS = ("reduce_sum", "reduce_prod", "dot_general", "scatter_add")
OPERANDS = [sample for sample in (*SAMPLES, *CORNERS) if sample.inputs]


def examples(x: np.ndarray, number: int) -> np.ndarray:
    """A variation of `x` that is a valid operand wherever x is: its elements in another order."""
    return np.roll(np.ascontiguousarray(x).reshape(-1), number).reshape(x.shape)


def marks(count: int) -> Iterator[tuple[bool, ...]]:
    """All operands batched, and each alone."""
    yield (True,) * count
    if count > 1:
        yield from (tuple(i == chosen for i in range(count)) for chosen in range(count))


def batch_of(inputs: Sequence[np.ndarray], batched: Sequence[bool]) -> list[np.ndarray]:
    """One input per operand: those that are batched hold `SIZE` variations."""
    return [
        np.stack([examples(x, i) for i in range(SIZE)]) if is_batched else x
        for x, is_batched in zip(inputs, batched, strict=True)
    ]


def alone(inputs: Sequence[np.ndarray], batched: Sequence[bool], number: int) -> list[np.ndarray]:
    return [x[number] if is_batched else x for x, is_batched in zip(inputs, batched, strict=True)]


def test_every_primitive_has_a_row() -> None:
    missing = [op.name for op in all_ops() if op not in ROWS]
    assert not missing, (
        f"add rows (NoBatching where there is none) to graphc/transform/batching, in the file of the family and "
        f"to _FAMILIES in table.py where the file is new, for {missing}"
    )


def test_every_rule_is_tested() -> None:
    with_rule = {op.name for op, row in ROWS.items() if not isinstance(row, NoBatching)}
    assert {sample.op for sample in OPERANDS} >= with_rule


@pytest.mark.parametrize("op", sorted({sample.op for sample in OPERANDS} - {"fusion"}))
def test_an_example_is_what_it_is_alone(op: str) -> None:
    for sample in (s for s in OPERANDS if s.op == op):
        graph = graph_of(sample)
        for batched in marks(len(sample.inputs)):
            found = batch(graph, SIZE, batched)
            verify(found.graph)
            inputs = batch_of(sample.inputs, batched)
            together = interpret(found.graph, inputs)
            for number in range(SIZE):
                wanted = interpret(graph, alone(inputs, batched, number))
                for got, want, has in zip(together, wanted, found.outputs, strict=True):
                    assert_close(sample, got[number] if has else got, want)


def assert_close(sample: Sample, got: np.ndarray, want: np.ndarray) -> None:
    """The interpreter is NumPy, which adds up in an order that depends on the layout."""
    assert got.dtype == want.dtype, sample.id
    rtol = max(sample.rtol, 1e-13 if sample.op in SUMS and want.dtype.kind in "fc" else 0.0)
    if same_bits([got], [want]):
        return
    assert rtol, sample.id
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    scale = float(np.max(np.abs(want.astype(wide)), initial=0.0))
    error = np.abs(got.astype(wide) - want.astype(wide))
    assert float(np.max(error, initial=0.0)) <= rtol * scale, sample.id


def small(op: str) -> list[Sample]:
    """Some samples of an op, of different dtypes and shapes."""
    found = [s for s in OPERANDS if s.op == op and sum(x.size for x in s.inputs) <= 400]
    return found[:: max(1, len(found) // 6)]


# An example alone is a product with a vector, which may add up in another order than a product of matrices.
VECTORS = ("inner", "matvec", "vecmat")


@pytest.mark.parametrize("op", sorted({sample.op for sample in OPERANDS} - {"fusion"}))
def test_bits_on_cpu(op: str) -> None:
    """The compiled program gives each example the bits it has alone."""
    for sample in small(op):
        if any(sample.name.startswith(name) for name in VECTORS):
            continue
        graph = graph_of(sample)
        last = tuple(i == len(sample.inputs) - 1 for i in range(len(sample.inputs)))
        for batched in {(True,) * len(sample.inputs), last}:
            found = batch(graph, SIZE, batched)
            inputs = batch_of(sample.inputs, batched)
            together = run_on("cpu", found.graph, inputs)
            for number in range(SIZE):
                wanted = run_on("cpu", graph, alone(inputs, batched, number))
                mine = [x[number] if has else x for x, has in zip(together, found.outputs, strict=True)]
                assert same_bits(mine, wanted), (sample.id, batched)


def batched_inputs(graph: Graph, inputs: Sequence[np.ndarray], seed: int) -> tuple[list[np.ndarray], tuple[bool, ...]]:
    flags = [bool(x) for x in np.random.default_rng(seed).random(len(inputs)) < 0.7]
    flags[seed % len(flags)] = True
    return batch_of(inputs, flags), tuple(flags)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed: int) -> None:
    made = random_graph(seed, size=12, floats_only=seed % 3 == 0)
    inputs, flags = batched_inputs(made.graph, made.inputs, seed)
    found = batch(made.graph, SIZE, flags)
    verify(found.graph)
    together = interpret(found.graph, inputs)
    for number in range(SIZE):
        wanted = interpret(made.graph, alone(inputs, flags, number))
        for got, want, has in zip(together, wanted, found.outputs, strict=True):
            mine = got[number] if has else got
            assert mine.dtype == want.dtype
            scale = float(np.max(np.abs(want.astype(np.float64)), initial=1.0))
            tolerance = 1e-4 if want.dtype.kind not in "biu" else 0
            np.testing.assert_allclose(
                mine.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance * scale
            )


@pytest.mark.parametrize("derive", [jvp, vjp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", range(20))
def test_derivatives_and_batching_commute(seed: int, derive: object) -> None:
    """The derivative of the batch is the batch of the derivative."""
    made = random_graph(seed, size=8, floats_only=True)
    wrt = [v.dtype.is_float for v in made.graph.inputs]
    assert callable(derive)
    first = derive(made.graph, wrt)
    rng = np.random.default_rng(seed)
    more = [rng.normal(size=v.shape).astype(v.dtype.numpy) for v in first.inputs[len(made.inputs) :]]
    everything = (True,) * len(first.inputs)
    inputs = batch_of([*made.inputs, *more], everything)
    one = batch(first, SIZE, everything, (True,) * len(first.outputs)).graph
    whole = batch(made.graph, SIZE, everything[: len(made.inputs)], (True,) * len(made.graph.outputs)).graph
    other = derive(whole, wrt)
    for got, want in zip(interpret(one, inputs), interpret(other, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * float(np.max(np.abs(want), initial=1.0)))


def test_what_does_not_depend_on_a_batched_input_is_computed_once() -> None:
    sample = next(s for s in SAMPLES if s.op == "exp" and s.inputs[0].shape == (7,))
    found = batch(graph_of(sample), SIZE, (False,))
    assert found.outputs == (False,)
    assert found.graph.output_types == graph_of(sample).output_types


def test_flags_must_fit() -> None:
    with pytest.raises(ArgumentError, match="has 1 inputs, got 2 flags"):
        batch(graph_of(next(s for s in SAMPLES if s.op == "exp")), SIZE, (True, False))


def test_ops_without_batching_name_themselves() -> None:
    fusion = next(s for s in SAMPLES if s.op == "fusion")
    with pytest.raises(UnsupportedError, match="fusion: cannot be batched, fused kernels come after batching"):
        batch(graph_of(fusion), SIZE, (True,) * len(fusion.inputs))
