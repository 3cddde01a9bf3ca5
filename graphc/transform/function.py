"""What every transformation starts from: a function traced at its arguments, with what it captures, and its checks.

A captured value of an enclosing trace is one more input of the traced graph, so a transformation inside another one
differentiates through it like through any operand.
"""

from collections.abc import Callable, Sequence

import numpy as np

from graphc.core.errors import GradientError
from graphc.core.pytree import Leaf, Tree, TreeDef, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.core.source import here
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Graph, TensorType, Value
from graphc.graph.ops import elementwise
from graphc.tracing import Array, Traced, as_array, note_primal, spec_of, trace
from graphc.tracing.array import movement
from graphc.tracing.bind import broadcast_to, is_scalar, scalar_array, staged
from graphc.tracing.context import with_line
from graphc.tracing.function import function_name
from graphc.tracing.spec import Spec, is_int

Function = Callable[..., Tree]


@dataclass(frozen=True, slots=True)
class Point:
    """A function traced at its arguments. `operands` are the graph's inputs: argument leaves, then captures.

    With `has_aux`, `out_tree` is the pytree of the value and `aux_tree` that of the auxiliary results, whose leaves are
    the graph's last outputs.
    """

    name: str
    graph: Graph
    operands: tuple[Array, ...]
    in_tree: TreeDef
    out_tree: TreeDef
    aux_tree: TreeDef | None

    @property
    def num_values(self) -> int:
        """Outputs of the graph that are the function's value; the rest are auxiliary."""
        return self.out_tree.num_leaves

    @property
    def value_types(self) -> tuple[TensorType, ...]:
        return self.graph.output_types[: self.num_values]


def trace_at(fn: Function, args: Sequence[Tree], kwargs: dict[str, Tree] | None = None, has_aux: bool = False) -> Point:
    """Trace `fn` at arguments (arrays, traced values, Python numbers)."""
    traced = trace(fn, args, kwargs)
    leaves, _ = flatten((tuple(args), dict(kwargs or {})))
    operands = tuple(as_array(leaf) for leaf in (*leaves, *traced.captures))
    name = function_name(fn)
    note_primal(traced.graph)
    out_tree, aux_tree = _split_aux(name, traced) if has_aux else (traced.out_tree, None)
    return Point(name, traced.graph, operands, traced.in_tree, out_tree, aux_tree)


def _split_aux(name: str, traced: Traced) -> tuple[TreeDef, TreeDef]:
    tree = traced.out_tree
    if tree.kind is not tuple or len(tree.children) != 2:
        raise GradientError(
            with_line(f"{name}: with has_aux=True the function returns (value, aux), this one returns {tree}")
        )
    return tree.children[0], tree.children[1]


def check_float_leaves(name: str, what: str, types: Sequence[TensorType], paths: Sequence[str], advice: str) -> None:
    """Raises `GradientError` naming the first leaf that is not a float."""
    for type, path in zip(types, paths, strict=True):
        if not type.dtype.is_inexact:
            raise GradientError(
                with_line(
                    f"{name}: {what}{' ' + path if path else ''} is {type}, only floats have derivatives. {advice}"
                )
            )


def check_float_outputs(point: Point) -> None:
    """Raises `GradientError` naming an output that has no tangent."""
    check_float_leaves(
        point.name,
        "the result",
        point.value_types,
        leaf_names(point.out_tree),
        "Return it as auxiliary result with has_aux=True",
    )


def check_float_inputs(point: Point) -> None:
    """Raises `GradientError` naming an argument that has no tangent."""
    count = point.in_tree.num_leaves
    values = point.graph.inputs[:count]
    check_float_leaves(
        point.name,
        "argument",
        [value.type for value in values],
        [value.name for value in values],
        "Close over it instead: lambda x: f(x, labels)",
    )


def argument_numbers(point: Point, argnums: int | Sequence[int]) -> tuple[int, ...]:
    numbers = tuple(movement.one_or_more(argnums))
    if not all(is_int(number) for number in numbers):
        raise GradientError(with_line(f"{point.name}: argnums={argnums!r} must be a position, or several"))
    count = len(point.in_tree.children[0].children)
    for number in numbers:
        if not -count <= number < count:
            raise GradientError(
                with_line(f"{point.name}: argnums={argnums!r}, but it is called with {count} positional arguments")
            )
    return tuple(number % count for number in numbers)


def marked_inputs(point: Point, numbers: Sequence[int]) -> list[bool]:
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


def aux_stopped(point: Point) -> Graph:
    """The graph with auxiliary float outputs behind `stop_gradient`, so that no derivative of them is built."""
    if point.aux_tree is None:
        return point.graph
    nodes = GraphBuilder(point.name)
    aux: list[Value] = []
    for value in point.graph.outputs[point.num_values :]:
        moves = value.dtype.is_inexact
        aux.append(nodes.add1(elementwise.stop_gradient, (value,), NO_ATTRS, here()) if moves else value)
    outputs = (*point.graph.outputs[: point.num_values], *aux)
    return Graph(point.graph.name, point.graph.inputs, (*point.graph.nodes, *nodes.nodes), outputs)


def argument_trees(point: Point, numbers: Sequence[int], gradients: Sequence[object]) -> tuple[Tree, ...]:
    """Gradients come in the order of the graph's inputs; each chosen argument gets its own."""
    by_argument: dict[int, Tree] = {}
    taken = 0
    for number in sorted(set(numbers)):
        tree = point.in_tree.children[0].children[number]
        by_argument[number] = rebuild(tree, gradients[taken : taken + tree.num_leaves])
        taken += tree.num_leaves
    return tuple(by_argument[number] for number in numbers)


def like_leaves(point: Point, what: str, tree: Tree, treedef: TreeDef, types: Sequence[TensorType]) -> list[Array]:
    """The leaves of a tangent or cotangent, checked against the pytree and the types it has to have."""
    leaves, found = flatten(tree)
    if found != treedef:
        raise GradientError(with_line(f"{point.name}: the {what} is {found}, it must be shaped like {treedef}"))
    result: list[Array] = []
    for leaf, type, path in zip(leaves, types, leaf_names(treedef), strict=True):
        array = scalar_array(leaf, type.dtype) if is_scalar(leaf) else as_array(leaf)
        given = spec_of(array)
        assert isinstance(given, Spec)
        if given.type != type:
            raise GradientError(
                with_line(f"{point.name}: the {what}{' ' + path if path else ''} is {given}, it must be {type}")
            )
        result.append(array)
    return result


def full(type: TensorType, value: float) -> Array:
    """An array of one value; the program makes it while tracing."""
    return broadcast_to(staged(scalar_array(value, type.dtype)), type.shape)


def rebuild(treedef: TreeDef, leaves: Sequence[Leaf]) -> Tree:
    """The pytree of results; arrays of the interpreter are not views of its arguments."""
    return unflatten(treedef, [np.array(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves])
