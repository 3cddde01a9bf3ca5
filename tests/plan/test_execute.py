"""Plans compute what their programs say, in one arena full of garbage; planted planner bugs are noticed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc.plan.build as build_module
import graphc.plan.copies as copies_module
import graphc.plan.place as place_module
from graphc.core.errors import VerifyError
from graphc.plan import memory
from graphc.plan.verify import verify
from tests.plan.executor import compare, plan_of
from tests.plan.programs import SIZES, random_program, slots


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(SIZES), max_size=3), st.integers(1, 2))
def test_plan_computes_what_the_program_says(r: random.Random, state_sizes: list[int], entries: int) -> None:
    programs = [random_program(r, state_sizes, f"entry{k}") for k in range(entries)]
    verify(plan_of(programs, slots("s", state_sizes)))
    assert compare(programs, state_sizes) == ""


def shortened(intervals: Sequence[memory.Interval]) -> memory.Packing:
    """As if every buffer died where it is born."""
    return memory.pack([replace(interval, last=interval.first) for interval in intervals])


def one_dropped(intervals: Sequence[memory.Interval]) -> memory.Packing:
    """As if the longest lived buffer needed no memory."""
    longest = max(range(len(intervals)), key=lambda k: intervals[k].last - intervals[k].first, default=-1)
    kept = [replace(i, nbytes=0) if k == longest else i for k, i in enumerate(intervals)]
    packing = memory.pack(kept)
    return memory.Packing(packing.offsets, max(packing.peak, sum(i.nbytes for i in intervals)))


MUTANTS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "one live interval is dropped": (build_module, "pack", one_dropped),
    "lifetimes end where they begin": (build_module, "pack", shortened),
    "aliases_ok is ignored": (place_module, "sharing_allowed", lambda a, b: True),
    "state is overwritten before its last read": (place_module, "may_overwrite", lambda *_: True),
    "what is needed at the end is forgotten": (place_module, "needed_at_end", lambda *_: set()),
    "a view counts as its whole owner": (place_module, "_is_whole", lambda *_: True),
    "copies are not ordered": (copies_module, "order_moves", lambda moves: moves),
    "scratch of a kernel gets memory of the next call": (
        build_module,
        "_scratch",
        lambda program, inside, real=build_module._scratch: [
            replace(need, interval=replace(need.interval, first=need.interval.first + 1, last=need.interval.last + 1))
            for need in real(program, inside)
        ],
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(where, attribute, mutant)
    for seed in range(400):
        r = random.Random(seed)
        state_sizes = [r.choice(SIZES) for _ in range(r.randint(0, 3))]
        program = random_program(r, state_sizes)
        if compare([program], state_sizes, seed=seed):
            return
    pytest.fail(f"400 random programs ran alike although {name}")


VERIFIABLE = ["one live interval is dropped", "lifetimes end where they begin", "aliases_ok is ignored"]


@pytest.mark.parametrize("name", VERIFIABLE)
def test_the_verifier_notices_it_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(where, attribute, mutant)
    with pytest.raises(VerifyError):
        for seed in range(400):
            r = random.Random(seed)
            state_sizes = [r.choice(SIZES) for _ in range(r.randint(0, 3))]
            verify(plan_of([random_program(r, state_sizes)], slots("s", state_sizes)))
