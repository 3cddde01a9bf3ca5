"""Random graphs through the whole compiler. `pytest tests/fuzz --fuzz-seed N --fuzz-count M` looks further; so does
`python -m tests.fuzz`, which chooses graphs by what was met seldom.

What is found is cut down and written to tests/regressions/, where `test_regressions` replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.core.errors import UnsupportedError
from tests.fuzz.cases import Case, smallest_failure
from tests.fuzz.checks import CHECKS, REGRESSIONS
from tests.fuzz.coverage import Cell, cells
from tests.random_graphs import Wish, random_graph, wished_graph


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    first, count = (metafunc.config.getoption(f"--fuzz-{name}") for name in ("seed", "count"))
    if metafunc.function is test_random_graphs_further:
        first, count = first + count, 9 * count
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(first, first + count))
        metafunc.parametrize("check", CHECKS)


PAIRS = sorted({(op, dtype) for op, dtype, way in cells() if way == "forward"})


def sample(seed: int, check: str) -> Case:
    """The case of a seed: every third is large, some have special values; every second is of any dtypes, the others are
    of those that programs are made of, every third of them differentiated throughout.
    """
    wild, large = seed % 5 == 4 and check == "cpu", seed % 3 == 2
    if seed % 2 == 0:
        made = random_graph(seed, size=14 + seed % 9, wild=wild, floats_only=seed % 3 == 1, large=large)
        return Case(made.graph, made.inputs)
    chosen = np.random.default_rng(seed).choice(len(PAIRS), 14)
    wishes = [Wish(PAIRS[k][0], dtypes.dtype(PAIRS[k][1])) for k in chosen]
    made = wished_graph(seed, wishes, wild, large)
    return Case(made.graph, made.inputs)


def fuzz(seed: int, check: str, record: Callable[[str, object], None]) -> None:
    case = sample(seed, check)
    try:
        found: list[Cell] = CHECKS[check](case) or []
    except UnsupportedError:
        raise  # no difference
    except Exception as error:
        path = REGRESSIONS / f"{check}-{seed}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(smallest_failure(case, CHECKS[check]).text(), encoding="utf-8")
        raise AssertionError(f"seed {seed}, check {check}; written to {path}: {error}") from error
    record("coverage", found)


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
