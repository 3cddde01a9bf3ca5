"""Public names mean the same whatever was imported before them, and say what they are."""

import importlib
import inspect
from pathlib import Path

import pytest

import graphc

MODULES = [
    "graphc",
    "graphc.api",
    "graphc.numpy",
    "graphc.random",
    "graphc.nn",
    "graphc.nn.functional",
    "graphc.nn.init",
]
MODULES += ["graphc.optim", "graphc.data", "graphc.train"]

# Functions whose example would be that of the thing they belong to.
WITHOUT_EXAMPLE = {"at", "here", "is_tracing"}
WITHOUT_EXAMPLE |= {"all_leaves", "bind", "buffers_after", "canonical_names", "last_output", "leaves", "named_leaves"}
WITHOUT_EXAMPLE |= {"describe", "restore", "resume"}


def test_no_function_has_the_name_of_a_module() -> None:
    """Importing `graphc.x` binds the name x in the package to the module, even where it belongs to a function."""
    folder = Path(graphc.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert set(graphc.__all__) & modules == {"data", "nn", "numpy", "optim", "random", "sparse", "train"}


def public(module: str) -> list[tuple[str, object]]:
    """Functions and classes of graphc that a module offers."""
    namespace = importlib.import_module(module)
    names = getattr(namespace, "__all__", [name for name in dir(namespace) if not name.startswith("_")])
    things = [(name, getattr(namespace, name)) for name in names]
    return [
        (name, thing)
        for name, thing in things
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("graphc")
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    found = public(module)
    assert found
    missing = [name for name, thing in found if not vars(thing).get("__doc__", getattr(thing, "__doc__", None))]
    assert not missing, f"{module}: say what these are, their shapes, dtypes and errors: {missing}"


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_has_an_example(module: str) -> None:
    functions = [(name, thing) for name, thing in public(module) if inspect.isfunction(thing)]
    missing = [name for name, thing in functions if ">>>" not in (thing.__doc__ or "")]
    assert not set(missing) - WITHOUT_EXAMPLE, f"{module}: give these a doctest: {missing}"
