"""Arena packing: legal, close to the bound, deterministic, fast."""

import random
import time
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.core.errors import ArgumentError
from graphc.plan import ir
from graphc.plan.memory import ALIGNMENT, Interval, align, live_sums, lower_bound, pack


def legal(intervals: Sequence[Interval], offsets: Sequence[int]) -> bool:
    placed = [(i, at) for i, at in zip(intervals, offsets, strict=True) if i.nbytes]
    return all(at >= 0 and at % ALIGNMENT == 0 for _, at in placed) and not any(
        a.first <= b.last and b.first <= a.last and x < y + b.nbytes and y < x + a.nbytes
        for (a, x), (b, y) in combinations(placed, 2)
    )


some_intervals = st.lists(
    st.builds(lambda first, span, nbytes: Interval(first, first + span, nbytes), *[st.integers(0, n) for n in (20, 10)],
              st.sampled_from([0, 1, 64, 65, 128, 1000])),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(some_intervals)
def test_live_intervals_do_not_overlap(intervals: list[Interval]) -> None:
    packing = pack(intervals)
    assert legal(intervals, packing.offsets)
    assert packing.peak == max((at + align(i.nbytes) for i, at in zip(intervals, packing.offsets)), default=0)
    assert packing.peak >= lower_bound(intervals)
    assert packing == pack(intervals)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(some_intervals)
def test_lower_bound_is_the_largest_live_sum(intervals: list[Interval]) -> None:
    moments = range(40)
    sums = [sum(align(i.nbytes) for i in intervals if i.first <= m <= i.last) for m in moments]
    assert lower_bound(intervals) == max(sums)
    rows = dict(live_sums(intervals))
    assert all(total == sums[moment] for moment, total in rows.items() if moment < 40)


def chain(length: int, r: random.Random) -> list[Interval]:
    """Each value feeds the next one."""
    return [Interval(i, i + 1, r.randrange(1, 100_000)) for i in range(length)]


def training(layers: int, r: random.Random) -> list[Interval]:
    """Activations live from forward to backward; gradients and scratch are short; weight gradients live to the end."""
    rows: list[Interval] = []
    for i in range(layers):
        back = 2 * layers - i
        rows.append(Interval(i, back, r.choice([4096, 65536, r.randrange(1, 100_000)])))
        rows.append(Interval(i, i, r.randrange(1, 50_000)))
        rows.append(Interval(back - 1, back, r.randrange(1, 50_000)))
        rows.append(Interval(back, 2 * layers, r.randrange(1, 30_000)))
    return rows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [3, 10, 100, 500])
def test_chains_are_packed_close_to_the_bound(length: int, seed: int) -> None:
    intervals = chain(length, random.Random(seed))
    assert pack(intervals).peak <= 1.1 * lower_bound(intervals)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("layers", [5, 25, 100])
def test_training_steps_are_packed_close_to_the_bound(layers: int, seed: int) -> None:
    intervals = training(layers, random.Random(seed))
    packing = pack(intervals)
    assert legal(intervals, packing.offsets)
    assert packing.peak <= 1.1 * lower_bound(intervals)


def test_ten_thousand_intervals_take_seconds_at_most() -> None:
    intervals = training(2500, random.Random(0))
    start = time.process_time()
    assert pack(intervals).peak <= 1.1 * lower_bound(intervals)
    assert time.process_time() - start < 4  # 1.3 s when written


def test_an_interval_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="first=2, last=1"):
        pack([Interval(2, 1, 8)])
    with pytest.raises(ArgumentError, match="nbytes=-1"):
        pack([Interval(0, 1, -1)])


def test_one_alignment() -> None:
    assert ir.ALIGNMENT == ALIGNMENT == 64
