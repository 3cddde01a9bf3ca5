"""Arena packing: where buffers with known lifetimes lie in one block of memory.

In: intervals, each with the first and last moment (inclusive) at which its bytes are needed. Out: one offset per
interval, and the size of the block. Guaranteed: offsets are multiples of `ALIGNMENT`; intervals that are live at the
same moment do not overlap; the same intervals give the same packing on every machine. Knows no tensors.

Finding the smallest block is NP-hard, so several greedy orders are tried and the best one is kept: an interval goes to
a gap between those already placed that live at the same time. Then the intervals on top of the block are moved to the
front of the order and the search is repeated a few times (squeaky wheel optimisation, Joslin and Clements 1999). The
search ends early at the lower bound, which chains and nested lifetimes nearly always reach.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graphc.core.errors import ArgumentError
from graphc.core.records import dataclass

ALIGNMENT = 64  # bytes; every buffer that owns memory starts at a multiple of it

_WORK = 12_000  # placements tried beyond the first orders; bounds the time for many intervals

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """`nbytes` that must be kept from moment `first` to moment `last`, both inclusive."""

    first: int
    last: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Packing:
    """One offset per interval, in the order they were given, and the bytes the block needs."""

    offsets: tuple[int, ...]
    peak: int


def align(nbytes: int) -> int:
    """`nbytes` rounded up to a multiple of `ALIGNMENT`."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def lower_bound(intervals: Sequence[Interval]) -> int:
    """The largest sum of (aligned) bytes live at one moment: no packing can need less.

    >>> lower_bound([Interval(0, 2, 64), Interval(1, 1, 100), Interval(2, 3, 64)])
    192
    """
    return max((total for _, total in live_sums(intervals)), default=0)


def live_sums(intervals: Sequence[Interval]) -> list[tuple[int, int]]:
    """(moment, aligned bytes live from then on), one row for each moment at which the sum changes, in order."""
    changes: dict[int, int] = {}
    for interval in intervals:
        size = align(interval.nbytes)
        changes[interval.first] = changes.get(interval.first, 0) + size
        changes[interval.last + 1] = changes.get(interval.last + 1, 0) - size
    rows: list[tuple[int, int]] = []
    total = 0
    for moment in sorted(changes):
        total += changes[moment]
        rows.append((moment, total))
    return rows


def pack(intervals: Sequence[Interval]) -> Packing:
    """Offsets for all intervals in a block as small as the search finds. Empty intervals get offset 0.

    Raises `ArgumentError` for an interval that ends before it begins or has a negative size.

    >>> pack([Interval(0, 1, 64), Interval(1, 2, 64), Interval(2, 3, 64)])
    Packing(offsets=(0, 64, 0), peak=128)
    """
    for interval in intervals:
        if interval.first > interval.last or interval.nbytes < 0:
            raise ArgumentError(f"not an interval: {interval}")
    problem = _Problem.of(intervals)
    bound = lower_bound(intervals)
    best = _search(problem, bound)
    return Packing(tuple(int(offset) for offset in best), problem.peak(best))


@dataclass(frozen=True, slots=True)
class _Problem:
    first: _Numbers
    last: _Numbers
    size: _Numbers  # aligned

    @staticmethod
    def of(intervals: Sequence[Interval]) -> "_Problem":
        return _Problem(
            np.array([i.first for i in intervals], np.int64),
            np.array([i.last for i in intervals], np.int64),
            np.array([align(i.nbytes) for i in intervals], np.int64),
        )

    def peak(self, offsets: _Numbers) -> int:
        return int((offsets + self.size).max(initial=0))

    def orders(self) -> list[list[int]]:
        """Orders worth trying, best on average first; ties keep the order given."""
        span = self.last - self.first + 1
        keys: list[tuple[_Numbers, ...]] = [
            (self.first, -self.size),  # large first: TFLite's greedy-by-size
            (-self.size, -span),  # long first: nests the lifetimes of a forward and backward pass
            (self.first, -self.size * span),  # large and long first
            (-self.size, self.first),  # as they are born: a stack
            (-self.size, -self.last),  # the same, backwards
        ]
        return [np.lexsort(key).tolist() for key in keys]


def _search(problem: _Problem, bound: int) -> _Numbers:
    """The best offsets found: from the fixed orders, then from the best of them, improved step by step."""
    count = len(problem.size)
    budget = 2 + min(_WORK // max(count, 1), 40)  # how many times all intervals may be placed
    orders = problem.orders()
    tries = [(order, tightest) for order in orders for tightest in (False, True)][:budget]
    best, best_order = np.zeros(count, np.int64), orders[0]
    best_peak = sum(problem.size.tolist()) + 1
    for order, tightest in tries:
        offsets = _place(problem, order, tightest)
        if problem.peak(offsets) < best_peak:
            best, best_order, best_peak = offsets, order, problem.peak(offsets)
        if best_peak == bound:
            return best
    offsets, order = best, best_order
    for _ in range(budget - len(tries)):
        order = _promote(problem, order, offsets)
        offsets = _place(problem, order, tightest=False)
        if problem.peak(offsets) < best_peak:
            best, best_peak = offsets, problem.peak(offsets)
        if best_peak == bound:
            return best
    return best


def _promote(problem: _Problem, order: list[int], offsets: _Numbers) -> list[int]:
    """The same order with the intervals that reach the peak moved to its front."""
    top = offsets + problem.size == problem.peak(offsets)
    return [i for i in order if top[i]] + [i for i in order if not top[i]]


def _place(problem: _Problem, order: list[int], tightest: bool) -> _Numbers:
    """Give each interval, in order, the lowest (or the tightest) gap it fits in, else the top."""
    count = len(order)
    offsets = np.zeros(count, np.int64)
    table = np.empty((4, count), np.int64)  # rows: start, stop, first, last of what is placed, sorted by start
    placed = 0
    for i in order:
        size = problem.size[i]
        if size == 0:
            continue
        live = (table[2, :placed] <= problem.last[i]) & (table[3, :placed] >= problem.first[i])
        at = _gap(table[0, :placed][live], table[1, :placed][live], size, tightest)
        offsets[i] = at
        here = int(table[0, :placed].searchsorted(at))
        table[:, here + 1 : placed + 1] = table[:, here:placed]
        table[:, here] = (at, at + size, problem.first[i], problem.last[i])
        placed += 1
    return offsets


def _gap(starts: _Numbers, stops: _Numbers, size: np.int64, tightest: bool) -> int:
    """Where `size` bytes fit between the ranges (starts sorted); above all of them when no gap is large enough."""
    floors = np.zeros(len(starts) + 1, np.int64)
    np.maximum.accumulate(stops, out=floors[1:])
    room = starts - floors[:-1]
    (fitting,) = (room >= size).nonzero()
    if fitting.size == 0:
        return int(floors[-1])
    chosen = fitting[room[fitting].argmin()] if tightest else fitting[0]
    return int(floors[chosen])
