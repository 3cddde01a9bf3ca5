"""Remembers what is compiled and run while a script runs, so that `graphc profile script.py` can look at it afterwards.

Nothing is remembered, and nothing kept alive, outside of `recording()`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field

from graphc.core.records import dataclass


@dataclass(slots=True)
class Recording:
    """Everything that was compiled, in order, and what the latest run of each entry of a program was given.

    `batches`: batch, first step and number of steps by (identity of the program, entry).
    """

    compiled: list[object] = field(default_factory=list)
    batches: dict[tuple[int, str], tuple[object, int, int]] = field(default_factory=dict)


_active: list[Recording] = []


@contextmanager
def recording() -> Iterator[Recording]:
    """Remember what happens inside."""
    found = Recording()
    _active.append(found)
    try:
        yield found
    finally:
        _active.remove(found)


def record_compiled(thing: object) -> None:
    """A function or program was compiled."""
    for each in _active:
        if not any(known is thing for known in each.compiled):
            each.compiled.append(thing)


def record_batch(program: object, entry: str, batch: object, first: int, n: int) -> None:
    """A program runs an entry."""
    for each in _active:
        each.batches[id(program), entry] = (batch, first, n)
