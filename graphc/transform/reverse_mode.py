"""Reverse mode: `grad`, `value_and_grad`, `vjp`, `stop_gradient`.

Inside a trace the derivative becomes part of it, to any order. With arrays only it is evaluated by the interpreter;
`gc.grad` and `gc.value_and_grad` compile it.
"""

import functools
from collections.abc import Sequence
from typing import cast

from graphc.core.errors import GradientError
from graphc.core.pytree import LEAF, Tree, tree_map
from graphc.graph.ops import elementwise
from graphc.tracing import ArrayLike, apply_graph, bind1
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable
from graphc.tracing.spec import is_int
from graphc.transform import autodiff
from graphc.transform.function import (
    Function,
    Point,
    argument_numbers,
    argument_trees,
    aux_stopped,
    check_float_inputs,
    check_float_outputs,
    full,
    like_leaves,
    marked_inputs,
    rebuild,
    trace_at,
)


def grad(fn: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The gradient of a scalar function with respect to the positional arguments `argnums`.

    The result is shaped like the argument, or a tuple of these when `argnums` is a sequence; with `has_aux` (the
    function returns `(value, aux)`) it is `(gradient, aux)`. Raises `GradientError` when the value is not a float
    scalar or an argument holds integers. By a complex argument a + ib it is df/da - i df/db, as in JAX: its conjugate
    is the direction of ascent.

    >>> import numpy as np
    >>> float(grad(lambda x: x * x * x)(np.float64(2)))
    12.0
    """
    check_callable("grad", "fn", fn)
    both = value_and_grad(fn, argnums, has_aux)

    @functools.wraps(fn, updated=())
    def gradient(*args: Tree, **kwargs: Tree) -> Tree:
        value, gradients = cast("tuple[Tree, Tree]", both(*args, **kwargs))
        return (gradients, cast("tuple[Tree, Tree]", value)[1]) if has_aux else gradients

    return gradient


def value_and_grad(fn: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """`(value, gradient)` of a scalar function, or `((value, aux), gradient)` with `has_aux`.

    >>> import numpy as np
    >>> value, gradient = value_and_grad(lambda p: (p["w"] ** 2).sum())({"w": np.arange(3.0)})
    >>> float(value), gradient["w"].tolist()
    (5.0, [0.0, 2.0, 4.0])
    """
    check_callable("value_and_grad", "fn", fn)

    @functools.wraps(fn, updated=())
    def value_and_gradient(*args: Tree, **kwargs: Tree) -> Tree:
        point = trace_at(fn, args, kwargs, has_aux)
        numbers = argument_numbers(point, argnums)
        wrt = marked_inputs(point, numbers)
        _check_scalar(point)
        graph = autodiff.vjp(aux_stopped(point), wrt)
        floats = [t for t in point.graph.output_types if t.dtype.is_inexact]
        seeds = [full(t, float(i == 0)) for i, t in enumerate(floats)]
        outputs = apply_graph(graph, [*point.operands, *seeds])
        count = len(point.graph.outputs)
        gradients = argument_trees(point, numbers, outputs[count:])
        value: Tree = rebuild(point.out_tree, outputs[: point.num_values])
        if point.aux_tree is not None:
            value = (value, rebuild(point.aux_tree, outputs[point.num_values : count]))
        return value, (gradients[0] if is_int(argnums) else gradients)

    return value_and_gradient


def _check_scalar(point: Point) -> None:
    if point.out_tree != LEAF:
        raise GradientError(
            with_line(
                f"{point.name}: grad needs one scalar, this function returns {point.out_tree}. "
                "Return (loss, aux) with has_aux=True, or use gc.vjp"
            )
        )
    (type,) = point.value_types
    if type.shape != ():
        raise GradientError(
            with_line(
                f"{point.name}: grad needs a scalar, this function returns {type} of shape {list(type.shape)}. "
                "Sum or average it (gnp.sum, gnp.mean), or use gc.vjp with a cotangent of that shape"
            )
        )
    if type.dtype.is_complex:
        raise GradientError(
            with_line(
                f"{point.name}: grad needs a real scalar, this function returns {type}. Take real(x), imag(x) or "
                "abs(x) of it, or use gc.vjp with a cotangent"
            )
        )
    check_float_outputs(point)


def vjp(fn: Function, *primals: Tree, has_aux: bool = False) -> tuple[Tree, ...]:
    """`(value, pull_back)`, or `(value, pull_back, aux)` with `has_aux`.

    `pull_back(cotangent)`, with a cotangent shaped like the value, returns the tuple of cotangents of the primals.
    Primals and value are pytrees of floats; raises `GradientError` otherwise.

    >>> import numpy as np
    >>> value, pull_back = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull_back(np.array([1.0, 10.0]))[0].tolist()
    [2.0, 40.0]
    """
    check_callable("vjp", "fn", fn)
    point = trace_at(fn, primals, None, has_aux)
    check_float_inputs(point)
    check_float_outputs(point)
    count = point.in_tree.num_leaves
    wrt = [position < count for position in range(len(point.graph.inputs))]
    forward, linear = autodiff.linearize(aux_stopped(point), wrt)
    outputs = apply_graph(forward, point.operands)
    total = len(point.graph.outputs)
    residuals = outputs[total:]
    transposed = autodiff.transpose(linear, [position >= len(residuals) for position in range(len(linear.inputs))])
    args_tree = point.in_tree.children[0]
    extra = [full(t, 0.0) for t in point.graph.output_types[point.num_values :] if t.dtype.is_inexact]

    def pull_back(cotangent: Tree) -> tuple[Tree, ...]:
        seeds = like_leaves(point, "cotangent", cotangent, point.out_tree, point.value_types)
        found = apply_graph(transposed, [*residuals, *seeds, *extra])
        return cast("tuple[Tree, ...]", rebuild(args_tree, found))

    value = rebuild(point.out_tree, outputs[: point.num_values])
    if point.aux_tree is None:
        return value, pull_back
    return value, pull_back, rebuild(point.aux_tree, outputs[point.num_values : total])


def stop_gradient(tree: Tree) -> Tree:
    """The same values, taken as constants by every derivative.

    >>> import numpy as np
    >>> float(grad(lambda x: x * stop_gradient(x))(np.float64(3)))
    3.0
    """
    return tree_map(lambda leaf: bind1(elementwise.stop_gradient, cast("ArrayLike", leaf)), tree)
