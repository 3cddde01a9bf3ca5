"""The cases of ONNX's own test runner, run on backends of graphc in place.

A case passes when ONNX's runner says so, with ONNX's tolerances. It is skipped when the tables of `onnx_skips` say so
and it does what they say: the import refuses it with an error, or the numbers differ. Everything else is a failure,
also a case in a table that passes.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import onnx.backend.test

from graphc.core.errors import GraphcError
from graphc_onnx.backend import backend_on
from tests.frontends.onnx_skips import reason_to_skip

BACKENDS = ("cpu", "reference")
Outcome = Literal["passed", "skipped", "failed"]


@dataclass(frozen=True)
class Verdict:
    """What became of a case."""

    name: str
    outcome: Outcome
    reason: str = ""


def all_cases(home: str) -> dict[str, dict[str, Callable[[], None]]]:
    """Every case by name (`test_add`), as one function per backend; `home` is a folder for what the runner writes."""
    os.environ["ONNX_HOME"] = home
    cases: dict[str, dict[str, Callable[[], None]]] = {}
    for backend in BACKENDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the cases are made up by NumPy, which warns about some
            runner = onnx.backend.test.BackendTest(backend_on(backend), __name__)
        for group in runner.test_cases.values():
            for name in sorted(vars(group)):
                if name.startswith("test_") and name.endswith("_cpu"):
                    cases.setdefault(name.removesuffix("_cpu"), {})[backend] = _function(group, name)
    return cases


def _function(group: type, name: str) -> Callable[[], None]:
    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            getattr(group(name), name)()

    return run


def verdict(name: str, functions: dict[str, Callable[[], None]]) -> Verdict:
    """Run a case on every backend."""
    listed = reason_to_skip(name)
    for backend, function in functions.items():
        try:
            function()
        except GraphcError as error:
            if listed is None or listed.runner_says:
                return Verdict(name, "failed", f"{backend}, {_short(error)}")
        except Exception as error:  # whatever it is, the case has not passed
            if listed is None or not listed.runner_says or listed.runner_says not in str(error):
                return Verdict(name, "failed", f"{backend}, {_short(error)}")
        else:
            if listed is not None:
                return Verdict(name, "failed", f"{backend}, is listed as skipped, and passes")
    return Verdict(name, "passed") if listed is None else Verdict(name, "skipped", listed.reason)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def verdicts(names: list[str], cases: dict[str, dict[str, Callable[[], None]]]) -> Iterator[Verdict]:
    """One after the other."""
    for name in names:
        yield verdict(name, cases[name])
