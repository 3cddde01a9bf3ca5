"""What must hold for every graph. Each check raises AssertionError (or the error of a verifier)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

import graphc.numpy as gnp
from graphc.compilation import Options, compile_program
from graphc.core.dtypes import dtype, holds_floats
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.program import EntryGraph, GraphProgram
from graphc.graph.verify import verify
from graphc.passes.partition import partition
from graphc.passes.pipeline import pipeline, run_passes
from tests.fuzz.bounds import Bounded, differences, expected
from tests.fuzz.cases import Case
from tests.fuzz.coverage import Cell, fused
from tests.fuzz.ways import MAKE, Way, batched, derived


def _assert_fits(what: str, found: Sequence[np.ndarray], wanted: Sequence[Bounded]) -> None:
    lines = differences(found, wanted)
    assert not lines, f"{what}: " + "; ".join(lines)


def check_passes(case: Case) -> None:
    """The graph is well formed after each pass and means the same."""
    wanted = expected(case.graph, case.inputs)

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        verify(after)
        assert after.input_types == before.input_types, name
        if after is not before:
            _assert_fits(f"after {name}", interpret(after, case.inputs), wanted)

    verify(case.graph)
    optimized = run_passes(case.graph, pipeline(stabilise=True), observe)
    fused = partition(optimized)
    verify(fused)
    _assert_fits("after partition", interpret(fused, case.inputs), wanted)


def run_on(backend: str, graph: Graph, inputs: Sequence[np.ndarray], threads: int | None = None) -> list[np.ndarray]:
    """The outputs of a graph compiled for a backend; what the parts of the compiler hand each other is well formed."""
    program = GraphProgram((), {"main": EntryGraph(graph, len(graph.inputs), False)})
    executable = compile_program(program, Options(backend=backend, threads=threads, verify="passes")).executable
    assert executable is not None
    return executable.call("main", [np.ascontiguousarray(x).reshape(x.shape) for x in inputs])


def check_ways(ways: Sequence[Way], backend: str = "cpu", verify: Literal["", "passes"] = "passes") -> list[Cell]:
    """The backend gives what the graphs of a case mean; where no rounding is free, to the bit. Each way is an entry of
    one program. The cells that were compared.
    """
    entries = {way.name: EntryGraph(way.case.graph, len(way.case.inputs), False) for way in ways}
    compilation = compile_program(GraphProgram((), entries), Options(backend=backend, threads=1, verify=verify))
    assert compilation.executable is not None
    found: list[Cell] = []
    for way in ways:
        inputs = [np.ascontiguousarray(x).reshape(x.shape) for x in way.case.inputs]
        _assert_fits(f"{way.name} on {backend}", compilation.executable.call(way.name, inputs), way.wanted)
        found += way.cells
        if way.name in ("forward", "scan") and compilation.fused:
            found += fused(compilation.fused[way.name], way.name)
    return found


def check_way(way: str, case: Case, seed: int = 0, backend: str = "cpu") -> list[Cell]:
    """One of the ways alone."""
    return check_ways([MAKE[way](case, seed)], backend)


def check_state(case: Case, backend: str = "cpu") -> None:
    """With inputs as state that outputs replace, in place where the planner likes, nothing changes.

    Each input becomes a state slot; its new value is the first output of its type that is free, else itself.
    """
    graph = case.graph
    wanted = expected(graph, case.inputs)
    free = list(range(len(graph.outputs)))
    chosen: list[int | None] = []
    for value in graph.inputs:
        found = next((i for i in free if graph.outputs[i].type == value.type), None)
        chosen.append(found)
        free = [i for i in free if i != found]
    updated = [v if i is None else graph.outputs[i] for v, i in zip(graph.inputs, chosen, strict=True)]
    stepped = Graph(graph.name, graph.inputs, graph.nodes, (*updated, *graph.outputs))
    slots = tuple((f"s{i}", v.type) for i, v in enumerate(graph.inputs))
    program = GraphProgram(slots, {"main": EntryGraph(stepped, 0, False)})
    executable = compile_program(program, Options(backend=backend, verify="passes")).executable
    assert executable is not None
    for slot, array in zip(executable.state(), case.inputs, strict=True):
        slot[...] = array
    _assert_fits(f"{backend}, outputs", executable.call("main", []), wanted)
    for state, array, i in zip(executable.state(), case.inputs, chosen, strict=True):
        if i is not None:
            _assert_fits(f"{backend}, state from output {i}", [state], [wanted[i]])
        else:
            assert np.array_equal(state, array, equal_nan=holds_floats(array)), "an unchanged state slot changed"


def check_derivatives(case: Case, seed: int = 0) -> None:
    """<cotangent, jvp(tangent)> == <vjp(cotangent), tangent>, and both leave the outputs as they are."""
    forward, backward = derived(case, seed)
    count, inputs = len(case.graph.outputs), len(case.inputs)
    wanted = expected(case.graph, case.inputs)
    found = {}
    for name, way in (("jvp", forward), ("vjp", backward)):
        verify(way.graph)
        results = expected(way.graph, way.inputs, reordered=True)
        _assert_fits(f"outputs of {name}", [x.array for x in results[:count]], wanted)
        found[name] = results[count:]
    left, left_bound = _inner(found["jvp"], backward.inputs[inputs:])
    right, right_bound = _inner(found["vjp"], forward.inputs[inputs:])
    if np.isfinite(left_bound + right_bound):  # a derivative that is infinite has no inner products
        assert abs(left - right) <= left_bound + right_bound, f"<ct, jvp(t)> = {left!r}, <vjp(ct), t> = {right!r}"


def check_batch(case: Case, seed: int = 0) -> None:
    """Every example gives in a batch what it gives alone."""
    together, alone, _, flags = batched(case, seed)
    verify(together.graph)
    results = interpret(together.graph, together.inputs)
    for number, example in enumerate(alone):
        mine = [x[number] if flag else x for x, flag in zip(results, flags, strict=True)]
        _assert_fits(f"example {number}", mine, expected(example.graph, example.inputs))


def _inner(results: Sequence[Bounded], vectors: Sequence[np.ndarray]) -> tuple[float, float]:
    """The inner product, and how far it may be away: the rounding of the results and of what leads to them."""
    total = bound = 0.0
    with np.errstate(all="ignore"):
        for result, vector in zip(results, vectors, strict=True):
            if result.array.size == 0:
                continue
            kind = dtype(result.array.dtype)
            terms = result.array.astype(np.complex128 if kind.is_complex else np.float64) * vector
            eps = float(gnp.finfo(kind.part).eps)
            total += float(np.real(np.sum(terms)))
            bound += float(np.sum(np.abs(vector))) * result.tolerance + 1000 * eps * float(np.sum(np.abs(terms)))
    return total, bound


def check_derivatives_on_cpu(case: Case) -> list[Cell]:
    """The derived graphs are graphs like others."""
    return [*check_way("jvp", case), *check_way("vjp", case)]


def _on_cpu(way: str) -> Callable[[Case], list[Cell]]:
    return lambda case: check_way(way, case)


# By name; a check may give the cells that it compared.
CHECKS: Mapping[str, Callable[[Case], list[Cell] | None]] = {
    "passes": check_passes,
    "derivatives": check_derivatives,
    "cpu": _on_cpu("forward"),
    "state": check_state,
    "derivatives_on_cpu": check_derivatives_on_cpu,
    "batch": check_batch,
    "batch_on_cpu": _on_cpu("vmap"),
    "scan_on_cpu": _on_cpu("scan"),
}
REGRESSIONS = Path(__file__).resolve().parent.parent / "regressions"
