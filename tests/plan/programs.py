"""Loop programs for tests: a builder for hand-written ones and a generator of random ones.

Kernels carry no loops here; `mix` is what each of them does. It reads and writes in the most harmful order its
parameters' `aliases_ok` allow: whatever an output is not allowed to lie on is read after that output was overwritten.
"""

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graphc.core.dtypes import uint8
from graphc.kernel.ir import Alloc, Buffer, Kernel, Param
from graphc.kernel.program import KernelCall, LoopProgram, Role, Tensor
from graphc.plan.ir import Slot

Bytes = np.ndarray


@dataclass
class Builder:
    """Collects tensors and calls. Every method that makes a tensor returns its id."""

    state_sizes: tuple[int, ...] = ()
    tensors: dict[int, Tensor] = field(default_factory=dict)
    calls: list[KernelCall] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    constants: list[Bytes] = field(default_factory=list)
    states: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = [self._tensor(size, "state", slot) for slot, size in enumerate(self.state_sizes)]

    def _tensor(self, nbytes: int, role: Role = "temporary", slot: int = -1) -> int:
        number = len(self.tensors)
        self.tensors[number] = Tensor(number, nbytes, role, slot, label=f"{role}{number}", source=f"net.py:{number}")
        return number

    def temp(self, nbytes: int) -> int:
        return self._tensor(nbytes)

    def input(self, nbytes: int) -> int:
        self.inputs.append(self._tensor(nbytes, "input", len(self.inputs)))
        return self.inputs[-1]

    def constant(self, data: Bytes) -> int:
        self.constants.append(data)
        return self._tensor(data.nbytes, "constant", len(self.constants) - 1)

    def step(self) -> int:
        return self._tensor(8, "step")

    def view(self, parent: int, offset: int, nbytes: int) -> int:
        number = len(self.tensors)
        label, source = f"view{number}", f"net.py:{number}"
        self.tensors[number] = Tensor(number, nbytes, view_of=parent, view_offset=offset, label=label, source=source)
        return number

    def call(
        self,
        ins: Sequence[int],
        outs: Sequence[int],
        aliases: Mapping[int, Sequence[int]] | None = None,
        inouts: Sequence[int] = (),
        scratch: Sequence[int] = (),
        name: str = "",
    ) -> None:
        """A call; `aliases` maps the position of an out to the positions of ins it may lie on."""
        params = [self._param(f"a{k}", t, "in") for k, t in enumerate(ins)]
        params += [self._param(f"m{k}", t, "inout") for k, t in enumerate(inouts)]
        for k, tensor in enumerate(outs):
            allowed = tuple(f"a{j}" for j in (aliases or {}).get(k, ()))
            params.append(Param(Buffer(f"o{k}", uint8, (self.tensors[tensor].nbytes,)), "out", "", allowed))
        body = tuple(Alloc(Buffer(f"s{k}", uint8, (n,), "arena")) for k, n in enumerate(scratch))
        kernel = Kernel(name or f"kernel{len(self.calls)}", tuple(params), body)
        self.calls.append(KernelCall(kernel, (*ins, *inouts, *outs)))

    def _param(self, name: str, tensor: int, mode: str) -> Param:
        buffer = Buffer(name, uint8, (self.tensors[tensor].nbytes,))
        return Param(buffer, "in") if mode == "in" else Param(buffer, "inout")

    def program(
        self, outputs: Sequence[int] = (), updates: Sequence[tuple[int, int]] = (), name: str = "main"
    ) -> LoopProgram:
        return LoopProgram(
            name,
            dict(self.tensors),
            tuple(self.calls),
            tuple(self.inputs),
            tuple(outputs),
            tuple(updates),
            tuple(self.constants),
        )


def slots(prefix: str, sizes: Sequence[int]) -> list[Slot]:
    return [Slot(f"{prefix}{k}", uint8, (size,)) for k, size in enumerate(sizes)]


# ------------------------------------------------------------------------------------------------- what kernels do


def mix(kernel: Kernel, args: Sequence[Bytes], scratch: Sequence[Bytes]) -> None:
    """Every byte of every result depends on all bytes of all arguments."""
    by_name = {param.buffer.name: array for param, array in zip(kernel.params, args, strict=True)}
    read: dict[str, Bytes] = {n: by_name[n].copy() for n in by_name if n.startswith("m")}
    outs = [param for param in kernel.params if param.mode == "out"]
    for k, area in enumerate(scratch):
        area[:] = 17 * k + 3
    for out in outs:
        for name in out.aliases_ok:
            read.setdefault(name, by_name[name].copy())
        by_name[out.buffer.name][:] = 0xA5
    for param in kernel.params:
        if param.mode == "in":
            read.setdefault(param.buffer.name, by_name[param.buffer.name].copy())
    kept = sum((k + 1) * int(area.sum(dtype=np.int64)) for k, area in enumerate(scratch))
    for param in kernel.params:
        if param.mode != "in":
            target = by_name[param.buffer.name]
            target[:] = _mixed(f"{kernel.name}.{param.buffer.name}", len(target), read, kept)


def _mixed(salt: str, size: int, read: Mapping[str, Bytes], kept: int) -> Bytes:
    index = np.arange(size)
    total = 31 * index + zlib.crc32(salt.encode()) + kept
    for k, name in enumerate(sorted(read)):
        data = read[name].astype(np.int64)
        if data.size:
            weights = np.arange(data.size) % 127 + 1
            total = total + (2 * k + 3) * data[index % data.size] + int((data * weights).sum())
    return (total * 0x9E3779B1 >> 16).astype(np.uint8)


# --------------------------------------------------------------------------------------------------- random programs

SIZES = (8, 64, 72, 128)


class Generator:
    """One random program; all choices come from `r`."""

    def __init__(self, r: random.Random, state_sizes: Sequence[int]) -> None:
        self.r = r
        self.b = Builder(tuple(state_sizes))
        self.readable = list(self.b.states)
        self.pending: list[tuple[int, int]] = []  # (part, slab): views that no call has written yet
        self.unwritten: dict[int, int] = {}  # slab -> parts left

    def program(self, name: str) -> LoopProgram:
        r, b = self.r, self.b
        self.readable += [b.input(r.choice(SIZES)) for _ in range(r.randint(0, 2))]
        self.readable += [b.constant(np.full(64, r.randint(0, 2), np.uint8)) for _ in range(r.randint(0, 2))]
        if r.random() < 0.3:
            self.readable.append(b.step())
        for _ in range(r.randint(1, 10)):
            self._call()
        outputs = [self._pick() for _ in range(r.randint(0, 4)) if self.readable]
        return b.program(outputs, self._updates(), name)

    def _pick(self) -> int:
        """Recent tensors more often, so that old ones die."""
        if self.r.random() < 0.6:
            return self.r.choice(self.readable[-4:])
        return self.r.choice(self.readable)

    def _updates(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for slot, state in enumerate(self.b.states):
            fitting = [t for t in self.readable if self._size(t) == self._size(state)]
            temporary = [t for t in fitting if self.b.tensors[t].role == "temporary"]
            if self.r.random() < 0.85:
                found.append((slot, self.r.choice(temporary if temporary and self.r.random() < 0.7 else fitting)))
        return found

    def _size(self, tensor: int) -> int:
        return self.b.tensors[tensor].nbytes

    def _call(self) -> None:
        r, b = self.r, self.b
        if r.random() < 0.3:
            self._new_slab()
        if self.readable and r.random() < 0.3:
            self._new_view()
        ins = [self._pick() for _ in range(r.randint(0, 3)) if self.readable]
        outs = [self._new_result(ins) for _ in range(r.randint(1, 2))]
        inouts: list[int] = []
        plain = [t for t in self.readable if self._is_plain(t) and not self._touches(t, ins)]
        if plain and r.random() < 0.15:
            inouts.append(r.choice(plain))
        aliases = {
            k: [j for j, i in enumerate(ins) if self._size(i) == self._size(out) and r.random() < 0.6]
            for k, out in enumerate(outs)
        }
        scratch = [r.choice(SIZES) for _ in range(r.randint(0, 2))] if r.random() < 0.3 else []
        b.call(ins, outs, aliases, inouts, scratch)
        self.readable += outs
        for out in outs:
            self._finish(out)

    def _is_plain(self, tensor: int) -> bool:
        return self.b.tensors[tensor].role == "temporary" and self.b.tensors[tensor].view_of is None

    def _root(self, tensor: int) -> int:
        while (parent := self.b.tensors[tensor].view_of) is not None:
            tensor = parent
        return tensor

    def _touches(self, tensor: int, others: Sequence[int]) -> bool:
        return any(self._root(other) == tensor for other in others)

    def _new_slab(self) -> None:
        states = [self._size(s) for s in self.b.states if self._size(s) >= 64]
        size = self.r.choice(states or [128])
        slab = self.b.temp(size)
        cut = self.r.choice([8, 32, size - 8])
        parts = [self.b.view(slab, 0, cut), self.b.view(slab, cut, size - cut)]
        self.r.shuffle(parts)
        self.pending += [(part, slab) for part in parts]
        self.unwritten[slab] = len(parts)

    def _new_view(self) -> None:
        parent = self._pick()
        size = self._size(parent)
        offset = 8 * self.r.randrange(size // 8)
        self.readable.append(self.b.view(parent, offset, 8 * self.r.randint(1, (size - offset) // 8)))

    def _new_result(self, ins: list[int]) -> int:
        """A new temporary, as large as one of the arguments, or a part of a slab together with the old state there."""
        if self.pending and self.r.random() < 0.5:
            part, slab = self.pending.pop(0)
            same = [s for s in self.b.states if self._size(s) == self._size(slab)]
            if same and self.r.random() < 0.6:
                view = self.b.tensors[part]
                ins.append(self.b.view(self.r.choice(same), view.view_offset, view.nbytes))
            return part
        if ins and self.r.random() < 0.7:
            return self.b.temp(self._size(self.r.choice(ins)))
        return self.b.temp(self.r.choice(SIZES))

    def _finish(self, part: int) -> None:
        slab = self.b.tensors[part].view_of
        if slab is None:
            return
        self.unwritten[slab] -= 1
        if self.unwritten[slab] == 0:
            self.readable.append(slab)


def random_program(r: random.Random, state_sizes: Sequence[int], name: str = "main") -> LoopProgram:
    return Generator(r, state_sizes).program(name)
