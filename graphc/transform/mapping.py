"""`vmap`: a function of one example, on many at once."""

import functools
from collections.abc import Sequence

from graphc.core.errors import ArgumentError, ShapeError
from graphc.core.pytree import Tree, TreeDef, children, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.graph.ops.movement import TransposeAttrs, transpose
from graphc.tracing import Array, Spec, apply_graph, as_array, bind1, spec_of, trace
from graphc.tracing.context import with_line
from graphc.tracing.function import argument_names, check_callable, function_name, parameter_names
from graphc.tracing.spec import is_int
from graphc.transform.batching import batch
from graphc.transform.function import Function, rebuild

Axis = int | None


def vmap(fn: Function, in_axes: Tree = 0, out_axes: Tree = 0, axis_size: int | None = None) -> Function:
    """`fn` for every index of an axis of its arguments, as one program rather than a loop.

    in_axes: the axis of each positional argument that `fn` is mapped over, None where every example gets all of it: one
    for all arguments, or a tuple with one per argument, each of which may be a pytree of axes shaped like (the upper
    part of) the argument. Keyword arguments are mapped over axis 0. out_axes: where the results have that axis, in the
    same way; None for a result that is the same for all examples. Axes count from the end where they are negative.
    axis_size: needed where no argument is mapped. Random keys are data: each example draws what it draws alone.

    Raises `ShapeError` where extents differ or an axis is not there, `ArgumentError` where the axes do not fit the
    arguments, and `UnsupportedError` for a primitive that cannot be batched.

    >>> import numpy as np
    >>> import graphc.numpy as gnp
    >>> vmap(gnp.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    check_callable("vmap", "fn", fn)
    if axis_size is not None and (not is_int(axis_size) or axis_size < 0):
        raise ArgumentError(with_line(f"vmap: axis_size={axis_size!r} must be a whole number"))

    @functools.wraps(fn, updated=())
    def mapped(*args: Tree, **kwargs: Tree) -> Tree:
        name = function_name(fn)
        leaves, tree = flatten((args, kwargs))
        arrays = [as_array(leaf) for leaf in leaves]
        names = argument_names(parameter_names(fn), tree)
        axes = _argument_axes(name, in_axes, tree)
        places = [_Place(n, a, _inside(name, n, axis, a)) for n, axis, a in zip(names, axes, arrays, strict=True)]
        size = _extent(name, places, axis_size)
        args_tree, kwargs_tree = tree.children
        examples = [place.example() for place in places]
        count = args_tree.num_leaves
        traced = trace(
            fn,
            unflatten(args_tree, examples[:count]),  # type: ignore[arg-type]  # the tree of args is a tuple
            unflatten(kwargs_tree, examples[count:]),  # type: ignore[arg-type]  # that of kwargs a dict
        )
        wanted = _spread(name, "out_axes", out_axes, traced.out_tree, "")
        flags = [place.axis is not None for place in places] + [False] * len(traced.captures)
        found = batch(traced.graph, size, flags, [axis is not None for axis in wanted])
        operands = [moved(place.array, place.axis, 0) if place.axis is not None else place.array for place in places]
        outputs = apply_graph(found.graph, [*operands, *traced.captures])
        rows = zip(leaf_names(traced.out_tree), outputs, wanted, found.outputs, strict=True)
        return rebuild(traced.out_tree, [_placed(name, *row) for row in rows])

    return mapped


@dataclass(frozen=True, slots=True)
class _Place:
    """One leaf of the arguments, and the axis it is mapped over (counted from 0), if any."""

    name: str
    array: Array
    axis: Axis

    def example(self) -> Spec:
        spec = spec_of(self.array)
        assert isinstance(spec, Spec)
        if self.axis is None:
            return spec
        return Spec(spec.shape[: self.axis] + spec.shape[self.axis + 1 :], spec.dtype)

    def __str__(self) -> str:
        assert self.axis is not None
        return f"{self.name} has {self.array.shape[self.axis]} (axis {self.axis} of {spec_of(self.array)})"


def _argument_axes(name: str, in_axes: Tree, tree: TreeDef) -> list[Axis]:
    """One axis per leaf of `(args, kwargs)`."""
    args_tree, kwargs_tree = tree.children
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)  # one per argument, in either container
    if isinstance(in_axes, tuple) and len(in_axes) != len(args_tree.children):
        raise ArgumentError(
            with_line(
                f"{name}: vmap's in_axes={in_axes!r} has {len(in_axes)} entries, but it is called with "
                f"{len(args_tree.children)} positional arguments"
            )
        )
    found = _spread(name, "in_axes", in_axes, args_tree, "")
    return [*found, *[0] * kwargs_tree.num_leaves]


def _spread(name: str, what: str, axes: Tree, tree: TreeDef, path: str) -> list[Axis]:
    """One axis per leaf of `tree`: an axis stands for everything below its place."""
    if axes is None or is_int(axes):
        return [None if axes is None else int(axes)] * tree.num_leaves
    found = children(axes)
    place = f" at {path}" if path else ""
    if found is None:
        raise ArgumentError(with_line(f"{name}: vmap's {what}{place} is {axes!r}, an axis is a whole number or None"))
    kind, below = found
    if (kind, tuple(key for key, _ in below)) != (tree.kind, tree.names):
        raise ArgumentError(with_line(f"{name}: vmap's {what}{place} is {axes!r}, which does not fit {tree}"))
    result: list[Axis] = []
    for (key, child), child_tree in zip(below, tree.children, strict=True):
        result += _spread(name, what, child, child_tree, f"{path}.{key}" if path else key)
    return result


def _inside(name: str, path: str, axis: Axis, array: Array) -> Axis:
    """The axis counted from 0."""
    if axis is None:
        return None
    rank = len(array.shape)
    if not -rank <= axis < rank:
        raise ShapeError(with_line(f"{name}: vmap over axis {axis} of {path}, which is {spec_of(array)}"))
    return axis % rank


def _extent(name: str, places: Sequence[_Place], axis_size: int | None) -> int:
    mapped = [place for place in places if place.axis is not None]
    extents = [place.array.shape[place.axis] for place in mapped if place.axis is not None]
    if not extents and axis_size is None:
        raise ArgumentError(with_line(f"{name}: vmap maps no argument (every axis is None); say axis_size="))
    size = extents[0] if axis_size is None else axis_size
    if any(extent != size for extent in extents):
        listed = ", ".join(map(str, mapped))
        given = "" if axis_size is None else f"axis_size={axis_size}, "
        raise ShapeError(with_line(f"{name}: vmap over axes of different extents: {given}{listed}"))
    return size


def _placed(name: str, path: str, output: Array, axis: Axis, is_batched: bool) -> Array:
    place = f"result {path}" if path else "the result"
    if axis is None:
        if is_batched:
            raise ArgumentError(with_line(f"{name}: vmap's out_axes is None for {place}, which differs per example"))
        return output
    rank = len(output.shape)
    if not -rank <= axis < rank:
        raise ShapeError(with_line(f"{name}: vmap puts axis {axis} into {place}, which is {spec_of(output)}"))
    return moved(output, 0, axis % rank)


def moved(x: Array, source: int, target: int) -> Array:
    """Dim `source` at place `target`, the others in order."""
    if source == target:
        return x
    order = [d for d in range(len(x.shape)) if d != source]
    order.insert(target, source)
    return bind1(transpose, x, attrs=TransposeAttrs(tuple(order)))
