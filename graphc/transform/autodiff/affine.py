"""Whether a derivative rule adds to tangents what depends on none: such a rule is affine, not linear.

In: a function and which of its inputs are tangents. Nothing, or `GradientError` that names the op and the user's line.
What is known to be zero may be added: constants, and what is linear in them. An op that is not linear for another
reason is left to whoever transposes it.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from graphc.core.errors import GradientError
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Op, Value
from graphc.graph.ops import elementwise, indexing, movement, windows
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.custom import LinearCallAttrs
from graphc.graph.ops.source import ConstantAttrs
from graphc.graph.prune import live_nodes
from graphc.transform.autodiff.backward import is_linear
from graphc.transform.autodiff.loops import Loop
from graphc.transform.autodiff.marked import Flags, only
from graphc.transform.autodiff.reached import Called, inputs_of_body, results_reached
from graphc.transform.autodiff.rows import Linear
from graphc.transform.autodiff.table import row_of

# Their result is made of the elements of all operands, or of sums of them.
_OF_SEVERAL: frozenset[Op] = frozenset(
    {elementwise.add, elementwise.sub, elementwise.select, elementwise.complex_, movement.concatenate}
    | {indexing.scatter, indexing.scatter_add, windows.dynamic_update_slice}
)


def check_sums(graph: Graph, tangents: Sequence[bool], outputs: Sequence[Value]) -> None:
    """Raise where something on the way to `outputs` adds to a tangent, or puts beside it, what depends on none and is
    not known to be zero.
    """
    _check(graph, _known(graph, tuple(tangents), (False,) * len(graph.inputs)), outputs)


@dataclass(frozen=True, slots=True)
class _Known:
    """Values of a graph that depend on tangents, and values that are zero."""

    moving: set[Value]
    zero: set[Value]

    def flags(self, values: Sequence[Value]) -> tuple[Flags, Flags]:
        return tuple(v in self.moving for v in values), tuple(v in self.zero for v in values)

    def is_offset(self, value: Value) -> bool:
        return value not in self.moving and value not in self.zero


def _known(graph: Graph, moving: Flags, zero: Flags) -> _Known:
    known = _Known(set(only(graph.inputs, moving)), set(only(graph.inputs, zero)))
    for node in graph.nodes:
        flags, zeros = known.flags(node.operands)
        if any(flags):
            known.moving.update(only(node.results, results_reached(node, flags)))
        if isinstance(node.attrs, Called):
            inside = _known(node.attrs.graph, flags, zeros)
            known.zero.update(only(node.results, inside.flags(node.attrs.graph.outputs)[1]))
        elif not any(flags) and _gives_zero(node, zeros):
            known.zero.update(node.results)
    return known


def _gives_zero(node: Node, zero: Flags) -> bool:
    """Whether a node gives zeros, which zeros among its operands are known: a constant, or what is linear in zeros."""
    if isinstance(node.attrs, ConstantAttrs):
        return not np.any(node.attrs.value)
    row = row_of(node)
    if not isinstance(row, Linear):
        return False
    if row.apart:
        return any(flag for number, flag in enumerate(zero) if number not in (row.fixed or ()))
    floats = [flag for flag, v in zip(zero, node.operands, strict=True) if v.dtype.is_inexact]
    return bool(zero) and all(floats or zero)


# ------------------------------------------------------------------------------------------------------- the check


def _check(graph: Graph, known: _Known, outputs: Sequence[Value]) -> None:
    """From the last node to the first, as they are transposed, until one that is not linear at all."""
    for node in reversed(live_nodes(graph.nodes, outputs)):
        flags, zero = known.flags(node.operands)
        if not any(flags):
            continue
        if isinstance(node.attrs, Called):
            inner = node.attrs.graph
            _check(inner, _known(inner, flags, zero), inner.outputs)
        elif isinstance(node.attrs, BranchAttrs):
            _check_branches(node, node.attrs, flags, zero)
        elif isinstance(node.attrs, ScanAttrs | WhileAttrs):
            _check_loop(node, flags, zero, known)
        elif isinstance(node.attrs, LinearCallAttrs):
            _check_operands(node, node.operands[node.attrs.residuals :], known)
        elif not is_linear(node, flags):
            return
        elif node.op in _OF_SEVERAL:
            _check_operands(node, [v for v in node.operands if v.dtype.is_inexact], known)


def _check_operands(node: Node, operands: Iterable[Value], known: _Known) -> None:
    if any(known.is_offset(v) for v in operands):
        raise _affine(node)


def _check_branches(node: Node, attrs: BranchAttrs, flags: Flags, zero: Flags) -> None:
    reached = results_reached(node, flags)
    for graph in attrs.branches:
        inside = _known(graph, flags[1:], zero[1:])
        _check_operands(node, only(graph.outputs, reached), inside)
        _check(graph, inside, graph.outputs)


def _check_loop(node: Node, flags: Flags, zero: Flags, known: _Known) -> None:
    loop = Loop.of(node)
    moving = inputs_of_body(loop, flags)
    captures, carries = len(loop.captures), len(loop.carries)
    carried = moving[captures : captures + carries]
    _check_operands(node, only(loop.carries, carried), known)
    fixed = zero[len(loop.count) :]
    same = tuple(is_zero and not captures <= i < captures + carries for i, is_zero in enumerate(fixed))
    inside = _known(loop.body, moving, same)
    _check_operands(node, only(loop.body.outputs[:carries], carried), inside)
    _check(loop.body, inside, loop.body.outputs)


def _affine(node: Node) -> GradientError:
    return GradientError(
        f"{node.op.name}: adds to a tangent, or puts beside it, what depends on none, so the derivative rule is not "
        f"linear ({node.loc})"
    )
