"""Derivatives of every primitive against central differences in float64: jvp, vjp, and second order in every mix."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from graphc.core.errors import GradientError
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.graph.registry import all_ops
from graphc.graph.verify import verify
from graphc.transform.autodiff import jvp, linearize, vjp
from graphc.transform.autodiff.rows import NoDerivative, Zero
from graphc.transform.autodiff.table import ROWS
from tests.samples import SAMPLES, Sample, all_pass, graph_of
from tests.transform.corners import CORNERS

STEP = 1e-5


def differentiable(graph: Graph) -> list[bool]:
    return [value.dtype.is_inexact for value in graph.inputs]


SMALL = [s for s in (*SAMPLES, *CORNERS) if s.differentiate and sum(x.size for x in s.inputs) <= 400]
OPS = sorted({sample.op for sample in SMALL})


def cases(op: str) -> list[Sample]:
    """The samples of a primitive that has a derivative which are small enough to be quick."""
    return [sample for sample in SMALL if sample.op == op]


def directions(graph: Graph, rng: np.random.Generator) -> list[np.ndarray]:
    return [normal(rng, v.shape, v.dtype.numpy) for v in graph.inputs if v.dtype.is_inexact]


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
    drawn = rng.normal(size=shape)
    return (drawn + 1j * rng.normal(size=shape) if dtype.kind == "c" else drawn).astype(dtype)


def pairing(cotangent: np.ndarray, tangent: np.ndarray) -> float:
    return float(np.sum(cotangent * tangent).real)


def finite_difference(
    graph: Graph, point: Sequence[np.ndarray], direction: Sequence[np.ndarray], step: float = STEP
) -> list[np.ndarray]:
    """The derivative of the float outputs along `direction`, by central differences."""

    def at(scale: float) -> list[np.ndarray]:
        moved = iter(direction)
        shifted = [x + (scale * next(moved)).astype(x.dtype) if x.dtype.kind in "fc" else x for x in point]
        return [y for y in interpret(graph, shifted) if y.dtype.kind in "fc"]

    with np.errstate(invalid="ignore"):  # the maximum of nothing is -inf and does not move
        return [np.where(a == b, 0, (b - a) / (2 * step)) for a, b in zip(at(-step), at(step), strict=True)]


def check_jvp(
    graph: Graph, point: Sequence[np.ndarray], rng: np.random.Generator, tolerance: float, step: float
) -> None:
    direction = directions(graph, rng)
    derived = jvp(graph, differentiable(graph))
    verify(derived)
    outputs = interpret(derived, [*point, *direction])
    primal = interpret(graph, point)
    for got, expected in zip(outputs, primal, strict=False):
        np.testing.assert_array_equal(got, expected)
    moved = finite_difference(graph, point, direction, step)
    for got, want in zip(outputs[len(primal) :], moved, strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


def check_vjp(
    graph: Graph, point: Sequence[np.ndarray], rng: np.random.Generator, tolerance: float, step: float
) -> None:
    """<cotangent, finite difference along v> == <vjp(cotangent), v>."""
    direction = directions(graph, rng)
    derived = vjp(graph, differentiable(graph))
    verify(derived)
    primal = interpret(graph, point)
    cotangents = [normal(rng, y.shape, y.dtype) for y in primal if y.dtype.kind in "fc"]
    outputs = interpret(derived, [*point, *cotangents])
    for got, expected in zip(outputs, primal, strict=False):
        np.testing.assert_array_equal(got, expected)
    moved = finite_difference(graph, point, direction, step)
    left = sum(pairing(ct, d) for ct, d in zip(cotangents, moved, strict=True))
    right = sum(pairing(g, v) for g, v in zip(outputs[len(primal) :], direction, strict=True))
    assert left == pytest.approx(right, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("check", [check_jvp, check_vjp])
@pytest.mark.parametrize("op", OPS)
def test_first_order(op: str, check: Callable[..., None]) -> None:
    all_pass(lambda s: check(graph_of(s), s.inputs, np.random.default_rng(1), 1e-7, STEP), cases(op))


@pytest.mark.parametrize("inner", [jvp, vjp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("check", [check_jvp, check_vjp])
@pytest.mark.parametrize("op", OPS)
def test_second_order(op: str, check: Callable[..., None], inner: Callable[..., Graph]) -> None:
    def second_order(sample: Sample) -> None:
        rng = np.random.default_rng(2)
        graph = graph_of(sample)
        first = inner(graph, differentiable(graph))
        point = [*sample.inputs, *(normal(rng, v.shape, v.dtype.numpy) for v in first.inputs[len(sample.inputs) :])]
        check(first, point, rng, 1e-6, STEP)

    all_pass(second_order, cases(op))


@pytest.mark.parametrize("op", OPS)
def test_linearize_agrees_with_jvp(op: str) -> None:
    all_pass(linearize_agrees_with_jvp, cases(op))


def linearize_agrees_with_jvp(sample: Sample) -> None:
    graph, point = graph_of(sample), sample.inputs
    direction = directions(graph, np.random.default_rng(3))
    together = interpret(jvp(graph, differentiable(graph)), [*point, *direction])
    forward, linear = linearize(graph, differentiable(graph))
    verify(forward)
    verify(linear)
    results = interpret(forward, point)
    count = len(graph.outputs)
    tangents = interpret(linear, [*results[count:], *direction])
    for got, want in zip([*results[:count], *tangents], together, strict=True):
        np.testing.assert_array_equal(got, want)


def test_casts_between_floats() -> None:
    graph = parse("graph f(%0: f32[2]) {\n %1: f64[2] = cast(%0) {dtype=f64}\n %2: f64[2] = mul(%1, %1)\n return %2\n}")
    (_, found) = interpret(vjp(graph, [True]), [np.array([1, 2], np.float32), np.ones(2)])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [2, 4])


def test_every_primitive_has_a_row() -> None:
    missing = [op.name for op in all_ops() if op not in ROWS]
    assert not missing, (
        f"add rows (Zero or NoDerivative where there is none) to graphc/transform/autodiff for {missing}"
    )


def test_every_rule_is_tested() -> None:
    with_rule = {op.name for op, row in ROWS.items() if not isinstance(row, (Zero, NoDerivative))}
    assert set(OPS) >= with_rule


def test_stop_gradient_stops() -> None:
    graph = parse("graph f(%0: f64[2]) {\n %1: f64[2] = stop_gradient(%0)\n return %1\n}")
    outputs = interpret(vjp(graph, [True]), [np.ones(2), np.ones(2)])
    np.testing.assert_array_equal(outputs[1], np.zeros(2))


def test_integer_arguments_have_no_derivative() -> None:
    gather = next(s for s in CORNERS if s.op == "gather")
    with pytest.raises(GradientError, match=r"gather: argument 1 is i32\[3,2\]"):
        vjp(graph_of(gather), [True, True])


def test_ops_without_a_derivative_name_themselves() -> None:
    fusion = next(s for s in SAMPLES if s.op == "fusion")
    with pytest.raises(GradientError, match="fusion: cannot be differentiated"):
        jvp(graph_of(fusion), [True])
