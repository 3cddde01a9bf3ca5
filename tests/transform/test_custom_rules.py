"""`custom_jvp` and `custom_vjp`: the rule is what is used, under every other transformation, and must fit."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, GradientError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(5, 3))


def close(got: object, want: object) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-10, atol=1e-12)


def scaled_vjp(factor: float = 10.0) -> Any:
    """sin, with `factor` times its gradient, so that it shows whose rule is used."""

    @gc.custom_vjp
    def scaled(x: Any) -> Any:
        return gnp.sin(x)

    scaled.defvjp(lambda x: (scaled(x), gnp.cos(x)), lambda cosine, ct: (factor * ct * cosine,))
    return scaled


def scaled_jvp(factor: float = 10.0) -> Any:
    @gc.custom_jvp
    def scaled(x: Any) -> Any:
        return gnp.sin(x)

    @scaled.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return scaled(x), factor * t * gnp.cos(x)

    return scaled


BOTH = pytest.mark.parametrize("make", [scaled_vjp, scaled_jvp], ids=["custom_vjp", "custom_jvp"])


@BOTH
def test_value_is_that_of_the_function(make: Any) -> None:
    scaled = make()
    close(scaled(X), np.sin(X))
    close(gc.jit(scaled)(X), np.sin(X))
    close(gc.vmap(scaled)(X), np.sin(X))


@BOTH
def test_the_rule_is_used_in_every_mode(make: Any) -> None:
    scaled, want = make(), 10 * np.cos(X)
    total = lambda x: gnp.sum(scaled(x))
    close(gc.grad(total)(X), want)
    close(gc.jit(gc.grad(gc.jit(total)))(X), want)
    value, tangent = gc.jvp(scaled, (X,), (X,))
    close(value, np.sin(X))
    close(tangent, want * X)
    _, pull_back = gc.vjp(scaled, X)
    close(pull_back(X)[0], want * X)
    _, push_forward = gc.linearize(scaled, X)
    close(push_forward(X), want * X)
    diagonal = np.diag(want[0])
    close(gc.jacobian(scaled)(X[0]), diagonal)
    close(gc.jacobian(scaled, mode="forward")(X[0]), diagonal)


@BOTH
def test_with_vmap_in_every_order(make: Any) -> None:
    scaled, want = make(), 10 * np.cos(X)
    row = lambda x: gnp.sum(scaled(x))
    close(gc.vmap(gc.grad(row))(X), want)
    close(gc.grad(lambda x: gnp.sum(gc.vmap(row)(x)))(X), want)
    close(gc.jit(gc.vmap(gc.jit(gc.grad(row))))(X), want)
    close(gc.jvp(gc.vmap(scaled), (X,), (X,))[1], want * X)
    close(gc.vmap(gc.vmap(gc.grad(scaled)))(X), want)


@BOTH
def test_what_examples_share_gets_the_sum_of_their_cotangents(make: Any) -> None:
    scaled = make()
    product = lambda w, x: gnp.sum(scaled(w * x))
    w = X[0]
    got = gc.grad(lambda w: gnp.sum(gc.vmap(product, in_axes=(None, 0))(w, X)))(w)
    close(got, (10 * np.cos(w * X) * X).sum(0))


def test_an_operand_that_examples_share_is_summed_over_inside() -> None:
    @gc.custom_vjp
    def product(w: Any, x: Any) -> Any:
        return gnp.sum(w * x)

    product.defvjp(lambda w, x: (product(w, x), (w, x)), lambda res, ct: (3 * ct * res[1], 5 * ct * res[0]))
    total = lambda w, x: gnp.sum(gc.vmap(product, in_axes=(None, 0))(w, x))
    by_w, by_x = gc.grad(total, argnums=(0, 1))(X[0], X)
    close(by_w, 3 * X.sum(0))
    close(by_x, np.tile(5 * X[0], (5, 1)))


@BOTH
@pytest.mark.parametrize("order", [2, 3])
def test_higher_orders_use_the_rule_again(make: Any, order: int) -> None:
    """The rule calls the function, so its derivative has the factor again; the cosine is an ordinary function."""
    scaled = make()
    squared = lambda x: scaled(x) * scaled(x)  # (s^2)' = 2 s s', with s' = 10 cos and cos' = -sin
    derivative = functools.reduce(lambda f, _: gc.grad(f), range(order), squared)
    x = 0.7
    s, c = np.sin(x), np.cos(x)
    second = 2 * (10 * c) ** 2 + 2 * s * 10 * -s
    third = -2 * 200 * c * s - 20 * (10 * c * s + s * c)
    close(derivative(np.float64(x)), second if order == 2 else third)
    mixed = gc.jacobian(gc.grad(squared), mode="forward")(np.float64(x))
    close(mixed, second)


@BOTH
def test_beyond_the_rules_that_were_traced_is_an_error(make: Any) -> None:
    scaled = make()
    derivative = functools.reduce(lambda f, _: gc.grad(f), range(5), lambda x: scaled(x) * scaled(x))
    with pytest.raises(GradientError, match=r"scaled is differentiated more often than its rule.*test_custom_rules.py"):
        derivative(np.float64(0.3))


def test_pytrees_integers_and_none() -> None:
    @gc.custom_vjp
    def fn(params: Any, x: Any, n: Any) -> Any:
        return {"y": params["w"] * x * n.astype("float64"), "n": n + 1}

    def fwd(params: Any, x: Any, n: Any) -> Any:
        return fn(params, x, n), {"x": x, "w": params["w"]}

    def bwd(res: Any, ct: Any) -> Any:
        assert ct["n"] is None
        return {"w": gnp.sum(ct["y"] * res["x"]), "unused": None}, None, None

    fn.defvjp(fwd, bwd)
    params = {"w": np.float64(2.0), "unused": np.ones(3)}
    n = np.array([1, 2, 3])
    got = gc.grad(lambda p, x: gnp.sum(fn(p, x, n)["y"]), argnums=(0, 1))(params, X[0])
    close(got[0]["w"], X[0].sum())
    close(got[0]["unused"], np.zeros(3))
    close(got[1], np.zeros(3))


@pytest.mark.parametrize("kind", ["vjp", "jvp"])
def test_nondiff_argnums(kind: str) -> None:
    decorate = gc.custom_vjp if kind == "vjp" else gc.custom_jvp

    @functools.partial(decorate, nondiff_argnums=(0, 2))
    def apply(fn: Any, x: Any, power: int) -> Any:
        return fn(x) ** power

    if kind == "vjp":
        apply.defvjp(
            lambda fn, x, power: (apply(fn, x, power), x),
            lambda fn, power, x, ct: (ct * 7.0 * power,),
        )
    else:
        apply.defjvp(lambda fn, power, primals, tangents: (apply(fn, *primals, power), tangents[0] * 7.0 * power))
    close(apply(gnp.sin, X, 2), np.sin(X) ** 2)
    close(gc.grad(lambda x: gnp.sum(apply(gnp.sin, x, 2)))(X), np.full_like(X, 14))
    close(gc.grad(lambda x: gnp.sum(apply(gnp.sin, x, power=3)))(X), np.full_like(X, 21))


def test_defjvps() -> None:
    @gc.custom_jvp
    def product(x: Any, y: Any, z: Any) -> Any:
        return x * y * z

    product.defjvps(lambda t, value, x, y, z: 2 * t * y * z, None, lambda t, value, x, y, z: t * value)
    x, y, z = (np.float64(v) for v in (2, 3, 5))
    close(gc.grad(product, argnums=(0, 1, 2))(x, y, z), (30, 0, 30))


def test_stable_function() -> None:
    """The reason there are such rules: the derivative of log(1 + exp(x)) where exp overflows."""

    @gc.custom_jvp
    def log1pexp(x: Any) -> Any:
        return gnp.log(1 + gnp.exp(x))

    log1pexp.defjvps(lambda t, value, x: t * (1 - 1 / (1 + gnp.exp(x))))
    close(gc.grad(log1pexp)(np.float64(1000.0)), 1.0)
    close(gc.vmap(gc.grad(log1pexp))(np.array([0.0, 1000.0])), [0.5, 1.0])


def test_residuals_may_be_anything_the_rule_captures() -> None:
    scale = np.array([2.0, 3.0, 5.0])

    def outer(x: Any, w: Any) -> Any:
        fixed = gc.stop_gradient(w * 2)

        @gc.custom_vjp
        def inner(y: Any) -> Any:
            return gnp.sum(y * fixed)

        inner.defvjp(lambda y: (inner(y), None), lambda _, ct: (ct * fixed * scale,))
        return inner(x)

    close(gc.grad(outer)(X[0], X[1]), 2 * X[1] * scale)
    close(gc.vmap(gc.grad(outer))(X, X), 2 * X * scale)


@BOTH
def test_what_it_closes_over_has_no_derivative_through_it(make: Any) -> None:
    def outer(x: Any) -> Any:
        if make is scaled_vjp:
            inner = gc.custom_vjp(lambda y: y * x)
            inner.defvjp(lambda y: (inner(y), None), lambda _, ct: (ct,))
        else:
            inner = gc.custom_jvp(lambda y: y * x)
            inner.defjvp(lambda primals, tangents: (inner(*primals), tangents[0]))
        return gnp.sum(inner(gnp.ones(3, "float64") + x))

    with pytest.raises(GradientError, match=r"closes over a value that is differentiated.*argument \(test_custom"):
        gc.grad(outer)(X[0])


# -------------------------------------------------------------------------------------------- rules that do not fit


def with_rule(fwd: Any, bwd: Any) -> Any:
    @gc.custom_vjp
    def fn(x: Any, y: Any) -> Any:
        return x * y

    fn.defvjp(fwd, bwd)
    return fn


WRONG_VJP = [
    (lambda x, y: x * y, lambda r, ct: (ct, ct), r"must return a pair \(value, residuals\)"),
    (lambda x, y: ((x, y), None), lambda r, ct: (ct, ct), r"returns the value \(\*, \*\), but fn returns \*"),
    (lambda x, y: (gnp.sum(x), None), lambda r, ct: (ct, ct), r"returns the value as f64\[\], but fn gives it as f64"),
    (lambda x, y: (x * y, None), lambda r, ct: ct, "must return a tuple with the cotangent of each of 2 arguments"),
    (lambda x, y: (x * y, None), lambda r, ct: (ct,), "must return a tuple with the cotangent of each of 2 arguments"),
    (lambda x, y: (x * y, None), lambda r, ct: (ct[0], ct), r"returns the cotangent of argument 0 as f64\[\]"),
    (lambda x, y: (x * y, None), lambda r, ct: (ct.astype("float32"), ct), r"the cotangent of argument 0 as f32\[3\]"),
    (lambda x, y: (x * y, None), lambda r, ct: ((ct, ct), ct), r"the cotangent of argument 0"),
]


@pytest.mark.parametrize("fwd,bwd,message", WRONG_VJP)
def test_wrong_vjp_rules_are_errors_where_the_function_is_used(fwd: Any, bwd: Any, message: str) -> None:
    with pytest.raises(GradientError, match=message) as info:
        gc.jit(with_rule(fwd, bwd))(X[0], X[1])
    assert "custom_vjp: fn: lambda of test_custom_rules.py:" in str(info.value)
    assert str(info.value).count("test_custom_rules.py:") == 2  # the rule, and the use


def test_wrong_jvp_rules() -> None:
    def fn(rule: Any) -> Any:
        made = gc.custom_jvp(lambda x: x * 2)
        made.defjvp(rule)
        return made

    with pytest.raises(GradientError, match=r"must return a pair \(value, tangent\)"):
        fn(lambda p, t: p[0])(X)
    with pytest.raises(GradientError, match=r"returns the tangent as f64\[\], but it belongs to what is given"):
        fn(lambda p, t: (p[0] * 2, gnp.sum(t[0])))(X)
    with pytest.raises(GradientError, match="is not linear, so a derivative rule must not apply it to tangents"):
        gc.grad(lambda x: gnp.sum(fn(lambda p, t: (p[0] * 2, gnp.sin(t[0])))(x)))(X)
    with pytest.raises(GradientError, match="depends on the tangents"):
        gc.grad(lambda x: gnp.sum(fn(lambda p, t: (p[0] * 2 + t[0], t[0]))(x)))(X)
    with pytest.raises(GradientError, match="not linear in the tangents"):
        gc.grad(lambda x: gnp.sum(fn(lambda p, t: (p[0] * 2, p[0]))(x)))(X)


@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("mul", lambda t: t * t),
        ("div", lambda t: 1 / t),
        ("div", lambda t: t / (1 + t)),
        ("select", lambda t: gnp.where(t > 0, t, 0.0)),
        ("dot_general", lambda t: gnp.matmul(gnp.outer(t, t), t)),
    ],
)
def test_rules_that_are_not_linear_name_the_op(op: str, wrong: Any) -> None:
    """Products of two tangents, quotients by one and choices by one: each is linear in something else."""
    made = gc.custom_jvp(gnp.sin)
    made.defjvp(lambda p, t: (gnp.sin(p[0]), wrong(t[0])))
    with pytest.raises(GradientError, match=rf"{op}: is not linear, .*test_custom_rules.py"):
        gc.grad(lambda x: gnp.sum(made(x)))(np.ones(3))
    backward = gc.custom_vjp(gnp.sin)
    backward.defvjp(lambda x: (gnp.sin(x), x), lambda r, ct: (wrong(ct),))
    gc.grad(lambda x: gnp.sum(backward(x)))(np.ones(3))
    with pytest.raises(GradientError, match=r"not linear in the cotangent has no forward mode.*\(test_custom_rules.py"):
        gc.jvp(lambda x: gnp.sum(backward(x)), (np.ones(3),), (np.ones(3),))


def _repeated(t: Any, first: Any) -> Any:
    return gc.scan(lambda carry, _: (carry + t, None), first, length=3)[0]


@pytest.mark.parametrize(
    ("op", "wrong"),
    [
        ("add", lambda x, t: t + 1),
        ("add", lambda x, t: x + 2 * t),
        ("sub", lambda x, t: (1 - t) * x),
        ("select", lambda x, t: gnp.where(x > 0, t, 1.0)),
        ("concatenate", lambda x, t: gnp.concat([t[:1], x[1:]])),
        ("scatter", lambda x, t: x.at[np.array([0])].set(t[:1])),
        ("add", lambda x, t: gc.jit(lambda t: t + 1)(t)),
        ("branch", lambda x, t: gc.cond(x[0] > 0, lambda: t, lambda: x)),
        ("add", lambda x, t: gc.cond(x[0] > 0, lambda: t, lambda: t + 1)),
        ("scan", lambda x, t: _repeated(t, x)),
        ("add", lambda x, t: gc.scan(lambda carry, _: (carry + 1, None), t, length=3)[0]),
        ("add", lambda x, t: gc.checkpoint(lambda x, t: x + t)(x, t)),
    ],
)
def test_rules_that_are_affine_name_the_op(op: str, wrong: Any) -> None:
    """What is added to a tangent, or stands beside it, depends on tangents too or is zero."""
    made = gc.custom_jvp(gnp.sin)
    made.defjvp(lambda p, t: (gnp.sin(p[0]), wrong(p[0], t[0])))
    named = rf"{op}: adds to a tangent.*is not linear \(.*test_custom_rules.py"
    with pytest.raises(GradientError, match=named):
        gc.grad(lambda x: gnp.sum(made(x)))(np.ones(3))
    backward = gc.custom_vjp(gnp.sin)
    backward.defvjp(lambda x: (gnp.sin(x), x), lambda r, ct: (wrong(r, ct),))
    gc.grad(lambda x: gnp.sum(backward(x)))(np.ones(3))
    with pytest.raises(GradientError, match=rf"not linear in the cotangent has no forward mode.*{named}"):
        gc.jvp(lambda x: gnp.sum(backward(x)), (np.ones(3),), (np.ones(3),))


@pytest.mark.parametrize(
    "right",
    [
        lambda x, t: t + 0,
        lambda x, t: t + 0 * x,
        lambda x, t: gnp.where(x > 0, t, 0.0),
        lambda x, t: gnp.concat([t[:1], gnp.zeros_like(x[1:]) * x[1:]]) + gnp.concat([0 * t[:1], t[1:]]),
        lambda x, t: gnp.zeros_like(x).at[np.array([0, 1, 2])].set(t),
        lambda x, t: t + gc.jit(lambda x: 0 * x)(x),
        lambda x, t: _repeated(t, gnp.zeros_like(x)) / 3,
        lambda x, t: gnp.pad(t, 1)[1:4],
        lambda x, t: gc.jvp(lambda y: gnp.where(y > 0, y, y * y), (x,), (t,))[1],
        lambda x, t: gc.jvp(lambda y: _repeated(y, gnp.ones_like(y)) / 3, (x,), (t,))[1],
        lambda x, t: gc.cond(x[0] > 0, lambda: t, lambda: gnp.zeros_like(x)),
    ],
)
def test_zeros_may_be_added_to_tangents(right: Any) -> None:
    made = gc.custom_jvp(gnp.sin)
    made.defjvp(lambda p, t: (gnp.sin(p[0]), right(p[0], t[0])))
    close(gc.grad(lambda x: gnp.sum(made(x)))(np.ones(3)), np.ones(3))
    backward = gc.custom_vjp(gnp.sin)
    backward.defvjp(lambda x: (gnp.sin(x), x), lambda r, ct: (right(r, ct),))
    close(gc.jvp(backward, (np.ones(3),), (np.ones(3),))[1], np.ones(3))


def test_without_rules() -> None:
    with pytest.raises(ArgumentError, match=r"custom_vjp: lambda has no rules; define them with lambda\.defvjp"):
        gc.custom_vjp(lambda x: x)(X)
    with pytest.raises(ArgumentError, match="custom_jvp: lambda has no rule"):
        gc.custom_jvp(lambda x: x)(X)


def test_a_backward_rule_that_is_not_linear_has_no_forward_mode() -> None:
    clipped = gc.custom_vjp(lambda x: x)
    clipped.defvjp(lambda x: (x, x), lambda x, ct: (gnp.clip(ct, -1.0, 1.0) + 0 * x,))
    close(gc.grad(lambda x: gnp.sum(5 * clipped(x)))(X), np.ones_like(X))
    with pytest.raises(GradientError, match=r"not linear in the cotangent has no forward mode.*\(test_custom_rules.py"):
        gc.jvp(clipped, (X,), (X,))
    with pytest.raises(GradientError, match=r"has no forward mode.*\(test_custom_rules.py"):
        gc.jit(gc.jacobian(clipped, mode="forward"))(X[0])


def test_rules_of_functions_of_complex_numbers() -> None:
    """Tangents and cotangents of complex arguments are complex."""
    z, t = np.array([1 + 2j, 0.5 - 1j]), np.array([0.3 - 1j, 2 + 0.1j])

    def plain(z):
        return z * z * (1 + 2j)

    by_vjp = gc.custom_vjp(plain)
    by_vjp.defvjp(lambda z: (plain(z), z), lambda z, u: (u * 2 * z * (1 + 2j),))
    by_jvp = gc.custom_jvp(plain)
    by_jvp.defjvp(lambda primals, tangents: (plain(*primals), 2 * primals[0] * (1 + 2j) * tangents[0]))
    wanted = gc.grad(lambda z: gnp.sum(gnp.real(plain(z))))(z)
    for fn in (by_vjp, by_jvp):
        np.testing.assert_allclose(gc.grad(lambda z, fn=fn: gnp.sum(gnp.real(fn(z))))(z), wanted)
    np.testing.assert_allclose(gc.jvp(by_jvp, (z,), (t,))[1], gc.jvp(plain, (z,), (t,))[1])
