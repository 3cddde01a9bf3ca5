"""The registry of primitives. `graphc.graph.ops` fills it when it is imported; other layers look ops up by name."""

from collections.abc import Callable, Iterator

import numpy as np

from graphc.core.errors import ParseError
from graphc.graph.ir import Attrs, Op, OpKind, TensorType

_OPS: dict[str, Op] = {}


def register(
    name: str,
    kind: OpKind,
    infer: Callable[[tuple[TensorType, ...], Attrs], tuple[TensorType, ...]],
    meaning: Callable[..., tuple[np.ndarray, ...]],
    attrs: type[Attrs] = Attrs,
) -> Op:
    """Add a primitive. Names are unique: a second registration is a bug in graphc."""
    if name in _OPS:
        raise AssertionError(f"op {name} is registered twice")
    op = Op(name, kind, attrs, infer, meaning)
    _OPS[name] = op
    return op


def lookup(name: str) -> Op:
    """The op of that name; `ParseError` when there is none."""
    if name not in _OPS:
        raise ParseError(f"unknown op {name!r}")
    return _OPS[name]


def all_ops() -> Iterator[Op]:
    """Every primitive, in order of registration."""
    return iter(tuple(_OPS.values()))
