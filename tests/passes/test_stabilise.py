"""Fragile forms and their gradients, before and after `Stabilise`, against float64 truth."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.special

from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.passes.pipeline import PIPELINE, pipeline, run_passes
from graphc.transform.autodiff import jvp, vjp

CONSTANT = "%9: f32[] = constant() {value=f32[]{1.0}}\n %10: f32[2,3] = broadcast(%9) {shape=(2, 3), dims=()}\n"


def graph(body: str) -> Graph:
    return parse(f"graph f(%0: f32[2,3] x) {{\n {CONSTANT} {body}\n}}")


KEEPDIMS = """%2: f32[2] = reduce_sum(%1) {axes=(1,)}
 %3: f32[2,1] = reshape(%2) {shape=(2, 1)}
 %4: f32[2,3] = broadcast(%3) {shape=(2, 3), dims=(0, 1)}"""

FORMS = {
    "softmax": f"%1: f32[2,3] = exp(%0)\n {KEEPDIMS}\n %5: f32[2,3] = div(%1, %4)\n return %5",
    "log_softmax": f"""%1: f32[2,3] = exp(%0)\n {KEEPDIMS}\n %5: f32[2,3] = div(%1, %4)
 %6: f32[2,3] = log(%5)\n return %6""",
    "logsumexp": "%1: f32[2,3] = exp(%0)\n %2: f32[2] = reduce_sum(%1) {axes=(1,)}\n %3: f32[2] = log(%2)\n return %3",
    "log_sigmoid": "%1: f32[2,3] = sigmoid(%0)\n %2: f32[2,3] = log(%1)\n return %2",
    "log_one_minus_sigmoid": """%1: f32[2,3] = sigmoid(%0)\n %2: f32[2,3] = sub(%10, %1)
 %3: f32[2,3] = log(%2)\n return %3""",
    "softplus": "%1: f32[2,3] = exp(%0)\n %2: f32[2,3] = add(%10, %1)\n %3: f32[2,3] = log(%2)\n return %3",
    "logistic": """%1: f32[2,3] = neg(%0)\n %2: f32[2,3] = exp(%1)\n %3: f32[2,3] = add(%10, %2)
 %4: f32[2,3] = div(%10, %3)\n return %4""",
}


def truth(name: str, x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    special = {
        "softmax": lambda: scipy.special.softmax(wide, axis=1),
        "log_softmax": lambda: scipy.special.log_softmax(wide, axis=1),
        "logsumexp": lambda: scipy.special.logsumexp(wide, axis=1),
        "log_sigmoid": lambda: scipy.special.log_expit(wide),
        "log_one_minus_sigmoid": lambda: scipy.special.log_expit(-wide),
        "softplus": lambda: -scipy.special.log_expit(-wide),
        "logistic": lambda: scipy.special.expit(wide),
    }
    return np.asarray(special[name]())


def true_gradient(name: str, x: np.ndarray, ct: np.ndarray) -> np.ndarray:
    wide, s = x.astype(np.float64), scipy.special.expit(x.astype(np.float64))
    p = scipy.special.softmax(wide, axis=1)
    other = scipy.special.expit(-wide)
    special = {
        "softmax": lambda: p * (ct - np.sum(p * ct, axis=1, keepdims=True)),
        "log_softmax": lambda: ct - p * np.sum(ct, axis=1, keepdims=True),
        "logsumexp": lambda: p * ct[:, None],
        "log_sigmoid": lambda: ct * other,
        "log_one_minus_sigmoid": lambda: -ct * s,
        "softplus": lambda: ct * s,
        "logistic": lambda: ct * s * other,
    }
    return np.asarray(special[name]())


POINTS = {
    "moderate": np.array([[0.3, -1.2, 2.0], [1.0, 0.0, -0.5]], np.float32),
    "large": np.array([[120.0, 3.0, -150.0], [-300.0, -200.0, -250.0]], np.float32),
    "huge": np.array([[1e4, 0.0, -1e4], [88.8, 89.0, 200.0]], np.float32),
}


def close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-30)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", FORMS)
def test_values(name: str, point: str) -> None:
    stable = run_passes(graph(FORMS[name]), PIPELINE)
    verify(stable)
    (found,) = interpret(stable, [POINTS[point]])
    close(found, truth(name, POINTS[point]))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", FORMS)
def test_gradients(name: str, point: str) -> None:
    stable = run_passes(vjp(graph(FORMS[name]), [True]), PIPELINE)
    verify(stable)
    x = POINTS[point]
    ct = np.random.default_rng(0).normal(size=stable.inputs[1].shape).astype(np.float32)
    _, found = interpret(stable, [x, ct])
    expected = true_gradient(name, x, ct)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 if "softmax" in name else 1e-30)


@pytest.mark.parametrize("name", FORMS)
def test_the_forms_are_fragile_without_it(name: str) -> None:
    """What the pass is for: at least one of the points above overflows or loses everything without it."""
    naive = run_passes(vjp(graph(FORMS[name]), [True]), pipeline(stabilise=False))
    ct = np.ones(naive.inputs[1].shape, np.float32)
    with np.errstate(all="ignore"):
        results = [interpret(naive, [x, ct]) for x in POINTS.values()]
    assert not all(np.all(np.isfinite(array)) for pair in results for array in pair)


@pytest.mark.parametrize("name", FORMS)
def test_second_derivatives_survive(name: str) -> None:
    second = jvp(vjp(graph(FORMS[name]), [True]), [True, False])
    stable = run_passes(second, PIPELINE)
    verify(stable)
    x = POINTS["moderate"]
    rng = np.random.default_rng(1)
    args = [x, rng.normal(size=second.inputs[1].shape).astype(np.float32), rng.normal(size=x.shape).astype(np.float32)]
    for got, want in zip(interpret(stable, args), interpret(second, args), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def test_binary_cross_entropy_and_its_gradient() -> None:
    """-(y log s + (1 - y) log(1 - s)) as people write it."""
    written = parse(f"""graph bce(%0: f32[2,3] x, %1: f32[2,3] y) {{
     {CONSTANT}
     %2: f32[2,3] = sigmoid(%0)
     %3: f32[2,3] = log(%2)
     %4: f32[2,3] = mul(%1, %3)
     %5: f32[2,3] = sub(%10, %1)
     %6: f32[2,3] = sub(%10, %2)
     %7: f32[2,3] = log(%6)
     %8: f32[2,3] = mul(%5, %7)
     %11: f32[2,3] = add(%4, %8)
     %12: f32[2,3] = neg(%11)
     return %12
    }}""")
    stable = run_passes(vjp(written, [True, False]), PIPELINE)
    y = np.array([[0, 1, 0.25], [1, 0, 0.5]], np.float32)
    for x in POINTS.values():
        value, found = interpret(stable, [x, y, np.ones((2, 3), np.float32)])
        wide = x.astype(np.float64)
        close(value, -(y * scipy.special.log_expit(wide) + (1 - y) * scipy.special.log_expit(-wide)))
        np.testing.assert_allclose(found, scipy.special.expit(wide) - y, rtol=1e-5, atol=1e-6)


def test_unnormalised_attention() -> None:
    """(exp(scores) @ v) / sum(exp(scores))"""
    written = parse("""graph f(%0: f32[2,3] scores, %1: f32[3,4] v) {
     %2: f32[2,3] = exp(%0)
     %3: f32[2,4] = dot_general(%2, %1) {lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}
     %4: f32[2] = reduce_sum(%2) {axes=(1,)}
     %5: f32[2,4] = broadcast(%4) {shape=(2, 4), dims=(0,)}
     %6: f32[2,4] = div(%3, %5)
     return %6
    }""")
    v = np.arange(12, dtype=np.float32).reshape(3, 4)
    for x in POINTS.values():
        (found,) = interpret(run_passes(written, PIPELINE), [x, v])
        close(found, scipy.special.softmax(x.astype(np.float64), axis=1) @ v)


STAYS: Sequence[str] = (
    # shifted already
    """%1: f32[2] = reduce_max(%0) {axes=(1,)}
    %2: f32[2,3] = broadcast(%1) {shape=(2, 3), dims=(0,)}
    %3: f32[2,3] = sub(%0, %2)
    %4: f32[2,3] = exp(%3)
    %5: f32[2] = reduce_sum(%4) {axes=(1,)}
    %6: f32[2,3] = broadcast(%5) {shape=(2, 3), dims=(0,)}
    %7: f32[2,3] = div(%4, %6)
    return %7""",
    # the sum itself is wanted
    "%1: f32[2,3] = exp(%0)\n %2: f32[2] = reduce_sum(%1) {axes=(1,)}\n %3: f32[2] = log(%2)\n return %3, %2",
    # divided by the sum over another axis
    """%1: f32[2,3] = exp(%0)
    %2: f32[3] = reduce_sum(%1) {axes=(0,)}
    %3: f32[2] = reduce_sum(%1) {axes=(1,)}
    %4: f32[2,3] = broadcast(%3) {shape=(2, 3), dims=(0,)}
    %5: f32[2,3] = div(%1, %4)
    return %5, %2""",
    # something is added to the sum
    """%9: f32[] = constant() {value=f32[]{1.0}}
    %10: f32[2] = broadcast(%9) {shape=(2,), dims=()}
    %1: f32[2,3] = exp(%0)
    %2: f32[2] = reduce_sum(%1) {axes=(1,)}
    %3: f32[2] = add(%2, %10)
    %4: f32[2,3] = broadcast(%3) {shape=(2, 3), dims=(0,)}
    %5: f32[2,3] = div(%1, %4)
    return %5""",
)


@pytest.mark.parametrize("body", STAYS)
def test_what_cannot_or_need_not_be_shifted_stays(body: str) -> None:
    written = parse(f"graph f(%0: f32[2,3] x) {{\n{body}\n}}")
    assert run_passes(written, PIPELINE) is written
