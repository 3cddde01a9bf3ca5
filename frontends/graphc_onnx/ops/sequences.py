"""Sequences and optionals: while a model is imported they are lists of arrays, and None."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc_onnx.ops.common import integers, normal
from graphc_onnx.table import Body, Data, Row


def _construct(*items: Data) -> list[Data]:
    return list(items)


def _empty(*, dtype: int = 1) -> list[Data]:
    """The dtype is that of the arrays that are put in."""
    return []


def _place(position: Array | None, length: int, default: int) -> int:
    if position is None:
        return default
    given = integers(position)[0]
    place = given + length if given < 0 else given
    if not 0 <= place <= max(length, default):
        raise ArgumentError(f"position {given} is outside of the {length} elements of the sequence")
    return place


def _insert(sequence: list[Data], item: Data, position: Array | None = None) -> list[Data]:
    place = _place(position, len(sequence), len(sequence))
    return [*sequence[:place], item, *sequence[place:]]


def _erase(sequence: list[Data], position: Array | None = None) -> list[Data]:
    place = _place(position, len(sequence), len(sequence) - 1)
    return [*sequence[:place], *sequence[place + 1 :]]


def _at(sequence: list[Data], position: Array) -> Data:
    return sequence[_place(position, len(sequence), 0)]


def _length(sequence: list[Data]) -> Array:
    return np.asarray(len(sequence), np.int64)


def _join(sequence: list[Array], *, axis: int, new_axis: int = 0) -> Array:
    rank = len(sequence[0].shape)
    place = normal(axis, rank + 1 if new_axis else rank)
    return gnp.stack(sequence, axis=place) if new_axis else gnp.concatenate(sequence, axis=place)


def _split(x: Array, lengths: Array | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Data]:
    place = normal(axis, len(x.shape))
    extent = x.shape[place]
    if lengths is None:
        sizes = [1] * extent
    elif np.asarray(lengths).ndim == 0:
        each = integers(lengths)[0]
        sizes = [min(each, extent - start) for start in range(0, extent, each)]
    else:
        sizes = integers(lengths)
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    lead = (slice(None),) * place
    parts = [x[(*lead, slice(start, start + length))] for start, length in zip(starts, sizes, strict=True)]
    if lengths is None and not keepdims:
        return [gnp.squeeze(part, place) for part in parts]
    return list(parts)


def _map(*operands: Data, body: Body) -> tuple[Data, ...]:
    """The body for each element of the first sequence; other sequences go along, arrays are the same each time."""
    first = operands[0]
    if not isinstance(first, list):
        raise ArgumentError("the first input is not a sequence")
    rows = [
        body.call([operand[place] if isinstance(operand, list) else operand for operand in operands])
        for place in range(len(first))
    ]
    return tuple([row[place] for row in rows] for place in range(len(body.outputs)))


def _optional(item: Data = None, *, type: object = None) -> Data:
    """An optional with a value is that value."""
    return item


def _has_element(item: Data = None) -> Array:
    return np.asarray(item is not None)


def _get_element(item: Data) -> Data:
    if item is None:
        raise ArgumentError("the optional has no value")
    return item


ROWS = [
    Row("SequenceConstruct", 11, _construct),
    Row("SequenceEmpty", 11, _empty),
    Row("SequenceInsert", 11, _insert, known=(2,)),
    Row("SequenceErase", 11, _erase, known=(1,)),
    Row("SequenceAt", 11, _at, known=(1,)),
    Row("SequenceLength", 11, _length),
    Row("ConcatFromSequence", 11, _join),
    Row("SplitToSequence", 11, _split, known=(1,)),
    Row("SequenceMap", 17, _map),
    Row("Optional", 15, _optional),
    Row("OptionalHasElement", 15, _has_element),
    Row("OptionalGetElement", 15, _get_element),
]
