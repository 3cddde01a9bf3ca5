"""Every environment flag graphc reads, in one table. The only module that touches `os.environ`.

Flags are read at each use, so a test or a shell can change them between two compilations.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from graphc.core.errors import ArgumentError
from graphc.core.records import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """One environment variable: its name, default and meaning."""

    name: str
    default: str
    help: str


FLAGS: tuple[Flag, ...] = (
    Flag("GRAPHC_BACKEND", "cpu", "backend used when none is named"),
    Flag("GRAPHC_THREADS", "0", "threads of the cpu backend; 0 means one per core this process may use"),
    Flag("GRAPHC_DUMP", "", "a folder: every compilation writes the text of each stage there"),
    Flag("GRAPHC_VERIFY", "", "'passes': verify the IR after every pass; 'full': also run it before and after"),
    Flag("GRAPHC_TIME", "", "1: print the time of each compilation stage"),
    Flag("GRAPHC_CACHE", "", "a folder for compiled objects; 'off' disables the cache; empty: the user's cache folder"),
    Flag("GRAPHC_CPU", "", "pretend the host is this LLVM cpu (for example x86-64-v3); empty: the real host"),
    Flag("GRAPHC_STABILISE", "1", "0: keep numerically fragile forms such as log(softmax(x)) as written"),
)

_BY_NAME: Mapping[str, Flag] = {flag.name: flag for flag in FLAGS}

_USING: ContextVar[Mapping[str, str]] = ContextVar("graphc_flags", default={})  # noqa: B039  never changed


def get(name: str) -> str:
    """The value of a flag, or its default when the variable is unset or empty."""
    flag = _BY_NAME[name]
    return _USING.get().get(name, "") or os.environ.get(name, "") or flag.default


def snapshot() -> Mapping[str, str]:
    """All flags as they are now."""
    return {flag.name: get(flag.name) for flag in FLAGS}


@contextmanager
def using(flags: Mapping[str, str]) -> Iterator[None]:
    """Inside the block flags are what they were when `flags` was taken."""
    token = _USING.set(flags)
    try:
        yield
    finally:
        _USING.reset(token)


def get_int(name: str) -> int:
    """A flag that must be a whole number; raises `ArgumentError` naming the variable otherwise."""
    text = get(name)
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"environment variable {name} must be a whole number, not {text!r}") from None


def cache_folder() -> Path | None:
    """Where compiled objects may be kept, or None when the cache is off."""
    value = get("GRAPHC_CACHE")
    if value == "off":
        return None
    if value:
        return Path(value)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "graphc"


def is_set(name: str) -> bool:
    """Whether the user set the variable to something (used by `graphc doctor`)."""
    return bool(os.environ.get(_BY_NAME[name].name))


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1
