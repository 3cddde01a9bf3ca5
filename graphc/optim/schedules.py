"""Learning rates as functions of the step: 0 for the first update, and so on.

A schedule is called with the step while tracing and returns a scalar; all arithmetic is in float64, so that the
schedule of a long run keeps its shape. Any function of the step will do; these are the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array

Schedule = Callable[[Array], Array | float]
Rate = float | Schedule


def check(owner: str, **values: object) -> None:
    """Raise `ArgumentError` unless every value is a finite number that is not negative."""
    for name, value in values.items():
        is_number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and value >= 0):  # type: ignore[arg-type, operator]
            raise ArgumentError(f"{owner}: {name}={value!r} must be a finite number, not negative")


def check_steps(owner: str, steps: object) -> None:
    """Raise `ArgumentError` unless `steps` is a positive integer."""
    if not isinstance(steps, int | np.integer) or isinstance(steps, bool) or steps < 1:
        raise ArgumentError(f"{owner}: steps={steps!r} must be a positive integer")


def check_rate(owner: str, rate: Rate) -> None:
    """Raise `ArgumentError` unless `rate` is a function of the step or a finite number that is not negative."""
    if hasattr(rate, "parameters") or isinstance(rate, list | tuple):
        raise ArgumentError(f"{owner}: the first argument is lr; parameters go to train.compile, with the model")
    if not callable(rate):
        check(owner, lr=rate)


def rate_at(rate: Rate, step: Array) -> Array | float:
    """The value of a number or schedule at a step: a Python float, or a float64 scalar."""
    if not callable(rate):
        return float(rate)
    value = rate(step)
    return float(value) if isinstance(value, int | float) else gnp.astype(value, "float64")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always `lr`."""

    lr: float

    def __post_init__(self) -> None:
        check("constant", lr=self.lr)

    def __call__(self, step: Array) -> Array:
        return step.astype("float64") * 0.0 + self.lr


@dataclass(frozen=True, slots=True)
class Linear:
    """From `start` at step 0 to `end` at step `steps`, then `end`."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        check("linear", start=self.start, end=self.end)
        check_steps("linear", self.steps)

    def __call__(self, step: Array) -> Array:
        return _progress(step, self.steps) * (self.end - self.start) + self.start


@dataclass(frozen=True, slots=True)
class Cosine:
    """Half a cosine wave from `lr` at step 0 to `end` at step `steps`, then `end` (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        check("cosine", lr=self.lr, end=self.end)
        check_steps("cosine", self.steps)

    def __call__(self, step: Array) -> Array:
        wave = gnp.cos(_progress(step, self.steps) * math.pi)
        return (wave + 1.0) * (0.5 * (self.lr - self.end)) + self.end


@dataclass(frozen=True, slots=True)
class Warmup:
    """Rises linearly over the first `steps` updates, (step + 1) / steps of `after`'s first value; then `after`.

    `after` sees its own step 0 when the warm-up is over.
    """

    after: Rate
    steps: int

    def __post_init__(self) -> None:
        check_rate("warmup", self.after)
        check_steps("warmup", self.steps)

    def __call__(self, step: Array) -> Array:
        position = gnp.maximum(step - self.steps, 0)
        rise = gnp.minimum((step.astype("float64") + 1.0) / self.steps, 1.0)
        return rise * rate_at(self.after, position)


def _progress(step: Array, steps: int) -> Array:
    return gnp.minimum(step.astype("float64") / float(steps), 1.0)


def constant(lr: float) -> Constant:
    """Always `lr`.

    >>> float(constant(0.1)(np.int64(7)))
    0.1
    """
    return Constant(lr)


def linear(start: float, end: float, steps: int) -> Linear:
    """From `start` to `end` over `steps` updates, then `end`.

    >>> float(linear(1.0, 0.0, 10)(np.int64(5)))
    0.5
    """
    return Linear(start, end, steps)


def cosine(lr: float, steps: int, end: float = 0.0) -> Cosine:
    """Cosine annealing from `lr` to `end` over `steps` updates, then `end`.

    >>> round(float(cosine(1.0, 10)(np.int64(5))), 12)
    0.5
    """
    return Cosine(lr, steps, end)


def warmup(after: Rate, steps: int) -> Warmup:
    """Rise linearly to a rate, or to a schedule that starts when the rise is over.

    >>> [float(warmup(1.0, 4)(np.int64(step))) for step in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    return Warmup(after, steps)
