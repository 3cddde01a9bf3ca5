"""Reverse mode: `grad`, `value_and_grad`, `vjp`, `stop_gradient`.

Inside a trace the derivative becomes part of it, to any order. With arrays only it is evaluated by the interpreter;
`gc.grad` and `gc.value_and_grad` compile it.
"""

import functools
from collections.abc import Sequence
from typing import cast

from graphc.core.errors import GradientError
from graphc.core.pytree import LEAF, Tree, tree_map
from graphc.core.source import here
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Graph, Value
from graphc.graph.ops import elementwise
from graphc.graph.prune import live_nodes
from graphc.tracing import ArrayLike, apply_graph, bind1
from graphc.tracing.context import with_line
from graphc.tracing.spec import is_int
from graphc.transform import autodiff
from graphc.transform.function import (
    Function,
    Point,
    check_float_inputs,
    check_float_leaves,
    check_float_outputs,
    full,
    like_leaves,
    rebuild,
    trace_at,
)


def grad(fn: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The gradient of a scalar function with respect to the positional arguments `argnums`.

    The result is shaped like the argument, or a tuple of these when `argnums` is a sequence; with `has_aux` (the
    function returns `(value, aux)`) it is `(gradient, aux)`. Raises `GradientError` when the value is not a float
    scalar or an argument holds integers.

    >>> import numpy as np
    >>> float(grad(lambda x: x * x * x)(np.float64(2)))
    12.0
    """
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

    @functools.wraps(fn, updated=())
    def value_and_gradient(*args: Tree, **kwargs: Tree) -> Tree:
        point = trace_at(fn, args, kwargs, has_aux)
        numbers = _argument_numbers(point, argnums)
        wrt = _marked(point, numbers)
        _check_scalar(point)
        graph = autodiff.vjp(_aux_stopped(point), wrt)
        floats = [t for t in point.graph.output_types if t.dtype.is_float]
        seeds = [full(t, float(i == 0)) for i, t in enumerate(floats)]
        outputs = apply_graph(graph, [*point.operands, *seeds])
        count = len(point.graph.outputs)
        gradients = _argument_trees(point, numbers, outputs[count:])
        value: Tree = rebuild(point.out_tree, outputs[: point.num_values])
        if point.aux_tree is not None:
            value = (value, rebuild(point.aux_tree, outputs[point.num_values : count]))
        return value, (gradients[0] if isinstance(argnums, int) else gradients)

    return value_and_gradient


def _argument_numbers(point: Point, argnums: int | Sequence[int]) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(is_int(number) for number in numbers):
        raise GradientError(with_line(f"{point.name}: argnums={argnums!r} must be a position, or several"))
    count = len(point.in_tree.children[0].children)
    for number in numbers:
        if not -count <= number < count:
            raise GradientError(
                with_line(f"{point.name}: argnums={argnums!r}, but it is called with {count} positional arguments")
            )
    return tuple(number % count for number in numbers)


def _marked(point: Point, numbers: Sequence[int]) -> list[bool]:
    """Which inputs of the graph are leaves of the chosen arguments; raises when one is no float."""
    marked: list[bool] = []
    for position, child in enumerate(point.in_tree.children[0].children):
        marked += [position in numbers] * child.num_leaves
    marked += [False] * (len(point.graph.inputs) - len(marked))
    chosen = [value for value, mark in zip(point.graph.inputs, marked, strict=True) if mark]
    check_float_leaves(
        point.name,
        "argument",
        [value.type for value in chosen],
        [value.name for value in chosen],
        "Differentiate by another argument (argnums), or cast it with .astype('float32')",
    )
    return marked


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
    check_float_outputs(point)


def _aux_stopped(point: Point) -> Graph:
    """The graph with auxiliary float outputs behind `stop_gradient`, so that no derivative of them is built."""
    if point.aux_tree is None:
        return point.graph
    nodes = GraphBuilder(point.name)
    aux: list[Value] = []
    for value in point.graph.outputs[point.num_values :]:
        aux.append(nodes.add1(elementwise.stop_gradient, (value,), NO_ATTRS, here()) if value.dtype.is_float else value)
    outputs = (*point.graph.outputs[: point.num_values], *aux)
    return Graph(point.graph.name, point.graph.inputs, (*point.graph.nodes, *nodes.nodes), outputs)


def _argument_trees(point: Point, numbers: Sequence[int], gradients: Sequence[object]) -> tuple[Tree, ...]:
    """Gradients come in the order of the graph's inputs; each chosen argument gets its own."""
    by_argument: dict[int, Tree] = {}
    taken = 0
    for number in sorted(set(numbers)):
        tree = point.in_tree.children[0].children[number]
        by_argument[number] = rebuild(tree, gradients[taken : taken + tree.num_leaves])
        taken += tree.num_leaves
    return tuple(by_argument[number] for number in numbers)


def vjp(fn: Function, *primals: Tree, has_aux: bool = False) -> tuple[Tree, ...]:
    """`(value, pull_back)`, or `(value, pull_back, aux)` with `has_aux`.

    `pull_back(cotangent)`, with a cotangent shaped like the value, returns the tuple of cotangents of the primals.
    Primals and value are pytrees of floats; raises `GradientError` otherwise.

    >>> import numpy as np
    >>> value, pull_back = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull_back(np.array([1.0, 10.0]))[0].tolist()
    [2.0, 40.0]
    """
    point = trace_at(fn, primals, None, has_aux)
    check_float_inputs(point)
    check_float_outputs(point)
    count = point.in_tree.num_leaves
    wrt = [position < count for position in range(len(point.graph.inputs))]
    forward, linear = autodiff.linearize(_aux_stopped(point), wrt)
    outputs = apply_graph(forward, point.operands)
    total = len(point.graph.outputs)
    residuals = outputs[total:]
    transposed = _transposed(linear, len(residuals))
    args_tree = point.in_tree.children[0]
    extra = [full(t, 0.0) for t in point.graph.output_types[point.num_values :] if t.dtype.is_float]

    def pull_back(cotangent: Tree) -> tuple[Tree, ...]:
        seeds = like_leaves(point, "cotangent", cotangent, point.out_tree, point.value_types)
        unused = [full(value.type, 0.0) for value in linear.inputs[len(residuals) :]]
        found = apply_graph(transposed, [*residuals, *unused, *seeds, *extra])
        return cast("tuple[Tree, ...]", rebuild(args_tree, found))

    value = rebuild(point.out_tree, outputs[: point.num_values])
    if point.aux_tree is None:
        return value, pull_back
    return value, pull_back, rebuild(point.aux_tree, outputs[point.num_values : total])


def _transposed(linear: Graph, num_residuals: int) -> Graph:
    """Residuals, the (unused) tangents, then cotangents of the outputs -> cotangents of the tangents.

    The transpose of a linear function is its vjp at any point; only its cotangents are kept.
    """
    whole = autodiff.vjp(linear, [position >= num_residuals for position in range(len(linear.inputs))])
    outputs = whole.outputs[len(linear.outputs) :]
    return Graph(whole.name, whole.inputs, live_nodes(whole.nodes, outputs), outputs)


def stop_gradient(tree: Tree) -> Tree:
    """The same values, taken as constants by every derivative.

    >>> import numpy as np
    >>> float(grad(lambda x: x * stop_gradient(x))(np.float64(3)))
    3.0
    """
    return tree_map(lambda leaf: bind1(elementwise.stop_gradient, cast("ArrayLike", leaf)), tree)
