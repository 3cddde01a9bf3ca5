"""Row groups: reductions with what comes before, between and after them, one row after the other.

A *phase* has a space of parallel rows; each row runs *stages* in order: reductions over the rest of the row, then the
outputs, per row or per element. Softmax is one phase (max; sum of exp; quotients). What one phase leaves for the next
(the losses of all rows, for their mean) lies in scratch. A long reduction of few or of interleaved rows is cut: chunks
are reduced in parallel, and a second phase combines them.
"""

from collections.abc import Sequence

from graphc.core.errors import UnsupportedError
from graphc.graph.dims import Slot
from graphc.graph.ir import Graph, Value
from graphc.graph.ops.elementwise import TRANSCENDENTAL
from graphc.graph.ops.reduction import ArgAttrs
from graphc.graph.rows import Phase, Stage, Structure, axes_of, cone, structure
from graphc.kernel.ir import Buffer, Expr, Kernel, Load, Store, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.emit import in_buffer
from graphc.kernel.lower.expr import Index, computing, convert, mul
from graphc.kernel.lower.lanes import CHUNK, Lanes, reducer
from graphc.kernel.lower.merge import merge_dims

COSTLY = TRANSCENDENTAL | {"random_bits"}
MAX_KEPT = 16384  # elements of one row kept from one stage for the next
FEW_ROWS = 64


def lower_rows(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body with reductions."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    shape = structure(builder.body)
    if shape is None:
        raise UnsupportedError(f"{name}: the reductions do not share their rows ({original.nodes[-1].loc})")
    for phase in shape.phases:
        _RowPhase(builder, shape, phase).lower()
    return builder.finish(name)


class _RowPhase:
    """Writes one phase."""

    def __init__(self, builder: KernelBuilder, shape: Structure, phase: Phase) -> None:
        self.builder = builder
        self.emitter = builder.emitter
        self.shape = shape
        self.phase = phase
        self.extents = tuple(shape.extent(slot) for slot in phase.rows)
        self.env: dict[Slot, Expr] = {}
        self.kept: dict[Value, Buffer] = {}
        self.crossing: dict[Value, Buffer] = {}

    def lower(self) -> None:
        """Emit the phase."""
        emitter = self.emitter
        for value in self.phase.crossing:
            self.crossing[value] = emitter.buffer("row", value.dtype, value.shape, "arena")
        if self._is_cut():
            self._lower_cut()
        else:
            self._lower_whole()
        for value, buffer in self.crossing.items():
            emitter.stored[value] = in_buffer(buffer, value.shape)

    def _lower_whole(self) -> None:
        counters = self._open_rows()
        self.builder.outer = frozenset(c.name for c in counters)
        self._find_kept()
        for stage in self.phase.stages:
            self._stage(stage)
        self._outputs()
        self.emitter.close_phase(counters, self.extents)
        self.builder.outer = None

    # ------------------------------------------------------------------------------------------------ rows

    def _open_rows(self) -> list[Var]:
        counters = [self.emitter.fresh("i") for _ in self.extents]
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1
        self.env = dict(zip(self.phase.rows, counters, strict=True))
        return counters

    def _place(self, value: Value) -> Index:
        """The element of a value that belongs to the counters of the moment."""
        classes = self.shape.classes
        return tuple(
            index(0) if extent == 1 else self.env[classes.root(value, d)] for d, extent in enumerate(value.shape)
        )

    def _lanes(self, stage: Stage) -> Lanes:
        nodes = stage.nodes

        def element(position: Sequence[Expr]) -> list[tuple[Expr, ...]]:
            for slot, place in zip(stage.inner, position, strict=True):
                self.env[slot] = place
            found: list[tuple[Expr, ...]] = []
            for node in nodes:
                value = self.emitter.pull(node.operands[0], self._place(node.operands[0]))
                value = self.emitter.let(convert(value, computing(value.dtype)))
                found.append((value, position[0]) if isinstance(node.attrs, ArgAttrs) else (value,))
            self._keep(stage)
            for slot in stage.inner:
                del self.env[slot]
            return found

        extents = tuple(nodes[0].operands[0].shape[d] for d in axes_of(nodes[0]))
        return Lanes(self.emitter, tuple(reducer(n) for n in nodes), extents, element, self._is_read_twice(stage))

    def _is_read_twice(self, stage: Stage) -> bool:
        """Whether elements lie in memory, those of a row beside each other, so that to read a chunk again is quick."""
        operands = [node.operands[0] for node in stage.nodes]
        return all(
            value in self.emitter.stored
            and value.type.rank - 1 in axes_of(node)
            and (value.dtype.is_float or value.dtype.is_integer)
            for value, node in zip(operands, stage.nodes, strict=True)
        )

    def _stage(self, stage: Stage) -> None:
        for node, result in zip(stage.nodes, self._lanes(stage).row(), strict=True):
            rounded = self.emitter.let(convert(result, node.result.dtype), "r")
            self.emitter.bind(node.result, self._place(node.result), rounded)
        for value in self._kept_in(stage):
            self._publish(value)
        self.emitter.stage += 1

    # ------------------------------------------------------------------------------------------------ kept values

    def _find_kept(self) -> None:
        """Costly values that several stages read are computed once and kept for the row."""
        cones: list[set[Value]] = []
        for stage in self.phase.stages:
            cones.append(self._stage_cone([node.operands[0] for node in stage.nodes]))
        cones.append(self._stage_cone([*self.phase.outputs, *self.phase.crossing]))
        for node in self.shape.body.nodes:
            value = node.results[0]
            readers = [i for i, cone in enumerate(cones) if value in cone]
            if node.op.name not in COSTLY or len(readers) < 2 or readers[0] == len(self.phase.stages):
                continue
            slots = self.shape.classes.wide(value)
            stage = self.phase.stages[readers[0]]
            inner = [slot for slot in slots if slot not in self.phase.rows]
            rest = value.type.size
            for slot in self.phase.rows:
                rest //= self.shape.extent(slot) if slot in slots else 1
            if set(inner) != set(stage.inner) or not inner or rest > MAX_KEPT or len(set(slots)) != len(slots):
                continue
            extents = tuple(self.shape.extent(slot) for slot in inner)
            self.kept[value] = self.emitter.buffer("kept", value.dtype, extents, "worker")

    def _stage_cone(self, roots: list[Value]) -> set[Value]:
        results = set(self.phase.results)
        return set(cone(self.shape.body, roots, lambda v: v in results or v in self.emitter.stored))

    def _kept_in(self, stage: Stage) -> list[Value]:
        """Kept values that are first computed in this stage."""
        cone = self._stage_cone([node.operands[0] for node in stage.nodes])
        return [value for value in self.kept if value in cone and value not in self.emitter.stored]

    def _keep(self, stage: Stage) -> None:
        for value in self._kept_in(stage):
            element = self.emitter.pull(value, self._place(value))
            self.emitter.append(Store(self.kept[value], self._inner_place(value, self._place(value)), element))

    def _inner_place(self, value: Value, idx: Index) -> Index:
        slots = self.shape.classes.of(value)
        return tuple(i for i, s, e in zip(idx, slots, value.shape, strict=True) if e != 1 and s not in self.phase.rows)

    def _publish(self, value: Value) -> None:
        buffer = self.kept[value]
        self.emitter.stored[value] = lambda idx: Load(buffer, self._inner_place(value, idx))

    # ------------------------------------------------------------------------------------------------ outputs

    def _outputs(self) -> None:
        """Per-row results, then one loop nest for each set of inner dims."""
        nests: dict[tuple[Slot, ...], list[Value]] = {}
        for value in dict.fromkeys([*self.phase.outputs, *self.phase.crossing]):
            slots = self.shape.classes.wide(value)
            missing = [slot for slot in self.phase.rows if slot not in slots]
            if missing or len(set(slots)) != len(slots):
                raise UnsupportedError(f"{self.shape.body.name}: output {value.type} has no element per row")
            nests.setdefault(tuple(slot for slot in slots if slot not in self.phase.rows), []).append(value)
        for inner, values in sorted(nests.items(), key=lambda item: len(item[0]) > 0):
            extents = [self.shape.extent(slot) for slot in inner]
            counters = [self.emitter.fresh("j") for _ in inner]
            if inner:
                self.emitter.open()
            self.env.update(zip(inner, counters, strict=True))
            self._store_all(values)
            for slot in inner:
                del self.env[slot]
            if inner:
                self.emitter.close_nest([(c, e, "parallel") for c, e in zip(counters, extents, strict=True)])
            self.emitter.stage += 1

    def _store_all(self, values: list[Value]) -> None:
        found = [(value, self._place(value)) for value in values]
        elements = [self.emitter.pull(value, place) for value, place in found]
        for (value, place), element in zip(found, elements, strict=True):
            for position in self.builder.output_positions(value):
                self.builder.store(position, place, element)
            if value in self.crossing:
                self.emitter.append(Store(self.crossing[value], place, element))

    # ------------------------------------------------------------------------------------------------ cut reductions

    def _is_cut(self) -> bool:
        """One stage of long reductions whose chunks are worth more threads, or better cache use, than whole rows."""
        if len(self.phase.stages) != 1:
            return False
        (stage,) = self.phase.stages
        node = stage.nodes[0]
        count = node.operands[0].type.size // max(node.result.type.size, 1)
        if count <= CHUNK or any(self.shape.classes.wide(v) != self.phase.rows for v in self.phase.outputs):
            return False
        interleaved = node.operands[0].type.rank - 1 not in axes_of(node)
        return interleaved or node.result.type.size < FEW_ROWS

    def _lower_cut(self) -> None:
        emitter = self.emitter
        (stage,) = self.phase.stages
        lanes = self._lanes(stage)
        partial = lanes.buffers("part", (lanes.chunks, *self.extents), "arena")
        full, tail = divmod(lanes.count, CHUNK)
        chunk = emitter.fresh("q")
        counters = self._open_rows()
        lanes.store_chunk(partial, mul(chunk, CHUNK), CHUNK, (chunk, *counters))
        emitter.close_phase([chunk, *counters], (full, *self.extents))
        if tail:
            counters = self._open_rows()
            lanes.store_chunk(partial, index(full * CHUNK), tail, (index(full), *counters))
            emitter.close_phase(counters, self.extents)
        counters = self._open_rows()
        emitter.stage += 1
        for node, result in zip(stage.nodes, lanes.tree(partial, lanes.chunks, tuple(counters)), strict=True):
            rounded = emitter.let(convert(result, node.result.dtype), "r")
            emitter.bind(node.result, self._place(node.result), rounded)
        emitter.stage += 1
        self._outputs()
        emitter.close_phase(counters, self.extents)
