"""Finds backends and frontends by entry point. Nothing here names one."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from graphc.core.errors import BackendError


@cache
def _found(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


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
        return found[name].load()
    except ImportError as error:
        raise BackendError(f"backend {name!r} is installed but cannot be imported: {error}") from error
