"""Branches and loops.

What is known while tracing is decided now: a branch is chosen, a loop that needs its counter as a number (to slice, to
grow a sequence) is written out. Everything else is a branch or loop of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import Array, ShapeError, TraceError, UnsupportedError
from graphc_onnx.ops.common import Ints, integers, normal
from graphc_onnx.table import Body, Data, NotInLoop, Row, WantsKnown

LONGEST = 1000  # a longer loop is not written out
Step = Callable[[list[Data], list[Data]], tuple[list[Data], list[Data]]]


def _if(condition: Array, *, then_branch: Body, else_branch: Body) -> tuple[Data, ...]:
    """Where the results of the branches are of different shapes the condition must be known."""
    if isinstance(condition, np.ndarray):
        return tuple((then_branch if condition.reshape(()) else else_branch).call([]))
    try:
        taken = gc.cond(gnp.reshape(condition, ()), lambda: then_branch.call([]), lambda: else_branch.call([]))
    except (ShapeError, TraceError) as error:
        raise WantsKnown(0) from error
    return tuple(cast("list[Data]", taken))


# -------------------------------------------------------------------------------------------------------------- loops


def repeat(step: Step, state: list[Data], rows: list[Data], count: int) -> tuple[list[Data], list[Array]]:
    """`state, outputs = step(state, row of each of rows)`, count times: the last state, and the outputs stacked."""
    if gc.is_tracing() and all(_is_array(item) for item in state):
        try:
            last, stacked = gc.scan(lambda carry, row: step(list(carry), list(row)), state, rows, length=count)
            return list(cast("list[Data]", last)), list(cast("list[Array]", stacked))
        except (NotInLoop, ShapeError, TraceError):
            pass  # it may be one that can be written out; if the mistake is another one, it shows there
    if gc.is_tracing() and count > LONGEST:
        raise UnsupportedError(f"a loop of {count} steps that needs its values while tracing")
    outputs: list[list[Data]] = []
    for place in range(count):
        state, items = step(state, [_row(row, place) for row in rows])
        outputs.append(items)
    if not outputs:
        raise UnsupportedError("a loop that never runs has outputs of unknown shape")
    return state, [_stacked([items[at] for items in outputs]) for at in range(len(outputs[0]))]


def _row(rows: Data, place: int) -> Array:
    """A row that is known stays an array when it is a number."""
    return np.asarray(rows[place]) if isinstance(rows, np.ndarray) else cast(Array, rows)[place]


def _is_array(item: Data) -> bool:
    return item is not None and not isinstance(item, list)


def _stacked(rows: Sequence[Data]) -> Array:
    if not all(map(_is_array, rows)):
        raise UnsupportedError("a loop stacks what is no array")
    return gnp.stack(cast("list[Array]", list(rows)))


class _Depends(Exception):
    """Whether the loop goes on depends on data."""


def _loop(count: Array | None = None, condition: Array | None = None, *state: Data, body: Body) -> tuple[Data, ...]:
    """While the condition holds, at most `count` times."""
    stacks = len(body.outputs) - 1 - len(state)
    is_counted = isinstance(count, np.ndarray)
    if is_counted and (condition is None or isinstance(condition, np.ndarray)):
        if condition is not None and not condition.reshape(()):
            count = np.zeros((), np.int64)
        with suppress(_Depends):  # then it is a while loop, or written out
            return _counted(integers(count)[0], list(state), body)
    if stacks == 0 and all(map(_is_array, state)):
        return _while(count, condition, list(state), body)
    if not is_counted and count is not None:
        raise WantsKnown(0)
    if condition is not None and not isinstance(condition, np.ndarray):
        raise WantsKnown(1)
    return _written_out(None if count is None else integers(count)[0], list(state), body)


def _counted(count: int, state: list[Data], body: Body) -> tuple[Data, ...]:
    """A loop whose body never ends it."""

    def step(carried: list[Data], row: list[Data]) -> tuple[list[Data], list[Data]]:
        going, *results = body.call([row[0], np.asarray(True), *carried])
        if not isinstance(going, np.ndarray) or not going.reshape(()):
            raise _Depends
        return results[: len(carried)], results[len(carried) :]

    if count == 0 and len(body.outputs) == 1 + len(state):
        return tuple(state)
    last, stacked = repeat(step, state, [np.arange(count)], count)
    return (*last, *stacked)


def _while(count: Array | None, condition: Array | None, state: list[Data], body: Body) -> tuple[Data, ...]:
    """A loop without stacked outputs, which may end at any step."""
    limit = None if count is None else gnp.reshape(count, ())

    def holds(carry: list[Array]) -> Array:
        number, going = carry[:2]
        return going if limit is None else gnp.logical_and(going, gnp.less(number, limit))

    def step(carry: list[Array]) -> list[Data]:
        going, *results = body.call([carry[0], carry[1], *carry[2:]])
        return [carry[0] + 1, gnp.reshape(cast(Array, going), ()), *results]

    first = np.asarray(True) if condition is None else gnp.reshape(condition, ())
    result = gc.while_loop(holds, step, [np.zeros((), np.int64), first, *state])
    return tuple(cast("list[Data]", result)[2:])


def _written_out(limit: int | None, state: list[Data], body: Body) -> tuple[Data, ...]:
    going: Data = np.asarray(True)
    outputs: list[list[Data]] = [[] for _ in range(len(body.outputs) - 1 - len(state))]
    number = 0
    while limit is None or number < limit:
        going, *results = body.call([np.asarray(number, np.int64), np.asarray(True), *state])
        state = results[: len(state)]
        for rows, item in zip(outputs, results[len(state) :], strict=True):
            rows.append(item)
        number += 1
        if not isinstance(going, np.ndarray):
            raise UnsupportedError("how often a loop with stacked outputs or sequences runs depends on data")
        if not going.reshape(()):
            break
        if gc.is_tracing() and number > LONGEST:
            raise UnsupportedError(f"a loop of more than {LONGEST} steps that needs its values while tracing")
    if outputs and not outputs[0]:
        raise UnsupportedError("a loop that never runs has outputs of unknown shape")
    return (*state, *map(_stacked, outputs))


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
    outputs = len(body.outputs) - count
    axes = scan_input_axes or (0,) * num_scan_inputs
    backwards = scan_input_directions or (0,) * num_scan_inputs
    rows: list[Data] = []
    for x, axis, turned in zip(operands[count:], axes, backwards, strict=True):
        row = gnp.moveaxis(x, normal(axis, len(x.shape)), 0)
        rows.append(gnp.flip(row, axis=0) if turned else row)

    def step(carried: list[Data], row: list[Data]) -> tuple[list[Data], list[Data]]:
        results = body.call([*carried, *row])
        return results[:count], results[count:]

    state, stacked = repeat(step, list(operands[:count]), rows, cast(Array, rows[0]).shape[0])
    out_axes = scan_output_axes or (0,) * outputs
    out_backwards = scan_output_directions or (0,) * outputs
    ordered = [gnp.flip(x, axis=0) if turned else x for x, turned in zip(stacked, out_backwards, strict=True)]
    return (*state, *(gnp.moveaxis(x, 0, axis) for x, axis in zip(ordered, out_axes, strict=True)))


ROWS = [
    Row("If", 1, _if),
    Row("Loop", 1, _loop),
    Row("Scan", 9, _scan),
]
