"""`graphc doctor`: what works on this machine, what is missing, and what the environment changes."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import cast

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import graphc
from graphc.core import config
from graphc.core.errors import GraphcError
from graphc.runtime.discovery import backend_names, find_backend, targets
from graphc.runtime.protocol import Backend

_STATES = {True: "[green]ok[/]", False: "[red]failed[/]", None: "[yellow]missing[/]"}
_PACKAGES = ("numpy", "llvmlite", "rich", "safetensors", "networkx", "cupy", "torch", "jax", "matplotlib")


def doctor(console: Console) -> int:
    """Print the report; the exit status is 1 when a backend that can run here fails one of its checks, else 0."""
    console.print(f"graphc {graphc.__version__}, Python {platform.python_version()}, {platform.platform()}")
    table = Table("check", "state", "detail", box=None)
    failed = 0
    for what, ok, detail in _checks():
        failed += ok is False
        table.add_row(escape(what), _STATES[ok], escape(detail))
    console.print(table)
    packages = Table("package", "version", box=None)
    for name in _PACKAGES:
        packages.add_row(name, _version(name))
    console.print(packages)
    flags = Table("environment", "value", "meaning", box=None)
    for flag in config.FLAGS:
        flags.add_row(flag.name, escape(config.get(flag.name) if config.is_set(flag.name) else ""), flag.help)
    console.print(flags)
    return 1 if failed else 0


def _checks() -> Iterable[tuple[str, bool | None, str]]:
    """What was looked at, whether it works (None: it is missing, and nothing is wrong with that), and more about it."""
    for name in backend_names():
        try:
            backend = find_backend(name)
            rows: Iterable[tuple[str, bool | None, str]] = backend.doctor()  # type: ignore[attr-defined]
        except GraphcError as error:
            yield f"backend {name}", False, str(error)
            continue
        runs = not isinstance(backend, Backend) or bool(targets(backend))
        yield from ((f"backend {name}: {what}", ok if ok or runs else None, detail) for what, ok, detail in rows)
        if runs:
            yield f"backend {name}: gradient", *_gradient_works(name)
    folder = config.cache_folder()
    yield "cache", True, "off" if folder is None else str(folder)


def _gradient_works(backend: str) -> tuple[bool, str]:
    """Compile and run the gradient of a small function, compared with the closed form."""
    from graphc.api import compile, value_and_grad  # reached only by this command

    x = np.linspace(-1, 1, 7, dtype=np.float32)
    try:
        exe = compile(value_and_grad(lambda v: (v * v).sum()), x, backend=backend)
        _, gradient = cast(tuple[np.ndarray, np.ndarray], exe(x))
    except GraphcError as error:
        return False, str(error)
    same = np.array_equal(gradient, 2 * x)
    return same, "compiled and checked" if same else f"expected {2 * x}, got {gradient}"


def _version(package: str) -> str:
    names = {"cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy")}.get(package, (package,))
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"
