"""Derivatives of functions written by hand on lists of numbers: dual numbers, nested to any order.

The oracle of `test_compositions`: it knows no graphs, so nothing of the compiler takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Dual:
    """value + slope * e, where e * e = 0; a larger level is a derivative that is taken further inside."""

    level: int
    value: float | Dual
    slope: float | Dual

    def __add__(self, other: float | Dual) -> Dual:
        level, a, b, c, d = _parts(self, other)
        return Dual(level, a + c, b + d)

    def __mul__(self, other: float | Dual) -> Dual:
        level, a, b, c, d = _parts(self, other)
        return Dual(level, a * c, a * d + b * c)

    def __neg__(self) -> Dual:
        return Dual(self.level, -self.value, -self.slope)

    def __sub__(self, other: float | Dual) -> Dual:
        return self + -other

    def __rsub__(self, other: float | Dual) -> Dual:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


Point = Sequence[float | Dual]
Function = Callable[[Point], list[float | Dual]]


def _parts(x: float | Dual, y: float | Dual) -> tuple[int, float | Dual, float | Dual, float | Dual, float | Dual]:
    level = max(v.level for v in (x, y) if isinstance(v, Dual))
    (a, b), (c, d) = ((v.value, v.slope) if isinstance(v, Dual) and v.level == level else (v, 0.0) for v in (x, y))
    return level, a, b, c, d


def number(x: float | Dual) -> float:
    """What is left when no derivative is asked for."""
    while isinstance(x, Dual):
        x = x.value
    return x


def tanh(x: float | Dual) -> float | Dual:
    if not isinstance(x, Dual):
        return math.tanh(x)
    y = tanh(x.value)
    return Dual(x.level, y, x.slope * (1.0 - y * y))


def sin(x: float | Dual) -> float | Dual:
    return Dual(x.level, sin(x.value), x.slope * cos(x.value)) if isinstance(x, Dual) else math.sin(x)


def cos(x: float | Dual) -> float | Dual:
    return Dual(x.level, cos(x.value), -(x.slope * sin(x.value))) if isinstance(x, Dual) else math.cos(x)


def dot(u: Point, v: Point) -> float | Dual:
    total: float | Dual = 0.0
    for a, b in zip(u, v, strict=True):
        total = total + a * b
    return total


def pushed(f: Function, x: Point, v: Point) -> list[float | Dual]:
    """The derivative of f at x in the direction v."""
    level = 1 + max((_depth(each) for each in (*x, *v)), default=0)
    made = f([Dual(level, a, b) for a, b in zip(x, v, strict=True)])
    return [y.slope if isinstance(y, Dual) and y.level == level else 0.0 for y in made]


def _depth(x: float | Dual) -> int:
    return x.level if isinstance(x, Dual) else 0


def pulled(f: Function, x: Point, u: Point) -> list[float | Dual]:
    """The gradient of the sum of u * f at x, where u is fixed."""
    units = [[float(i == k) for i in range(len(x))] for k in range(len(x))]
    return [dot(u, pushed(f, x, unit)) for unit in units]
