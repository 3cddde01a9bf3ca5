"""Lists of values of which some are there: tangents that are zero by structure have no place in derived graphs."""

from collections.abc import Sequence

from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Value
from graphc.transform.autodiff.rows import Tangent, zeros_for

Flags = tuple[bool, ...]


def marks(tangents: Sequence[Tangent]) -> Flags:
    return tuple(t is not None for t in tangents)


def only(values: Sequence[Value], marked: Sequence[bool]) -> list[Value]:
    return [value for value, mark in zip(values, marked, strict=True) if mark]


def given(tangents: Sequence[Tangent]) -> list[Value]:
    return [t for t in tangents if t is not None]


def scatter(values: Sequence[Value], marked: Sequence[bool]) -> list[Tangent]:
    rest = iter(values)
    return [next(rest) if mark else None for mark in marked]


def inputs_like(builder: GraphBuilder, values: Sequence[Value]) -> list[Value]:
    return [builder.input(value.type, value.name) for value in values]


def filled(c: Compose, values: Sequence[Tangent], wanted: Sequence[bool], like: Sequence[Value]) -> list[Value]:
    """The values at wanted places, zeros where there is none."""
    return [zeros_for(c, v, x) for v, mark, x in zip(values, wanted, like, strict=True) if mark]
