"""Where the builder puts things: outputs, state, views, in place, scratch, constants; and what it refuses."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from graphc.core.errors import VerifyError
from graphc.kernel.program import KernelCall, LoopProgram
from graphc.plan.build import build
from graphc.plan.ir import Copy, Entry, Launch, Ref
from graphc.plan.verify import verify
from tests.plan.executor import compare, plan_of
from tests.plan.programs import Builder, slots


def planned(program: LoopProgram, state_sizes: tuple[int, ...] = ()) -> Entry:
    """The entry, verified and compared with direct execution."""
    plan = plan_of([program], slots("s", state_sizes))
    verify(plan)
    assert compare([program], state_sizes) == ""
    return plan.entries[program.name]


def args(entry: Entry, number: int) -> tuple[Ref, ...]:
    launch = entry.block.instructions[number]
    assert isinstance(launch, Launch)
    return launch.args


def copies(entry: Entry) -> list[tuple[Ref, Ref]]:
    return [(c.source, c.target) for c in entry.block.instructions if isinstance(c, Copy)]


# ---------------------------------------------------------------------------------------------------------- outputs


def test_an_output_is_written_straight_into_the_callers_memory() -> None:
    b = Builder()
    x, h, y = b.input(64), b.temp(128), b.temp(64)
    b.call([x], [h])
    b.call([h], [y])
    entry = planned(b.program([y]))
    assert args(entry, 1)[1] == Ref("output", 0, 64, 0)
    assert copies(entry) == []
    assert entry.arena_bytes == 128


def test_the_same_tensor_twice_is_copied_from_the_first_output() -> None:
    b = Builder()
    x, y = b.input(64), b.temp(64)
    b.call([x], [y])
    entry = planned(b.program([y, y]))
    assert copies(entry) == [(Ref("output", 0, 64, slot=0), Ref("output", 0, 64, slot=1))]


def test_inputs_constants_states_steps_and_views_are_copied_out() -> None:
    b = Builder((64,))
    x, c, t = b.input(64), b.constant(np.arange(64, dtype=np.uint8)), b.step()
    h = b.temp(64)
    b.call([x], [h])
    part = b.view(b.view(h, 16, 32), 8, 16)
    entry = planned(b.program([x, c, b.states[0], t, part]), (64,))
    assert [source.segment for source, _ in copies(entry)] == ["input", "constants", "state", "step", "arena"]
    assert copies(entry)[-1][0].offset == 24
    assert [target for _, target in copies(entry)] == [
        Ref("output", 0, n, k) for k, n in enumerate([64, 64, 64, 8, 16])
    ]


def test_a_reshaped_output_is_not_copied() -> None:
    b = Builder()
    h = b.temp(64)
    b.call([], [h])
    assert copies(planned(b.program([b.view(h, 0, 64)]))) == []


# ------------------------------------------------------------------------------------------------------------ state


def test_new_state_is_written_in_place_by_its_last_reader() -> None:
    b = Builder((64,))
    new = b.temp(64)
    b.call([b.states[0]], [new], {0: [0]})
    entry = planned(b.program([], [(0, new)]), (64,))
    assert args(entry, 0) == (Ref("state", 0, 64), Ref("state", 0, 64))
    assert copies(entry) == []


@pytest.mark.parametrize("why", ["no alias", "read later", "old value is an output", "old value is another state"])
def test_new_state_is_copied_when_the_old_value_is_still_needed(why: str) -> None:
    b = Builder((64, 64))
    old, new, late = b.states[0], b.temp(64), b.temp(8)
    b.call([old], [new], {} if why == "no alias" else {0: [0]})
    b.call([old] if why == "read later" else [], [late])
    outputs = [late, old] if why == "old value is an output" else [late]
    updates = [(0, new), (1, old)] if why == "old value is another state" else [(0, new)]
    entry = planned(b.program(outputs, updates), (64, 64))
    assert args(entry, 0)[1].segment == "arena"
    assert copies(entry)[-1][1] == Ref("state", 0, 64)


def test_a_view_of_the_old_state_counts_as_the_old_state() -> None:
    b = Builder((64,))
    new, late = b.temp(64), b.temp(8)
    b.call([], [new])
    b.call([b.view(b.states[0], 56, 8)], [late])
    assert args(planned(b.program([late], [(0, new)]), (64,)), 0)[0].segment == "arena"


def test_a_slab_is_updated_part_by_part_in_place() -> None:
    b = Builder((128,))
    slab = b.temp(128)
    for offset in (0, 64):
        old, new = b.view(b.states[0], offset, 64), b.view(slab, offset, 64)
        b.call([old], [new], {0: [0]})
    entry = planned(b.program([], [(0, slab)]), (128,))
    assert args(entry, 1) == (Ref("state", 64, 64), Ref("state", 64, 64))
    assert entry.arena_bytes == 0


def test_a_slab_whose_parts_are_read_crosswise_is_not_updated_in_place() -> None:
    b = Builder((128,))
    slab = b.temp(128)
    for offset in (0, 64):
        b.call([b.view(b.states[0], 64 - offset, 64)], [b.view(slab, offset, 64)], {0: [0]})
    entry = planned(b.program([], [(0, slab)]), (128,))
    assert args(entry, 0)[1].segment == "arena"
    assert len(copies(entry)) == 1


def test_states_that_exchange_their_values_are_staged() -> None:
    b = Builder((64, 64, 64))
    a, c, d = b.states
    entry = planned(b.program([], [(0, c), (1, d), (2, a)]), (64, 64, 64))
    assert len(copies(entry)) == 4
    assert [row.label for row in entry.lifetimes] == ["staging"]


def test_a_state_is_moved_before_it_is_overwritten() -> None:
    b = Builder((64, 64, 64))
    entry = planned(b.program([], [(0, b.states[1]), (1, b.states[2])]), (64, 64, 64))
    assert [target.offset for _, target in copies(entry)] == [0, 64]
    entry = planned(b.program([], [(2, b.states[1]), (1, b.states[0])]), (64, 64, 64))
    assert [target.offset for _, target in copies(entry)] == [128, 64]


def test_a_state_that_keeps_its_value_is_not_copied() -> None:
    b = Builder((64,))
    assert planned(b.program([], [(0, b.states[0])]), (64,)).block.instructions == ()


# --------------------------------------------------------------------------------------------------------- in place


def test_a_result_takes_over_the_memory_of_a_dying_argument() -> None:
    b = Builder()
    x, chain = b.input(64), [b.temp(64) for _ in range(4)]
    b.call([x], [chain[0]])
    for before, after in pairwise(chain):
        b.call([before], [after], {0: [0]})
    b.call([chain[-1]], [y := b.temp(8)])
    entry = planned(b.program([y]))
    assert entry.arena_bytes == entry.lower_bound_bytes == 64
    assert [(row.first, row.last) for row in entry.lifetimes] == [(0, 0), (1, 1), (2, 2), (3, 4)]


@pytest.mark.parametrize("why", ["not named", "read later", "read twice by the call", "another size", "an input"])
def test_a_result_gets_memory_of_its_own_otherwise(why: str) -> None:
    b = Builder()
    x, h = b.input(64), b.temp(64)
    out, y = b.temp(128 if why == "another size" else 64), b.temp(8)
    b.call([x], [h])
    part = b.view(h, 8, 8)
    ins = [x] if why == "an input" else [h, part] if why == "read twice by the call" else [h]
    b.call(ins, [out], {} if why == "not named" else {0: [0]})
    b.call([out, h] if why == "read later" else [out], [y])
    entry = planned(b.program([y]))
    assert args(entry, 1)[0] != args(entry, 1)[-1]


def test_a_chain_in_place_that_ends_in_an_output_needs_no_arena() -> None:
    b = Builder()
    h, y = b.temp(64), b.temp(64)
    b.call([], [h])
    b.call([h], [y], {0: [0]})
    assert planned(b.program([y])).arena_bytes == 0


# ------------------------------------------------------------------------------------------------ scratch, constants


def test_scratch_lives_for_its_call_only() -> None:
    b = Builder()
    h, y = b.temp(64), b.temp(64)
    b.call([], [h], scratch=[256, 100])
    b.call([h], [y], scratch=[384])
    entry = planned(b.program([y]))
    assert entry.arena_bytes == 64 + 384
    assert [row.label for row in entry.lifetimes][1:] == [
        "scratch s0 of kernel0",
        "scratch s1 of kernel0",
        "scratch s0 of kernel1",
    ]


def test_equal_constants_are_stored_once_for_all_entries() -> None:
    programs = []
    for name in ("train", "evaluate"):
        b = Builder()
        same, other = b.constant(np.ones(16, np.uint8)), b.constant(np.full(8, len(name), np.uint8))
        b.call([same, other], [y := b.temp(8)])
        programs.append(b.program([y], name=name))
    plan = plan_of(programs, [])
    verify(plan)
    assert compare(programs, ()) == ""
    assert [offset for offset, _ in plan.constants] == [0, 64, 128]


def test_entries_share_the_state() -> None:
    one, two = Builder((64, 8)), Builder((64, 8))
    one.call([one.states[0]], [new := one.temp(64)], {0: [0]})
    two.call([two.states[0], two.states[1]], [y := two.temp(8)])
    programs = [one.program([], [(0, new)], "train"), two.program([y], [], "evaluate")]
    assert compare(programs, (64, 8)) == ""
    plan = plan_of(programs, slots("s", (64, 8)))
    assert [slot.offset for slot in plan.state] == [0, 64]
    assert plan.state_bytes == 128


def test_results_nobody_reads_are_kept() -> None:
    b = Builder()
    b.call([], [b.temp(64)])
    entry = planned(b.program([]))
    assert len(entry.block.instructions) == 1
    assert entry.arena_bytes == 64


def test_empty_tensors_need_no_memory() -> None:
    b = Builder()
    x, h, y = b.input(0), b.temp(0), b.temp(0)
    b.call([x], [h])
    b.call([h], [y])
    assert planned(b.program([y, h, x])).arena_bytes == 0


def test_padding_between_views_may_stay_unwritten() -> None:
    b = Builder()
    slab, y = b.temp(128), b.temp(8)
    b.call([], [b.view(slab, 0, 40), b.view(slab, 64, 40)])
    b.call([slab], [y])
    verify(plan_of([b.program([y])], []))


# ----------------------------------------------------------------------------------------------------------- refused


def read_first(b: Builder) -> LoopProgram:
    b.call([b.temp(8)], [b.temp(8)])
    return b.program()


def half_written(b: Builder) -> LoopProgram:
    slab = b.temp(128)
    left, _ = b.view(slab, 0, 64), b.view(slab, 64, 64)
    b.call([], [left])
    b.call([slab], [b.temp(8)])
    return b.program()


def unwritten_output(b: Builder) -> LoopProgram:
    return b.program([b.temp(8)])


def writes_input(b: Builder) -> LoopProgram:
    b.call([], [b.input(8)])
    return b.program()


def writes_view_of_state(b: Builder) -> LoopProgram:
    b.call([], [b.view(b.states[0], 0, 8)])
    return b.program()


def long_view(b: Builder) -> LoopProgram:
    b.view(b.view(b.input(64), 32, 32), 8, 32)
    return b.program()


def view_of_itself(b: Builder) -> LoopProgram:
    b.view(1, 0, 8)
    return b.program()


def wrong_size(b: Builder) -> LoopProgram:
    x = b.input(8)
    b.call([x], [b.temp(8)])
    call = b.calls[0]
    b.calls[0] = KernelCall(call.kernel, (b.input(16), call.args[1]))
    return b.program()


def too_few_args(b: Builder) -> LoopProgram:
    b.call([b.input(8)], [b.temp(8)])
    b.calls[0] = KernelCall(b.calls[0].kernel, b.calls[0].args[:1])
    return b.program()


def overlapping_results(b: Builder) -> LoopProgram:
    h = b.temp(64)
    b.call([], [b.view(h, 0, 40), b.view(h, 32, 32)])
    return b.program()


def clobbers_argument(b: Builder) -> LoopProgram:
    h = b.temp(64)
    b.call([], [h])
    b.call([h], [h])
    return b.program()


def updated_twice(b: Builder) -> LoopProgram:
    return b.program([], [(0, b.states[0]), (0, b.states[0])])


def state_of_another_size(b: Builder) -> LoopProgram:
    return b.program([], [(0, b.input(8))])


def unknown_state(b: Builder) -> LoopProgram:
    return b.program([], [(7, b.states[0])])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (read_first, r"call 0 \(kernel0\): a0 reads tensor 1 temporary1 \(net.py:1\) before it is written"),
        (half_written, "call 1 .*before it is written"),
        (unwritten_output, "is an output or new state, but never written"),
        (writes_input, "writes tensor 1 input1 .*which is input memory"),
        (writes_view_of_state, "which is state memory"),
        (long_view, "tensor 3 view3 .*reaches outside tensor 2"),
        (view_of_itself, "view of nothing, or of itself"),
        (wrong_size, "parameter a0 has 8 bytes, tensor 3 input3 .* has 16"),
        (too_few_args, "1 arguments for 2 parameters"),
        (overlapping_results, "parameters o0 and o1 share bytes"),
        (clobbers_argument, "call 1 .*parameters a0 and o0 share bytes"),
        (updated_twice, "updated twice"),
        (state_of_another_size, "has 8 bytes, its slot 64"),
        (unknown_state, "there is no slot 7"),
    ],
)
def test_malformed_programs_are_refused(make: Callable[[Builder], LoopProgram], message: str) -> None:
    program = make(Builder((64,)))
    with pytest.raises(VerifyError, match=message):
        plan_of([program], slots("s", (64,)))


def test_slots_must_fit() -> None:
    b = Builder()
    b.call([b.input(8)], [y := b.temp(8)])
    with pytest.raises(VerifyError, match="1 inputs and 1 outputs for 0 and 1 slots"):
        build([b.program([y])], [], [[]], [slots("y", [8])])
    with pytest.raises(VerifyError, match="has 8 bytes, its slot 16"):
        build([b.program([y])], [], [slots("x", [8])], [slots("y", [16])])
    with pytest.raises(VerifyError, match="two entries are called main"):
        plan_of([b.program([y]), b.program([y])], [])
