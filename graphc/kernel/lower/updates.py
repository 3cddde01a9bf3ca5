"""A window that is put into an array in memory: the kernel stores the window alone, into what it finds.

Its last parameter, "inout", holds the array; who calls it has copied that there, or left it there.
"""

from dataclasses import replace

from graphc.graph.ir import Graph, Node, Value
from graphc.graph.layout import is_window_of
from graphc.graph.ops.windows import DimsAttrs
from graphc.kernel.ir import Expr, Kernel
from graphc.kernel.lower.build import KernelBuilder
from graphc.kernel.lower.expr import add
from graphc.kernel.lower.naming import kernel_name
from graphc.kernel.lower.windows import first_of


def updated(body: Graph) -> Value | None:
    """The input of a body that is all an update of a small window in it; None where it is something else."""
    if len(body.outputs) != 1:
        return None
    node = body.producers.get(body.outputs[0])
    return node.operands[0] if node is not None and is_window_of(body, node) else None


def lower_window(body: Graph) -> Kernel:
    """The kernel: the other inputs of the body, then the array."""
    builder = KernelBuilder(body, body)
    emitter = builder.emitter
    node: Node = body.producers[body.outputs[0]]
    assert isinstance(node.attrs, DimsAttrs)
    x, update, *starts = node.operands
    counters = [emitter.fresh("i") for _ in update.shape]
    emitter.open()
    emitter.floor = 1
    place: list[Expr] = list(counters)
    for dim, start in zip(node.attrs.dims, starts, strict=True):
        first = first_of(emitter, emitter.pull(start, ()), x.shape[dim], update.shape[dim])
        place[dim] = add(first, counters[dim])
    builder.store(0, tuple(place), emitter.pull(update, tuple(counters)))
    emitter.close_phase(counters, update.shape)
    kernel = builder.finish(kernel_name(body))
    *given, array = kernel.params
    kept = [param for param, value in zip(given, body.inputs, strict=True) if value is not x]
    return replace(kernel, params=(*kept, replace(array, mode="inout", aliases_ok=())))
