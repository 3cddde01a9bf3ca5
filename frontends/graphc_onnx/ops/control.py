"""Branches and loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array, UnsupportedError
from graphc_onnx.ops.common import Ints, integers, normal
from graphc_onnx.table import Body, Data, Row, WantsKnown


def _if(condition: Array, *, then_branch: Body, else_branch: Body) -> tuple[Data, ...]:
    """A condition that is known chooses now, and so it must where the results are of different shapes."""
    if isinstance(condition, np.ndarray):
        return tuple((then_branch if condition.reshape(()) else else_branch).call([]))
    taken = gnp.reshape(condition, ())
    pairs = zip(then_branch.call([]), else_branch.call([]), strict=True)
    return tuple(_either(taken, yes, no) for yes, no in pairs)


def _either(condition: Array, yes: Data, no: Data) -> Data:
    if yes is None or no is None or isinstance(yes, list) or isinstance(no, list):
        raise WantsKnown(0)
    if yes.shape != no.shape:
        raise WantsKnown(0)
    return gnp.where(condition, yes, no)


def _loop(count: Array | None = None, condition: Array | None = None, *state: Data, body: Body) -> tuple[Data, ...]:
    """Unrolled: how often the body runs must be known."""
    limit = None if count is None else integers(count)[0]
    carried = list(state)
    stacked: list[list[Data]] = [[] for _ in range(len(body.outputs) - 1 - len(state))]
    going: Data = np.asarray(True) if condition is None else condition
    step = 0
    while limit is None or step < limit:
        if not isinstance(going, np.ndarray) and going is condition:
            raise WantsKnown(1)
        if not isinstance(going, np.ndarray):
            raise UnsupportedError("whether the loop goes on is not known while tracing")
        if not going.reshape(()):
            break
        going, *rest = body.call([np.asarray(step, np.int64), going, *carried])
        carried = rest[: len(state)]
        for rows, item in zip(stacked, rest[len(state) :], strict=True):
            rows.append(item)
        step += 1
    return (*carried, *(_stacked(rows, 0) for rows in stacked))


def _stacked(rows: Sequence[Data], axis: int) -> Array:
    arrays = [row for row in rows if row is not None and not isinstance(row, list)]
    if not arrays:
        raise UnsupportedError("a loop that never runs has outputs of unknown shape")
    return gnp.stack(arrays, axis=axis)


def _scan(
    *operands: Array,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None,
    scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
) -> tuple[Data, ...]:
    """The first operands are the state, the others are taken apart along an axis each."""
    count = len(operands) - num_scan_inputs
    carried: list[Data] = list(operands[:count])
    axes = scan_input_axes or (0,) * num_scan_inputs
    backwards = scan_input_directions or (0,) * num_scan_inputs
    inputs = [gnp.moveaxis(x, normal(axis, len(x.shape)), 0) for x, axis in zip(operands[count:], axes, strict=True)]
    inputs = [gnp.flip(x, axis=0) if turned else x for x, turned in zip(inputs, backwards, strict=True)]
    outputs = len(body.outputs) - count
    stacked: list[list[Data]] = [[] for _ in range(outputs)]
    for step in range(inputs[0].shape[0]):
        results = body.call([*carried, *(x[step] for x in inputs)])
        carried = results[:count]
        for rows, item in zip(stacked, results[count:], strict=True):
            rows.append(item)
    out_axes = scan_output_axes or (0,) * outputs
    turned_back = scan_output_directions or (0,) * outputs
    ordered = [rows[::-1] if turned else rows for rows, turned in zip(stacked, turned_back, strict=True)]
    return (*carried, *(_stacked(rows, axis) for rows, axis in zip(ordered, out_axes, strict=True)))


ROWS = [
    Row("If", 1, _if),
    Row("Loop", 1, _loop, known=(0,)),
    Row("Scan", 9, _scan),
]
