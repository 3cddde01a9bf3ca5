"""One piece of the fuzzer's work: a random graph that has what is wished for, run in some ways, compared.

A task is data that crosses processes and that makes the same graph wherever it is done.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from tests.fuzz.cases import Case, smallest_failure
from tests.fuzz.checks import CHECKS, REGRESSIONS, check_derivatives, check_ways
from tests.fuzz.coverage import Cell
from tests.fuzz.ways import MAKE
from tests.random_graphs import Wish, wished_graph

CHECK_OF = {
    "forward": ("cpu", "passes"),
    "vjp": ("derivatives", "derivatives_on_cpu"),
    "scan": ("scan_on_cpu",),
    "jvp": ("derivatives", "derivatives_on_cpu"),
    "vmap": ("batch", "batch_on_cpu"),
}


@dataclass(frozen=True)
class Task:
    """wishes: pairs of primitive and dtype. thorough: also everything between the parts of the compiler is verified,
    the graph is interpreted after each pass, and run with its inputs as state.
    """

    seed: int
    wishes: tuple[tuple[str, str], ...]
    ways: tuple[str, ...]
    wild: bool = False
    large: bool = False
    thorough: bool = False

    def case(self) -> Case:
        wishes = [Wish(op, dtypes.dtype(dtype)) for op, dtype in self.wishes]
        made = wished_graph(self.seed, wishes, self.wild, self.large)
        return Case(made.graph, made.inputs)


@dataclass(frozen=True)
class Outcome:
    """The cells that were compared; what was found, as text; seconds."""

    cells: list[Cell]
    differences: list[str]
    seconds: float


def do(task: Task) -> Outcome:
    """Run a task. What it finds is cut down and written to tests/regressions."""
    start = time.perf_counter()
    case = None
    try:
        with np.errstate(all="ignore"):
            case = task.case()
            cells = _compare(task, case)
    except Exception as error:
        found = [_described(error)] if case is None else _apart(task, case, error)
        return Outcome([], [f"{text} ({task})" for text in found], time.perf_counter() - start)
    return Outcome(cells, [], time.perf_counter() - start)


def _compare(task: Task, case: Case) -> list[Cell]:
    cells = check_ways([MAKE[way](case, task.seed) for way in task.ways], verify="passes" if task.thorough else "")
    if not {"vjp", "jvp"}.isdisjoint(task.ways):
        check_derivatives(case)
    if task.thorough:
        CHECKS["passes"](case)
        CHECKS["state"](case)
    return cells


def _apart(task: Task, case: Case, error: Exception) -> list[str]:
    """Which checks fail by themselves, each on the smallest part of the case that does."""
    names = dict.fromkeys(check for way in task.ways for check in CHECK_OF[way])
    names |= dict.fromkeys(("state",) if task.thorough else ())
    found: list[str] = []
    for check in names:
        try:
            CHECKS[check](case)
        except Exception as own:
            small = smallest_failure(case, CHECKS[check])
            found.append(f"{keep(check, task, small)}: {_described(own)}")
    return found or [f"{keep('cpu', task, case)}: only when all ways are one program: {_described(error)}"]


def keep(check: str, task: Task, case: Case) -> str:
    """Write the case to tests/regressions; the name of the file says its last primitive and the seed."""
    last = case.graph.nodes[-1].op.name if case.graph.nodes else "nothing"
    path = REGRESSIONS / f"{check}-{last}-{task.seed}.txt"
    path.write_text(case.text(), encoding="utf-8")
    return path.name


def _described(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:600]} [{place.filename.rpartition('/')[2]}:{place.lineno}]"
