"""`grad`, `value_and_grad`, `vjp`, `jvp`, `linearize`, `stop_gradient` as functions of Python functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, GradientError
from graphc.graph.verify import verify
from graphc.tracing import Tracer, spec, trace
from graphc.transform import grad, jvp, linearize, stop_gradient, value_and_grad, vjp
from tests.evaluate import through_graph

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=(2,))}
X = RNG.normal(size=(5, 3))


def predict(params: object, x: object) -> object:
    return gnp.tanh(x @ params["w"] + params["b"])  # type: ignore[index,operator]


def loss(params: object, x: object) -> object:
    return gnp.mean(gnp.square(predict(params, x)))


def by_hand() -> dict[str, np.ndarray]:
    h = np.tanh(X @ PARAMS["w"] + PARAMS["b"])
    outer = 2 * h / h.size * (1 - h * h)
    return {"w": X.T @ outer, "b": outer.sum(0)}


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-10, atol=1e-12)


def test_gradient_of_a_pytree() -> None:
    got, want = grad(loss)(PARAMS, X), by_hand()
    assert sorted(got) == ["b", "w"]  # type: ignore[call-overload]
    for name in want:
        close(got[name], want[name])  # type: ignore[index]


def test_inside_a_trace_it_is_the_same_graph_all_the_way() -> None:
    def function(params: object, x: object) -> object:
        return value_and_grad(loss)(params, x)

    graph = trace(function, [PARAMS, X]).graph
    verify(graph)
    value, b, w = through_graph(function, PARAMS, X)
    close(value, loss(PARAMS, X))
    close(w, by_hand()["w"])
    close(b, by_hand()["b"])
    roles = {node.loc.role for node in graph.nodes}
    assert "gradient of" in roles


def test_argnums_and_auxiliary_results() -> None:
    def function(x: object, y: object) -> object:
        return gnp.sum(x * x * y), {"double": y * 2, "count": np.int64(3)}  # type: ignore[operator]

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    (value, aux), (dy, dx) = value_and_grad(function, argnums=(1, 0), has_aux=True)(x, y)  # type: ignore[misc]
    close(value, 19.0)
    close(dx, 2 * x * y)
    close(dy, x * x)
    close(aux["double"], y * 2)
    assert int(aux["count"]) == 3
    gradient, aux = grad(function, argnums=-1, has_aux=True)(x, y)  # type: ignore[misc]
    close(gradient, x * x)
    close(aux["double"], y * 2)


def test_each_argument_gets_its_own_gradient() -> None:
    d_x, d_params = grad(lambda p, x: loss(p, x), argnums=(1, 0))(PARAMS, X)  # type: ignore[misc]
    assert d_x.shape == X.shape
    for name, want in by_hand().items():
        close(d_params[name], want)


def test_keyword_arguments_are_constants() -> None:
    close(grad(lambda x, scale: x * x * scale)(np.float64(3), scale=np.float64(2)), 12.0)


def test_third_derivative() -> None:
    close(grad(grad(grad(lambda x: x**5)))(np.float64(2)), 60 * 4)


def test_captured_values_are_differentiated_through() -> None:
    def outer(x: object) -> object:
        inner = grad(lambda y: x * y**3)(x * 2.0)  # type: ignore[operator]
        return inner * x  # type: ignore[operator]

    # d/dx [3 x (2x)^2 x] = d/dx 12 x^4
    close(grad(outer)(np.float64(1.5)), 48 * 1.5**3)


def test_a_gradient_of_arrays_inside_a_trace_uses_what_it_captures() -> None:
    def function(x: Tracer) -> object:
        return grad(lambda y: y * y * x)(np.float64(3))

    (got,) = through_graph(function, np.float64(7))
    close(got, 42.0)


def test_vjp_and_jvp_agree() -> None:
    value, pull_back = vjp(predict, PARAMS, X)
    close(value, predict(PARAMS, X))
    cotangent = RNG.normal(size=(5, 2))
    d_params, dx = pull_back(cotangent)  # type: ignore[operator]
    tangents = ({"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=(2,))}, RNG.normal(size=(5, 3)))
    value, tangent = jvp(predict, (PARAMS, X), tangents)
    close(value, predict(PARAMS, X))
    left = np.vdot(cotangent, tangent)  # type: ignore[arg-type]
    right = (
        np.vdot(d_params["w"], tangents[0]["w"]) + np.vdot(d_params["b"], tangents[0]["b"]) + np.vdot(dx, tangents[1])
    )
    close(left, right)
    value, push_forward = linearize(predict, PARAMS, X)
    close(value, predict(PARAMS, X))
    close(push_forward(*tangents), tangent)


def test_transforms_inside_a_trace() -> None:
    def hessian_vector(x: object, v: object) -> object:
        return jvp(grad(lambda y: gnp.sum(y**4)), (x,), (v,))[1]

    x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    close(through_graph(hessian_vector, x, v)[0], 12 * x**2 * v)

    def pulled(x: object, v: object) -> object:
        value, pull_back, aux = vjp(lambda y: (y**3, y + 1.0), x, has_aux=True)
        return value, pull_back(v)[0], aux  # type: ignore[operator]

    value, cotangent, aux = through_graph(pulled, x, v)
    close(value, x**3)
    close(cotangent, 3 * x**2 * v)
    close(aux, x + 1)


def test_hypot_has_gradient_0_at_0() -> None:
    """As `abs` has; derivatives of all orders are finite."""
    x, y = np.array([0.0, 3.0, 0.0, -0.0]), np.array([0.0, 4.0, 2.0, 0.0])
    close(gnp.hypot(x, y), [0, 5, 2, 0])
    first = grad(lambda x, y: gnp.sum(gnp.hypot(x, y)), argnums=(0, 1))
    for got, want in zip(first(x, y), ([0, 0.6, 0, 0], [0, 0.8, 1, 0]), strict=True):
        close(got, want)
    second = grad(lambda x, y: gnp.sum(first(x, y)[0]), argnums=(0, 1))(x, y)
    for got, want in zip(second, ([0, 16 / 125, 0.5, 0], [0, -12 / 125, 0, 0]), strict=True):
        close(got, want)
    close(jvp(gnp.hypot, (x, y), (np.ones(4), np.ones(4)))[1], [0, 1.4, 1, 0])


def test_stop_gradient() -> None:
    close(grad(lambda x: gnp.sum(x * stop_gradient(x * x)))(np.array([2.0])), [4.0])


def test_results_do_not_share_memory_with_arguments() -> None:
    x = np.array([1.0, 2.0])
    value, pull_back = vjp(lambda y: y, x)
    value[0] = 5.0  # type: ignore[index]
    assert x[0] == 1.0
    assert pull_back(x)[0] is not x  # type: ignore[operator]


LINE = r".*\(test_transforms\.py:\d+\)$"


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (lambda x: x, [np.ones(3)], r"returns f64\[3\] of shape \[3\]. Sum or average it"),
        (lambda x: gnp.sum(x), [np.arange(3)], r"argument x is i64\[3\], only floats"),
        (lambda p: gnp.sum(p["a"]), [{"a": np.ones(2), "n": np.arange(2)}], r"argument p\.n is i64\[2\]"),
        (lambda x: gnp.argmax(x), [np.ones(3)], r"the result is i64\[\], only floats"),
        (lambda x: (gnp.sum(x), x), [np.ones(3)], "grad needs one scalar"),
    ],
)
def test_gradient_errors(function: object, args: list[object], message: str) -> None:
    with pytest.raises(GradientError, match=message + LINE):
        grad(function)(*args)  # type: ignore[arg-type]


def test_other_errors() -> None:
    with pytest.raises(GradientError, match="argnums=3, but it is called with 1 positional" + LINE):
        grad(lambda x: x, argnums=3)(np.float64(1))
    with pytest.raises(GradientError, match=r"\(value, aux\), this one returns" + LINE):
        grad(lambda x: x, has_aux=True)(np.float64(1))
    with pytest.raises(GradientError, match=r"argnums='x' must be a position, or several" + LINE):
        grad(lambda x: x, argnums="x")(np.float64(1))  # type: ignore[arg-type]
    with pytest.raises(GradientError, match=r"the tangent 0 is f64\[2\], it must be f64\[3\]" + LINE):
        jvp(lambda x: x, (np.ones(3),), (np.ones(2),))
    _, pull_back = vjp(lambda x: x, np.ones(3))
    with pytest.raises(GradientError, match=r"the cotangent is \(\*,\), it must be shaped like" + LINE):
        pull_back((np.ones(3),))  # type: ignore[operator]
    with pytest.raises(GradientError, match=r"argument i is i64\[\].*Close over it" + LINE):
        vjp(lambda x, i: x * 2.0, np.ones(3), np.int64(1))
    with pytest.raises(GradientError, match=r"the result 1 is bool\[3\].*has_aux" + LINE):
        jvp(lambda x: (x, x > 0), (np.ones(3),), (np.ones(3),))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda fn: gc.grad(fn), "grad"),
        (lambda fn: gc.value_and_grad(fn), "value_and_grad"),
        (lambda fn: gc.vjp(fn, np.ones(3)), "vjp"),
        (lambda fn: gc.jvp(fn, (np.ones(3),), (np.ones(3),)), "jvp"),
        (lambda fn: gc.linearize(fn, np.ones(3)), "linearize"),
        (lambda fn: gc.hvp(fn, (np.ones(3),), (np.ones(3),)), "hvp"),
        (lambda fn: gc.jacobian(fn), "jacobian"),
        (lambda fn: gc.hessian(fn), "hessian"),
        (lambda fn: gc.vmap(fn), "vmap"),
        (lambda fn: gc.gradcheck(fn, np.ones(3)), "gradcheck"),
        (lambda fn: gc.custom_jvp(fn), "custom_jvp"),
        (lambda fn: gc.custom_vjp(fn), "custom_vjp"),
        (lambda fn: gc.compile(fn, np.ones(3)), "compile"),
        (lambda fn: gc.trace(fn, np.ones(3)), "trace"),
    ],
)
@pytest.mark.parametrize(("fn", "kind"), [(5, "int 5"), (None, "NoneType None"), (np.ones(1), "ndarray array")])
def test_what_is_no_function_is_named(make: Callable[[object], object], name: str, fn: object, kind: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^{name}: fn must be a function, got {kind}.*" + LINE):
        make(fn)


def test_rules_and_entries_that_are_no_functions() -> None:
    with pytest.raises(ArgumentError, match=r"jit: fn must be a function, got int 5.*" + LINE):
        gc.jit(5)  # type: ignore[type-var]
    with pytest.raises(ArgumentError, match=r"custom_vjp\.defvjp: bwd must be a function, got NoneType None.*" + LINE):
        gc.custom_vjp(lambda x: x).defvjp(lambda x: (x, None), None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"custom_jvp\.defjvp: rule must be a function, got int 5.*" + LINE):
        gc.custom_jvp(lambda x: x).defjvp(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"program: entry add must be a function, got int 5.*" + LINE):
        gc.program({"n": np.float32(0)}, {"add": 5})  # type: ignore[dict-item]
    for path in (None, 5):
        with pytest.raises(ArgumentError, match=r"load: path is a str or a path, got .*" + LINE):
            gc.load(path)  # type: ignore[arg-type]


def test_argnums_of_other_types() -> None:
    assert float(gc.grad(lambda x: x * x, argnums=np.int64(0))(np.float64(3))) == 6  # type: ignore[arg-type]
    with pytest.raises(GradientError, match=r"argnums=1\.0 must be a position, or several" + LINE):
        grad(lambda x: x, argnums=1.0)(np.float64(1))  # type: ignore[arg-type]


def test_specs_of_captures_do_not_leak() -> None:
    graph = trace(lambda x: grad(lambda y: gnp.sum(y * x))(x), [spec((3,))]).graph
    verify(graph)
    assert len(graph.inputs) == 1
