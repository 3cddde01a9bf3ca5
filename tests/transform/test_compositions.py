"""Transformations compose with each other in every order, over every kind of body: numbers against derivatives by hand.

Each ordered pair is tried over one body, all bodies in turn; `slow` tries every pair over every body. Triples are a
sample. What is compared is the graph (by the reference backend); a few of them are compiled.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from graphc.core.errors import GradientError
from tests.transform import duals
from tests.transform.compositions import BODIES, TRANSFORMATIONS, V, X, composed, gc, gnp

PAIRS = list(itertools.product(TRANSFORMATIONS, repeat=2))
TRIPLES = [
    names for names in itertools.product(TRANSFORMATIONS, repeat=3) if sum(TRANSFORMATIONS[n].order for n in names) <= 3
]


def check(body: str, names: tuple[str, ...], backend: str = "reference") -> None:
    traced, by_hand = composed(body, names)
    got = gc.jit(traced, backend=backend)(X)
    wanted = [duals.number(each) for each in by_hand([float(each) for each in X])]
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-9, atol=1e-10, err_msg=f"{body}: {names}")


@pytest.mark.parametrize("body", BODIES)
def test_bodies_mean_what_they_say(body: str) -> None:
    check(body, ())


@pytest.mark.parametrize("turn", range(len(BODIES)))
def test_each_pair(turn: int) -> None:
    bodies = list(BODIES)
    for number in range(turn, len(PAIRS), len(BODIES)):
        check(bodies[(number + number // len(TRANSFORMATIONS)) % len(BODIES)], PAIRS[number])


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_every_pair_over_every_body(body: str) -> None:
    for names in PAIRS:
        check(body, names)


@pytest.mark.parametrize("seed", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_triples(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20 if seed < 3 else 300):
        check(chance.choice(list(BODIES)), chance.choice(TRIPLES))


@pytest.mark.parametrize("body", ["scan", "while", "cond"])
def test_compiled(body: str) -> None:
    chance = random.Random(7)
    for names in chance.sample(PAIRS, 2):
        check(body, names, "cpu")


# ------------------------------------------------------------------------------------------------ rules of the user's


def test_a_rule_whose_loop_is_linear_in_a_part() -> None:
    """The rule carries value and tangent in one loop, written by hand: reverse mode takes it apart."""

    def looped(x: Any) -> Any:
        return gc.fori_loop(0, 4, lambda _, y: y * x, gnp.ones_like(x))

    power: Any = gc.custom_jvp(looped)

    def rule(primals: tuple[Any], tangents: tuple[Any]) -> Any:
        (x,), (t,) = primals, tangents

        def both(_: Any, pair: tuple[Any, Any]) -> tuple[Any, Any]:
            y, dy = pair
            return y * x, dy * x + y * t

        return gc.fori_loop(0, 4, both, (gnp.ones_like(x), gnp.zeros_like(x)))

    power.defjvp(rule)
    x = np.array([0.5, -2.0])
    np.testing.assert_allclose(gc.grad(lambda x: gnp.sum(power(x)))(x), 4 * x**3)
    np.testing.assert_allclose(gc.hessian(lambda x: gnp.sum(power(x)))(x), np.diag(12 * x**2))


def test_what_a_rule_may_not_do_names_the_line() -> None:
    def with_rule(tangent: Any) -> Any:
        fn: Any = gc.custom_jvp(lambda x: x * x)
        fn.defjvp(lambda primals, tangents: (primals[0] * primals[0], tangent(primals[0], tangents[0])))
        return gc.grad(lambda x: gnp.sum(fn(x)))

    def counted(x: Any, t: Any) -> Any:
        return gc.while_loop(lambda h: gnp.sum(h) < 3.0, lambda h: h + 1.0, t, bound=5)

    def chosen(x: Any, t: Any) -> Any:
        return gc.cond(gnp.sum(t) > 0, lambda t: t, lambda t: -t, t)

    def endless(x: Any, t: Any) -> Any:
        return gc.while_loop(lambda p: p[0] < 3, lambda p: (p[0] + 1, p[1] * x), (np.array(0), t))[1]

    for tangent, message in (
        (counted, "while_loop: how often it runs depends on a tangent"),
        (chosen, "branch: which one is taken depends on a tangent"),
        (endless, "declare bound="),
    ):
        with pytest.raises(GradientError, match=f"{message}.*test_compositions.py:"):
            with_rule(tangent)(V)
