"""Nested containers of leaves: flatten to a list, rebuild from a list, name each leaf.

Containers are tuple, named tuple, list, dict (keys in sorted order), None (no leaves) and any class registered with
`register`. Everything else is a leaf.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphc.core.errors import ArgumentError
from graphc.core.records import dataclass

Leaf = object
Tree = object


@dataclass(frozen=True, slots=True)
class TreeDef:
    """The shape of a pytree: its container type, static data and children. Hashable and comparable."""

    kind: type | None  # None marks a leaf
    static: object
    names: tuple[str, ...]
    children: tuple["TreeDef", ...]

    @property
    def num_leaves(self) -> int:
        if self.kind is None:
            return 1
        return sum(child.num_leaves for child in self.children)

    def __str__(self) -> str:
        if self.kind is None:
            return "*"
        if self.kind is type(None):
            return "None"
        if self.kind is tuple:
            return f"({', '.join(map(str, self.children))}{',' if len(self.children) == 1 else ''})"
        if self.kind is list:
            return f"[{', '.join(map(str, self.children))}]"
        inner = ", ".join(f"{n}: {c}" for n, c in zip(self.names, self.children, strict=True))
        return f"{{{inner}}}" if self.kind is dict else f"{self.kind.__name__}({inner})"


LEAF = TreeDef(None, None, (), ())


@dataclass(frozen=True, slots=True)
class _Container:
    flatten: Callable[[Any], tuple[Sequence[tuple[str, Tree]], object]]
    unflatten: Callable[[object, Sequence[Tree]], Tree]


_REGISTRY: dict[type, _Container] = {}


def register(
    kind: type,
    flatten: Callable[[Any], tuple[Sequence[tuple[str, Tree]], object]],
    unflatten: Callable[[object, Sequence[Tree]], Tree],
) -> None:
    """Make a class a pytree container.

    `flatten(obj)` returns `([(name, child), ...], static)`, with `static` hashable; `unflatten(static, children)`
    rebuilds it.
    """
    _REGISTRY[kind] = _Container(flatten, unflatten)


def _dict_flatten(tree: dict[str, Tree]) -> tuple[list[tuple[str, Tree]], object]:
    try:
        keys = sorted(tree)
    except TypeError:
        raise ArgumentError(f"dict keys of a pytree must be sortable, got {list(tree)!r}") from None
    return [(str(key), tree[key]) for key in keys], tuple(keys)


register(tuple, lambda t: ([(str(i), c) for i, c in enumerate(t)], None), lambda _, c: tuple(c))
register(list, lambda t: ([(str(i), c) for i, c in enumerate(t)], None), lambda _, c: list(c))
register(dict, _dict_flatten, lambda keys, c: dict(zip(keys, c, strict=True)))  # type: ignore[call-overload]
register(type(None), lambda _: ([], None), lambda _, __: None)


def _container_of(tree: Tree) -> tuple[type, _Container] | None:
    kind = type(tree)
    if kind in _REGISTRY:
        return kind, _REGISTRY[kind]
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        fields = kind._fields
        return kind, _Container(
            lambda t: ([(f, getattr(t, f)) for f in fields], None),
            lambda _, c: kind(*c),
        )
    for base in kind.__mro__[1:]:
        if base in _REGISTRY and base not in (tuple, list, dict):
            return kind, _REGISTRY[base]
    return None


def is_container(tree: Tree) -> bool:
    """Whether `flatten` looks inside."""
    return _container_of(tree) is not None


def children(tree: Tree) -> tuple[type, list[tuple[str, Tree]]] | None:
    """The kind of the outermost container, and what it holds by name; None for a leaf."""
    found = _container_of(tree)
    if found is None:
        return None
    kind, container = found
    return kind, list(container.flatten(tree)[0])


def flatten(tree: Tree) -> tuple[list[Leaf], TreeDef]:
    """Leaves in order, and the shape that rebuilds them."""
    found = _container_of(tree)
    if found is None:
        return [tree], LEAF
    kind, container = found
    named, static = container.flatten(tree)
    leaves: list[Leaf] = []
    children: list[TreeDef] = []
    for _, child in named:
        child_leaves, child_def = flatten(child)
        leaves += child_leaves
        children.append(child_def)
    return leaves, TreeDef(kind, static, tuple(name for name, _ in named), tuple(children))


def unflatten(treedef: TreeDef, leaves: Iterable[Leaf]) -> Tree:
    """Inverse of `flatten`. Raises `ArgumentError` when the number of leaves differs."""
    items = list(leaves)
    if len(items) != treedef.num_leaves:
        raise ArgumentError(f"pytree needs {treedef.num_leaves} leaves, got {len(items)}")
    return _build(treedef, iter(items))


def _build(treedef: TreeDef, leaves: Any) -> Tree:
    if treedef.kind is None:
        return next(leaves)
    children = [_build(child, leaves) for child in treedef.children]
    if treedef.kind in _REGISTRY:
        return _REGISTRY[treedef.kind].unflatten(treedef.static, children)
    if hasattr(treedef.kind, "_fields"):
        return treedef.kind(*children)
    for base in treedef.kind.__mro__[1:]:
        if base in _REGISTRY:
            return _REGISTRY[base].unflatten(treedef.static, children)
    raise ArgumentError(f"{treedef.kind.__name__} is not a registered pytree container")


def leaf_names(treedef: TreeDef, prefix: str = "") -> list[str]:
    """A dotted path for every leaf, in the order of `flatten`."""
    if treedef.kind is None:
        return [prefix]
    names: list[str] = []
    for name, child in zip(treedef.names, treedef.children, strict=True):
        names += leaf_names(child, f"{prefix}.{name}" if prefix else name)
    return names


def tree_map(fn: Callable[..., Leaf], tree: Tree, *rest: Tree) -> Tree:
    """Apply `fn` to the leaves of one or several trees of the same shape."""
    leaves, treedef = flatten(tree)
    columns = [leaves]
    for other in rest:
        other_leaves, other_def = flatten(other)
        if other_def != treedef:
            raise ArgumentError(f"pytrees differ in shape: {treedef} and {other_def}")
        columns.append(other_leaves)
    return unflatten(treedef, [fn(*row) for row in zip(*columns, strict=True)])
