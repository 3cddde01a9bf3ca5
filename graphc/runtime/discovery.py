"""Finds backends and frontends by entry point. Nothing here names one."""

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

from graphc.core.errors import BackendError, UnsupportedError
from graphc.runtime.protocol import Backend, Target


@cache
def _found(group: str) -> dict[str, str]:
    """The entry points of a group, `module:attribute` by name; what comes first on the path counts."""
    found: dict[str, str] = {}
    for text in _entry_point_files():
        inside = False
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                inside = line == f"[{group}]"
            elif inside and "=" in line:
                name, _, place = line.partition("=")
                found.setdefault(name.strip(), place.strip())
    return found


def _entry_point_files() -> Iterator[str]:
    """`entry_points.txt` of everything installed.

    Read from the folders of the path: to import `importlib.metadata` takes longer than to load a compiled program. It
    is asked where installed things are not plain folders.
    """
    if any(hasattr(finder, "find_distributions") and not _reads_path(finder) for finder in sys.meta_path):
        yield from _by_metadata()
        return
    for place in dict.fromkeys(sys.path):
        if os.path.isfile(place):
            yield from _by_metadata(place)
            continue
        try:
            names = sorted(os.listdir(place or "."))
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    with open(os.path.join(place, name, "entry_points.txt"), encoding="utf-8") as file:
                        yield file.read()
                except OSError:
                    continue  # it has none


def _reads_path(finder: object) -> bool:
    return getattr(finder, "__name__", "") == "PathFinder"


def _by_metadata(*path: str) -> Iterator[str]:
    from importlib.metadata import distributions

    for found in distributions(path=list(path)) if path else distributions():
        yield found.read_text("entry_points.txt") or ""


def targets(backend: Backend) -> list[Target]:
    """The devices of a backend here, by number; none where it cannot run."""
    found: list[Target] = []
    while True:
        try:
            target = backend.target(len(found))
        except BackendError:
            return found
        if target in found:
            return found  # a backend that has one device and does not look at the number
        found.append(target)


def backend_names() -> list[str]:
    """Names of the installed backends."""
    return sorted(_found("graphc.backends"))


@cache
def find_backend(name: str) -> object:
    """The backend of that name, imported now. Raises `BackendError` listing what is installed."""
    found = _found("graphc.backends")
    if name not in found:
        raise BackendError(f"unknown backend {name!r}; installed: {', '.join(sorted(found)) or 'none'}")
    try:
        return _imported(found[name])
    except (ImportError, AttributeError) as error:
        raise BackendError(f"backend {name!r} is installed but cannot be imported: {error}") from error


@cache
def find_loader(extension: str) -> Callable[..., object]:
    """What loads files of that extension (without the dot). Raises `UnsupportedError` listing what is installed."""
    found = _found("graphc.frontends")
    if extension not in found:
        known = ", ".join(f".{name}" for name in sorted(found)) or "none"
        raise UnsupportedError(f"no frontend loads files that end in {f'.{extension}'!r}; installed: {known}")
    try:
        loader = _imported(found[extension])
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(f"the frontend for .{extension} is installed but cannot be imported: {error}") from error
    if not callable(loader):
        raise UnsupportedError(f"the frontend for .{extension}, {found[extension]}, is no function")
    return loader


def _imported(place: str) -> object:
    module, _, attribute = place.partition(":")
    loaded: object = import_module(module)
    for part in attribute.split("."):
        loaded = getattr(loaded, part)
    return loaded
