"""Loops and branches outside a trace: compiled for their arguments, and found again when they come back."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import cast

from graphc.compilation import Options
from graphc.core.pytree import Leaf, Tree, flatten, unflatten
from graphc.execution.compiled import CompiledFunction, compile_function
from graphc.graph.ir import Graph
from graphc.tracing import is_tracing, trace
from graphc.tracing.bind import is_scalar

CAPACITY = 128

_compiled: OrderedDict[tuple[Graph, Options], CompiledFunction] = OrderedDict()
_guard = threading.Lock()


def loop_or_branch(name: str, run: Callable[..., Tree], args: Sequence[Tree], options: Options) -> Tree:
    """`run(*args)`, which adds nodes to the trace under way; where there is none it is traced here, and compiled.

    Python numbers among the arguments stay such, so that they take the dtype of what they meet.
    """
    if is_tracing():
        return run(*args)
    leaves, tree = flatten(tuple(args))
    arrays = [leaf for leaf in leaves if not is_scalar(leaf)]

    def with_numbers(*given: Leaf) -> Tree:
        rest = iter(given)
        whole = unflatten(tree, [leaf if is_scalar(leaf) else next(rest) for leaf in leaves])
        return run(*cast("tuple[Tree, ...]", whole))

    traced = trace(with_numbers, arrays, name=name)
    return unflatten(traced.out_tree, _program(traced.graph, options)(*arrays))


def _program(graph: Graph, options: Options) -> Callable[..., Sequence[Leaf]]:
    key = graph, options
    with _guard:
        found = _compiled.get(key)
        if found is not None:
            _compiled.move_to_end(key)
    if found is None:
        found = compile_function(graph, (), {}, options)
        with _guard:
            _compiled[key] = found
            while len(_compiled) > CAPACITY:
                _compiled.popitem(last=False)
    compiled = found

    def call(*arrays: Leaf) -> Sequence[Leaf]:
        results = compiled(*arrays)
        return results if isinstance(results, tuple) else (results,)

    return call
