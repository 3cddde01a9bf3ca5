"""Derivatives of one sample: ours by graph transformations, and those that another library takes of its own functions.

All are what a pair of random directions makes of them: tangents v of the float operands, cotangents u of the float
results. First order: J v and u J. Second order: the derivative of (results, u J) by operands and u, both ways again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.transform.autodiff import jvp, vjp
from tests.samples import Sample, graph_of

Arrays = list[np.ndarray]


def inexact(arrays: Sequence[np.ndarray]) -> Arrays:
    return [x for x in arrays if x.dtype.kind in "fc"]


def directions(arrays: Sequence[np.ndarray], seed: int) -> Arrays:
    """A random array for each float array."""
    rng = np.random.default_rng(seed)
    drawn = []
    for x in inexact(arrays):
        value = rng.normal(size=x.shape) + (1j * rng.normal(size=x.shape) if x.dtype.kind == "c" else 0)
        drawn.append(np.asarray(value, x.dtype))
    return drawn


def _wrt(graph: Graph) -> list[bool]:
    return [v.dtype.is_inexact for v in graph.inputs]


@dataclass(frozen=True)
class Task:
    """What is differentiated where, in which directions."""

    sample: Sample
    results: Arrays  # float ones
    tangents: Arrays
    cotangents: Arrays
    later_tangents: Arrays  # of operands and cotangents
    later_cotangents: Arrays  # of results and gradients

    @classmethod
    def of(cls, sample: Sample) -> Task:
        results = inexact(interpret(graph_of(sample), sample.inputs))
        cotangents = directions(results, 2)
        operands = inexact(sample.inputs)
        later = directions([*operands, *cotangents], 3), directions([*results, *operands], 4)
        return cls(sample, results, directions(operands, 1), cotangents, *later)


def ours(task: Task) -> dict[str, Arrays]:
    """The four derivatives, each of the float arrays in order."""
    graph, inputs = graph_of(task.sample), task.sample.inputs
    count = len(graph.outputs)
    backward = vjp(graph, _wrt(graph))
    point = [*inputs, *task.cotangents]
    made = interpret(backward, point)
    both = inexact(made)
    assert len(both) == len(task.later_cotangents)
    later = [np.asarray(u, y.dtype) for u, y in zip(task.later_cotangents, both, strict=True)]
    forward_over, reverse_over = jvp(backward, _wrt(backward)), vjp(backward, _wrt(backward))
    return {
        "jvp": interpret(jvp(graph, _wrt(graph)), [*inputs, *task.tangents])[count:],
        "vjp": made[count:],
        "jvp of vjp": interpret(forward_over, [*point, *task.later_tangents])[len(made) :],
        "vjp of vjp": interpret(reverse_over, [*point, *later])[len(made) :],
    }


def function(task: Task, rows: Any, into: Callable[[np.ndarray], Any], is_float: Callable[[Any], bool]) -> Any:
    """The sample as a function of its float operands that gives its float results, in another library."""
    sample = task.sample

    def call(*floats: Any) -> tuple[Any, ...]:
        given = iter(floats)
        operands = [next(given) if x.dtype.kind in "fc" else into(x) for x in sample.inputs]
        return tuple(y for y in rows[sample.op](sample.attrs, *operands) if is_float(y))

    return call


def by_jax(task: Task, rows: Any, jax: Any) -> dict[str, Any]:
    """The four, by `jax.jvp` and `jax.vjp`. To be traced."""
    fn = function(task, rows, lambda x: x, lambda y: y.dtype.kind in "fc")
    arrays = lambda given: tuple(map(jax.numpy.asarray, given))  # its rules index with traced values
    operands, cotangents = arrays(inexact(task.sample.inputs)), arrays(task.cotangents)

    def backward(operands: Any, cotangents: Any) -> Any:
        results, pull = jax.vjp(fn, *operands)
        return (*results, *pull(tuple(cotangents)))

    count = len(operands)
    later = arrays(task.later_tangents[:count]), arrays(task.later_tangents[count:])
    _, pull = jax.vjp(backward, operands, cotangents)
    by_operands, by_cotangents = pull(arrays(task.later_cotangents))
    return {
        "jvp": jax.jvp(fn, operands, arrays(task.tangents))[1],
        "vjp": jax.vjp(fn, *operands)[1](cotangents),
        "jvp of vjp": jax.jvp(backward, (operands, cotangents), later)[1],
        "vjp of vjp": (*by_operands, *by_cotangents),
    }


def by_torch(
    task: Task, rows: Any, torch: Any, into: Callable[..., Any], back: Callable[..., Any]
) -> dict[str, Arrays]:
    """Those by reverse mode, once and twice. A gradient there is the conjugate of ours."""
    leaf = lambda x: into(x).requires_grad_()
    operands, cotangents = [leaf(x) for x in inexact(task.sample.inputs)], [leaf(u.conj()) for u in task.cotangents]
    fn = function(task, rows, into, lambda y: y.is_floating_point() or y.is_complex())

    def pulled(results: Any, given: Any, wanted: Any) -> list[Any]:
        pairs = [(y, u) for y, u in zip(results, given, strict=True) if y.requires_grad]
        if not pairs:
            return [torch.zeros_like(x) for x in wanted]
        made, cotangents = zip(*pairs, strict=True)
        found = torch.autograd.grad(made, wanted, cotangents, create_graph=True, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for x, g in zip(wanted, found, strict=True)]

    results = fn(*operands)
    first = pulled(results, cotangents, operands)
    # ours is the function (operands, u) -> (results, conj of what PyTorch gives for conj u)
    later = [into(u.conj()) for u in task.later_cotangents]
    count = len(results)
    later = [*later[:count], *(u.conj() for u in later[count:])]
    second = pulled([*results, *first], later, [*operands, *cotangents])
    ordered = [back(g.conj()) for g in second[: len(operands)]] + [back(g) for g in second[len(operands) :]]
    return {"vjp": [back(g.conj()) for g in first], "vjp of vjp": ordered}
