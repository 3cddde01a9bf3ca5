"""One fusion to one kernel, by what is inside: a contraction, reductions, a scatter, or elementwise work alone."""

from collections.abc import Callable

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Graph
from graphc.kernel.ir import Kernel
from graphc.kernel.lower.build import RULES, KernelBuilder
from graphc.kernel.lower.contractions import lower_contraction
from graphc.kernel.lower.maps import lower_map
from graphc.kernel.lower.naming import kernel_name
from graphc.kernel.lower.rows import lower_rows
from graphc.kernel.lower.scatter import lower_scatter

# Primitives with a kernel form of their own; all others are lowered element by element (`RULES`).
FORMS: dict[str, Callable[[Graph, str], Kernel]] = {
    "dot_general": lower_contraction,
    "scatter_add": lower_scatter,
    "reduce_sum": lower_rows,
    "reduce_prod": lower_rows,
    "reduce_max": lower_rows,
    "reduce_min": lower_rows,
    "argmax": lower_rows,
    "argmin": lower_rows,
}

# Primitives that never reach lowering: `call` is inlined, `fusion` is what is lowered.
ELSEWHERE = frozenset({"call", "fusion"})


def lower_body(body: Graph) -> Kernel:
    """The kernel of the body of a fusion: its inputs, then its outputs are the parameters.

    Raises `UnsupportedError` naming the op and line when the body holds something that has no loops.
    """
    for node in body.nodes:
        if node.op.name not in RULES and node.op.name not in FORMS:
            raise UnsupportedError(f"{node.op.name}: cannot be part of a kernel ({node.loc})")
    form = next((FORMS[n.op.name] for n in body.nodes if n.op.name in FORMS), lower_map)
    if all(value.type.size == 0 for value in body.outputs):
        return KernelBuilder(body, body).finish(kernel_name(body))  # nothing to compute
    return form(body, kernel_name(body))
