"""Which nodes may share a kernel.

`is_legal(body, core)` accepts
- maps: all core values and outputs run along the same dims;
- row groups: reductions that share their rows (`graphc.graph.rows`), with maps before, between and after them;
- one contraction with maps after it that run along the product;
- a scatter, a cumulative op, a sort, or an op of linear algebra, alone; so is a small window put into an array that
  lies in memory before and after;
- one node alone where a tensor is empty.
What is accepted, lowering can write as one kernel that computes every core value once per element.
"""

from collections.abc import Iterable, Sequence

from graphc.graph.dims import DimClasses, Slot, dim_classes
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.layout import is_window_of
from graphc.graph.ops.cumulative import CUMULATIVE
from graphc.graph.ops.indexing import SCATTER_NAMES
from graphc.graph.ops.linalg import LINALG
from graphc.graph.ops.sorting import SORTING
from graphc.graph.rows import Phase, Structure, axes_of, structure

MAX_VALUES = 40  # inputs and outputs of a kernel
LONG = 1024  # elements: longer reductions of few or of interleaved rows are cut into chunks by lowering
FEW_ROWS = 8
SMALL = 16384  # elements: below, too few rows do not matter
MOVES = frozenset({"slice", "pad", "reverse", "reshape", "concatenate", "gather"})
MOVES |= frozenset({"dynamic_slice", "dynamic_update_slice", "windows"})
ALONE = SCATTER_NAMES | {"csr_dot"} | {op.name for op in (*CUMULATIVE, *SORTING, *LINALG)}  # have a kernel of their own
LOOKS_UP = frozenset({"gather", "dynamic_slice"})  # in an array that lies in memory


def is_legal(body: Graph, core: set[Node], alone: bool = True) -> bool:
    """Whether `body` (core nodes and the free nodes they read) can be one kernel; alone: one core node always is."""
    if alone and len(core) == 1:
        return True
    if len(body.inputs) + len(body.outputs) > MAX_VALUES:
        return False
    if any(value.type.size == 0 for value in (*body.inputs, *_values(body.nodes))):
        return False  # loops that never run beside loops that do
    if not alone and len(core) == 1 and next(iter(core)).op.name in SCATTER_NAMES:
        return all(node in core or node.op.kind in ("elementwise", "movement", "source") for node in body.nodes)
    if len(core) > 1 and any(is_window_of(body, node) for node in core):
        return False
    kinds = [node.op.kind for node in body.nodes if node in core]
    if any(node.op.name in ALONE for node in body.nodes) or kinds.count("contraction") > 1:
        return False
    if any(node.op.name in LOOKS_UP and _is_made_here(body, core, node.operands[0]) for node in body.nodes):
        return False
    if "contraction" in kinds:
        return "reduction" not in kinds and _is_contraction(body, core)
    return _is_row_group(body, core) if "reduction" in kinds else _is_map(body, core)


def wide_extents(value: Value) -> tuple[int, ...]:
    """The shape without dims of extent 1."""
    return tuple(extent for extent in value.shape if extent != 1)


def _values(nodes: Iterable[Node]) -> list[Value]:
    return [value for node in nodes for value in node.results]


def _is_made_here(body: Graph, core: set[Node], value: Value) -> bool:
    stack = [value]
    while stack:
        node = body.producers.get(stack.pop())
        if node is None:
            continue
        if node in core:
            return True
        stack += node.operands
    return False


def _is_map(body: Graph, core: set[Node]) -> bool:
    extents = {wide_extents(value) for value in body.outputs}
    if len(extents) != 1:
        return False
    if _is_uniform(body):
        return True
    classes = dim_classes(body.nodes)
    classes.join_all(body.outputs)
    wanted = classes.wide(body.outputs[0])
    if len(set(wanted)) != len(wanted) or any(classes.wide(v) != wanted for v in body.outputs):
        return False
    return all(_runs_along(classes, value, wanted) for value in _values(core))


def _is_uniform(body: Graph) -> bool:
    """Elementwise work on one shape, and scalars broadcast to it, all of it read: then all dims run along."""
    shape = body.outputs[0].shape
    read = set(body.outputs)
    for node in reversed(body.nodes):
        if node.op.kind == "elementwise":
            plain = all(value.shape == shape for value in node.operands)
        else:
            plain = node.op.name == "broadcast" and node.operands[0].type.rank == 0
        if node.op.name == "constant" and node.result.type.rank == 0:
            continue
        if not plain or any(value.shape != shape or value not in read for value in node.results):
            return False
        read.update(node.operands)
    return True


def _runs_along(classes: DimClasses, value: Value, wanted: Sequence[Slot]) -> bool:
    slots = classes.wide(value)
    return len(set(slots)) == len(slots) and set(slots) == set(wanted)


def _downstream(body: Graph, sources: Iterable[Node]) -> set[Value]:
    found = set(_values(sources))
    for node in body.nodes:
        if any(value in found for value in node.operands):
            found.update(node.results)
    return found


def _keeps(body: Graph, classes: DimClasses, after: set[Value], rows: set[Slot]) -> bool:
    """No move on the way from a result changes which row an element belongs to.

    Whether a move keeps a dim is asked of the move and one operand alone: later ops may run its result along what it
    was made from (`x + reverse(x)`), and so may the move itself (x in place of a part of x).
    """
    for node in body.nodes:
        if node.op.name not in MOVES:
            continue
        operands = tuple(Value(value.type) for value in node.operands)
        alone = dim_classes([Node(node.op, operands, node.attrs, node.results, node.loc)])
        kept = set(alone.of(node.result))
        for value, other in zip(node.operands, operands, strict=True):
            moved = [d for d, extent in enumerate(value.shape) if extent != 1 and alone.root(other, d) not in kept]
            if value in after and any(classes.root(value, d) in rows for d in moved):
                return False
    return True


def _is_contraction(body: Graph, core: set[Node]) -> bool:
    (dot,) = (node for node in body.nodes if node.op.kind == "contraction")
    if any(_is_made_here(body, core, value) for value in dot.operands):
        return False
    classes = dim_classes(body.nodes)
    wanted = classes.wide(dot.result)
    if any(not _runs_along(classes, value, wanted) for value in _values(core)):
        return False
    return _keeps(body, classes, _downstream(body, [dot]), set(wanted))


def _is_row_group(body: Graph, core: set[Node]) -> bool:
    shape = structure(body)
    if shape is None:
        return False
    reductions = [node for node in body.nodes if node.op.kind == "reduction"]
    rows = set(shape.phases[0].rows)
    if not _keeps(body, shape.classes, _downstream(body, reductions), rows):
        return False
    if any(len(set(slots)) != len(slots) for slots in (shape.classes.wide(n.operands[0]) for n in reductions)):
        return False  # one value summed along each of its dims, and the results read together
    after = _downstream(body, [n for p in shape.phases[1:] for s in p.stages for n in s.nodes])
    for value in _values(core):
        slots = shape.classes.wide(value)
        if len(set(slots)) != len(slots) or (value not in after and not rows <= set(slots)):
            return False
    return all(_is_phase(shape, phase, first=i == 0) for i, phase in enumerate(shape.phases))


def _is_phase(shape: Structure, phase: Phase, first: bool) -> bool:
    rows = set(phase.rows)
    if any(set(shape.classes.wide(value)) != rows for value in phase.crossing):
        return False
    per_element = False
    for value in phase.outputs:
        slots = shape.classes.wide(value)
        if not rows <= set(slots) or len(set(slots)) != len(slots):
            return False
        per_element |= set(slots) != rows
    if not first and per_element:
        return False
    x = phase.stages[0].nodes[0].operands[0]
    count = 1
    for dim in axes_of(phase.stages[0].nodes[0]):
        count *= x.shape[dim]
    number = x.type.size // max(count, 1)
    several = per_element or len(phase.stages) > 1
    if several and number < FEW_ROWS and x.type.size > SMALL:
        return False
    dims = [d for d, extent in enumerate(x.shape) if extent != 1]
    interleaved = bool(dims) and dims[-1] not in axes_of(phase.stages[0].nodes[0])
    return not (several and interleaved and (per_element or count > LONG))
