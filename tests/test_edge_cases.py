"""The tables of docs/edge_cases.md are true on every backend."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.nn import functional as F

PAGE = Path(__file__).parents[1] / "docs" / "edge_cases.md"
KINDS = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 32, 64)},
    "u8": "uint8",
    "b1": "bool",
}
NAMES = {"gc": gc, "gnp": gnp, "F": F, "nan": np.nan, "inf": np.inf}
Maker = Callable[[np.ndarray], object]


def _sections() -> dict[str, list[tuple[str, str]]]:
    """Calls and what they give, by heading."""
    found: dict[str, list[tuple[str, str]]] = {}
    heading = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        row = re.fullmatch(r"\| `(.*)` \| `(.*)` \|", line)
        if row:
            found.setdefault(heading, []).append((row[1], row[2]))
    return found


SECTIONS = _sections()


def _evaluate(text: str, made: Maker) -> object:
    makers = {name: lambda value, kind=kind: made(np.array(value, kind)) for name, kind in KINDS.items()}
    return eval(text, {**NAMES, **makers})


def _arguments(call: str) -> list[np.ndarray]:
    """The arrays of a call, in the order in which it makes them."""
    found: list[np.ndarray] = []

    class Collector(ast.NodeVisitor):
        def visit_Call(self, node: ast.Call) -> None:
            if isinstance(node.func, ast.Name) and node.func.id in KINDS:
                _evaluate(ast.unparse(node), lambda array: found.append(array))
            self.generic_visit(node)

    Collector().visit(ast.parse(call, mode="eval"))
    return found


def check(section: str, backend: str) -> None:
    rows = SECTIONS[section]

    def everything(*arrays: object) -> tuple[object, ...]:
        rest = iter(arrays)
        return tuple(_evaluate(call, lambda _: next(rest)) for call, _ in rows)

    arguments = [array for call, _ in rows for array in _arguments(call)]
    results = gc.jit(everything, backend=backend)(*arguments)
    for (call, gives), found in zip(rows, results, strict=True):  # type: ignore[call-overload]
        got, wanted = np.asarray(found), np.asarray(_evaluate(gives, lambda array: array))
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), call
        assert np.array_equal(got, wanted, equal_nan=got.dtype.kind == "f"), f"{call} gives {got}, not {wanted}"
        if got.dtype.kind == "f":
            number = ~np.isnan(got)
            assert np.array_equal(np.signbit(got[number]), np.signbit(wanted[number])), f"{call}: sign of {got}"


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("section", SECTIONS)
def test_edge_cases(section: str, backend: str) -> None:
    check(section, backend)
