"""Find what a user wants to look at: `FILE.py:NAME` becomes something with stages."""

import importlib.util
import inspect
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from graphc.api import compile as compile_function
from graphc.core.dtypes import dtype
from graphc.core.errors import ArgumentError, GraphcError
from graphc.execution.jit import Jitted
from graphc.graph.ir import Graph
from graphc.tracing import Spec, spec


@runtime_checkable
class HasStages(Protocol):
    """A compiled function, program or training job."""

    def text(self, stage: str) -> str: ...


def parse_spec(text: str) -> Spec:
    """`f32[64,784]` as a spec; raises `ArgumentError` for anything else."""
    match = re.fullmatch(r"\s*(\w+)\[\s*(\d+(?:\s*,\s*\d+)*)?\s*\]\s*", text)
    if match is None:
        raise ArgumentError(f"spec {text!r}: write dtype[shape], for example f32[64,784] or i64[]")
    shape = tuple(int(n) for n in match[2].split(",")) if match[2] else ()
    return spec(shape, dtype(match[1]))


def run_script(path: Path, argv: Sequence[str]) -> None:
    """Run a Python file as a shell would, with these arguments. An exit with a status other than 0 is an error."""
    if not path.is_file():
        raise ArgumentError(f"no such file: {path}")
    before = sys.argv, list(sys.path)
    sys.argv, sys.path[:0] = [str(path), *argv], [str(path.parent)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise ArgumentError(f"{path} ended with status {ended.code}") from None
    finally:
        sys.argv, sys.path[:] = before


def load_module(path: Path) -> ModuleType:
    """Run a Python file as a module that is not `__main__`. Its folder is importable while it runs."""
    if not path.is_file():
        raise ArgumentError(f"no such file: {path}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ArgumentError(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    try:
        found.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def traceback_in(place: str, error: Exception) -> str | None:
    """What Python would print of an error of the file of `FILE.py:NAME`, had it been run; None for any other error."""
    file = Path(place.rpartition(":")[0] or place)
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == file.resolve():
        return "".join(traceback.format_exception_only(error))
    frame = error.__traceback__
    while frame is not None and Path(frame.tb_frame.f_code.co_filename).resolve() != file.resolve():
        frame = frame.tb_next
    return None if frame is None else "".join(traceback.format_exception(error.with_traceback(frame)))


def load_target(place: str, specs: Sequence[str], backend: str | None) -> HasStages:
    """The object `FILE.py:NAME` names, compiled when it is a function or graph."""
    file, colon, name = place.rpartition(":")
    if not colon or not file:
        raise ArgumentError(f"{place!r}: write FILE.py:NAME")
    with redirect_stdout(sys.stderr):  # what the file prints is not what was asked for
        module = load_module(Path(file))
    target: object = module
    for part in name.split("."):
        if not hasattr(target, part):
            public = [n for n in vars(module) if not n.startswith("_")]
            raise ArgumentError(f"{file} has no {name!r}; it has: {', '.join(public)}")
        target = getattr(target, part)
    return _compiled(target, place, [parse_spec(s) for s in specs], backend)


def _compiled(target: object, place: str, specs: Sequence[Spec], backend: str | None) -> HasStages:
    if isinstance(target, Graph):
        return compile_function(target, backend=backend)
    if isinstance(target, Jitted) and specs:
        _check_count(target, place, specs)
        return target.lower(*specs)
    if isinstance(target, HasStages):
        if specs:
            raise ArgumentError(f"{place} is compiled already; --spec is for functions")
        return target
    if not callable(target):
        raise ArgumentError(f"{place} is a {type(target).__name__}; name a function, a graph or something compiled")
    if not specs:
        raise ArgumentError(f"{place} is a function: give one --spec per argument, for example --spec f32[64,784]")
    _check_count(target, place, specs)
    try:
        return compile_function(target, *specs, backend=backend)
    except GraphcError as error:
        raise type(error)(f"{place}: {error}") from error


def _check_count(function: Callable[..., object], place: str, specs: Sequence[Spec]) -> None:
    """Raise `ArgumentError` when the function cannot be called with as many arguments as there are specs."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # one written in C
        return
    try:
        signature.bind(*specs)
    except TypeError as error:
        raise ArgumentError(
            f"{place}: {error}; give one --spec for each argument of {signature}, in their order, not {len(specs)}"
        ) from None
