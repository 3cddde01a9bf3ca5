"""Each invariant of the plan verifier is broken once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from graphc.core.dtypes import uint8
from graphc.core.errors import VerifyError
from graphc.kernel.ir import Alloc, Buffer, Kernel, Param
from graphc.plan.ir import (
    Block,
    Branch,
    Copy,
    Entry,
    Instruction,
    Launch,
    Lifetime,
    Plan,
    Ref,
    Repeat,
    Slot,
    StateSlot,
    While,
)
from graphc.plan.verify import verify


def kernel(size: int = 64, aliases: tuple[str, ...] = (), scratch: bool = False) -> Kernel:
    params = (Param(Buffer("x", uint8, (size,)), "in"), Param(Buffer("y", uint8, (size,)), "out", "", aliases))
    return Kernel("relu", params, (Alloc(Buffer("s", uint8, (64,), "arena")),) if scratch else ())


def plan(*instructions: Instruction, lifetimes: tuple[Lifetime, ...] | None = None) -> Plan:
    """A plan with one state slot, one constant, one input and one output of 64 bytes, and an arena of 192."""
    slot = Slot("x", uint8, (64,))
    to_output = Launch(kernel(), (Ref("input", 0, 64), Ref("output", 0, 64)))
    rows = lifetimes if lifetimes is not None else tuple(Lifetime(f"t{k}", "", 64 * k, 64, 0, 9) for k in range(3))
    entry = Entry("main", (slot,), (slot,), Block((*instructions, to_output)), 192, rows, 192)
    return Plan((StateSlot(slot, 0),), 64, ((0, np.zeros(64, np.uint8)),), 64, {"main": entry})


def relu(source: Ref, target: Ref, size: int = 64, aliases: tuple[str, ...] = ()) -> Launch:
    return Launch(kernel(size, aliases), (source, target))


def arena(offset: int, nbytes: int = 64, *strides: int) -> Ref:
    return Ref("arena", offset, nbytes, 0, strides)


ROWS = (Lifetime("a", "", 0, 64, 0, 1), Lifetime("b", "", 32, 64, 1, 2))


def test_the_good_plan_is_accepted() -> None:
    verify(
        plan(
            relu(Ref("state", 0, 64), arena(0)),
            relu(arena(0), arena(0), 64, ("x",)),
            Copy(arena(0), arena(64)),
            Launch(kernel(scratch=True), (arena(0), arena(64)), (arena(128),)),
            Repeat(4, Block((Copy(Ref("constants", 0, 16, 0, (16,)), arena(0, 16, 16)),))),
            Branch(arena(0, 4), (Block((Copy(arena(0), arena(64)),)), Block(()))),
            Repeat(4, Block((Copy(arena(0), arena(64)),)), arena(0, 8)),
            While(Block(()), arena(0, 1), Block((Copy(arena(0, 16, 16), arena(64, 16)),)), 4, arena(8, 8)),
        )
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(plan(), state=(StateSlot(Slot("w", uint8, (8,)), 8),)), "state w at 8 is not aligned"),
        (lambda: replace(plan(), state=(StateSlot(Slot("w", uint8, (8,)), 64),)), "state w at 64 .*outside"),
        (lambda: replace(plan(), constants=((0, np.zeros(65, np.uint8)),)), "constant 0 at 0 .*outside"),
        (lambda: plan(lifetimes=ROWS[1:]), "b at 32 is not aligned"),
        (lambda: plan(lifetimes=(replace(ROWS[0], offset=192),)), "a at 192 lies outside the arena"),
        (lambda: plan(lifetimes=(ROWS[0], replace(ROWS[1], offset=0))), "a .*and b .*overlap while both are live"),
        (lambda: plan(relu(arena(192), arena(0))), r"arena\[192:256\] lies in no live buffer"),
        (lambda: plan(relu(arena(0), arena(128)), lifetimes=ROWS[:1]), r"arena\[128:192\] lies in no live buffer"),
        (
            lambda: plan(*[Copy(arena(0, 8), arena(8, 8))] * 3, lifetimes=ROWS[:1]),
            "instruction 2 .* lies in no live buffer",
        ),
        (lambda: plan(relu(Ref("state", 8, 64), arena(0))), r"state\[8:72\] lies in no"),
        (lambda: plan(relu(Ref("input", 0, 64, 1), arena(0))), r"input 1\[0:64\] lies in no"),
        (lambda: plan(Repeat(5, Block((Copy(Ref("constants", 0, 16, 0, (16,)), arena(0, 16)),)))), r"\+ 16\*i0"),
        (lambda: plan(Copy(arena(0, 8, 8), arena(64, 8))), "stride without a counter"),
        (lambda: plan(Launch(kernel(), (arena(0),))), "another number of args"),
        (lambda: plan(Launch(kernel(scratch=True), (arena(0), arena(64)))), "another number of args"),
        (lambda: plan(relu(arena(0, 32), arena(64))), r"x has 64 bytes, arena\[0:32\] 32"),
        (lambda: plan(Launch(kernel(scratch=True), (arena(0), arena(64)), (arena(64),))), "scratch .* overlaps"),
        (
            lambda: plan(Launch(kernel(scratch=True), (arena(0), arena(64)), (Ref("state", 0, 64),))),
            "is not in the arena",
        ),
        (lambda: plan(relu(arena(0), Ref("input", 0, 64))), "writes input 0.*read-only"),
        (lambda: plan(Copy(arena(0), Ref("constants", 0, 64))), "writes constants.*read-only"),
        (lambda: plan(Copy(arena(0, 8), Ref("step", 0, 8))), "writes step.*read-only"),
        (lambda: plan(relu(arena(0), arena(0))), "x=.* overlaps y="),
        (
            lambda: plan(relu(arena(0, 32), arena(16, 32), 32, ("x",)), lifetimes=(replace(ROWS[0], last=9),)),
            "x=.* overlaps y=",
        ),
        (lambda: plan(Copy(arena(0, 16), arena(64, 8))), "has another size"),
        (lambda: plan(Copy(arena(0, 16), arena(8, 16))), "overlaps it"),
        (lambda: plan(Branch(arena(0, 8), (Block(()),))), "has not 4 bytes"),
        (lambda: plan(Branch(arena(0, 4), ())), "without blocks"),
        (lambda: plan(Repeat(1, Block(()), arena(0, 4))), "has not 8 bytes"),
        (lambda: plan(While(Block(()), arena(0, 4), Block(()))), "has not 1 bytes"),
        (lambda: plan(While(Block(()), arena(0, 1), Block(()), 2, arena(0, 4))), "has not 8 bytes"),
        (lambda: plan(While(Block(()), arena(0, 1), Block(()), -2)), "at most -2 times"),
        (lambda: plan(While(Block(()), arena(0, 1), Block((Copy(arena(0, 64, 64), arena(64)),)), 4)), r"64\*i0"),
        (lambda: plan(Repeat(-1, Block(()))), "repeats -1 times"),
    ],
)
def test_a_broken_plan_is_refused(make: Callable[[], Plan], message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(make())


def test_an_output_must_be_written() -> None:
    good = plan()
    entry = replace(good.entries["main"], block=Block(()))
    with pytest.raises(VerifyError, match=r"output 0 \(x\) is never written"):
        verify(replace(good, entries={"main": entry}))
