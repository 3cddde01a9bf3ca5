"""One fusion to one kernel, by what is inside: a contraction, reductions, a scatter, elementwise work alone, or several
of these as phases of one kernel.
"""

from collections.abc import Callable

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.cumulative import CUMULATIVE
from graphc.graph.ops.indexing import SCATTER_NAMES
from graphc.graph.ops.linalg import LINALG
from graphc.graph.ops.sorting import SORTS
from graphc.graph.ops.structural import FusionAttrs
from graphc.kernel.ir import Alloc, Buffer, Kernel, Param, Stmt
from graphc.kernel.lower.build import RULES, KernelBuilder, Memory
from graphc.kernel.lower.contractions import lower_contraction
from graphc.kernel.lower.cumulative import lower_cumulative
from graphc.kernel.lower.linalg import lower_linalg
from graphc.kernel.lower.maps import lower_map
from graphc.kernel.lower.naming import kernel_name, labelled
from graphc.kernel.lower.rows import lower_rows
from graphc.kernel.lower.scatter import lower_scatter
from graphc.kernel.lower.selection import lower_top
from graphc.kernel.lower.sorting import lower_sort
from graphc.kernel.lower.sparse import lower_csr_dot

# Primitives with a kernel form of their own; all others are lowered element by element (`RULES`).
FORMS: dict[str, Callable[[Graph, str, Memory | None], Kernel]] = {
    "dot_general": lower_contraction,
    **dict.fromkeys(SCATTER_NAMES, lower_scatter),
    **{op.name: lower_cumulative for op in CUMULATIVE},
    **{op.name: lower_sort for op in SORTS},
    "arg_top_k": lower_top,
    **{op.name: lower_linalg for op in LINALG},
    "csr_dot": lower_csr_dot,
    "reduce_sum": lower_rows,
    "reduce_prod": lower_rows,
    "reduce_max": lower_rows,
    "reduce_min": lower_rows,
    "argmax": lower_rows,
    "argmin": lower_rows,
}

# Primitives that are in no kernel: calls are inlined, barriers are between kernels, windows are written out
# (`graphc.passes.windows`), the bodies of loops and branches are programs of kernels, and what complex numbers alone
# have is arithmetic of real ones (`graphc.passes.complexes`).
ELSEWHERE = frozenset({"call", "custom_jvp", "custom_vjp", "checkpoint", "linear_call", "barrier"})
ELSEWHERE |= frozenset({"fusion", "conv_general", "reduce_window", "scan", "while", "branch", "asin", "acos"})


def lower_body(body: Graph) -> Kernel:
    """The kernel of the body of a fusion: its inputs, then its outputs are the parameters. A body of fusions becomes a
    kernel with the phases of each, in order.

    Raises `UnsupportedError` naming the op and line when the body holds something that has no loops.
    """
    if any(node.op.name == "fusion" for node in body.nodes):
        return _Phases(body).lower()
    return _lower(body, None)


def _lower(body: Graph, memory: Memory | None) -> Kernel:
    for node in body.nodes:
        if node.op.name not in RULES and node.op.name not in FORMS:
            raise UnsupportedError(f"{node.op.name}: cannot be part of a kernel ({node.loc})")
    form = next((FORMS[n.op.name] for n in body.nodes if n.op.name in FORMS), lower_map)
    name = kernel_name(body)
    if all(value.type.size == 0 for value in body.outputs):
        return KernelBuilder(body, body, memory).finish(name)  # nothing to compute
    return form(body, name, memory)


class _Phases:
    """Writes the fusions inside a body one after the other. What only later ones read lies in scratch."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.names: dict[str, int] = {}
        self.of: dict[Value, Buffer] = {}
        self.aliases: dict[str, tuple[str, ...]] = {}

    def lower(self) -> Kernel:
        """The kernel."""
        outputs = set(self.body.outputs)
        kernels = [self._phase(node, outputs) for node in self.body.nodes]
        scratch = [self.of[v] for node in self.body.nodes for v in node.results if v not in outputs]
        statements: list[Stmt] = [Alloc(buffer) for buffer in scratch]
        for kernel in kernels:
            statements += kernel.body
        shared = {self.of[v].name for v, users in self.body.users.items() if len(users) > 1}
        params = [Param(self.of[value], "in") for value in self.body.inputs]
        for value in self.body.outputs:
            buffer = self.of[value]
            allowed = tuple(name for name in self.aliases[buffer.name] if name not in shared)
            params.append(Param(buffer, "out", aliases_ok=allowed))
        flops = sum(kernel.flops for kernel in kernels)
        return labelled(Kernel(kernel_name(self.body), tuple(params), tuple(statements), flops), self.body)

    def _phase(self, node: Node, outputs: set[Value]) -> Kernel:
        if not isinstance(node.attrs, FusionAttrs):
            raise UnsupportedError(f"{node.op.name}: stands between the phases of a kernel ({node.loc})")
        inputs = [self.of.get(value) for value in node.operands]
        kernel = _lower(node.attrs.graph, Memory(self.names, inputs, [v not in outputs for v in node.results]))
        for value, param in zip((*node.operands, *node.results), kernel.params, strict=True):
            self.of.setdefault(value, param.buffer)
            self.aliases[param.buffer.name] = tuple(n for n in param.aliases_ok if n.startswith("in"))
        return kernel
