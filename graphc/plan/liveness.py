"""Which bytes each call of a loop program reads and writes.

In: a `LoopProgram`. Out: `Accesses`: every tensor as a range of the tensor that owns its memory (views and views of
views resolved), and the reads and writes of each owner in program order. Guaranteed afterwards, else `VerifyError`:

- ids, slots, sizes and argument counts fit; views lie inside what they are views of; nothing is a view of itself
- calls write temporaries only (a new state value is a tensor of its own, named in `state_updates`)
- no bytes of a temporary are read, returned or kept as state before a call has written them. Only padding, bytes
  between the views of a tensor that belong to none of them, may be carried along unwritten
- two parameters of a call share bytes only when both are read, or when an "out" parameter names the "in" parameter in
  `aliases_ok` and both are exactly the same range
"""

from bisect import bisect_left, bisect_right

from graphc.core.errors import VerifyError
from graphc.core.records import dataclass
from graphc.kernel.ir import Param
from graphc.kernel.program import LoopProgram, Tensor


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes [start, stop) of the tensor `owner`, which owns its memory."""

    owner: int
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        return self.stop - self.start

    def overlaps(self, other: "Range") -> bool:
        return self.owner == other.owner and self.start < other.stop and other.start < self.stop


@dataclass(frozen=True, slots=True)
class Access:
    """Call number `call` reads or writes `range` through `param`."""

    call: int
    param: Param
    range: Range


@dataclass(frozen=True, slots=True)
class Accesses:
    """`ranges` by tensor id; `reads` and `writes` by owner, in program order; `calls`: all accesses of each call."""

    ranges: dict[int, Range]
    reads: dict[int, list[Access]]
    writes: dict[int, list[Access]]
    calls: tuple[tuple[Access, ...], ...]
    state_owner: dict[int, int]  # state slot -> the tensor that stands for its old value

    def first(self, owner: int) -> int:
        """The first call that writes the owner."""
        return self.writes[owner][0].call

    def last(self, owner: int) -> int:
        """The last call that touches the owner."""
        reads = self.reads.get(owner)
        return max(self.writes[owner][-1].call, reads[-1].call if reads else -1)


def sharing_allowed(a: Access, b: Access) -> bool:
    """Whether two parameters of one call may share bytes that both ranges cover exactly.

    True when both only read, or when the one that is written names the one that is read in `aliases_ok`.
    """
    if a.param.mode == "in" and b.param.mode == "in":
        return True
    out, other = (b, a) if a.param.mode == "in" else (a, b)
    return out.param.mode == "out" and other.param.mode == "in" and other.param.buffer.name in out.param.aliases_ok


def accesses(program: LoopProgram) -> Accesses:
    """Resolve views, list reads and writes per owner, and check the program."""
    ranges, state_owner = _ranges(program)
    calls = tuple(_call_accesses(program, number, ranges) for number in range(len(program.calls)))
    found = Accesses(ranges, {}, {}, calls, state_owner)
    for call in calls:
        for access in call:
            if access.param.mode != "out":
                found.reads.setdefault(access.range.owner, []).append(access)
            if access.param.mode != "in":
                found.writes.setdefault(access.range.owner, []).append(access)
    _check_borders(program)
    _check_written_before_read(program, found)
    return found


# ------------------------------------------------------------------------------------------------- views and slots


def _ranges(program: LoopProgram) -> tuple[dict[int, Range], dict[int, int]]:
    """The range of each tensor. Two tensors for the same slot are one owner."""
    owners: dict[tuple[str, int], int] = {}
    ranges: dict[int, Range] = {}
    for key, tensor in program.tensors.items():
        if key != tensor.id:
            raise VerifyError(f"{program.name}: tensor {tensor.id} is filed under {key}")
        if tensor.view_of is None:
            slot = (tensor.role, tensor.slot)
            owner = tensor.id if tensor.role == "temporary" else owners.setdefault(slot, tensor.id)
            if program.tensors[owner].nbytes != tensor.nbytes:
                raise VerifyError(f"{program.name}: {describe(tensor)} has another size than the same slot elsewhere")
            ranges[tensor.id] = Range(owner, 0, tensor.nbytes)
    for tensor in program.tensors.values():
        _resolve(program, tensor, ranges)
    return ranges, {slot: owner for (role, slot), owner in owners.items() if role == "state"}


def _resolve(program: LoopProgram, tensor: Tensor, ranges: dict[int, Range]) -> None:
    """Fill in the range of a view, after the ranges of all it is a view of."""
    chain: list[Tensor] = []
    while tensor.id not in ranges:
        chain.append(tensor)
        if tensor.view_of not in program.tensors or len(chain) > len(program.tensors):
            raise VerifyError(f"{program.name}: {describe(tensor)} is a view of nothing, or of itself")
        tensor = program.tensors[tensor.view_of]
    for view in reversed(chain):
        parent = ranges[tensor.id]
        start = parent.start + view.view_offset
        if view.view_offset < 0 or start + view.nbytes > parent.stop:
            raise VerifyError(f"{program.name}: {describe(view)} reaches outside {describe(tensor)}")
        ranges[view.id] = Range(parent.owner, start, start + view.nbytes)
        tensor = view


def _check_borders(program: LoopProgram) -> None:
    """Inputs, constants, outputs and state updates name tensors that exist and fit."""
    for tensor_id in (*program.inputs, *program.outputs, *(tensor_id for _, tensor_id in program.state_updates)):
        if tensor_id not in program.tensors:
            raise VerifyError(f"{program.name}: there is no tensor {tensor_id}")
    for slot, tensor_id in enumerate(program.inputs):
        tensor = program.tensors[tensor_id]
        if (tensor.role, tensor.slot) != ("input", slot):
            raise VerifyError(f"{program.name}: input {slot} is {describe(tensor)}, not an input of that slot")
    slots = [slot for slot, _ in program.state_updates]
    if len(set(slots)) < len(slots):
        raise VerifyError(f"{program.name}: a state slot is updated twice: {sorted(slots)}")


# ----------------------------------------------------------------------------------------------------------- calls


def _call_accesses(program: LoopProgram, number: int, ranges: dict[int, Range]) -> tuple[Access, ...]:
    call = program.calls[number]
    params = call.params
    if len(params) != len(call.args):
        raise VerifyError(f"{_where(program, number)}: {len(call.args)} arguments for {len(params)} parameters")
    for param, tensor_id in zip(params, call.args, strict=True):
        if tensor_id not in ranges:
            raise VerifyError(f"{_where(program, number)}: there is no tensor {tensor_id}")
        tensor = program.tensors[tensor_id]
        if param.buffer.nbytes != tensor.nbytes:
            raise VerifyError(
                f"{_where(program, number)}: parameter {param.buffer.name} has {param.buffer.nbytes} bytes, "
                f"{describe(tensor)} has {tensor.nbytes}"
            )
        owner = program.tensors[ranges[tensor_id].owner]
        if param.mode != "in" and owner.role != "temporary":
            raise VerifyError(f"{_where(program, number)}: writes {describe(tensor)}, which is {owner.role} memory")
    found = tuple(Access(number, param, ranges[tensor_id]) for param, tensor_id in zip(params, call.args, strict=True))
    _check_sharing(program, found)
    return found


def _check_sharing(program: LoopProgram, call: tuple[Access, ...]) -> None:
    for i, a in enumerate(call):
        for b in call[:i]:
            if a.range.overlaps(b.range) and not (sharing_allowed(a, b) and _alike(a, b)):
                raise VerifyError(
                    f"{_where(program, a.call)}: parameters {b.param.buffer.name} and {a.param.buffer.name} "
                    f"share bytes of {describe(program.tensors[a.range.owner])}"
                )


def _alike(a: Access, b: Access) -> bool:
    return a.range == b.range or (a.param.mode == "in" and b.param.mode == "in")


# -------------------------------------------------------------------------------------------- written before read


class _Coverage:
    """A set of byte ranges: sorted, disjoint, merged where they touch."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        low = bisect_left(self.stops, start)
        high = bisect_right(self.starts, stop)
        if low < high:
            start = min(start, self.starts[low])
            stop = max(stop, self.stops[high - 1])
        self.starts[low:high] = [start]
        self.stops[low:high] = [stop]

    def holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [start, stop) that are not covered."""
        found: list[tuple[int, int]] = []
        at = start
        for k in range(bisect_right(self.stops, start), bisect_left(self.starts, stop)):
            if self.starts[k] > at:
                found.append((at, self.starts[k]))
            at = self.stops[k]
        if at < stop:
            found.append((at, stop))
        return found


def _check_written_before_read(program: LoopProgram, found: Accesses) -> None:
    views: dict[int, list[Range]] = {}
    for tensor in program.tensors.values():
        if tensor.view_of is not None:
            views.setdefault(found.ranges[tensor.id].owner, []).append(found.ranges[tensor.id])
    written: dict[int, _Coverage] = {}

    def unwritten(where: Range) -> bool:
        if program.tensors[where.owner].role != "temporary" or where.nbytes == 0:
            return False
        if where.owner not in written:
            return True
        holes = written[where.owner].holes(where.start, where.stop)
        gaps = [Range(where.owner, start, stop) for start, stop in holes]
        return any(gap.overlaps(view) for gap in gaps for view in views.get(where.owner, [where]))

    for number, call in enumerate(found.calls):
        for access, tensor_id in zip(call, program.calls[number].args, strict=True):
            if access.param.mode != "out" and unwritten(access.range):
                what = f"{access.param.buffer.name} reads {describe(program.tensors[tensor_id])}"
                raise VerifyError(f"{_where(program, number)}: {what} before it is written")
        for access in call:
            if access.param.mode != "in" and access.range.nbytes:
                written.setdefault(access.range.owner, _Coverage()).add(access.range.start, access.range.stop)
    for tensor_id in (*program.outputs, *(tensor_id for _, tensor_id in program.state_updates)):
        if unwritten(found.ranges[tensor_id]):
            what = describe(program.tensors[tensor_id])
            raise VerifyError(f"{program.name}: {what} is an output or new state, but never written")


# -------------------------------------------------------------------------------------------------------- messages


def describe(tensor: Tensor) -> str:
    """A tensor in an error message."""
    place = f" ({tensor.source})" if tensor.source else ""
    return f"tensor {tensor.id} {tensor.label}".rstrip() + place


def _where(program: LoopProgram, number: int) -> str:
    return f"{program.name}: call {number} ({program.calls[number].name})"
