"""`checkpoint`: a function whose backward pass computes its inner values again rather than keep them."""

import functools
from collections.abc import Callable
from dataclasses import fields

from graphc.core.errors import ArgumentError
from graphc.core.pytree import Tree, flatten
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Graph, Node, Value
from graphc.graph.ops import custom, elementwise
from graphc.graph.ops.custom import CheckpointAttrs
from graphc.graph.ops.structural import CallAttrs
from graphc.tracing import Spec, as_array, bind, is_tracing, trace
from graphc.tracing.context import with_line
from graphc.tracing.function import check_callable, function_name
from graphc.transform import checkpoint_policies
from graphc.transform.checkpoint_policies import nothing_saveable
from graphc.transform.function import Function, rebuild

Policy = Callable[..., bool]


def checkpoint(fn: Function, policy: Policy | None = None) -> Function:
    """`fn`, of which a derivative keeps the arguments and what the policy saves; the rest is computed again when the
    backward pass comes to it. Memory is less, time is more by at most one `fn`, values are the same, and derivatives
    are but for the order in which cotangents of what is used inside and outside are added up.

    policy: one of `gc.checkpoint_policies`, or a function like them; None saves nothing. The memory report
    (`exe.memory`) shows the effect.

    >>> import graphc as gc
    >>> import graphc.numpy as gnp
    >>> import numpy as np
    >>> block = gc.checkpoint(lambda x, w: gnp.tanh(gnp.tanh(x @ w) @ w))
    >>> gc.grad(lambda w, x: block(x, w).sum())(np.eye(2), np.ones((1, 2))).shape
    (2, 2)
    """

    check_callable("checkpoint", "fn", fn)
    given: object = policy
    if given is not None and not callable(given):
        names = ", ".join(name for name in vars(checkpoint_policies) if name.endswith("_saveable"))
        raise ArgumentError(
            with_line(f"checkpoint: policy={given!r:.60} is no function; gc.checkpoint_policies has {names}")
        )

    @functools.wraps(fn, updated=())
    def checkpointed(*args: Tree, **kwargs: Tree) -> Tree:
        if not is_tracing():
            return fn(*args, **kwargs)  # there is nothing to be differentiated
        traced = trace(fn, args, kwargs, name=function_name(fn))
        leaves, _ = flatten((args, kwargs))
        operands = [*(as_array(leaf) for leaf in leaves), *traced.captures]
        graph = _marked(_inlined(traced.graph), policy or nothing_saveable)
        attrs = CheckpointAttrs(graph, (False,) * len(operands))
        return rebuild(traced.out_tree, bind(custom.checkpoint, *operands, attrs=attrs))

    return checkpointed


def _inlined(graph: Graph) -> Graph:
    """The graph without calls: a policy looks at every op."""
    while any(isinstance(node.attrs, CallAttrs) for node in graph.nodes):
        builder = GraphBuilder(graph.name)
        known: dict[Value, Value] = {v: v for v in graph.inputs}
        for node in graph.nodes:
            if isinstance(node.attrs, CallAttrs):
                results = builder.inline(node.attrs.graph, [known[v] for v in node.operands])
                known.update(zip(node.results, results, strict=True))
            else:
                builder.copy(node, known)
        graph = Graph(graph.name, graph.inputs, tuple(builder.nodes), tuple(known[v] for v in graph.outputs))
    return graph


def _marked(graph: Graph, policy: Policy) -> Graph:
    """What the policy saves, named by `saved`."""
    builder = GraphBuilder(graph.name)
    known: dict[Value, Value] = {v: v for v in graph.inputs}
    for node in graph.nodes:
        builder.copy(node, known)
        if node.op.kind not in ("movement", "source") and _saves(policy, node):  # those cost nothing to do again
            for value in node.results:
                known[value] = builder.add1(elementwise.saved, (known[value],), NO_ATTRS, node.loc)
    return Graph(graph.name, graph.inputs, tuple(builder.nodes), tuple(known[v] for v in graph.outputs))


def _saves(policy: Policy, node: Node) -> bool:
    specs = [Spec(v.shape, v.dtype) for v in node.operands]
    return policy(node.op.name, *specs, **{f.name: getattr(node.attrs, f.name) for f in fields(node.attrs)})
