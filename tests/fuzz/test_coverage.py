"""Which cells there are, and what counts for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Graph, TensorType
from graphc.graph.ops import elementwise, movement, reduction, sorting
from graphc.graph.registry import all_ops
from tests.fuzz.__main__ import main
from tests.fuzz.cases import Case
from tests.fuzz.checks import check_way
from tests.fuzz.counts import Chooser, Counts
from tests.fuzz.coverage import WAYS, cells, smallest, table
from tests.fuzz.tasks import Task, do
from tests.fuzz.ways import MAKE

X = np.array([0.5, -1.5, 2.0], np.float32)


def graph() -> Graph:
    """sorted exp(x), the order of x, and the largest of it, which nobody reads."""
    builder = GraphBuilder("g")
    x = builder.input(TensorType((3,), dtypes.float32))
    y = builder.add1(elementwise.exp, [x])
    order = builder.add1(sorting.argsort, [x], sorting.SortAttrs(0, False))
    builder.add1(reduction.reduce_max, [x], movement.AxesAttrs((0,)))
    return builder.build([builder.add1(sorting.sort, [y], sorting.SortAttrs(0, False)), order])


def test_which_cells_there_are() -> None:
    found = cells()
    assert {(op.name) for op in all_ops()} == {op for op, _, _ in found}
    assert ("exp", "c128", "vjp") in found
    assert ("exp", "i32", "forward") not in found  # its type rule
    assert ("add", "i32", "forward") in found
    assert ("add", "i32", "vjp") not in found  # integers have no tangents
    assert ("argsort", "f32", "vmap") in found
    assert ("argsort", "f32", "vjp") not in found  # what it makes has none
    assert ("floor", "f32", "vjp") in found  # zero
    assert ("iota", "f32", "vmap") not in found  # it has no operands
    assert ("fusion", "f32", "vjp") not in found  # it has no row


@pytest.mark.parametrize("way", WAYS)
def test_what_counts(way: str) -> None:
    """What leads to an output that is compared; for derivatives what tangents pass through."""
    names = {"exp", "sort"} | (set() if way in ("vjp", "jvp") else {"argsort"})
    found = MAKE[way](Case(graph(), (X,)), 0).cells
    assert sorted(found) == sorted((name, "f32", way) for name in names)


def test_what_is_compared_is_right() -> None:
    for way in WAYS:
        assert check_way(way, Case(graph(), (X,)))


def test_a_loop_is_compared_with_its_iterations() -> None:
    way = MAKE["scan"](Case(graph(), (X,)), 0)
    assert way.wanted[-2].array.shape == (3, 3)
    for row, x in zip(way.wanted[-2].array, way.case.inputs[-1], strict=True):
        np.testing.assert_array_equal(row, np.sort(np.exp(x.astype(np.float64)).astype(np.float32)))


def test_a_task_is_the_same_everywhere() -> None:
    task = Task(7, (("exp", "float32"), ("scatter_add", "complex64"), ("scan", "uint16")), ("forward", "vmap"))
    assert task.case().text() == task.case().text()
    outcome = do(task)
    assert outcome.differences == []
    assert ("exp", "f32", "forward") in outcome.cells


def test_what_lacks_most_is_chosen() -> None:
    counts = Counts("")
    counts.cells.update({cell: 200 for cell in cells() if cell[0] != "erf" or cell[2] != "vjp"})
    wishes, ways = Chooser(counts, 200, np.random.default_rng(0)).next(8)
    assert {op for op, _ in wishes} == {"erf"}
    assert ways == ("vjp",)
    counts.cells.update(dict.fromkeys(cells(), 200))
    assert Chooser(counts, 200, np.random.default_rng(0)).next(8) == ((), ())


def test_counts_of_other_sources_count_only_when_told_to(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    counts = Counts.read(path, keep=False)
    counts.cells.update({("exp", "f32", "vjp"): 3, ("log", "f32", "vjp"): 5})
    counts.write(path)
    assert Counts.read(path, keep=False).cells == counts.cells
    path.write_text(path.read_text(encoding="utf-8").replace(counts.digest, "other"), encoding="utf-8")
    assert Counts.read(path, keep=False).cells == {}
    kept = Counts.read(path, keep=True, forget=["log"])
    assert (kept.cells, kept.earlier) == ({("exp", "f32", "vjp"): 3}, 3)


def test_the_table_has_all_cells() -> None:
    lines = table({("exp", "c64", "vjp"): 7})
    (row,) = (line for line in lines if line.startswith("exp "))
    assert row.split()[-6:] == ["0/0/0/0/0", "0/0/0/0/0", "0/0/0/0/0", "0/0/0/0/0", "0/7/0/0/0", "0/0/0/0/0"]
    assert smallest({})["scan"] == 0


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fuzz.json"
    arguments = ["--minutes", "0.2", "--processes", "1", "--size", "4", "--file", str(file)]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["graphs"] > 0
    assert said["differences"] == 0
    assert said["cells"] == len(cells())
    assert main([*arguments[:1], "0", *arguments[2:]]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["graphs"] == said["graphs"]
