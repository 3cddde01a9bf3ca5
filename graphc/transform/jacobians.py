"""Whole matrices of derivatives: `jacobian`, `hessian`, and the product of the latter with a vector, `hvp`.

A Jacobian is the linear map of forward mode, or of reverse mode, applied to every unit vector: batched, so that what
depends on the point alone is computed once and products with vectors become products of matrices.
"""

import functools
from collections.abc import Sequence
from typing import Literal

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, GradientError
from graphc.core.pytree import Tree, TreeDef, unflatten
from graphc.core.source import here
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, TensorType, Value
from graphc.tracing import apply_graph
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable
from graphc.tracing.spec import is_int
from graphc.transform import autodiff
from graphc.transform.batching import batch
from graphc.transform.forward_mode import jvp
from graphc.transform.function import (
    Function,
    Point,
    argument_numbers,
    aux_stopped,
    check_float_outputs,
    marked_inputs,
    rebuild,
    trace_at,
)
from graphc.transform.reverse_mode import grad

Mode = Literal["reverse", "forward"]


def jacobian(fn: Function, argnums: int | Sequence[int] = 0, mode: Mode = "reverse", has_aux: bool = False) -> Function:
    """The derivative of every element of the result of `fn` by every element of the arguments `argnums`.

    For a result of shape [a, b] and an argument of shape [m, n] it is [a, b, m, n]. Where the result is a pytree it is
    that pytree, whose leaves are shaped like the argument (or are tuples, when `argnums` is a sequence), as those are
    pytrees of arrays. mode: "reverse" costs as much as so many gradients as the result has elements, "forward" as many
    as the arguments have. With `has_aux` it is `(jacobian, aux)`. Raises `GradientError` for what is no float.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    check_callable("jacobian", "fn", fn)
    if mode not in ("reverse", "forward"):
        raise ArgumentError(with_line(f"jacobian: mode={mode!r}: use 'reverse' or 'forward'"))

    @functools.wraps(fn, updated=())
    def matrix(*args: Tree, **kwargs: Tree) -> Tree:
        point = trace_at(fn, args, kwargs, has_aux)
        numbers = argument_numbers(point, argnums)
        wrt = marked_inputs(point, numbers)
        check_float_outputs(point)
        forward, linear = autodiff.linearize(aux_stopped(point), wrt)
        outputs = apply_graph(forward, point.operands)
        residuals = outputs[len(point.graph.outputs) :]
        moving = [v.type for v, mark in zip(point.graph.inputs, wrt, strict=True) if mark]
        make = _by_rows if mode == "reverse" else _by_columns
        blocks = apply_graph(make(linear, len(residuals), point.value_types, moving), residuals)
        result = _arranged(point, numbers, blocks, is_int(argnums))
        if point.aux_tree is None:
            return result
        return result, rebuild(point.aux_tree, outputs[point.num_values : len(point.graph.outputs)])

    return matrix


def hessian(fn: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The second derivatives of `fn`: the Jacobian, by forward mode, of its Jacobian by reverse mode.

    For a scalar function of an argument of shape [n] it is [n, n]; pytrees nest as in `jacobian`, twice.

    >>> import numpy as np
    >>> hessian(lambda x: x[0] * x[0] * x[1])(np.array([3.0, 5.0])).tolist()
    [[10.0, 6.0], [6.0, 0.0]]
    """
    return jacobian(jacobian(fn, argnums, "reverse", has_aux), argnums, "forward", has_aux)


def hvp(fn: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> Tree:
    """The Hessian of a scalar function at `primals` times `tangents`, at the cost of a few gradients: the tangent of
    `grad(fn)`.

    For one primal the result is shaped like it, for several it is the tuple of the parts.

    >>> import numpy as np
    >>> hvp(lambda x: (x * x * x).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),)).tolist()
    [6.0, 12.0]
    """
    check_callable("hvp", "fn", fn)
    if not isinstance(primals, (tuple, list)) or not primals:
        raise GradientError(with_line("hvp: primals and tangents are tuples with one entry per argument"))
    numbers: int | tuple[int, ...] = 0 if len(primals) == 1 else tuple(range(len(primals)))
    return jvp(grad(fn, numbers), primals, tangents)[1]


def _by_rows(linear: Graph, residuals: int, values: Sequence[TensorType], moving: Sequence[TensorType]) -> Graph:
    """Residuals -> one block per value and argument leaf, by transposing the linear function."""
    transposed = autodiff.transpose(linear, [position >= residuals for position in range(len(linear.inputs))])
    builder, c = _begin(linear, residuals)
    aux = [c.zeros(v.type) for v in transposed.inputs[residuals + len(values) :]]
    found = _on_unit_vectors(c, transposed, builder.inputs, values, aux)
    blocks: list[Value] = []
    for value, (start, stop) in zip(values, _parts(values), strict=True):
        for rows, argument in zip(found, moving, strict=True):
            blocks.append(c.reshape(c.slice_axis(rows, 0, start, stop), value.shape + argument.shape))
    return builder.build(blocks)


def _by_columns(linear: Graph, residuals: int, values: Sequence[TensorType], moving: Sequence[TensorType]) -> Graph:
    """The same blocks, by the linear function itself."""
    builder, c = _begin(linear, residuals)
    found = _on_unit_vectors(c, linear, builder.inputs, moving, [])
    blocks: list[Value] = []
    for value, columns in zip(values, found[: len(values)], strict=True):
        for argument, (start, stop) in zip(moving, _parts(moving), strict=True):
            last = c.transpose(c.slice_axis(columns, 0, start, stop), (*range(1, columns.type.rank), 0))
            blocks.append(c.reshape(last, value.shape + argument.shape))
    return builder.build(blocks)


def _begin(linear: Graph, residuals: int) -> tuple[GraphBuilder, Compose]:
    builder = GraphBuilder(f"{linear.name}.jacobian")
    for value in linear.inputs[:residuals]:
        builder.input(value.type, value.name)
    return builder, Compose(builder, here())


def _on_unit_vectors(
    c: Compose, linear: Graph, residuals: Sequence[Value], types: Sequence[TensorType], rest: Sequence[Value]
) -> list[Value]:
    """What a linear graph gives for each unit vector of the inputs of these types; `rest` are its last inputs."""
    total = sum(type.size for type in types)
    if total == 1:
        units = [c.full(type, 1) for type in types]
        return [c.reshape(v, (1, *v.shape)) for v in c.builder.inline(linear, [*residuals, *units, *rest])]
    units = [_units(c, type, start, total) for type, (start, _) in zip(types, _parts(types), strict=True)]
    flags = [False] * len(residuals) + [True] * len(units) + [False] * len(rest)
    found = batch(linear, total, flags, [True] * len(linear.outputs))
    return list(c.builder.inline(found.graph, [*residuals, *units, *rest]))


def _units(c: Compose, type: TensorType, start: int, total: int) -> Value:
    """[total, ..]: row start + i is the unit vector of element i, the other rows are zero."""
    shape = (total, type.size)
    row, column = (c.iota(shape, dtypes.int64, axis) for axis in (0, 1))
    chosen = c.eq(row, c.add(column, c.like(column, start)))
    return c.reshape(c.cast(chosen, type.dtype), (total, *type.shape))


def _parts(types: Sequence[TensorType]) -> list[tuple[int, int]]:
    """Where each tensor begins and ends when all of them follow each other."""
    parts: list[tuple[int, int]] = []
    for type in types:
        start = parts[-1][1] if parts else 0
        parts.append((start, start + type.size))
    return parts


def _arranged(point: Point, numbers: Sequence[int], blocks: Sequence[object], single: bool) -> Tree:
    """The pytree of the value, holding pytrees of the arguments; blocks come value by value."""
    trees: dict[int, TreeDef] = {n: point.in_tree.children[0].children[n] for n in sorted(set(numbers))}
    width = sum(tree.num_leaves for tree in trees.values())
    leaves: list[Tree] = []
    for start in range(0, width * point.num_values, width) if width else [0] * point.num_values:
        by_argument: dict[int, Tree] = {}
        for number, tree in trees.items():
            by_argument[number] = rebuild(tree, blocks[start : start + tree.num_leaves])
            start += tree.num_leaves
        leaves.append(by_argument[numbers[0]] if single else tuple(by_argument[n] for n in numbers))
    return unflatten(point.out_tree, leaves)
