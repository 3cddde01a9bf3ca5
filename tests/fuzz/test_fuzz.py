"""Random graphs through the whole compiler. `pytest tests/fuzz --fuzz-seed N --fuzz-count M` looks further.

What is found is cut down and written to tests/regressions/, where `test_regressions` replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Graph, regions
from tests.fuzz import checks
from tests.fuzz.cases import Case, smallest_failure
from tests.random_graphs import random_graph

REGRESSIONS = Path(__file__).resolve().parent.parent / "regressions"


def check_derivatives_on_cpu(case: Case) -> None:
    """The derived graphs are graphs like others."""
    for way in checks.derived(case):
        checks.check_backend(way)


def check_batch_on_cpu(case: Case) -> None:
    """The graph for several examples is a graph like others."""
    checks.check_backend(checks.batched(case)[0])


CHECKS: dict[str, Callable[[Case], None]] = {
    "passes": checks.check_passes,
    "derivatives": checks.check_derivatives,
    "cpu": checks.check_backend,
    "state": checks.check_state,
    "derivatives_on_cpu": check_derivatives_on_cpu,
    "batch": checks.check_batch,
    "batch_on_cpu": check_batch_on_cpu,
}
WEIGHTS = {"unary": 2, "unary_again": 2, "binary": 3, "binary_again": 3, "reduce": 2, "dot": 2}
WAYS = {"cpu": ("forward",), "derivatives": ("vjp", "jvp"), "batch": ("vmap",)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = (metafunc.config.getoption(f"--fuzz-{name}") for name in ("seed", "count"))
    if metafunc.function is test_random_graphs_further:
        first, count = first + count, 9 * count
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(first, first + count))
        metafunc.parametrize("check", CHECKS)


def sample(seed: int, check: str) -> Case:
    """The case of a seed: every third is large, every third differentiated throughout, some with special values."""
    wild = seed % 5 == 4 and check == "cpu"
    made = random_graph(
        seed, size=14 + seed % 9, weights=WEIGHTS, wild=wild, floats_only=seed % 3 == 1, large=seed % 3 == 2
    )
    return Case(made.graph, made.inputs)


def coverage(graph: Graph, ways: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """(primitive, dtype, way) of every node, regions included; derivatives exist for floats only."""
    found: list[tuple[str, str, str]] = []
    stack = [graph]
    while stack:
        for node in stack.pop().nodes:
            dtype = (node.operands or node.results)[0].dtype
            found += [(node.op.name, dtype.short, way) for way in ways if way not in ("vjp", "jvp") or dtype.is_float]
            stack += regions(node)
    return found


def fuzz(seed: int, check: str, record: Callable[[str, object], None]) -> None:
    case = sample(seed, check)
    record("coverage", coverage(case.graph, WAYS.get(check, ())))
    try:
        CHECKS[check](case)
    except UnsupportedError:
        raise  # no difference
    except Exception as error:
        path = REGRESSIONS / f"{check}-{seed}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(smallest_failure(case, CHECKS[check]).text(), encoding="utf-8")
        raise AssertionError(f"seed {seed}, check {check}; written to {path}: {error}") from error


def test_random_graphs(seed: int, check: str, record_property: Callable[[str, object], None]) -> None:
    fuzz(seed, check, record_property)


@pytest.mark.slow
def test_random_graphs_further(seed: int, check: str, record_property: Callable[[str, object], None]) -> None:
    fuzz(seed, check, record_property)


FOUND = sorted(REGRESSIONS.glob("*.txt"))


@pytest.mark.parametrize("path", FOUND, ids=[path.stem for path in FOUND])
def test_regressions(path: Path) -> None:
    """A file is called after the check that failed: `cpu-17.txt`, `passes-signed-zero.txt`."""
    CHECKS[path.stem.partition("-")[0]](Case.read(path.read_text(encoding="utf-8")))
