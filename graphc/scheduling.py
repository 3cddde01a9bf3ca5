"""From the kernels that lowering wrote to those that a backend runs: each structure is scheduled once.

In: an entry as a `LoopProgram`, with the programs in its loops and branches. Out: the same of scheduled kernels, each
called after what is packed for it. Guaranteed: every call computes what it did; kernels of one name are of one
structure, in all entries.
"""

from collections.abc import Sequence
from dataclasses import field, replace

from graphc.core.records import dataclass
from graphc.kernel.affine import loads
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Kernel, Prefetch, walk
from graphc.kernel.program import BranchCall, KernelCall, LoopCall, LoopProgram, Pack, Scheduled, Tensor
from graphc.kernel.structure import Structures
from graphc.kernel.verify import verify
from graphc.plan.packs import Outside, pack_in_front, share_packs
from graphc.runtime.protocol import Backend, Loader


@dataclass(slots=True)
class Schedules:
    """Schedules kernels, each structure once, and gives different kernels of different entries different names."""

    backend: Backend
    check: bool
    loader: Loader | None = None
    structures: Structures = field(default_factory=Structures)
    known: dict[int, Scheduled] = field(default_factory=dict)
    kept: dict[int, tuple[int, ...]] = field(default_factory=dict)  # parameters that scheduled kernels still have
    packs: dict[int, Kernel] = field(default_factory=dict)
    named: dict[str, int] = field(default_factory=dict)
    names: dict[tuple[str, int], str] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)  # the last number behind each name

    def entry(self, loops: LoopProgram) -> LoopProgram:
        """An entry of scheduled kernels, each called after its packs; what several of them, or all iterations of a
        loop, read packed alike is packed once.
        """
        outside = Outside(dict(loops.tensors), list(loops.constants), [])
        calls = outside.calls
        for call in loops.calls:
            if not isinstance(call, KernelCall):
                inside = self._inside(call)
                if isinstance(call, LoopCall) and isinstance(inside, LoopCall):
                    packs = inside.body.tensors.keys() - call.body.tensors.keys()
                    inside = pack_in_front(inside, packs, outside)
                calls.append(inside)
                continue
            found, kept = self._of(call.kernel)
            packed: list[int] = []
            for pack in found.packs:
                *_, param = pack.kernel.params
                buffer = param.buffer
                label = f"packed {buffer.dtype.short}[{','.join(map(str, buffer.shape))}]"
                number = outside.add(Tensor(0, buffer.nbytes, label=label, source=", ".join(pack.kernel.sources)))
                calls.append(KernelCall(pack.kernel, (*(call.args[place] for place in pack.reads), number)))
                packed.append(number)
            calls.append(KernelCall(found.kernel, (*(call.args[place] for place in kept), *packed)))
        program = replace(loops, tensors=outside.tensors, calls=tuple(calls), constants=tuple(outside.constants))
        return share_packs(program, frozenset(outside.tensors.keys() - loops.tensors.keys()))

    def _inside(self, call: LoopCall | BranchCall) -> LoopCall | BranchCall:
        """A loop or branch whose programs are scheduled likewise."""
        if isinstance(call, BranchCall):
            return replace(call, programs=tuple(self.entry(program) for program in call.programs))
        return replace(call, body=self.entry(call.body), cond=None if call.cond is None else self.entry(call.cond))

    def _of(self, kernel: Kernel) -> tuple[Scheduled, tuple[int, ...]]:
        """The schedule, without parameters that only its packs read, and the places of those that it still has."""
        structure = self.structures.of(kernel)
        if structure not in self.known:
            self.known[structure] = self._new(structure, kernel)
        found = self.known[structure]
        sources = [param.source for param in kernel.params]
        packs: list[Pack] = []
        labels: list[str] = []
        for pack in found.packs:
            read = [sources[place] for place in pack.reads]
            labels.append(" ".join(("packed", *read)).rstrip())
            told = _told(pack.kernel, pack.kernel.name, [*read, labels[-1]], kernel.sources)
            packs.append(replace(pack, kernel=told))
        kept = self.kept[structure]
        params = [*(sources[place] for place in kept), *labels]
        reader = _told(found.kernel, self._name(kernel.name, structure), params, kernel.sources)
        return Scheduled(reader, tuple(packs)), kept

    def _new(self, structure: int, kernel: Kernel) -> Scheduled:
        """The schedule of a structure that is new. Packs of equal structure are one kernel."""
        found = self.backend.schedule(kernel)
        if self.check:
            verify(kernel)
        packs: list[Pack] = []
        for pack in found.packs:
            packing = self.structures.of(pack.kernel)
            if packing not in self.packs:
                self.packs[packing] = replace(pack.kernel, name=self._name(pack.kernel.name, packing))
                self._add(self.packs[packing])
            packs.append(replace(pack, kernel=self.packs[packing]))
        reader, self.kept[structure] = _without_packed(found.kernel, len(kernel.params))
        self._add(reader)
        return Scheduled(reader, tuple(packs))

    def _add(self, kernel: Kernel) -> None:
        if self.check:
            verify(kernel)
        if self.loader is not None:
            self.loader.add(kernel)

    def _name(self, name: str, structure: int) -> str:
        if (name, structure) not in self.names:
            number = self.tried.get(name, 0)
            unused = f"{name}_{number}" if number else name
            while self.named.setdefault(unused, structure) != structure:
                number += 1
                unused = f"{name}_{number}"
            self.tried[name], self.names[name, structure] = number, unused
        return self.names[name, structure]


def _without_packed(kernel: Kernel, count: int) -> tuple[Kernel, tuple[int, ...]]:
    """The kernel without those of its first `count` parameters that its packs alone read, and the places of the others.

    An operand that is packed may then be overwritten by what is computed from it.
    """
    if len(kernel.params) == count:
        return kernel, tuple(range(count))
    statements = list(walk(kernel.body))
    used = {load.buffer.name for s in statements for e in expressions(s) for load in loads(e)}
    used |= {s.buffer.name for s in statements if isinstance(s, Prefetch)}
    names = [param.buffer.name for param in kernel.params]
    kept = tuple(n for n, param in enumerate(kernel.params[:count]) if param.mode != "in" or names[n] in used)
    there = {names[n] for n in kept}
    params = (*(kernel.params[n] for n in kept), *kernel.params[count:])
    params = tuple(replace(p, aliases_ok=tuple(a for a in p.aliases_ok if a in there)) for p in params)
    return replace(kernel, params=params), kept


def _told(kernel: Kernel, name: str, params: Sequence[str], sources: tuple[str, ...]) -> Kernel:
    """The kernel with what is for people."""
    told = tuple(replace(param, source=source) for param, source in zip(kernel.params, params, strict=True))
    return replace(kernel, name=name, params=told, sources=sources)
