"""Sorting by comparisons whose places are known beforehand: a network, which all rows run in step.

Aligned blocks of 16 are sorted by Batcher's odd-even merges; sorted runs of p are merged to runs of 2p by bitonic
merges (Knuth, The Art of Computer Programming 3, 5.3.4): element i is compared with element 2p - 1 - i, then with those
p/2, p/4, ..., 1 places on. Up to four of these levels at a time are done on at most 16 elements in registers, so that
scratch is read and written twice or three times for each merge. Each comparison leaves the smaller element in front;
so those with places behind the end are left out.
"""

from collections.abc import Callable, Iterator

from graphc.core.records import dataclass
from graphc.kernel.ir import Binary, Buffer, Compare, Expr, Load, Select, Store, index
from graphc.kernel.lower.emit import Emitter
from graphc.kernel.lower.expr import Index, add, const, mul

BLOCK = 16  # elements in registers
LEVELS = 4  # of a merge that are done in registers

Pairs = tuple[tuple[int, int], ...]  # numbers of registers: the smaller element goes to the first


def padded(n: int) -> int:
    """How many elements are sorted in place of n: some powers of two more, so that blocks end where registers do."""
    return n if n <= BLOCK else -(-n // _grain(n)) * _grain(n)


def _grain(n: int) -> int:
    return max(_power(n) // 8, BLOCK)


def _power(n: int) -> int:
    """The next power of two."""
    return 1 << (n - 1).bit_length()


@dataclass(frozen=True, slots=True)
class Pass:
    """In each block of `size` elements, and for each i below `count`: registers from these places, compared.

    A place is (start, sign): element start + sign * i of the block.
    """

    size: int
    count: int
    places: tuple[tuple[int, int], ...]
    pairs: Pairs

    def cut(self, extent: int) -> "Pass":
        """The pass over a block that ends after `extent` elements, a multiple of what i runs over."""
        return Pass(self.size, self.count, self.places, tuple(p for p in self.pairs if self._last(p[1]) < extent))

    def _last(self, register: int) -> int:
        start, sign = self.places[register]
        return start + max(sign * (self.count - 1), 0)


def small_network(n: int) -> Pairs:
    """The comparisons that sort up to 16 elements: Batcher's merge exchange, without places from n on."""
    found: list[tuple[int, int]] = []
    run = 1
    while run < n:
        stride = run
        while stride:
            for start in range(stride % run, n - stride, 2 * stride):
                found += [
                    (i, i + stride)
                    for i in range(start, min(start + stride, n - stride))
                    if i // (2 * run) == (i + stride) // (2 * run)
                ]
            stride //= 2
        run *= 2
    return tuple(found)


def passes(n: int) -> Iterator[tuple[Pass, int]]:
    """What sorts `padded(n)` elements, in order; each with the number of elements it has to look at."""
    extent = padded(n)
    size = min(extent, BLOCK)
    yield Pass(size, 1, tuple((i, 0) for i in range(size)), small_network(size)), extent
    run = BLOCK
    while run < extent:
        rest = extent % (2 * run)
        merged = extent if rest > run else extent - rest  # what is behind is one sorted run
        for step in _merge(run):
            yield step, merged
        run *= 2


def _merge(run: int) -> Iterator[Pass]:
    """Two sorted runs to one of 2 * run elements."""
    levels = (2 * run // BLOCK).bit_length() - 1  # down to a stride of 16, the first one included
    groups = -(-levels // LEVELS)
    top = run
    for number in range(groups):
        here = levels // groups + (number < levels % groups)
        yield _first(run, here) if number == 0 else _further(top, here)
        top >>= here
    yield _further(BLOCK // 2, LEVELS)


def _first(run: int, levels: int) -> Pass:
    """Each element with its mirror image, then strides run / 2, run / 4, ... in both halves."""
    half = 1 << (levels - 1)
    width = run // half
    places = [(s * width, 1) for s in range(half)] + [(2 * run - 1 - s * width, -1) for s in range(half)]
    pairs = [(s, half + s) for s in range(half)]
    for stride in _halves(half // 2):
        for s in range(half):
            if not s & stride:
                pairs += [(s, s + stride), (half + s + stride, half + s)]  # the second half runs backwards
    return Pass(2 * run, width, tuple(places), tuple(pairs))


def _further(top: int, levels: int) -> Pass:
    """Strides top, top / 2, ..., as many as there are levels."""
    count = 1 << levels
    width = 2 * top // count
    pairs = [(s, s + stride) for stride in _halves(count // 2) for s in range(count) if not s & stride]
    return Pass(2 * top, width, tuple((s * width, 1) for s in range(count)), tuple(pairs))


def _halves(stride: int) -> Iterator[int]:
    while stride:
        yield stride
        stride //= 2


@dataclass(frozen=True, slots=True)
class Records:
    """Elements in scratch: one word each, compared as an unsigned integer, or a key and the place it comes from."""

    buffers: tuple[Buffer, ...]

    @property
    def last(self) -> tuple[Expr, ...]:
        """An element that none comes after."""
        return tuple(const((1 << (b.dtype.bits - (b.dtype.kind == "int"))) - 1, b.dtype) for b in self.buffers)

    def read(self, emitter: Emitter, place: Index) -> tuple[Expr, ...]:
        return tuple(emitter.read(Load(buffer, place)) for buffer in self.buffers)

    def write(self, emitter: Emitter, place: Index, element: tuple[Expr, ...]) -> None:
        for buffer, part in zip(self.buffers, element, strict=True):
            emitter.append(Store(buffer, place, part))

    def ordered(
        self, emitter: Emitter, a: tuple[Expr, ...], b: tuple[Expr, ...]
    ) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
        """The two elements in order."""
        if len(self.buffers) == 1:
            return (emitter.let(Binary("min", a[0], b[0])),), (emitter.let(Binary("max", a[0], b[0])),)
        is_tie = Binary("and", Compare("eq", a[0], b[0]), Compare("lt", a[1], b[1]))
        in_order = emitter.let(Binary("or", Compare("lt", a[0], b[0]), is_tie))
        first, second = (
            tuple(emitter.let(Select(in_order, *pair)) for pair in zip(x, y, strict=True)) for x, y in ((a, b), (b, a))
        )
        return first, second


def in_blocks(emitter: Emitter, count: int, write: Callable[[Expr], None]) -> None:
    """`write` for each step, in order; in blocks, so that several rows in lanes are read and written as squares."""
    blocks, rest = divmod(count, BLOCK)
    if blocks:
        block, step = emitter.fresh("b"), emitter.fresh("j")
        emitter.open()
        write(add(mul(block, BLOCK), step))
        emitter.close_nest([(block, blocks, "serial"), (step, BLOCK, "serial")])
    if rest:
        step = emitter.fresh("j")
        emitter.open()
        write(add(step, index(blocks * BLOCK)))
        emitter.close_nest([(step, rest, "serial")])


def sort_in_place(emitter: Emitter, records: Records, n: int) -> None:
    """The loops that sort `padded(n)` elements of scratch."""
    for step, extent in passes(n):
        _write(emitter, records, step, extent)


def clean(emitter: Emitter, records: Records, n: int) -> None:
    """Put n elements in order, a power of two from 16 on, that are a bitonic sequence."""
    levels = n.bit_length() - 1
    while levels:
        here = levels - 4 if 4 < levels <= 4 + LEVELS else min(levels, LEVELS)
        _write(emitter, records, _further(1 << (levels - 1), here), n)
        levels -= here


def _write(emitter: Emitter, records: Records, step: Pass, extent: int) -> None:
    """A pass over so many elements."""
    whole, rest = divmod(extent, step.size)
    if whole:
        block = emitter.fresh("b")
        emitter.open()
        _in_block(emitter, records, step, mul(block, step.size))
        emitter.close_nest([(block, whole, "serial")])
    if rest:
        emitter.open()
        _in_block(emitter, records, step.cut(rest), index(whole * step.size))
        emitter.close_nest([])


def _in_block(emitter: Emitter, records: Records, step: Pass, begin: Expr) -> None:
    if step.count == 1:
        _compare(emitter, records, step, begin, index(0))
        return
    counter = emitter.fresh("i")
    emitter.open()
    _compare(emitter, records, step, begin, counter)
    emitter.close_nest([(counter, step.count, "serial")])


def _compare(emitter: Emitter, records: Records, step: Pass, begin: Expr, counter: Expr) -> None:
    places: dict[int, Index] = {}
    values: dict[int, tuple[Expr, ...]] = {}
    for register in dict.fromkeys(r for pair in step.pairs for r in pair):
        start, sign = step.places[register]
        here = add(begin, index(start))
        places[register] = (Binary("sub", here, counter) if sign < 0 else add(here, counter),)
        values[register] = records.read(emitter, places[register])
    for first, second in step.pairs:
        values[first], values[second] = records.ordered(emitter, values[first], values[second])
    for register, value in values.items():
        records.write(emitter, places[register], value)
