"""docs/array_api.md says what the code says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphc import numpy as gnp
from tests.conftest import ROOT
from tools import array_api


def test_the_table_is_that_of_the_code(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / "array_api.md"
    if request.config.getoption("--bless"):
        path.write_text(array_api.document(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == array_api.document(), "run `make bless`, and look at the difference"


def test_states_are_found() -> None:
    rows = {row.name: row for row in array_api.sections()["Elementwise"] + array_api.sections()["Sets"]}
    assert rows["exp"].state == rows["atan2"].state == rows["acos"].state == "yes"
    assert rows["unique_all"].state == "cannot" and rows["unique_all"].note.startswith("use sort(x)")


def test_a_missing_name_and_a_missing_parameter_show(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_side(x: object, values: object) -> object:
        return (x, values)

    changes: dict[str, Callable[..., object]] = {"searchsorted": without_side}
    for name, function in changes.items():
        monkeypatch.setattr(gnp, name, function)
    monkeypatch.delattr(gnp, "argmax")
    rows = {row.name: row for row in array_api.sections()["Searching"]}
    assert rows["argmax"].state == "not yet"
    assert rows["searchsorted"].note == "without the parameters side, sorter"


def test_what_differs_is_there() -> None:
    names = {row.name for rows in array_api.sections().values() for row in rows}
    assert set(array_api.DIFFERS) <= names
