"""Control flow: `scan`, `fori_loop`, `while_loop`, `cond`, `switch`, with JAX's meaning.

The functions given are traced once; what they use of the traces around them becomes an operand of the loop or branch.
Python numbers among first values and results are weakly typed: they take the dtype of what they meet. These functions
add a node to the trace that is under way; `gc.scan` and the others compile when there is none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, TraceError
from graphc.core.pytree import LEAF, Leaf, Tree, TreeDef, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN, Loc, here
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, TensorType
from graphc.graph.ops import control, elementwise
from graphc.tracing import Array, ArrayLike, Spec, Tracer, as_array, bind1, trace
from graphc.tracing.bind import is_scalar, promoted, scalar_array, to_dtype
from graphc.tracing.context import bind_nodes, with_line
from graphc.tracing.function import check_callable, function_name
from graphc.tracing.spec import is_int, leaf_spec

Function = Callable[..., Tree]


@dataclass(frozen=True, slots=True)
class _Traced:
    """A function traced inside another trace. `weak`: which leaves of the result are Python numbers."""

    graph: Graph
    tree: TreeDef
    captures: tuple[Tracer, ...]
    weak: tuple[bool, ...]

    def leaf(self, what: str, position: int) -> str:
        """A leaf of the result in a message."""
        return _named(what, leaf_names(self.tree)[position])

    def made_at(self, position: int) -> Loc:
        node = self.graph.producers.get(self.graph.outputs[position])
        return UNKNOWN if node is None else node.loc


def _named(what: str, path: str) -> str:
    return f"{what} .{path}" if path else what


def _types(name: str, what: str, leaves: Sequence[Leaf], names: Sequence[str]) -> list[TensorType]:
    found: list[TensorType] = []
    for leaf, path in zip(leaves, names, strict=True):
        spec = leaf_spec(leaf)
        if spec is None:
            raise TraceError(
                with_line(f"{name}: {_named(what, path)} is a {type(leaf).__name__}, not an array or a number")
            )
        found.append(spec.type)
    return found


def _trace(fn: Function, args: Sequence[Tree], types: Sequence[TensorType]) -> _Traced:
    """Trace `fn` at the pytrees `args`, whose leaves are of `types`."""
    weak: list[bool] = []

    def run(*values: Tree) -> Tree:
        result = fn(*values)
        weak[:] = [is_scalar(leaf) for leaf in flatten(result)[0]]
        return result

    _, tree = flatten(tuple(args))
    specs = cast("tuple[Tree, ...]", unflatten(tree, [Spec(t.shape, t.dtype) for t in types]))
    traced = trace(run, specs, name=function_name(fn))
    return _Traced(traced.graph, traced.out_tree, traced.captures, tuple(weak))


def _captures(functions: Sequence[_Traced]) -> list[Tracer]:
    """What several functions use from outside, each once."""
    found = {tracer._value: tracer for function in functions for tracer in function.captures}
    return list(found.values())


def _closed(function: _Traced, count: int, captures: Sequence[Tracer], types: Sequence[TensorType]) -> Graph:
    """The graph of a function: inputs `captures`, then its `count` arguments; results of `types`, Python numbers among
    them converted.
    """
    graph = function.graph
    builder = GraphBuilder(graph.name)
    outer = {tracer._value: builder.input(tracer._value.type, tracer._value.name) for tracer in captures}
    arguments = [builder.input(value.type, value.name) for value in graph.inputs[:count]]
    own = [outer[tracer._value] for tracer in function.captures]
    outputs = builder.inline(graph, [*arguments, *own])
    converted = [
        Compose(builder, here()).cast(value, type.dtype) if weak else value
        for value, type, weak in zip(outputs, types, function.weak, strict=True)
    ]
    return builder.build(converted)


def _fits(got: TensorType, wanted: TensorType, is_weak: bool) -> bool:
    """Whether a result is what is wanted, or a Python number that takes its dtype."""
    if got == wanted:
        return True
    return is_weak and got.shape == wanted.shape and _rank(got.dtype) <= _rank(wanted.dtype)


def _rank(dtype: DType) -> int:
    return 0 if dtype.is_bool else 1 if dtype.is_integer else 2


def _operands(leaves: Sequence[Leaf], types: Sequence[TensorType]) -> list[Array]:
    """The leaves as arrays of these types, which Python numbers take."""
    found: list[Array] = []
    for leaf, type in zip(leaves, types, strict=True):
        found.append(scalar_array(leaf, type.dtype) if is_scalar(leaf) else as_array(leaf))
    return found


def _mismatch(name: str, what: str, before: TensorType, after: TensorType, made: Loc) -> ShapeError | DTypeError:
    place = "" if made is UNKNOWN else f", made at {made}"
    kind = ShapeError if before.shape != after.shape else DTypeError
    return kind(
        with_line(
            f"{name}: {what} is {before} before an iteration and {after} after it{place}; "
            "a carry keeps its shape and dtype"
        )
    )


class _Carry:
    """The carry of a loop. Python numbers in its first value take the dtype of what the body makes of them.

    `part`: the number of the only part that the user knows of, beside counters.
    """

    def __init__(self, name: str, init: Tree, part: int | None = None) -> None:
        self.name = name
        self.part = part
        self.leaves, self.tree = flatten(init)
        names = leaf_names(self.tree)
        self.names = names if part is None else [each.removeprefix(f"{part}").removeprefix(".") for each in names]
        self.types = _types(name, "the first carry", self.leaves, self.names)

    def settle(self, body: Callable[[], tuple[_Traced, TreeDef, int]]) -> _Traced:
        """Trace the body until the types of the carry are what it makes of them.

        `body` gives the function, the pytree of its carry, and the number of leaves after it.
        """
        while True:
            traced, tree, more = body()
            if tree != self.tree:
                known, made = (each if self.part is None else each.children[self.part] for each in (self.tree, tree))
                raise TraceError(
                    with_line(f"{self.name}: the carry is {known} before an iteration and {made} after it")
                )
            weak = traced.weak[: len(traced.weak) - more]
            changed = False
            for k, (before, is_weak) in enumerate(zip(self.types, weak, strict=True)):
                after = traced.graph.outputs[k].type
                if _fits(after, before, is_weak):
                    continue
                may_change = (
                    is_scalar(self.leaves[k]) and after.shape == () and _rank(before.dtype) <= _rank(after.dtype)
                )
                if not may_change or is_weak:
                    raise _mismatch(self.name, _named("carry", self.names[k]), before, after, traced.made_at(k))
                self.types[k] = after
                changed = True
            if not changed:
                return traced


def scan(
    f: Function,
    init: Tree,
    xs: Tree = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Tree, Tree]:
    """See `graphc.scan`."""
    check_callable("scan", "f", f)
    return _scan(f, _Carry("scan", init), xs, length, reverse)


def _scan(f: Function, carry: _Carry, xs: Tree, length: int | None, reverse: bool) -> tuple[Tree, Tree]:
    x_leaves, x_tree = flatten(xs)
    x_names = leaf_names(x_tree)
    x_types = _types("scan", "xs", x_leaves, x_names)
    count = _length(x_types, x_names, length)
    rows = [type.with_shape(type.shape[1:]) for type in x_types]

    def body() -> tuple[_Traced, TreeDef, int]:
        specs = (unflatten(carry.tree, carry.types), unflatten(x_tree, rows))
        traced = _trace(f, specs, [*carry.types, *rows])
        if traced.tree.kind is not tuple or len(traced.tree.children) != 2:
            raise TraceError(with_line(f"scan: the function returns (carry, y), this one returns {traced.tree}"))
        return traced, traced.tree.children[0], traced.tree.children[1].num_leaves

    traced = carry.settle(body)
    y_types = traced.graph.output_types[len(carry.types) :]
    captures = _captures([traced])
    closed = _closed(traced, len(carry.types) + len(rows), captures, [*carry.types, *y_types])
    attrs = control.ScanAttrs(closed, len(captures), len(carry.types), count, bool(reverse), False)
    operands = [*captures, *_operands(carry.leaves, carry.types), *_operands(x_leaves, x_types)]
    results = bind_nodes(control.scan, operands, attrs)
    last, ys = results[: len(carry.types)], results[len(carry.types) :]
    return unflatten(carry.tree, last), unflatten(traced.tree.children[1], ys)


def _length(types: Sequence[TensorType], names: Sequence[str], length: int | None) -> int:
    if length is not None and not (is_int(length) and length >= 0):
        raise ArgumentError(with_line(f"scan: length={length!r} must be a number of iterations"))
    count = None if length is None else int(length)
    for type, path in zip(types, names, strict=True):
        if type.rank == 0:
            raise ShapeError(with_line(f"scan: {_named('xs', path)} is {type} and has no rows"))
        if count is None:
            count = type.shape[0]
        if type.shape[0] != count:
            wanted = f"length={length}" if length is not None else f"{count} in {_named('xs', names[0])}"
            raise ShapeError(with_line(f"scan: {_named('xs', path)} has {type.shape[0]} rows, not {wanted}"))
    if count is None:
        raise ArgumentError(with_line("scan: without xs it needs length, the number of iterations"))
    return count


def fori_loop(lower: ArrayLike, upper: ArrayLike, body: Function, init: Tree) -> Tree:
    """See `graphc.fori_loop`."""
    check_callable("fori_loop", "body", body)
    if is_int(lower) and is_int(upper):
        first, count = int(lower), int(upper) - int(lower)

        def step(carry: Tree, _: Tree) -> tuple[Tree, Tree]:
            number, value = cast("tuple[Tracer, Tree]", carry)
            return (number + 1, body(number, value)), None

        start = np.array(first, np.int64)
        carry = _Carry("fori_loop", (start, init), part=1)
        (_, result), _ = cast("tuple[tuple[Tree, Tree], Tree]", _scan(step, carry, None, max(count, 0), reverse=False))
        return result
    for name, value in (("lower", lower), ("upper", upper)):
        spec = leaf_spec(value)
        if spec is None or spec.shape or not spec.dtype.is_integer:
            raise ArgumentError(with_line(f"fori_loop: {name} must be an integer, not {spec or type(value).__name__}"))
    start_at, last = promoted("fori_loop", [lower, upper])
    _, _, result = cast(
        "tuple[Tree, Tree, Tree]",
        _while(
            _below_upper,
            lambda carry: (carry[0] + 1, carry[1], body(carry[0], carry[2])),
            _Carry("fori_loop", (start_at, last, init), part=2),
            None,
        ),
    )
    return result


def _below_upper(carry: tuple[Tracer, Tracer, Tree]) -> Tracer:
    """What a `fori_loop` asks before each iteration."""
    return carry[0] < carry[1]


_below_upper.__name__ = control.BELOW_UPPER  # by which errors know a `fori_loop` with limits that are known later


def while_loop(cond: Function, body: Function, init: Tree, bound: int | None = None) -> Tree:
    """See `graphc.while_loop`."""
    for what, fn in (("cond", cond), ("body", body)):
        check_callable("while_loop", what, fn)
    if bound is not None and not (is_int(bound) and bound >= 0):
        raise ArgumentError(with_line(f"while_loop: bound={bound!r} must be a number of iterations"))
    return _while(cond, body, _Carry("while_loop", init), None if bound is None else int(bound))


def _while(cond: Function, body: Function, carry: _Carry, bound: int | None) -> Tree:
    def traced_body() -> tuple[_Traced, TreeDef, int]:
        traced = _trace(body, (unflatten(carry.tree, carry.types),), carry.types)
        return traced, traced.tree, 0

    made = carry.settle(traced_body)
    asked = _trace(cond, (unflatten(carry.tree, carry.types),), carry.types)
    types = asked.graph.output_types
    if asked.tree != LEAF or types[0] != control.FLAG:
        found = asked.tree if asked.tree != LEAF else types[0]
        raise TraceError(with_line(f"while_loop: the condition must give one bool, this one gives {found}"))
    captures = _captures([asked, made])
    count = len(carry.types)
    attrs = control.WhileAttrs(
        _closed(asked, count, captures, types),
        _closed(made, count, captures, carry.types),
        len(captures),
        bound,
    )
    operands = [*captures, *_operands(carry.leaves, carry.types)]
    return unflatten(carry.tree, bind_nodes(control.while_, operands, attrs)[:count])


def cond(pred: ArrayLike, true_fn: Function, false_fn: Function, *operands: Tree) -> Tree:
    """See `graphc.cond`."""
    for what, fn in (("true_fn", true_fn), ("false_fn", false_fn)):
        check_callable("cond", what, fn)
    spec = leaf_spec(pred)
    if spec is None or spec.shape:
        raise ArgumentError(with_line(f"cond: the predicate must be one bool, not {spec or type(pred).__name__}"))
    index = to_dtype(pred if spec.dtype.is_bool else as_array(pred) != 0, dtypes.int32)
    return _select("cond", index, {"false_fn": false_fn, "true_fn": true_fn}, operands)


def switch(index: ArrayLike, branches: Sequence[Function], *operands: Tree) -> Tree:
    """See `graphc.switch`."""
    spec = leaf_spec(index)
    if spec is None or spec.shape or not spec.dtype.is_integer:
        raise ArgumentError(with_line(f"switch: the index must be one integer, not {spec or type(index).__name__}"))
    given: object = branches
    if not isinstance(given, list | tuple):
        got = f"{type(branches).__name__} {branches!r:.60}"
        raise ArgumentError(with_line(f"switch: branches is a list of functions, got {got}"))
    for number, branch in enumerate(branches):
        check_callable("switch", f"branch {number}", branch)
    if not branches:
        raise ArgumentError(with_line("switch: there are no branches"))
    near = as_array(index)
    if spec.dtype != dtypes.int32:  # what does not fit must not become another branch
        kind = spec.dtype.numpy
        last = min(len(branches) - 1, 2 ** (8 * spec.dtype.itemsize - 1) - 1)
        near = bind1(elementwise.max_, bind1(elementwise.min_, near, np.array(last, kind)), np.array(0, kind))
    named = {f"branch {number}": branch for number, branch in enumerate(branches)}
    return _select("switch", to_dtype(near, dtypes.int32), named, operands)


def _select(name: str, index: Array, functions: Mapping[str, Function], operands: Sequence[Tree]) -> Tree:
    """One of the functions, which are called so in errors."""
    leaves, tree = flatten(tuple(operands))
    types = _types(name, "an operand", leaves, leaf_names(tree))
    traced = {_called(what, function): _trace(function, operands, types) for what, function in functions.items()}
    first_name, first = next(iter(traced.items()))
    for what, other in traced.items():
        if other.tree != first.tree:
            raise TraceError(with_line(f"{name}: {first_name} returns {first.tree}, {what} returns {other.tree}"))
    wanted = [_common(name, traced, k) for k in range(len(first.graph.outputs))]
    captures = _captures(list(traced.values()))
    attrs = control.BranchAttrs(tuple(_closed(each, len(types), captures, wanted) for each in traced.values()))
    results = bind_nodes(control.branch, [index, *captures, *_operands(leaves, types)], attrs)
    return unflatten(first.tree, results)


def _called(what: str, function: Function) -> str:
    name = function_name(function)
    return what if name in (what, "lambda") else f"{what} ({name})"


def _common(name: str, traced: Mapping[str, _Traced], position: int) -> TensorType:
    """The type of one result of all branches; Python numbers take that of the others."""
    strong = {what: each for what, each in traced.items() if not each.weak[position]}
    types = {what: each.graph.outputs[position].type for what, each in (strong or traced).items()}
    other = next(iter(types)) if strong else max(types, key=lambda what: _rank(types[what].dtype))
    wanted = types[other]
    for what, each in traced.items():
        got = each.graph.outputs[position].type
        if not _fits(got, wanted, each.weak[position]):
            made = each.made_at(position)
            place = "" if made is UNKNOWN else f", made at {made},"
            kind = ShapeError if got.shape != wanted.shape else DTypeError
            raise kind(
                with_line(
                    f"{name}: {each.leaf('the result', position)} is {got} in {what}{place} and {wanted} in {other}"
                )
            )
    return wanted
