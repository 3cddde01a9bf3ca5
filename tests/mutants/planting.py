"""Puts bugs into the compiler, for the time of a test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType

import pytest


@dataclass(frozen=True)
class Planting:
    """Puts bugs in, and counts the calls of each mutated function: one that never runs proves nothing."""

    patch: pytest.MonkeyPatch
    calls: dict[FunctionType, int] = field(default_factory=dict)

    def setattr(self, owner: object, name: str, value: object) -> None:
        """Put `value` in place of an attribute."""
        if isinstance(value, type):
            for method, function in list(vars(value).items()):
                if isinstance(function, FunctionType):
                    self.setattr(value, method, function)
        self.patch.setattr(owner, name, self._counted(value) if isinstance(value, FunctionType) else value)

    def setitem(self, table: dict, key: object, value: object) -> None:
        """Put `value` in place of a row. Who does not read the row gets a right result, which is noticed."""
        self.patch.setitem(table, key, value)

    def setenv(self, name: str, value: str) -> None:
        """Set a flag."""
        self.patch.setenv(name, value)

    def _counted(self, function: FunctionType) -> Callable[..., object]:
        self.calls.setdefault(function, 0)

        def counted(*args, **named):
            self.calls[function] += 1
            return function(*args, **named)

        return counted


@dataclass(frozen=True)
class Mutant:
    """A bug and the check that notices it."""

    name: str
    plant: Callable[[Planting], None]
    check: Callable[[], None]
