"""Optimisers and schedules as JSON: what a checkpoint says about them, and the way back.

A function as learning rate has no description that could be read back; it is described by its name and has to be given
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from graphc.api import ArgumentError
from graphc.optim.rules import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp
from graphc.optim.schedules import Constant, Cosine, Linear, Warmup

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (SGD, AdaGrad, RMSProp, Adam, AdamW, Constant, Linear, Cosine, Warmup)
}


def describe(value: object) -> Json:
    """A JSON form of an optimiser or schedule, and of the numbers and tuples in its fields."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if is_dataclass(value) and type(value).__name__ in _KINDS:
        return {"kind": type(value).__name__} | {f.name: describe(getattr(value, f.name)) for f in fields(value)}
    return {"given": str(getattr(value, "__qualname__", type(value).__qualname__))}


def restore(description: Json) -> Optimizer:
    """The optimiser described; raises `ArgumentError` when part of it was a function of the user's."""
    value = _restored(description)
    if not isinstance(value, Optimizer):
        raise ArgumentError(f"not the description of an optimiser: {description!r}")
    return value


def _restored(description: Json) -> object:
    if isinstance(description, list):
        return tuple(_restored(item) for item in description)
    if not isinstance(description, Mapping):
        return description
    if "given" in description:
        raise ArgumentError(f"{description['given']} was given as code and has to be given again")
    kind = _KINDS.get(str(description.get("kind")))
    if kind is None:
        raise ArgumentError(f"unknown optimiser or schedule {description.get('kind')!r}; known: {', '.join(_KINDS)}")
    arguments = {name: _restored(item) for name, item in description.items() if name != "kind"}
    unknown = set(arguments) - {f.name for f in fields(kind)}
    if unknown:
        raise ArgumentError(f"{kind.__name__} has no argument {', '.join(sorted(unknown))}")
    return kind(**arguments)
