"""Vector loads of elements that lie near each other, but not side by side, or not all inside of a row.

Lanes that step over two to four elements, or backwards, take what they read from whole vectors of the span of memory
that they cover; a gather would read one element after the other. A load with an index that is clamped into bounds, of
which only lanes in bounds are used (padding), is a load under a mask: `Bounds` says which elements of the span are in.

In: where the span begins and what each lane takes of it. Guaranteed: no element is read outside of what the lanes read,
and none in lanes that are out of bounds.
"""

from collections.abc import Callable

from graphc.core.records import dataclass
from graphc_llvm.builder import Builder
from graphc_llvm.types import widen
from graphc_llvm.values import Linear, emitted

LONGEST_STEP = 4  # as many vectors are read and one less shuffled
_LIMIT = 1 << 15  # lane numbers times steps are compared as 16-bit integers
_HOLDS: dict[str, Callable[[int, int], bool]] = {
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
}


def is_short(step: int | None) -> bool:
    """Whether lanes so far apart are read as a span."""
    return step is not None and step != 1 and 1 <= abs(step) <= LONGEST_STEP


@dataclass(frozen=True, slots=True)
class Bounds:
    """The elements of a span that may be read: those numbered `first + t` with low <= first + t <= high, if given."""

    first: Linear
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """`positions[l]`: the element, counted from the start of the span, that lane l takes. Surplus lanes take none."""

    positions: tuple[int, ...]
    lanes: int

    @property
    def length(self) -> int:
        """Elements from the first to the last."""
        return max(self.positions) + 1

    @property
    def starts(self) -> tuple[int, ...]:
        """Where the vectors begin that cover the span; the last one ends where the span does."""
        whole, rest = divmod(self.length, self.lanes)
        if not whole:
            return (0,)
        return (*range(0, whole * self.lanes, self.lanes), *((self.length - self.lanes,) if rest else ()))

    def picked(self, b: Builder, element: str, parts: list[str]) -> str:
        """What each lane takes of the vectors."""
        if self.positions == tuple(range(len(self.positions))):
            return parts[0]
        kind, starts = widen(element, self.lanes), self.starts
        owners = [max(n for n, start in enumerate(starts) if start <= at) for at in self.positions]
        result = parts[0]
        for number in range(1 if len(parts) > 1 else 0, len(parts)):
            order: list[str] = []
            for lane, (at, owner) in enumerate(zip(self.positions, owners, strict=True)):
                if owner == number:
                    order.append(f"i32 {at - starts[number] + (self.lanes if number else 0)}")
                elif owner < number:
                    order.append(f"i32 {at - starts[owner] if number == 1 else lane}")
                else:
                    order.append("i32 poison")
            order += ["i32 poison"] * (self.lanes - len(order))
            other = parts[number] if number else "poison"
            result = b.emit(f"shufflevector {kind} {result}, {kind} {other}, <{self.lanes} x i32> <{', '.join(order)}>")
        return result


def span(step: int, active: int, lanes: int) -> Span:
    """The span of `active` lanes that lie `step` apart."""
    first = 0 if step > 0 else (active - 1) * -step
    return Span(tuple(first + lane * step for lane in range(active)), lanes)


def first_lanes(count: int, lanes: int) -> str:
    """The mask of the first lanes."""
    return "<" + ", ".join(f"i1 {'true' if n < count else 'false'}" for n in range(lanes)) + ">"


def is_exact(b: Builder, x: Linear) -> bool:
    """Whether x is a sum of counters that wraps in no lane: then its difference to another one has the right sign."""
    known = b.range(x.terms)
    reach = abs(x.step or 0) * x.lanes + abs(x.constant)
    return known is not None and max(-known[0], known[1]) + reach < 1 << 62


def compared(b: Builder, op: str, x: Linear, lanes: int) -> str | None:
    """A mask: `x op 0` in each lane, for an x that differs from lane to lane; None if it differs by too much.

    Lane numbers are compared with one number, which saturates: sixteen bits are enough for them.
    """
    step = x.step or 0
    if abs(step) * lanes >= _LIMIT:
        return None
    base = x.base.known
    if base is not None:
        bits = (f"i1 {'true' if _HOLDS[op](base + step * lane, 0) else 'false'}" for lane in range(lanes))
        return f"<{', '.join(bits)}>"
    other = emitted(b, x.base.times(-1)).text
    known = b.range(x.terms)
    if known is None or not -_LIMIT < known[0] + x.constant <= known[1] + x.constant < _LIMIT:
        for extremum, bound in (("smin", _LIMIT - 1), ("smax", -_LIMIT)):
            other = b.pure(b.calling(f"llvm.{extremum}.i64", "i64", [("i64", other), ("i64", str(bound))]), other)
    narrow = b.pure(f"trunc i64 {other} to i16", other)
    ramp = "<" + ", ".join(f"i16 {step * lane}" for lane in range(lanes)) + ">"
    sign = op if op in ("eq", "ne") else f"s{op}"
    others = b.splat("i16", narrow, lanes)
    return b.pure(f"icmp {sign} <{lanes} x i16> {ramp}, {others}", others)


def in_bounds(b: Builder, bounds: Bounds, start: int, count: int, lanes: int) -> str:
    """The mask of a vector that begins at `start`: elements of the span (`count` of them from there) in bounds."""
    mask = first_lanes(count, lanes)
    for op, edge in (("ge", bounds.low), ("le", bounds.high)):
        if edge is None:
            continue
        at = Linear(bounds.first.constant + start - edge, bounds.first.terms, 1, lanes)
        here = compared(b, op, at, lanes)
        assert here is not None
        if here == first_lanes(lanes, lanes):
            continue
        mask = here if mask == first_lanes(lanes, lanes) else b.pure(f"and <{lanes} x i1> {mask}, {here}", mask, here)
    return mask
