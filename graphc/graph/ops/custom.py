"""Ops that change how a function is differentiated, and compute what the function computes.

`custom_jvp` and `custom_vjp` carry derivative rules of the user's, `linear_call` is a linear function that comes with
its transpose, and `checkpoint` is a function whose backward pass computes again what it needs. When nothing is left to
be differentiated, all of them are calls. `barrier` then keeps what is computed a second time from being taken for the
same.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core.errors import DTypeError, GradientError, ShapeError
from graphc.core.records import dataclass
from graphc.core.source import Loc, here
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Attrs, Graph, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class CustomJvpAttrs(Attrs):
    """`rule`: the inputs, then tangents of the float inputs but those captured -> the outputs, then tangents of the
    float outputs; None where no more derivatives are known. The last `captures` inputs are used from outside.
    """

    graph: Graph
    rule: Graph | None
    captures: int


@dataclass(frozen=True, slots=True)
class CustomVjpAttrs(Attrs):
    """`forward`: the inputs -> the outputs, then residuals. `backward`: residuals, then cotangents of the float outputs
    -> cotangents of the float inputs but those captured, which are the last `captures`.
    """

    graph: Graph
    forward: Graph
    backward: Graph
    captures: int


@dataclass(frozen=True, slots=True)
class LinearCallAttrs(Attrs):
    """`graph`: residuals, then tangents -> tangents of the results; None where only the transpose is known.
    `transpose`: the same residuals, then cotangents of the results -> cotangents of the tangents. `why`: what makes it
    not linear, where there is no `graph`.
    """

    graph: Graph | None
    transpose: Graph
    residuals: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointAttrs(Attrs):
    """`late`: operands that are not read before the others are there; then the function is computed a second time, and
    what it computes is not shared with the first."""

    graph: Graph
    late: tuple[bool, ...]


def _floats(types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    return tuple(t for t in types if t.dtype.is_inexact)


def _fit(name: str, what: str, got: Sequence[TensorType], wanted: Sequence[TensorType]) -> None:
    if len(got) != len(wanted):
        raise ShapeError(f"{name}: {what} are {len(got)}, they must be {len(wanted)}")
    for position, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        if mine != theirs:
            raise DTypeError(f"{name}: number {position} of {what} is {mine}, it must be {theirs}")


def without_captures(types: Sequence[TensorType], captures: int) -> tuple[TensorType, ...]:
    """The types of what has tangents: floats that are not captured."""
    return _floats(types[: len(types) - captures])


def _infer_custom_jvp(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, CustomJvpAttrs)
    inputs, outputs = attrs.graph.input_types, attrs.graph.output_types
    _fit("custom_jvp", "the operands", types, inputs)
    if attrs.rule is None:
        return outputs
    moving = without_captures(inputs, attrs.captures)
    _fit("custom_jvp", "the inputs of the rule", attrs.rule.input_types, (*inputs, *moving))
    _fit("custom_jvp", "the results of the rule", attrs.rule.output_types, (*outputs, *_floats(outputs)))
    return outputs


def _infer_custom_vjp(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, CustomVjpAttrs)
    inputs, outputs = attrs.graph.input_types, attrs.graph.output_types
    _fit("custom_vjp", "the operands", types, inputs)
    _fit("custom_vjp", "the inputs of the forward rule", attrs.forward.input_types, inputs)
    made = attrs.forward.output_types
    _fit("custom_vjp", "the results of the forward rule", made[: len(outputs)], outputs)
    given = (*made[len(outputs) :], *_floats(outputs))
    _fit("custom_vjp", "the inputs of the backward rule", attrs.backward.input_types, given)
    moving = without_captures(inputs, attrs.captures)
    _fit("custom_vjp", "the results of the backward rule", attrs.backward.output_types, moving)
    return outputs


def _infer_linear_call(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, LinearCallAttrs)
    given = attrs.transpose.input_types
    _fit("linear_call", "the operands", types, (*given[: attrs.residuals], *attrs.transpose.output_types))
    results = given[attrs.residuals :]
    if attrs.graph is not None:
        _fit("linear_call", "the inputs", attrs.graph.input_types, types)
        _fit("linear_call", "the results", attrs.graph.output_types, results)
    return results


def _infer_checkpoint(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, CheckpointAttrs)
    _fit("checkpoint", "the operands", types, attrs.graph.input_types)
    if len(attrs.late) != len(types):
        raise ShapeError(f"checkpoint: {len(attrs.late)} flags for {len(types)} operands")
    return attrs.graph.output_types


def linear_graph(attrs: LinearCallAttrs, loc: Loc | None = None) -> Graph:
    """The function itself; raises `GradientError`, with this or the user's line, where only its transpose is known."""
    if attrs.graph is None:
        raise GradientError(
            f"custom_vjp: a function whose backward rule is not linear in the cotangent has no forward mode; "
            f"give it a rule with custom_jvp ({here() if loc is None else loc}){f': {attrs.why}' if attrs.why else ''}"
        )
    return attrs.graph


def _run(attrs: CustomJvpAttrs | CustomVjpAttrs | CheckpointAttrs, *args: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(interpret(attrs.graph, args))


custom_jvp = register("custom_jvp", "structural", _infer_custom_jvp, _run, CustomJvpAttrs)
custom_vjp = register("custom_vjp", "structural", _infer_custom_vjp, _run, CustomVjpAttrs)
checkpoint = register("checkpoint", "structural", _infer_checkpoint, _run, CheckpointAttrs)
linear_call = register(
    "linear_call",
    "structural",
    _infer_linear_call,
    lambda attrs, *args: tuple(interpret(linear_graph(attrs), args)),
    LinearCallAttrs,
)


def _infer_barrier(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    if not types:
        raise ShapeError("barrier: needs an operand")
    return (types[0],)


# The first operand, known only when the others are there. No rewrite looks through it.
barrier = register("barrier", "movement", _infer_barrier, lambda _, x, *after: (x,))
