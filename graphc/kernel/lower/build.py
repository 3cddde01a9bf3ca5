"""What all kinds of kernels share: parameters, the emitter with all rules, and closing a kernel.

Parameters are the inputs of the body, then its outputs. An output may lie on an input when every read of the input
happens at the element written, before it is written; `finish` finds the inputs that allow it.
"""

from collections.abc import Sequence
from dataclasses import field

from graphc.core.records import dataclass
from graphc.graph.cost import graph_flops
from graphc.graph.ir import Graph, Value
from graphc.kernel.ir import Buffer, Expr, Kernel, Load, Param, Store, Var
from graphc.kernel.lower import elementwise, movement, pairs, windows
from graphc.kernel.lower.emit import Emitter, PullRule, in_buffer
from graphc.kernel.lower.expr import Index
from graphc.kernel.lower.naming import labelled
from graphc.kernel.lower.pairs import buffer_of

RULES: dict[str, PullRule] = {**elementwise.RULES, **movement.RULES, **windows.RULES, **pairs.RULES}


@dataclass(slots=True)
class Output:
    """One store of a result: where and in which stage."""

    buffer: Buffer
    index: Index
    stage: int
    outer: frozenset[str] | None  # counters of the loops around all stages of one iteration; None: stages are apart


@dataclass(slots=True)
class Memory:
    """What the phases of one kernel share: names, and where their values lie.

    `inputs`: buffers earlier phases gave the inputs of the body written next; None: it makes one of its own shape.
    `kept`: which of its outputs only later phases read; they lie in scratch.
    """

    names: dict[str, int] = field(default_factory=dict)
    inputs: Sequence[Buffer | None] = ()
    kept: Sequence[bool] = ()


class KernelBuilder:
    """One kernel being written. `body` has merged dims; `original` is the body as the graph has it."""

    def __init__(self, body: Graph, original: Graph, memory: Memory | None = None) -> None:
        self.body = body
        self.original = original
        memory = memory or Memory({}, [None] * len(body.inputs), [False] * len(body.outputs))
        self.emitter = Emitter(body, RULES, memory.names)
        self.inputs = [
            buffer or buffer_of(self.emitter.name("in"), value)
            for value, buffer in zip(body.inputs, memory.inputs, strict=True)
        ]
        self.outputs = [
            buffer_of(self.emitter.name("mid"), value, "arena") if kept else buffer_of(self.emitter.name("out"), value)
            for value, kept in zip(body.outputs, memory.kept, strict=True)
        ]
        for value, buffer in zip(body.inputs, self.inputs, strict=True):
            if value.dtype.is_complex:
                self.emitter.stored.update(pairs.parts_read(body, value, buffer))
            else:
                self.emitter.stored[value] = in_buffer(buffer, value.shape)
        self.body, self.places = pairs.in_parts(body, self.outputs)
        self.stores: list[Output] = []
        self.outer: frozenset[str] | None = None

    def store(self, position: int, idx: Index, value: Expr) -> None:
        """Write output `position`."""
        buffer, part = self.places[position]
        idx = (*idx, *part)
        self.stores.append(Output(buffer, idx, self.emitter.stage, self.outer))
        self.emitter.append(Store(buffer, idx, value))

    def output_positions(self, value: Value) -> list[int]:
        return [i for i, v in enumerate(self.body.outputs) if v is value]

    def finish(self, name: str) -> Kernel:
        """The kernel."""
        params = [Param(buffer, "in") for buffer in self.inputs]
        params += [Param(buffer, "out", aliases_ok=self._aliases(buffer)) for buffer in self.outputs]
        (scope,) = self.emitter.scopes
        kernel = Kernel(name, tuple(params), tuple(scope.statements), graph_flops(self.original))
        return labelled(kernel, self.original)

    def _aliases(self, target: Buffer) -> tuple[str, ...]:
        """Inputs `target` may overwrite: of its size, and read nowhere but at the element that is written."""
        stores = [store for store in self.stores if store.buffer is target]
        if len(stores) != 1:
            return ()
        (store,) = stores
        return tuple(
            source.name
            for source in self.inputs
            if source.nbytes == target.nbytes
            and source.shape == target.shape
            and all(_before(load, stage, store) for load, stage in self.emitter.loads if load.buffer is source)
        )


def _before(load: Load, stage: int, store: Output) -> bool:
    """Whether a load sees the old element: at the written place, or in an earlier stage of the same iteration."""
    if stage == store.stage and load.index == store.index:
        return True
    if stage >= store.stage or store.outer is None:
        return False
    pairs = list(zip(load.index, store.index, strict=True))
    fixed = {here.name for there, here in pairs if isinstance(here, Var) and there == here}
    return store.outer <= fixed
