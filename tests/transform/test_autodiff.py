"""Differentiation of whole graphs: the formulas of backpropagation, a worked example, conventions, calls, errors."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from graphc.core.errors import GradientError
from graphc.core.source import Loc
from graphc.graph import registry
from graphc.graph.builder import GraphBuilder
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Attrs, Graph, TensorType, regions
from graphc.graph.ops import elementwise
from graphc.graph.ops.structural import CallAttrs
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.transform.autodiff import jvp, linearize, transpose, vjp

DOT = "{lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}"


def gradient(graph: Graph, args: Sequence[np.ndarray], wrt: Sequence[bool] | None = None) -> list[np.ndarray]:
    """Gradients of the sum of all outputs."""
    flags = wrt or [v.dtype.is_float for v in graph.inputs]
    ones = [np.ones(v.shape, v.dtype.numpy) for v in graph.outputs if v.dtype.is_float]
    derived = vjp(graph, flags)
    verify(derived)
    return interpret(derived, [*args, *ones])[len(graph.outputs) :]


def unary(op: str, dtype: str = "f64") -> Graph:
    return parse(f"graph f(%0: {dtype}[1]) {{\n %1: {dtype}[1] = {op}(%0)\n return %1\n}}")


def test_backpropagation_formulas(golden: Callable[[str, str], None]) -> None:
    """z_i = sigma(W_i z_{i-1} + b_i): v_i = sigma'(u_i) r_i, db_i = v_i, dW_i = v_i z_{i-1}^T, r_{i-1} = W_i^T v_i."""
    graph = parse(f"""
    graph layers(%0: f64[3] z0, %1: f64[4,3] W1, %2: f64[4] b1, %3: f64[2,4] W2, %4: f64[2] b2) {{
      %5: f64[4] = dot_general(%1, %0) {DOT}
      %6: f64[4] = add(%5, %2)
      %7: f64[4] = sigmoid(%6)
      %8: f64[2] = dot_general(%3, %7) {DOT}
      %9: f64[2] = add(%8, %4)
      %10: f64[2] = sigmoid(%9)
      return %10
    }}""")
    derived = vjp(graph, [True] * 5)
    golden("backpropagation", str(derived))
    rng = np.random.default_rng(0)
    z0, w1, b1, w2, b2, r2 = (rng.normal(size=s) for s in ((3,), (4, 3), (4,), (2, 4), (2,), (2,)))

    def sigma(x: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-x)))

    u1 = w1 @ z0 + b1
    z1 = sigma(u1)
    u2 = w2 @ z1 + b2
    v2 = sigma(u2) * sigma(-u2) * r2
    v1 = sigma(u1) * sigma(-u1) * (w2.T @ v2)
    expected = [sigma(u2), w1.T @ v1, np.outer(v1, z0), v1, np.outer(v2, z1), v2]
    for got, want in zip(interpret(derived, [z0, w1, b1, w2, b2, r2]), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_hand_example_is_exact() -> None:
    """x = 1, w11 = 2, w12 = -1, w21 = 1, w22 = 3, ReLU, loss (z - 1)^2 / 2: z = 2, dw21 = 2, dw11 = 1, dw12 = 0."""
    graph = parse(f"""
    graph loss(%0: f64[1] x, %1: f64[2,1] w1, %2: f64[1,2] w2) {{
      %3: f64[2] = dot_general(%1, %0) {DOT}
      %4: f64[2] = constant() {{value=f64[2]{{0.0, 0.0}}}}
      %5: f64[2] = max(%3, %4)
      %6: f64[1] = dot_general(%2, %5) {DOT}
      %7: f64[1] = constant() {{value=f64[1]{{1.0}}}}
      %8: f64[1] = sub(%6, %7)
      %9: f64[1] = mul(%8, %8)
      %10: f64[1] = constant() {{value=f64[1]{{0.5}}}}
      %11: f64[1] = mul(%9, %10)
      return %11, %6
    }}""")
    args = [np.array([1.0]), np.array([[2.0], [-1.0]]), np.array([[1.0, 3.0]])]
    loss, z, dw1, dw2 = interpret(vjp(graph, [False, True, True]), [*args, np.ones(1), np.zeros(1)])
    assert (loss.item(), z.item()) == (0.5, 2)
    np.testing.assert_array_equal(dw1, [[1.0], [0.0]])
    np.testing.assert_array_equal(dw2, [[2.0, 0.0]])


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("operands", ["%0, %2", "%2, %0"])
def test_the_derivative_of_relu_at_zero_is_zero(op: str, operands: str) -> None:
    graph = parse(f"""
    graph relu(%0: f32[3]) {{
      %1: f32[] = constant() {{value=f32[]{{0.0}}}}
      %2: f32[3] = broadcast(%1) {{shape=(3,), dims=()}}
      %3: f32[3] = {op}({operands})
      return %3
    }}""")
    sign = 1 if op == "max" else -1
    (found,) = gradient(graph, [sign * np.array([-1, 0, 1], np.float32)])
    np.testing.assert_array_equal(found, [0, 0, 1])


def test_a_tie_of_two_variables_goes_to_the_second() -> None:
    graph = parse("graph f(%0: f64[2], %1: f64[2]) {\n %2: f64[2] = max(%0, %1)\n return %2\n}")
    x, y = np.array([1.0, 2]), np.array([1.0, 1])
    for wrt, expected in (([True, True], ([0, 1], [1, 0])), ([False, True], ([1, 0],)), ([True, False], ([0, 1],))):
        np.testing.assert_array_equal(gradient(graph, [x, y], wrt), expected)


@pytest.mark.parametrize("op", ["reduce_max", "reduce_min"])
def test_an_extreme_gives_all_to_the_first_in_row_major_order(op: str) -> None:
    graph = parse(f"graph f(%0: f64[2,2,2]) {{\n %1: f64[2] = {op}(%0) {{axes=(0, 2)}}\n return %1\n}}")
    sign = 1 if op == "reduce_max" else -1
    x = sign * np.array([[[1.0, 5], [0, 0]], [[5, 5], [0, 0]]])
    (found,) = gradient(graph, [x])
    np.testing.assert_array_equal(found, [[[0, 1], [1, 0]], [[0, 0], [0, 0]]])


def test_products_with_zeros() -> None:
    graph = parse("graph f(%0: f64[3,4]) {\n %1: f64[3] = reduce_prod(%0) {axes=(1,)}\n return %1\n}")
    (found,) = gradient(graph, [np.array([[2.0, 0, 3, 4], [0, 1, 0, 2], [1, 2, 3, 4]])])
    np.testing.assert_array_equal(found, [[0, 24, 0, 0], [0, 0, 0, 0], [24, 12, 8, 6]])


@pytest.mark.parametrize(
    ("op", "at", "expected"),
    [
        ("abs", 0.0, 0.0),
        ("sigmoid", 40.0, np.exp(-40.0)),
        ("sigmoid", -700.0, np.exp(-700.0)),
        ("tanh", 15.0, 4 * np.exp(-30.0)),
        ("expm1", -50.0, np.exp(-50.0)),
        ("log1p", -1 + 2**-40, 2.0**40),
        ("erfc", 5.0, -2 / np.sqrt(np.pi) * np.exp(-25.0)),
    ],
)
def test_accuracy_where_formulas_are_fragile(op: str, at: float, expected: float) -> None:
    (found,) = gradient(unary(op), [np.array([at])])
    assert found.item() == pytest.approx(expected, rel=2e-2 if op == "tanh" else 1e-14, abs=0)


def test_pow_is_finite_where_its_derivative_is() -> None:
    graph = parse("graph f(%0: f64[4], %1: f64[4]) {\n %2: f64[4] = pow(%0, %1)\n return %2\n}")
    x, y = np.array([0.0, 0, 0, -2]), np.array([0.0, 1, 2, 3])
    dx, dy = gradient(graph, [x, y])
    np.testing.assert_array_equal(dx, [0, 1, 0, 12])
    np.testing.assert_array_equal(dy[:3], [0, 0, 0])
    derived = vjp(graph, [True, False])
    only_dx = Graph("dx", derived.inputs, derived.nodes, derived.outputs[-1:])
    (second,) = gradient(only_dx, [x, y, np.ones(4)], [True, False, False])
    np.testing.assert_array_equal(second, [0, 0, 2, -12])


REPEATED = """
graph block(%0: f64[2] x, %1: f64[2] w) {
  %2: f64[2] = mul(%0, %1)
  %3: f64[2] = tanh(%2)
  return %3
}

graph net(%0: f64[2] x, %1: f64[2] w) {
  %2: f64[2] = call(%0, %1) {graph=@block}
  %3: f64[2] = call(%2, %1) {graph=@block}
  %4: f64[2] = call(%3, %1) {graph=@block}
  return %4
}
"""


@pytest.mark.parametrize("mode", [jvp, vjp])
def test_derivatives_of_a_repeated_callee_stay_shared(mode: Callable[..., Graph]) -> None:
    derived = mode(parse(REPEATED), [True, True])
    callees = [region for node in derived.nodes for region in regions(node)]
    assert len(callees) >= 3
    assert len({id(c) for c in callees}) <= (1 if mode is jvp else 2)


def test_calls_have_the_derivative_of_their_body() -> None:
    nested = parse(REPEATED)
    builder = GraphBuilder("inlined")
    x, w = (builder.input(v.type) for v in nested.inputs)
    for node in nested.nodes:
        assert isinstance(node.attrs, CallAttrs)
        (x,) = builder.inline(node.attrs.graph, [x, w])
    flat = builder.build([x])
    rng = np.random.default_rng(0)
    args = [rng.normal(size=2) for _ in range(2)]
    for got, want in zip(gradient(nested, args), gradient(flat, args), strict=True):
        np.testing.assert_array_equal(got, want)
    second = vjp(vjp(nested, [True, True]), [True, True, True])
    verify(second)


def test_zeros_by_structure_are_not_materialised() -> None:
    """Only what the marked input reaches is differentiated."""
    graph = parse("""
    graph f(%0: f64[2], %1: f64[2]) {
      %2: f64[2] = exp(%0)
      %3: f64[2] = sin(%1)
      %4: f64[2] = add(%2, %3)
      return %4, %2
    }""")
    ops = [node.op.name for node in vjp(graph, [False, True]).nodes]
    assert ops == ["exp", "sin", "add", "cos", "mul"]
    outputs = interpret(jvp(graph, [False, True]), [np.ones(2)] * 3)
    np.testing.assert_array_equal(outputs[3], np.zeros(2))


def test_integer_outputs_have_no_tangent() -> None:
    graph = parse("""
    graph f(%0: f64[3]) {
      %1: i64[] = argmax(%0) {axis=0}
      %2: f64[3] = mul(%0, %0)
      return %1, %2
    }""")
    assert [str(v.type) for v in jvp(graph, [True]).outputs] == ["i64[]", "f64[3]", "f64[3]"]
    assert [str(v.type) for v in vjp(graph, [True]).inputs] == ["f64[3]", "f64[3]"]


def test_linearize_hands_over_what_the_linear_part_needs() -> None:
    graph = parse("graph f(%0: f64[2]) {\n %1: f64[2] = sin(%0)\n %2: f64[2] = mul(%1, %1)\n return %2\n}")
    forward, linear = linearize(graph, [True])
    assert [str(v.type) for v in forward.outputs] == ["f64[2]"] * 3  # the result, cos x, sin x
    assert {node.op.name for node in linear.nodes} == {"mul", "add"}


def test_linearize_hands_over_a_tangent_that_depends_on_none() -> None:
    """The one window there would be does not fit, so nothing of the input is in the result."""
    window = "size=(2,), stride=(1,), low=(0,), high=(0,), base_dilation=(1,), dilation=(1,)"
    graph = parse(f"""
    graph f(%0: f32[1], %1: f32[2], %2: u8[2]) {{
      %3: f32[0] = reduce_window(%0) {{reducer="min", dims=(0,), {window}}}
      %4: f32[0] = scatter(%3, %2, %1) {{axis=0, batch_dims=0}}
      return %4
    }}""")
    forward, linear = linearize(graph, [True, False, False])
    verify(forward)
    verify(linear)
    residuals = len(forward.outputs) - len(graph.outputs)
    assert [v.shape for v in linear.inputs[residuals:]] == [(1,)]
    assert [v.shape for v in linear.outputs] == [(0,)]
    verify(transpose(linear, [number >= residuals for number in range(len(linear.inputs))]))


def test_locations_say_what_a_node_is() -> None:
    builder = GraphBuilder("f")
    x = builder.input(TensorType((2,), elementwise.FLOATS[0]))
    y = builder.add1(elementwise.exp, [x], loc=Loc("train.py", 31))
    graph = builder.build([y])
    assert {str(node.loc) for node in vjp(graph, [True]).nodes} == {"train.py:31", "gradient of train.py:31"}
    assert {str(node.loc) for node in jvp(graph, [True]).nodes} == {"train.py:31", "tangent of train.py:31"}


def test_a_missing_rule_names_op_and_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OPS", dict(registry._OPS))
    op = registry.register("mystery", "elementwise", lambda types, _: types, lambda _, x: (x,), Attrs)
    builder = GraphBuilder("f")
    x = builder.input(TensorType((2,), elementwise.FLOATS[0]))
    y = builder.add1(op, [x], loc=Loc("train.py", 31))
    with pytest.raises(GradientError, match=r"mystery: no derivative rule \(train.py:31\)"):
        vjp(builder.build([y]), [True])
