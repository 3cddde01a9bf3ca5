"""Steps of optimisers, of the domain ai.onnx.preview.training: operands in groups of one array per parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc_onnx.ops.common import cast as converted
from graphc_onnx.ops.common import dtype_of, only
from graphc_onnx.table import NodeContext, Row

DOMAIN = "ai.onnx.preview.training"


def _groups(operands: Sequence[Array], count: int) -> list[Sequence[Array]]:
    each, rest = divmod(len(operands), count)
    if rest or not each:
        raise ArgumentError(f"{len(operands)} inputs after rate and count are not {count} groups")
    return [operands[group * each : (group + 1) * each] for group in range(count)]


def _started(step: Array, then: Array, first: Array) -> Array:
    return gnp.where(gnp.greater(step, 0), then, first)


def _adagrad(
    rate: Array,
    step: Array,
    *rest: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> tuple[Array, ...]:
    now = rate / (1.0 + converted(step, dtype_of(rate)) * decay_factor)
    new: list[tuple[Array, Array]] = []
    for x, gradient, square in zip(*_groups(rest, 3), strict=True):
        slope = norm_coefficient * x + gradient
        total = square + slope * slope
        new.append((x - now * slope / (gnp.sqrt(total) + epsilon), total))
    return tuple(pair[0] for pair in new) + tuple(pair[1] for pair in new)


def _adam(
    rate: Array,
    step: Array,
    *rest: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Array, ...]:
    count = converted(step, dtype_of(rate))
    slow, fast = (1.0 - gnp.power(np.asarray(base, dtype_of(rate)), count) for base in (beta, alpha))
    now = _started(step, rate * gnp.sqrt(slow) / fast, rate)
    new: list[tuple[Array, Array, Array]] = []
    for x, gradient, first, second in zip(*_groups(rest, 4), strict=True):
        slope = norm_coefficient * x + gradient
        mean = alpha * first + (1.0 - alpha) * slope
        square = beta * second + (1.0 - beta) * slope * slope
        moved = x - now * mean / (gnp.sqrt(square) + epsilon)
        new.append(((1.0 - norm_coefficient_post) * moved, mean, square))
    return tuple(parts[place] for place in range(3) for parts in new)


def _momentum(
    rate: Array, step: Array, *rest: Array, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> tuple[Array, ...]:
    only("mode", mode, "standard", "nesterov")
    dampening = _started(step, np.asarray(beta, dtype_of(rate)), np.asarray(1, dtype_of(rate)))
    new: list[tuple[Array, Array]] = []
    for x, gradient, velocity in zip(*_groups(rest, 3), strict=True):
        slope = norm_coefficient * x + gradient
        moved = alpha * velocity + dampening * slope
        new.append((x - rate * (slope + alpha * moved if mode == "nesterov" else moved), moved))
    return tuple(pair[0] for pair in new) + tuple(pair[1] for pair in new)


def _gradient(
    *operands: Array, xs: tuple[str, ...], zs: tuple[str, ...] = (), y: str, node: NodeContext
) -> tuple[Array, ...]:
    """The derivative of the sum of `y`, as the graph computes it from `xs` and `zs`, by each of `xs`."""
    fixed = dict(zip(zs, operands[len(xs) :], strict=True))

    def total(*given: Array) -> Array:
        return gnp.sum(cast(Array, node.recompute({**dict(zip(xs, given, strict=True)), **fixed}, y)))

    gradient = gc.grad(total, argnums=tuple(range(len(xs))))
    return cast(tuple[Array, ...], gradient(*operands[: len(xs)]))


ROWS = [
    Row("Gradient", 1, _gradient, domain=DOMAIN),
    Row("Adagrad", 1, _adagrad, domain=DOMAIN),
    Row("Adam", 1, _adam, domain=DOMAIN),
    Row("Momentum", 1, _momentum, domain=DOMAIN),
]
