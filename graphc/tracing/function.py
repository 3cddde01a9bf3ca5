"""`trace`: run a Python function once on traced values and keep the graph of what it did."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from graphc.core.errors import ArgumentError, TraceError
from graphc.core.pytree import Leaf, Tree, TreeDef, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.core.source import here
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph
from graphc.graph.ops.structural import CallAttrs, call
from graphc.tracing.bind import as_array, bind
from graphc.tracing.context import Array, Trace, TracedValue, active, current, with_line
from graphc.tracing.spec import Spec, spec_of
from graphc.tracing.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function: its graph, the pytrees of its arguments and result, and what it uses from outside.

    `in_tree` is the pytree of `(args, kwargs)`. The inputs of `graph` are the leaves of the arguments, then one per
    entry of `captures`: values of the enclosing traces, in the order of their first use. `primals` are the graphs that
    transformations differentiated on the way, for people to look at. sanitize: a function inside asks for it.
    """

    graph: Graph
    in_tree: TreeDef
    out_tree: TreeDef
    captures: "tuple[Tracer, ...]"
    primals: tuple[Graph, ...] = ()
    sanitize: bool = False

    @staticmethod
    def of_graph(graph: Graph) -> "Traced":
        """A graph taken as it is: one positional argument per input; one output, or a tuple of several."""
        _, in_tree = flatten((tuple(range(len(graph.inputs))), {}))
        outputs = tuple(range(len(graph.outputs)))
        _, out_tree = flatten(outputs if len(outputs) != 1 else outputs[0])
        return Traced(graph, in_tree, out_tree, ())

    @property
    def num_args(self) -> int:
        """Inputs that are leaves of the arguments; the rest are captures."""
        return len(self.graph.inputs) - len(self.captures)


def trace(
    fn: Callable[..., Tree], args: Sequence[Tree], kwargs: Mapping[str, Tree] | None = None, name: str = ""
) -> Traced:
    """Run `fn` once with a traced value in place of every leaf of `args` and `kwargs`.

    Leaves are specs, arrays, Python numbers or traced values; only their shape and dtype count. Raises `TraceError`
    for a leaf that is none of these, or a result that is not a pytree of arrays; what `fn` raises passes through.

    >>> from graphc.tracing.spec import spec
    >>> traced = trace(lambda x: {"y": x * 2.0}, [spec((3,), "float32")], name="double")
    >>> [str(node.op) for node in traced.graph.nodes]
    ['constant', 'broadcast', 'mul']
    """
    arguments = (tuple(args), dict(kwargs or {}))
    names = argument_names(parameter_names(fn), flatten(arguments)[1])
    leaves, in_tree = flatten(spec_of(arguments, "argument", names))
    with active(Trace(name or function_name(fn), Tracer)) as opened:
        inputs = [opened.input(_spec(leaf).type, text) for leaf, text in zip(leaves, names, strict=True)]
        args_tree, kwargs_tree = in_tree.children
        count = args_tree.num_leaves
        traced_args = cast("tuple[Tree, ...]", unflatten(args_tree, inputs[:count]))
        traced_kwargs = cast("dict[str, Tree]", unflatten(kwargs_tree, inputs[count:]))
        result = _run(fn, traced_args, traced_kwargs)
        out_leaves, out_tree = flatten(result)
        outputs = _outputs(opened.name, out_leaves, out_tree)
        graph = opened.finish(outputs)
    return Traced(graph, in_tree, out_tree, tuple(opened.captures), tuple(opened.primals), opened.sanitize)


def _run(fn: Callable[..., Tree], args: tuple[Tree, ...], kwargs: Mapping[str, Tree]) -> Tree:
    try:
        return fn(*args, **kwargs)
    except ValueError as error:
        if isinstance(error.__cause__, TraceError):  # NumPy hides it behind "setting an array element with a sequence"
            raise error.__cause__ from None
        raise


def _spec(leaf: Leaf) -> Spec:
    assert isinstance(leaf, Spec)
    return leaf


def _outputs(name: str, leaves: Sequence[Leaf], tree: TreeDef) -> list[Array]:
    outputs: list[Array] = []
    for leaf, path in zip(leaves, leaf_names(tree), strict=True):
        if not isinstance(leaf, (Tracer, np.ndarray, np.generic, bool, int, float, complex)):
            place = f"result .{path}" if path else "the result"
            raise TraceError(
                with_line(
                    f"{name}: {place} is a {type(leaf).__name__}, not an array, number, None or pytree of these; "
                    "return numbers only and keep the rest outside the traced function"
                )
            )
        outputs.append(as_array(leaf))
    return outputs


def check_callable(name: str, what: str, fn: object) -> None:
    """Raises `ArgumentError` for what stands where a function is called."""
    if not callable(fn):
        raise ArgumentError(with_line(f"{name}: {what} must be a function, got {type(fn).__name__} {fn!r:.60}"))


def function_name(fn: Callable[..., object]) -> str:
    """A name for the graph of a function."""
    name = getattr(fn, "__name__", "") or type(fn).__name__
    return "lambda" if name == "<lambda>" else name


def argument_names(parameters: Sequence[str], in_tree: TreeDef) -> list[str]:
    """A name for each leaf of `(args, kwargs)`: the parameter it belongs to, then its path inside."""
    names: list[str] = []
    args_tree, kwargs_tree = in_tree.children
    for position, child in enumerate(args_tree.children):
        prefix = parameters[position] if position < len(parameters) else f"arg{position}"
        names += leaf_names(child, prefix)
    for key, child in zip(kwargs_tree.names, kwargs_tree.children, strict=True):
        names += leaf_names(child, key)
    return names


def parameter_names(fn: Callable[..., object]) -> list[str]:
    """The names of the positional parameters of a function; none where Python cannot tell."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional]


def apply_graph(graph: Graph, args: Sequence[object], name: str | None = None, as_call: bool = False) -> list[Array]:
    """Outputs of `graph` for these arguments.

    With a traced value among them the graph becomes part of the innermost active trace: its nodes are copied, or a
    `call` of it is added (`as_call`; `name` names the callee). With arrays only it is interpreted.
    """
    operands = [as_array(arg) for arg in args]
    if len(operands) != len(graph.inputs):
        raise ArgumentError(with_line(f"{graph.name}: takes {len(graph.inputs)} arrays, got {len(operands)}"))
    for operand, value in zip(operands, graph.inputs, strict=True):
        found = _spec(spec_of(operand))
        if found.type != value.type:
            raise ArgumentError(with_line(f"{graph.name}: input {value.name} is {value.type}, got {found}"))
    if not any(isinstance(operand, TracedValue) for operand in operands):
        return list(interpret(graph, [np.asarray(operand) for operand in operands]))
    if as_call:
        renamed = graph if name is None else Graph(name, graph.inputs, graph.nodes, graph.outputs, graph.aliases)
        return list(bind(call, *operands, attrs=CallAttrs(renamed)))
    return list(current().inline(graph, operands, here()))
