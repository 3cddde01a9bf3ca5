"""Functions with derivative rules of the user's: `custom_jvp` and `custom_vjp`.

The function and its rules are traced at each call, so a rule that does not fit is an error there, whether or not
anything is differentiated. A rule that calls its own function gets the function with its rule again, `NESTED` times;
derivatives of a higher order than that are an error.
"""

import functools
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import cast

from graphc.core.errors import ArgumentError, GradientError
from graphc.core.pytree import LEAF, Leaf, Tree, TreeDef, children, flatten, is_container, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, TensorType, Value
from graphc.graph.ops import custom as ops
from graphc.graph.ops.custom import CustomJvpAttrs, CustomVjpAttrs
from graphc.tracing import Array, Spec, Traced, Tracer, as_array, bind, spec_of, trace
from graphc.tracing.bind import is_scalar, scalar_array
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable, function_name
from graphc.transform.function import Function, full, rebuild

NESTED = 3  # rules inside rules that are traced
_RULES: ContextVar[tuple[object, ...]] = ContextVar("graphc_rules", default=())  # functions whose rules are traced


@contextmanager
def _inside_rule(of: object) -> Iterator[None]:
    token = _RULES.set((*_RULES.get(), of))
    try:
        yield
    finally:
        _RULES.reset(token)


class custom_jvp:
    """A function with a derivative rule of its own, for tangents: used by forward mode as it is, and by reverse mode
    through its transpose, so it must be linear in the tangents.

    nondiff_argnums: arguments that are not arrays, or are fixed: the rule gets them first, as they are. Integers have
    no tangent (None). The function and its rule are traced at each call; a rule that does not fit is a `GradientError`
    there.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> @gc.custom_jvp
    ... def log1pexp(x):
    ...     return gnp.log(1 + gnp.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1 - 1 / (1 + gnp.exp(x)))
    >>> float(gc.grad(log1pexp)(np.float64(0)))
    0.5
    """

    def __init__(self, fn: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        check_callable("custom_jvp", "fn", fn)
        functools.update_wrapper(self, fn, updated=())
        self._fn = fn
        self._static = tuple(nondiff_argnums)
        self._rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """`rule(primals, tangents)` returns the value and its tangent; fixed arguments come before them."""
        check_callable("custom_jvp.defjvp", "rule", rule)
        self._rule = rule
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """One rule per argument, `rule(tangent, value, *primals)`, whose results are added up; None for zero."""
        fn = self._fn

        def rule(*args: Tree) -> Tree:
            *fixed, primals, tangents = args
            given = cast("tuple[Tree, ...]", primals)
            value = fn(*_merged(self._static, fixed, given))
            total: Tree = None
            for each, tangent in zip(rules, cast("tuple[Tree, ...]", tangents), strict=True):
                if each is not None and tangent is not None:
                    part = each(tangent, value, *given)
                    total = part if total is None else total + part  # type: ignore[operator]
            return value, total

        self.defjvp(rule)

    def __call__(self, *args: Tree, **kwargs: Tree) -> Tree:
        call = _Call.of("custom_jvp", self._fn, self._static, args, kwargs)
        if self._rule is None:
            raise ArgumentError(with_line(f"custom_jvp: {call.name} has no rule; define one with {call.name}.defjvp"))
        traced = call.traced()
        if _RULES.get().count(self) >= NESTED:
            return call.innermost(traced)
        with _inside_rule(self):
            rule = _traced_jvp(call, self._rule, traced)
        captures = _united(traced, rule)
        attrs = CustomJvpAttrs(
            _with_captures(traced, captures), _captures_first(rule, traced.num_args, captures), len(captures)
        )
        return rebuild(traced.out_tree, bind(ops.custom_jvp, *call.leaves(), *captures, attrs=attrs))

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else functools.partial(self, instance)


class custom_vjp:
    """A function with a derivative rule of its own, for cotangents. Where the rule is linear in the cotangent, forward
    mode works too, by its transpose.

    nondiff_argnums: arguments that are not arrays, or are fixed: `fwd` gets them in their place, `bwd` first. Integers
    have no cotangent (None). The function and its rules are traced at each call; a rule that does not fit is a
    `GradientError` there.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> @gc.custom_vjp
    ... def clip_gradient(x):
    ...     return x
    >>> clip_gradient.defvjp(lambda x: (x, None), lambda _, ct: (gnp.clip(ct, -1.0, 1.0),))
    >>> float(gc.grad(lambda x: clip_gradient(x) * 5.0)(np.float64(3)))
    1.0
    """

    def __init__(self, fn: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        check_callable("custom_vjp", "fn", fn)
        functools.update_wrapper(self, fn, updated=())
        self._fn = fn
        self._static = tuple(nondiff_argnums)
        self._rules: tuple[Function, Function] | None = None

    def defvjp(self, fwd: Function, bwd: Function) -> None:
        """`fwd(*args)` returns the value and residuals; `bwd(residuals, cotangent)`, after fixed arguments, returns a
        tuple with the cotangent of each argument, None for zero."""
        for what, rule in (("fwd", fwd), ("bwd", bwd)):
            check_callable("custom_vjp.defvjp", what, rule)
        self._rules = fwd, bwd

    def __call__(self, *args: Tree, **kwargs: Tree) -> Tree:
        call = _Call.of("custom_vjp", self._fn, self._static, args, kwargs)
        if self._rules is None:
            raise ArgumentError(with_line(f"custom_vjp: {call.name} has no rules; define them with {call.name}.defvjp"))
        traced = call.traced()
        if _RULES.get().count(self) >= NESTED:
            return call.innermost(traced)
        with _inside_rule(self):
            forward, residuals = _traced_forward(call, self._rules[0], traced)
            backward = _traced_backward(call, self._rules[1], traced, residuals)
        captures = _united(traced, forward, backward)
        whole = _with_captures(forward, captures)
        extra = whole.inputs[traced.num_args :]
        attrs = CustomVjpAttrs(
            _with_captures(traced, captures),
            Graph(whole.name, whole.inputs, whole.nodes, (*whole.outputs, *extra)),
            _captures_first(backward, len(residuals.types), captures),
            len(captures),
        )
        return rebuild(traced.out_tree, bind(ops.custom_vjp, *call.leaves(), *captures, attrs=attrs))

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else functools.partial(self, instance)


# --------------------------------------------------------------------------------------------------------- the call


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: the arguments that are traced, and those that are fixed (`nondiff_argnums`)."""

    kind: str
    name: str
    fn: Function
    static: tuple[int, ...]
    fixed: tuple[Tree, ...]
    args: tuple[Tree, ...]

    @staticmethod
    def of(kind: str, fn: Function, static: Sequence[int], args: Sequence[Tree], kwargs: dict[str, Tree]) -> "_Call":
        name = function_name(fn)
        if kwargs:
            bound = inspect.signature(fn).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise ArgumentError(with_line(f"{kind}: {name} takes {', '.join(bound.kwargs)} by keyword only"))
            args = bound.args
        count = len(args)
        if any(not -count <= number < count for number in static):
            raise ArgumentError(
                with_line(f"{kind}: nondiff_argnums={tuple(static)}, but {name} is called with {count} arguments")
            )
        numbers = tuple(sorted(number % count for number in static))
        fixed = tuple(args[number] for number in numbers)
        rest = tuple(arg for number, arg in enumerate(args) if number not in numbers)
        return _Call(kind, name, fn, numbers, fixed, rest)

    def all(self, args: Sequence[Tree]) -> list[Tree]:
        return _merged(self.static, self.fixed, args)

    def leaves(self) -> list[Array]:
        return [as_array(leaf) for leaf in flatten((self.args, {}))[0]]

    def traced(self) -> Traced:
        return trace(lambda *args: self.fn(*self.all(args)), self.args, name=self.name)

    def innermost(self, traced: Traced) -> Tree:
        """The function without derivatives."""
        attrs = CustomJvpAttrs(traced.graph, None, len(traced.captures))
        outputs = bind(ops.custom_jvp, *self.leaves(), *traced.captures, attrs=attrs)
        return rebuild(traced.out_tree, outputs)

    def fail(self, rule: Function, message: str) -> GradientError:
        """An error that names the rule, where it is, and where the function is called."""
        code = getattr(rule, "__code__", None)
        place = f" of {Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""
        return GradientError(with_line(f"{self.kind}: {self.name}: {function_name(rule)}{place} {message}"))


def _merged(static: Sequence[int], fixed: Sequence[Tree], args: Sequence[Tree]) -> list[Tree]:
    """All arguments in their order."""
    merged = list(args)
    for number, value in zip(static, fixed, strict=True):
        merged.insert(number, value)
    return merged


def _argument_trees(traced: Traced) -> TreeDef:
    return traced.in_tree.children[0]


def _float_types(types: Sequence[TensorType]) -> list[TensorType]:
    return [t for t in types if t.dtype.is_inexact]


def _specs(tree: TreeDef, types: Sequence[TensorType], floats_only: bool = False) -> Tree:
    """A pytree of specs; with `floats_only` None stands for what has no tangent."""
    leaves: list[Leaf] = [None if floats_only and not t.dtype.is_inexact else Spec(t.shape, t.dtype) for t in types]
    return unflatten(tree, leaves)


def _pair(call: _Call, rule: Function, result: Tree, what: str) -> tuple[Tree, Tree]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise call.fail(rule, f"must return a pair ({what}), it returns {flatten(result)[1]}")
    return result


def _check_value(call: _Call, rule: Function, value: Tree, traced: Traced) -> list[Array]:
    """The leaves of the value a rule returns, which must be shaped like that of the function."""
    leaves, tree = flatten(value)
    if tree != traced.out_tree:
        raise call.fail(rule, f"returns the value {tree}, but {call.name} returns {traced.out_tree}")
    found: list[Array] = []
    for leaf, type, path in zip(leaves, traced.graph.output_types, leaf_names(tree), strict=True):
        found.append(
            _of_type(call, rule, leaf, type, f"the value{f' {path}' if path else ''}", f"{call.name} gives it")
        )
    return found


def _of_type(call: _Call, rule: Function, leaf: Leaf, type: TensorType, what: str, as_: str) -> Array:
    array = scalar_array(leaf, type.dtype) if is_scalar(leaf) else as_array(leaf)
    given = spec_of(array)
    assert isinstance(given, Spec)
    if given.type != type:
        raise call.fail(rule, f"returns {what} as {given}, but {as_} as {type}")
    return array


def _aligned(
    call: _Call, rule: Function, tree: Tree, treedef: TreeDef, types: Sequence[TensorType], what: str, path: str
) -> list[Array]:
    """One array per float leaf of `treedef` from a pytree like it, in which None stands for zero."""
    if tree is None:
        return [full(t, 0.0) for t in _float_types(types)]
    if treedef == LEAF and not is_container(tree):
        (type,) = types
        place = f"{what}{f' {path}' if path else ''}"
        if not type.dtype.is_inexact:
            raise call.fail(rule, f"returns a value for {place}, which is {type} and has none: return None")
        return [_of_type(call, rule, tree, type, place, "it belongs to what is given")]
    found = children(tree)
    if found is None or (found[0], tuple(name for name, _ in found[1])) != (treedef.kind, treedef.names):
        shown = flatten(tree)[1]
        raise call.fail(rule, f"returns {what}{f' {path}' if path else ''} as {shown}, it must be like {treedef}")
    result: list[Array] = []
    start = 0
    for (name, child), child_tree in zip(found[1], treedef.children, strict=True):
        stop = start + child_tree.num_leaves
        below = f"{path}.{name}" if path else name
        result += _aligned(call, rule, child, child_tree, types[start:stop], what, below)
        start = stop
    return result


# -------------------------------------------------------------------------------------------------------- the rules


def _traced_jvp(call: _Call, rule: Function, traced: Traced) -> Traced:
    tree, types = _argument_trees(traced), traced.graph.input_types[: traced.num_args]

    def run(primals: Tree, tangents: Tree) -> Tree:
        value, tangent = _pair(call, rule, rule(*call.fixed, primals, tangents), "value, tangent")
        outputs = _check_value(call, rule, value, traced)
        moved = _aligned(call, rule, tangent, traced.out_tree, traced.graph.output_types, "the tangent", "")
        return [*outputs, *moved]

    return trace(run, (_specs(tree, types), _specs(tree, types, floats_only=True)), name=f"{call.name}.jvp")


@dataclass(frozen=True, slots=True)
class _Residuals:
    tree: TreeDef
    types: tuple[TensorType, ...]


def _traced_forward(call: _Call, rule: Function, traced: Traced) -> tuple[Traced, _Residuals]:
    """The forward rule with its residuals as further outputs."""
    trees: list[TreeDef] = []

    def run(*args: Tree) -> Tree:
        value, residuals = _pair(call, rule, rule(*call.all(args)), "value, residuals")
        leaves, tree = flatten(residuals)
        trees.append(tree)
        return [*_check_value(call, rule, value, traced), *leaves]

    found = trace(run, call.args, name=f"{call.name}.forward")
    return found, _Residuals(trees[0], found.graph.output_types[len(traced.graph.outputs) :])


def _traced_backward(call: _Call, rule: Function, traced: Traced, residuals: _Residuals) -> Traced:
    tree, types = _argument_trees(traced), traced.graph.input_types[: traced.num_args]

    def run(kept: Tree, cotangent: Tree) -> Tree:
        found = rule(*call.fixed, kept, cotangent)
        if not isinstance(found, (tuple, list)) or len(found) != len(tree.children):
            raise call.fail(
                rule,
                f"must return a tuple with the cotangent of each of {len(tree.children)} arguments, "
                f"it returns {flatten(found)[1]}",
            )
        return _aligned(call, rule, tuple(found), tree, types, "the cotangent of argument", "")

    cotangent = _specs(traced.out_tree, traced.graph.output_types, floats_only=True)
    return trace(run, (_specs(residuals.tree, residuals.types), cotangent), name=f"{call.name}.backward")


# --------------------------------------------------------------------------------------------------------- captures


def _united(*graphs: Traced) -> list[Tracer]:
    """What any of the traced functions uses from outside, once each."""
    return list({tracer._value: tracer for traced in graphs for tracer in traced.captures}.values())


def _capture_inputs(traced: Traced, captures: Sequence[Tracer]) -> list[Value]:
    own = {tracer._value: v for tracer, v in zip(traced.captures, traced.graph.inputs[traced.num_args :], strict=True)}
    return [own.get(tracer._value) or Value(tracer._value.type, tracer._value.name) for tracer in captures]


def _with_captures(traced: Traced, captures: Sequence[Tracer]) -> Graph:
    """The graph with an input for each of these captures after the arguments."""
    graph = traced.graph
    inputs = (*graph.inputs[: traced.num_args], *_capture_inputs(traced, captures))
    return Graph(graph.name, inputs, graph.nodes, graph.outputs)


def _captures_first(rule: Traced, count: int, captures: Sequence[Tracer]) -> Graph:
    """The graph with the captures after its first `count` inputs."""
    graph = rule.graph
    given = graph.inputs[: rule.num_args]
    inputs = (*given[:count], *_capture_inputs(rule, captures), *given[count:])
    return Graph(graph.name, inputs, graph.nodes, graph.outputs)
