"""Plans as text, for people: layout of state and constants, then the instructions of each entry with addresses.

An address is `segment[start:stop]` in bytes; inside a loop it moves with the counters `i0`, `i1`, ... from outside
in.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from graphc.core.dtypes import dtype
from graphc.plan.ir import Block, Branch, Copy, Entry, Instruction, Launch, Plan, Ref, Repeat, Slot, While
from graphc.plan.verify import show


def print_plan(plan: Plan) -> str:
    """The whole plan."""
    lines = [f"state {plan.state_bytes} bytes"]
    lines += [f"  {slot.offset:>8}  {_slot(slot.slot)}" for slot in plan.state]
    lines += [f"constants {plan.constant_bytes} bytes"]
    lines += [f"  {offset:>8}  {_constant(array)}" for offset, array in plan.constants]
    for entry in plan.entries.values():
        lines += ["", *_entry(plan, entry)]
    return "\n".join(lines) + "\n"


def _entry(plan: Plan, entry: Entry) -> Iterator[str]:
    ins = ", ".join(_slot(slot) for slot in entry.inputs)
    outs = ", ".join(_slot(slot) for slot in entry.outputs)
    yield f"entry {entry.name}({ins}) -> ({outs})"
    yield f"  arena {entry.arena_bytes} bytes, lower bound {entry.lower_bound_bytes}"
    for number, instruction in enumerate(entry.block.instructions):
        for k, line in enumerate(_instruction(plan, instruction, depth=0)):
            yield f"  {number:>4}  {line}" if k == 0 else f"        {line}"


def _instruction(plan: Plan, instruction: Instruction, depth: int) -> Iterator[str]:
    match instruction:
        case Launch():
            yield _launch(plan, instruction)
        case Copy(source, target):
            yield f"copy {_ref(plan, target)} <- {_ref(plan, source)}"
        case Repeat(count, body, limit, last):
            which = "" if limit is None else f", the {'last' if last else 'first'} {_ref(plan, limit)}"
            yield f"repeat i{depth} < {count}{which}:"
            yield from _block(plan, body, depth + 1)
        case While(cond, flag, body, bound, made):
            most = "" if bound is None else f" < {bound}"
            counted = "" if made is None else f", counted in {_ref(plan, made)}"
            yield f"while i{depth}{most}{counted}:"
            yield from _block(plan, cond, depth + 1)
            yield f"as long as {_ref(plan, flag)}:"
            yield from _block(plan, body, depth + 1)
        case Branch(index, blocks):
            for number, block in enumerate(blocks):
                yield f"branch {_ref(plan, index)}:" if number == 0 else _other(number, len(blocks))
                yield from _block(plan, block, depth)


def _other(number: int, count: int) -> str:
    return f"or, from {number} on:" if number == count - 1 else f"or at {number}:"


def _block(plan: Plan, block: Block, depth: int) -> Iterator[str]:
    for instruction in block.instructions:
        for line in _instruction(plan, instruction, depth):
            yield f"  {line}"


def _launch(plan: Plan, launch: Launch) -> str:
    groups: dict[str, list[str]] = {"in": [], "inout": [], "out": []}
    for param, ref in zip(launch.kernel.params, launch.args, strict=True):
        groups[param.mode].append(f"{param.buffer.name}={_ref(plan, ref)}")
    results = ", ".join(groups["out"])
    changed = f" changing {', '.join(groups['inout'])}" if groups["inout"] else ""
    scratch = f" scratch {', '.join(show(ref) for ref in launch.scratch)}" if launch.scratch else ""
    return f"{launch.kernel.name}({', '.join(groups['in'])}){changed} -> {results}{scratch}".rstrip(" ->")


def _ref(plan: Plan, ref: Ref) -> str:
    """An address, with the name of the state slot it lies in."""
    if ref.segment != "state":
        return show(ref)
    inside = (s.slot.name for s in plan.state if s.offset <= ref.offset < s.offset + max(s.slot.nbytes, 1))
    return f"{show(ref)} {next(inside, '')}".rstrip()


def _slot(slot: Slot) -> str:
    return f"{slot.name} {_type(slot.dtype.short, slot.shape)}"


def _type(short: str, shape: Sequence[int]) -> str:
    return f"{short}[{','.join(str(extent) for extent in shape)}]"


def _constant(array: np.ndarray) -> str:
    values = f" = {array.reshape(-1)[0]}" if array.size == 1 else ""
    return _type(dtype(array.dtype).short, array.shape) + values
