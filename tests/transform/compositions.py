"""Transformations as functions of functions from three numbers to three numbers, so that they compose in every order;
beside each what it means (`tests.transform.duals`), and the same for functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc
import graphc.numpy
from tests.transform import duals

gc: Any = graphc  # what is traced has no types
gnp: Any = graphc.numpy
Traced = Callable[[Any], Any]
ByHand = duals.Function
U, V = np.array([0.7, -1.1, 0.4]), np.array([0.3, 0.9, -0.5])
X = np.array([0.6, -0.4, 0.9])


@dataclass(frozen=True)
class Transformation:
    traced: Callable[[Traced], Traced]
    by_hand: Callable[[ByHand], ByHand]
    order: int


@dataclass(frozen=True)
class Body:
    traced: Traced
    by_hand: ByHand


# ------------------------------------------------------------------------------------------------- transformations


def _number(f: Traced) -> Traced:
    return lambda x: gnp.sum(f(x) * U)


def _vmap(f: Traced) -> Traced:
    return lambda x: gnp.sum(gc.vmap(f)(gnp.stack([x, x * -0.5])), axis=0)


def _value_and_grad(f: Traced) -> Traced:
    def both(x: Any) -> Any:
        value, gradient = gc.value_and_grad(_number(f))(x)
        return gradient + value * V

    return both


def _vjp(f: Traced) -> Traced:
    def pulled(x: Any) -> Any:
        value, pull = gc.vjp(f, x)
        return pull(value * U)[0]

    return pulled


def _custom_vjp(f: Traced) -> Traced:
    ruled: Any = gc.custom_vjp(f)
    ruled.defvjp(lambda x: (f(x), x), lambda x, ct: gc.vjp(f, x)[1](ct))
    return lambda x: ruled(x)


def _custom_jvp(f: Traced) -> Traced:
    ruled: Any = gc.custom_jvp(f)
    ruled.defjvp(lambda primals, tangents: gc.jvp(f, primals, tangents))
    return lambda x: ruled(x)


def _same(f: ByHand) -> ByHand:
    return f


def _gradient(f: ByHand) -> ByHand:
    return lambda x: duals.pulled(f, x, list(U))


def _moved(f: ByHand) -> ByHand:
    return lambda x: duals.pushed(f, x, list(V))


def _curved(f: ByHand) -> ByHand:
    return _moved(_gradient(f))


def _batch_by_hand(f: ByHand) -> ByHand:
    return lambda x: [a + b for a, b in zip(f(x), f([each * -0.5 for each in x]), strict=True)]


def _both_by_hand(f: ByHand) -> ByHand:
    def both(x: Any) -> Any:
        value = duals.dot(list(U), f(x))
        return [g + value * v for g, v in zip(duals.pulled(f, x, list(U)), V, strict=True)]

    return both


def _pulled_by_hand(f: ByHand) -> ByHand:
    return lambda x: duals.pulled(f, x, [a * b for a, b in zip(f(x), U, strict=True)])


TRANSFORMATIONS = {
    "jit": Transformation(gc.jit, _same, 0),
    "vmap": Transformation(_vmap, _batch_by_hand, 0),
    "grad": Transformation(lambda f: gc.grad(_number(f)), _gradient, 1),
    "value_and_grad": Transformation(_value_and_grad, _both_by_hand, 1),
    "vjp": Transformation(_vjp, _pulled_by_hand, 1),
    "jvp": Transformation(lambda f: lambda x: gc.jvp(f, (x,), (V,))[1], _moved, 1),
    "jacobian forward": Transformation(lambda f: lambda x: gc.jacobian(f, mode="forward")(x) @ V, _moved, 1),
    "jacobian reverse": Transformation(lambda f: lambda x: U @ gc.jacobian(f)(x), _gradient, 1),
    "hessian": Transformation(lambda f: lambda x: gc.hessian(_number(f))(x) @ V, _curved, 2),
    "hvp": Transformation(lambda f: lambda x: gc.hvp(_number(f), (x,), (V,)), _curved, 2),
    "linearize": Transformation(lambda f: lambda x: gc.linearize(f, x)[1](V), _moved, 1),
    "checkpoint": Transformation(gc.checkpoint, _same, 0),
    "custom_vjp": Transformation(_custom_vjp, _same, 0),
    "custom_jvp": Transformation(_custom_jvp, _same, 0),
}


# ----------------------------------------------------------------------------------------------------------- bodies

W = np.array([[0.5, -0.3, 0.8], [0.2, 0.9, -0.4], [-0.7, 0.1, 0.6]])
ROWS = np.array([[0.3, -0.2, 0.5], [0.8, 0.1, -0.6], [-0.4, 0.7, 0.2]])
KEY = gc.random.key(5)
NOISE = np.asarray(gc.random.normal(KEY, (3,), "float64"))


def _layer(x: Any) -> Any:
    return [duals.tanh(duals.dot(list(row), x)) for row in W]


def _scan(x: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        h, count = carry
        h = gnp.tanh(W @ h * 0.8 + row * x)
        return (h, count + 1), h * x

    (h, count), ys = gc.scan(step, (gnp.sin(x), np.array(0)), ROWS)
    return h + gnp.sum(ys, axis=0) * 0.3 + gnp.astype(count, "float64")


def _scan_by_hand(x: Any) -> Any:
    h, total = [duals.sin(each) for each in x], [0.0] * 3
    for row in ROWS:
        moved = [duals.dot(list(line), h) for line in W]
        h = [duals.tanh(a * 0.8 + float(r) * b) for a, r, b in zip(moved, row, x, strict=True)]
        total = [t + a * b for t, a, b in zip(total, h, x, strict=True)]
    return [a + t * 0.3 + 3.0 for a, t in zip(h, total, strict=True)]


def _while(x: Any) -> Any:
    """How often it runs depends on x: 3 times at X, more often nearer to zero."""
    return gc.while_loop(lambda h: gnp.sum(h * h) < 2.0, lambda h: gnp.sin(W @ h) + h * 1.2, x, bound=9)


def _while_by_hand(x: Any) -> Any:
    h = list(x)
    while duals.number(duals.dot(h, h)) < 2.0:
        h = [duals.sin(duals.dot(list(row), h)) + each * 1.2 for row, each in zip(W, h, strict=True)]
    return h


def _cond(x: Any) -> Any:
    return gc.cond(x[0] > 0.1, lambda x: gnp.tanh(W @ x), lambda x: x * x[1] + gnp.sin(x), x)


def _cond_by_hand(x: Any) -> Any:
    return _layer(x) if duals.number(x[0]) > 0.1 else [each * x[1] + duals.sin(each) for each in x]


def _switch(x: Any) -> Any:
    branches = [lambda x: x * x, lambda x: gnp.sin(W @ x), lambda x: x * 2.0]
    index = gnp.astype(x[0] > 0.1, "int32") + gnp.astype(x[2] > 5.0, "int32")
    return gc.switch(index, branches, x)


def _switch_by_hand(x: Any) -> Any:
    if duals.number(x[0]) > 0.1:
        return [duals.sin(duals.dot(list(row), x)) for row in W]
    return [each * each for each in x]


def _indexing(x: Any) -> Any:
    order = gnp.argsort(x)
    taken = gnp.take(x * x, np.array([2, 0, 0, 1]))
    return gnp.segment_sum(gnp.sin(taken) * taken, np.array([1, 0, 1, 2]), 3) * gnp.take(x, order)


def _indexing_by_hand(x: Any) -> Any:
    squares = [x[k] * x[k] for k in (2, 0, 0, 1)]
    made = [duals.sin(each) * each for each in squares]
    ordered = sorted(x, key=duals.number)
    return [a * b for a, b in zip([made[1], made[0] + made[2], made[3]], ordered, strict=True)]


def _cumulative(x: Any) -> Any:
    return gnp.cumprod(gnp.sin(x) + 1.5) + gnp.cumsum(x * x)


def _cumulative_by_hand(x: Any) -> Any:
    found: list[Any] = []
    product: Any = 1.0
    total: Any = 0.0
    for each in x:
        product, total = product * (duals.sin(each) + 1.5), total + each * each
        found.append(product + total)
    return found


BODIES = {
    "layers": Body(lambda x: gnp.tanh(W @ gnp.tanh(W @ x)), lambda x: _layer(_layer(x))),
    "scan": Body(_scan, _scan_by_hand),
    "while": Body(_while, _while_by_hand),
    "cond": Body(_cond, _cond_by_hand),
    "switch": Body(_switch, _switch_by_hand),
    "indexing": Body(_indexing, _indexing_by_hand),
    "cumulative": Body(_cumulative, _cumulative_by_hand),
    "random": Body(
        lambda x: gnp.sin(x * gc.random.normal(KEY, (3,), "float64")) * x,
        lambda x: [duals.sin(a * float(n)) * a for a, n in zip(x, NOISE, strict=True)],
    ),
}


def composed(body: str, names: tuple[str, ...]) -> tuple[Traced, ByHand]:
    """The body under transformations, the innermost first, and what that means."""
    traced, by_hand = BODIES[body].traced, BODIES[body].by_hand
    for name in names:
        traced, by_hand = TRANSFORMATIONS[name].traced(traced), TRANSFORMATIONS[name].by_hand(by_hand)
    return traced, by_hand
