"""One row per ONNX op: its name, the opsets it is meant for, and a function of its operands and attributes.

The function takes the operands in order (`None` for one that is left out) and the attributes by their ONNX names as
keyword arguments; its signature says which attributes there are and their defaults. A parameter `node` gets the
`NodeContext`: what is said neither by operands nor by attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from graphc.api import ArgumentError, Array, GraphcError, UnsupportedError

# What an ONNX value is while a model is interpreted: a tensor, a sequence, or an optional without a value.
Data: TypeAlias = "Array | list[Data] | None"
Result: TypeAlias = "Data | tuple[Data, ...]"
NEWEST = 10_000


class ModelError(GraphcError, ValueError):
    """A model file that cannot be read, or that breaks the rules of ONNX; names the file, node and op."""


class NotInLoop(UnsupportedError):
    """A value that is computed in a loop or branch shapes the program; where the loop is written out, it may."""


class WantsKnown(Exception):
    """A row needs the value of an operand after all; `index` says of which."""

    def __init__(self, index: int) -> None:
        super().__init__(f"the value of input {index} is needed")
        self.index = index


@dataclass(frozen=True)
class Body:
    """A graph attribute (the branch of an If, the body of a Loop): a function of its inputs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    call: Callable[[list[Data]], list[Data]]
    captures_known: bool  # every value of the enclosing graph that it reads is known


@dataclass(frozen=True)
class NodeContext:
    """What a row may ask for beside operands and attributes."""

    name: str
    op: str
    opset: int
    outputs: tuple[bool, ...]  # which results are used
    number: int  # position in the graph; gives random ops keys of their own
    recompute: Callable[[Mapping[str, Data], str], Data]  # (values by name, name): that value of the graph from these


@dataclass(frozen=True)
class Row:
    """What the op `name` of `domain` means from opset `since` up to `until`.

    known: operands whose value shapes the program (axes, shapes, pads, k): they reach the function as NumPy arrays.
    of_constants: these may not come from inputs of the model, because they are data and the shape of the result
    depends on it. makes: the result is computed by the program even if all operands are known, unless its value
    shapes the program (large constants are not stored).
    """

    name: str
    since: int
    function: Callable[..., Result]
    known: tuple[int, ...] = ()
    until: int = NEWEST
    domain: str = ""
    makes: bool = False
    of_constants: bool = False

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names of the attributes that the function takes."""
        found = _signature(self.function).parameters.values()
        return frozenset(p.name for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY)

    @cached_property
    def takes_node(self) -> bool:
        return "node" in self.parameters

    @cached_property
    def arity(self) -> tuple[int, int]:
        """The smallest and the largest number of operands."""
        found = list(_signature(self.function).parameters.values())
        if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in found):
            return 0, NEWEST
        places = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return sum(p.default is p.empty for p in places), len(places)


def _signature(function: Callable[..., Result]) -> inspect.Signature:
    return inspect.signature(function)


class Table:
    """Rows by domain and name."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            others = self._rows.setdefault((row.domain, row.name), [])
            if any(row.since <= other.until and other.since <= row.until for other in others):
                raise ArgumentError(f"two rows for {row.name} and one opset")
            others.append(row)

    def find(self, domain: str, name: str, opset: int) -> Row | None:
        """The row for an op in a model of that opset."""
        rows = self._rows.get((domain, name), ())
        return next((row for row in rows if row.since <= opset <= row.until), None)
