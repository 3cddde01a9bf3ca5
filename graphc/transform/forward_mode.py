"""Forward mode: `jvp` and `linearize`."""

from collections.abc import Callable, Sequence
from typing import cast

from graphc.core.errors import GradientError
from graphc.core.pytree import Tree
from graphc.graph.ir import TensorType
from graphc.tracing import apply_graph
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable
from graphc.transform import autodiff
from graphc.transform.function import (
    Function,
    Point,
    check_float_inputs,
    check_float_outputs,
    like_leaves,
    rebuild,
    trace_at,
)


def _input_types(point: Point) -> tuple[TensorType, ...]:
    return point.graph.input_types[: point.in_tree.num_leaves]


def _float_point(fn: Function, primals: Sequence[Tree]) -> tuple[Point, list[bool]]:
    point = trace_at(fn, primals)
    check_float_inputs(point)
    check_float_outputs(point)
    count = point.in_tree.num_leaves
    return point, [position < count for position in range(len(point.graph.inputs))]


def jvp(fn: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, Tree]:
    """`(value, tangent of the value)` at `primals` along `tangents`, which are shaped like the primals.

    Primals and value are pytrees of floats; raises `GradientError` otherwise.

    >>> import numpy as np
    >>> value, tangent = jvp(lambda x: x * x, (np.float64(3),), (np.float64(1),))
    >>> float(value), float(tangent)
    (9.0, 6.0)
    """
    check_callable("jvp", "fn", fn)
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise GradientError(with_line("jvp: primals and tangents are tuples with one entry per argument"))
    point, marked = _float_point(fn, primals)
    tangent = like_leaves(point, "tangent", tuple(tangents), point.in_tree.children[0], _input_types(point))
    outputs = apply_graph(autodiff.jvp(point.graph, marked), [*point.operands, *tangent])
    count = point.num_values
    return rebuild(point.out_tree, outputs[:count]), rebuild(point.out_tree, outputs[count:])


def linearize(fn: Function, *primals: Tree) -> tuple[Tree, Callable[..., Tree]]:
    """`(value, push_forward)`: the value at `primals`, and the linear function from tangents of the primals to the
    tangent of the value. What does not depend on the tangents is computed once.

    >>> import numpy as np
    >>> value, push_forward = linearize(lambda x: x * x, np.float64(3))
    >>> float(push_forward(np.float64(1))), float(push_forward(np.float64(10)))
    (6.0, 60.0)
    """
    check_callable("linearize", "fn", fn)
    point, marked = _float_point(fn, primals)
    forward, linear = autodiff.linearize(point.graph, marked)
    outputs = apply_graph(forward, point.operands)
    residuals = outputs[point.num_values :]

    def push_forward(*tangents: Tree) -> Tree:
        leaves = like_leaves(point, "tangent", tangents, point.in_tree.children[0], _input_types(point))
        return rebuild(point.out_tree, apply_graph(linear, [*residuals, *leaves]))

    return rebuild(point.out_tree, outputs[: point.num_values]), cast("Callable[..., Tree]", push_forward)
