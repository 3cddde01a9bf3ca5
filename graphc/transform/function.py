"""What every transformation starts from: a function traced at its arguments, with what it captures, and its checks.

A captured value of an enclosing trace is one more input of the traced graph, so a transformation inside another one
differentiates through it like through any operand.
"""

from collections.abc import Callable, Sequence

import numpy as np

from graphc.core.errors import GradientError
from graphc.core.pytree import Leaf, Tree, TreeDef, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, TensorType
from graphc.tracing import Array, Traced, as_array, note_primal, spec_of, trace
from graphc.tracing.bind import broadcast_to, is_scalar, scalar_array, staged
from graphc.tracing.context import with_line
from graphc.tracing.function import function_name
from graphc.tracing.spec import Spec

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
        if not type.dtype.is_float:
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
