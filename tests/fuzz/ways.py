"""A case run in several ways: as it is, differentiated in both modes, for several examples at once, in a loop.

Each way is a graph of its own with inputs and what it must give. What a batch must give is what each example gives
alone; what a loop must give is what its body gives iteration by iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, TensorType
from graphc.graph.ops.control import ScanAttrs, scan
from graphc.transform.autodiff import jvp, vjp
from graphc.transform.batching import batch
from tests.fuzz.bounds import Bounded, expected, stacked
from tests.fuzz.cases import Case
from tests.fuzz.coverage import Cell, met

SIZE = 3  # examples in a batch, iterations of a loop


@dataclass(frozen=True)
class Way:
    """What to run, what it must give, and the cells it counts for when it does."""

    name: str
    case: Case
    wanted: list[Bounded]
    cells: list[Cell]


def forward(case: Case, seed: int = 0) -> Way:
    """The graph as it is."""
    wanted = expected(case.graph, case.inputs)
    compared = [v for v, want in zip(case.graph.outputs, wanted, strict=True) if want.is_bounded]
    return Way("forward", case, wanted, met(case.graph, "forward", case.graph.inputs, compared))


def random_like(rng: np.random.Generator, type: TensorType) -> np.ndarray:
    """Tangents or cotangents."""
    values = rng.normal(size=type.shape)
    if type.dtype.is_complex:
        values = values + 1j * rng.normal(size=type.shape)
    return np.asarray(values).astype(type.dtype.numpy)


def derived(case: Case, seed: int = 0) -> tuple[Case, Case]:
    """Forward and reverse mode of a case, with random tangents and cotangents as further inputs."""
    graph, rng = case.graph, np.random.default_rng(seed)
    wrt = [v.dtype.is_inexact for v in graph.inputs]
    tangents = [random_like(rng, v.type) for v in graph.inputs if v.dtype.is_inexact]
    cotangents = [random_like(rng, v.type) for v in graph.outputs if v.dtype.is_inexact]
    return Case(jvp(graph, wrt), (*case.inputs, *tangents)), Case(vjp(graph, wrt), (*case.inputs, *cotangents))


def forward_mode(case: Case, seed: int = 0) -> Way:
    """Outputs and their tangents."""
    graph, made = case.graph, derived(case, seed)[0]
    wanted = expected(made.graph, made.inputs)
    moved = [v for v in graph.outputs if v.dtype.is_inexact]
    tangents = wanted[len(graph.outputs) :]
    compared = [v for v, want in zip(moved, tangents, strict=True) if want.is_bounded]
    return Way("jvp", made, wanted, met(graph, "jvp", [v for v in graph.inputs if v.dtype.is_inexact], compared))


def reverse_mode(case: Case, seed: int = 0) -> Way:
    """Outputs, and cotangents of the inputs."""
    graph, made = case.graph, derived(case, seed)[1]
    wanted = expected(made.graph, made.inputs)
    moved = [v for v in graph.inputs if v.dtype.is_inexact]
    cotangents = wanted[len(graph.outputs) :]
    compared = [v for v, want in zip(moved, cotangents, strict=True) if want.is_bounded]
    return Way("vjp", made, wanted, met(graph, "vjp", compared, graph.outputs))


def examples(x: np.ndarray) -> list[np.ndarray]:
    """The elements of an input in other orders."""
    return [np.roll(np.ascontiguousarray(x).reshape(-1), number).reshape(x.shape) for number in range(SIZE)]


def batched(case: Case, seed: int = 0) -> tuple[Case, list[Case], tuple[bool, ...], tuple[bool, ...]]:
    """A case for several examples at once, each of them alone, which inputs are batched, and which outputs hold one
    row per example.
    """
    rng = np.random.default_rng(seed)
    flags = tuple(bool(flag) for flag in rng.random(len(case.inputs)) < 0.7)
    found = batch(case.graph, SIZE, flags)
    rows = [examples(x) for x in case.inputs]
    together = [np.stack(row) if flag else x for row, x, flag in zip(rows, case.inputs, flags, strict=True)]
    alone = [
        Case(
            case.graph,
            tuple(row[number] if flag else x for row, x, flag in zip(rows, case.inputs, flags, strict=True)),
        )
        for number in range(SIZE)
    ]
    return Case(found.graph, tuple(together)), alone, flags, found.outputs


def in_batch(case: Case, seed: int = 0) -> Way:
    """Every example gives in a batch what it gives alone."""
    together, alone, flags, rows = batched(case, seed)
    each = [expected(example.graph, example.inputs) for example in alone]
    wanted = [
        stacked([example[number] for example in each], value.type) if flag else each[0][number]
        for number, (value, flag) in enumerate(zip(case.graph.outputs, rows, strict=True))
    ]
    moving = [v for v, flag in zip(case.graph.inputs, flags, strict=True) if flag]
    compared = [v for v, want in zip(case.graph.outputs, wanted, strict=True) if want.is_bounded]
    return Way("vmap", together, wanted, met(case.graph, "vmap", moving, compared))


def looped(case: Case, seed: int = 0) -> tuple[Case, list[int]]:
    """A scan whose body is the graph, and which inputs change from iteration to iteration.

    An input is a row of a stack, a carry (if there is an output of its type, which then is its next value), or the same
    in all iterations. All outputs are stacked.
    """
    graph, rng = case.graph, np.random.default_rng(seed)
    roles: dict[str, list[int]] = {"capture": [], "carry": [], "row": []}
    following: list[int] = []
    for number, value in enumerate(graph.inputs):
        fitting = [k for k, v in enumerate(graph.outputs) if v.type == value.type]
        if fitting and rng.random() < 0.4:
            roles["carry"].append(number)
            following.append(fitting[int(rng.integers(len(fitting)))])
        else:
            roles["row" if rng.random() < 0.7 else "capture"].append(number)
    order = [*roles["capture"], *roles["carry"], *roles["row"]]
    body = Graph(
        f"{graph.name}.body",
        tuple(graph.inputs[k] for k in order),
        graph.nodes,
        (*(graph.outputs[k] for k in following), *graph.outputs),
    )
    inputs = [np.stack(examples(x)) if k in roles["row"] else x for k, x in enumerate(case.inputs)]
    builder = GraphBuilder(f"{graph.name}.scan")
    operands = [builder.input(TensorType(inputs[k].shape, graph.inputs[k].dtype)) for k in order]
    attrs = ScanAttrs(body, len(roles["capture"]), len(following), SIZE, bool(rng.random() < 0.4), False)
    outputs = builder.add(scan, operands, attrs)
    return Case(builder.build(outputs), tuple(inputs[k] for k in order)), [*roles["carry"], *roles["row"]]


def in_loop(case: Case, seed: int = 0) -> Way:
    """The graph as the body of a scan."""
    made, moving = looped(case, seed)
    wanted = expected(made.graph, made.inputs)
    count = len(wanted) - len(case.graph.outputs)
    compared = [v for v, want in zip(case.graph.outputs, wanted[count:], strict=True) if want.is_bounded]
    return Way("scan", made, wanted, met(case.graph, "scan", [case.graph.inputs[k] for k in moving], compared))


MAKE: Mapping[str, Callable[[Case, int], Way]] = {
    "forward": forward,
    "vjp": reverse_mode,
    "jvp": forward_mode,
    "vmap": in_batch,
    "scan": in_loop,
}
