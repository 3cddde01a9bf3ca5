"""sort and argsort. Elements become unsigned integers in the same order, their *keys*.

Many rows that are not long: a network (`networks`), which all rows run in step. Else:

Short rows: the rank of an element is how many come before it, counted in vector lanes; it goes straight to that place.
Longer rows: radix sort, the lowest digit first; a pass counts how often each digit occurs and moves elements to places
counted out, in order. Many rows are sorted one by one, each by one thread. The elements of one long row are shared out
in parts: each part counts its digits, the counts are added up over digits and parts, and each part moves its elements.

Whatever the way, the result is the same: a stable order is unique.
"""

from collections.abc import Sequence
from dataclasses import field

from graphc.core.dtypes import DType, dtype, int32, int64, uint8, uint64
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node
from graphc.graph.ops.sorting import SortAttrs
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Compare,
    Expr,
    If,
    Kernel,
    Load,
    Select,
    Space,
    Store,
    Unary,
    Var,
    index,
)
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, computing, const, convert, mul
from graphc.kernel.lower.merge import merge_dims
from graphc.kernel.lower.networks import Records, in_blocks, padded, sort_in_place

NETWORK = 4096  # elements of the longest row that is sorted by a network, whose scratch stays in the second cache
MANY_ROWS = 16  # rows that fill vector lanes
KEY_BITS = 32  # narrower keys have few digits
PLACE_BITS = 32
RANKED = 256  # elements of the longest row that is sorted by ranks
BITS = 8  # of a digit: places for as many digits as stay in the first cache; fewer passes were slower
PART = 65536  # elements of one row that one thread counts and moves
WRITTEN = 8192  # bytes of records that a part's digits, one record each, are written to: with more, passes were slower
FEW_ROWS = 8  # fewer rows than this, of more than one part, are sorted part by part


def lower_sort(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one sort or argsort; its operand may be computed on the way in."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    node = next(n for n in builder.body.nodes if n.op.name in ("sort", "argsort"))
    assert isinstance(node.attrs, SortAttrs)
    Sort(builder, node, node.attrs.axis, node.attrs.descending).lower()
    return builder.finish(name)


@dataclass(frozen=True, slots=True)
class Keys:
    """From elements of a dtype to keys and back."""

    dtype: DType  # of the elements, as they are computed with
    descending: bool
    zeros_differ: bool

    @property
    def key(self) -> DType:
        return uint8 if self.dtype.is_bool else dtype(f"uint{self.dtype.bits}")

    @property
    def _signed(self) -> DType:
        return dtype(f"int{self.dtype.bits}")

    def _same_order(self, bits: Expr) -> Expr:
        """The bits of a float as a signed integer in the order of floats, and back."""
        width = self.dtype.bits - 1
        sign = Binary("shr", bits, const(width, bits.dtype))
        return Binary("xor", bits, Binary("and", sign, const((1 << width) - 1, bits.dtype)))

    def of(self, x: Expr) -> Expr:
        if self.dtype.is_bool:
            found: Expr = Cast(x, uint8)
        elif self.dtype.kind == "uint":
            found = x
        else:
            found = x
            if self.dtype.is_float:
                plain = x if self.zeros_differ else Binary("add", x, const(0.0, x.dtype))  # -0 + 0 is +0
                found = self._same_order(Bitcast(plain, self._signed))
                largest = const((1 << (self.dtype.bits - 1)) - 1, self._signed)
                found = Select(Compare("ne", x, x), largest, found)
            found = Binary("xor", Bitcast(found, self.key), const(1 << (self.dtype.bits - 1), self.key))
        return Unary("not", found) if self.descending else found

    def back(self, key: Expr) -> Expr:
        found = Unary("not", key) if self.descending else key
        if self.dtype.is_bool:
            return Compare("ne", found, const(0, uint8))
        if self.dtype.kind == "uint":
            return found
        found = Bitcast(Binary("xor", found, const(1 << (self.dtype.bits - 1), self.key)), self._signed)
        return Bitcast(self._same_order(found), self.dtype) if self.dtype.is_float else found


@dataclass(slots=True)
class _Records:
    """Where keys, and for argsort the places they come from, lie between passes."""

    keys: Buffer
    places: Buffer | None
    before: Index = field(default=())  # of which row

    def at(self, position: Expr) -> Index:
        return (*self.before, position)


class Sort:
    """Writes one sort of the operand of a node."""

    def __init__(self, builder: KernelBuilder, node: Node, axis: int, descending: bool) -> None:
        self.builder = builder
        self.emitter = builder.emitter
        self.x = node.operands[0]
        self.axis = axis
        self.is_arg = node.op.name != "sort"
        self.n = self.x.shape[self.axis]
        self.outer = [d for d in range(self.x.type.rank) if d != self.axis]
        self.extents = [self.x.shape[d] for d in self.outer]
        self.keys = Keys(computing(self.x.dtype), descending, zeros_differ=not self.is_arg)
        self._cut_digits(BITS)
        self.first = self.n  # places of the order that are asked for

    def lower(self) -> None:
        rows = 1
        for extent in self.extents:
            rows *= extent
        if self.n <= NETWORK and rows >= MANY_ROWS and (self.is_arg or self.keys.key.bits >= KEY_BITS):
            self._by_network()
        elif self.n <= RANKED:
            self._by_ranks()
        elif rows < FEW_ROWS and self.n > PART:
            self._by_parts()
        else:
            self._by_digits()

    def _cut_digits(self, bits: int) -> None:
        self.shifts = range(0, self.keys.key.bits, bits)
        self.digits = 1 << bits

    # ------------------------------------------------------------------------------------------------ pieces

    def open(self, extra: Sequence[Var] = ()) -> list[Var]:
        counters = [self.emitter.fresh("i") for _ in self.extents]
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1
        return counters

    def _place(self, counters: Sequence[Expr], position: Expr) -> Index:
        return (*counters[: self.axis], position, *counters[self.axis :])

    def _key(self, counters: Sequence[Expr], position: Expr) -> Expr:
        element = self.emitter.pull(self.x, self._place(counters, position))
        return self.emitter.let(self.keys.of(self.emitter.let(convert(element, self.keys.dtype))), "key")

    def _records(self, number: int, shape: tuple[int, ...], space: Space) -> _Records:
        keys = self.emitter.buffer("keys", self.keys.key, shape, space)
        return _Records(keys, self.emitter.buffer("places", int32, shape, space) if self.is_arg else None)

    def _digit(self, key: Expr, shift: int) -> Expr:
        lowest = Binary("shr", key, const(shift, key.dtype)) if shift else key
        if self.digits < 1 << key.dtype.bits:
            lowest = Binary("and", lowest, const(self.digits - 1, key.dtype))
        return self.emitter.let(convert(lowest, int64), "digit")

    def result(self, counters: Sequence[Expr], where: Expr, key: Expr, place: Expr, distinct: bool = False) -> None:
        emitter = self.emitter
        if self.first < self.n:
            emitter.open()
            last = index(self.first - 1)
            inside = Binary("min", convert(where, int64), last)  # in bounds as far as anyone sees
        value = convert(place, int64) if self.is_arg else convert(self.keys.back(key), self.x.dtype)
        idx = self._place(counters, where if self.first == self.n else inside)
        if distinct:
            emitter.append(Store(self.builder.outputs[0], idx, value, distinct=True))
        else:
            self.builder.store(0, idx, value)
        if self.first < self.n:
            emitter.append(If(Compare("le", convert(where, int64), last), emitter.close()))

    # ------------------------------------------------------------------------------------------------ networks

    def _by_network(self) -> None:
        emitter, n = self.emitter, self.n
        counters = self.open()
        records = self.scratch((padded(n),), "worker")
        in_blocks(emitter, n, lambda step: records.write(emitter, (step,), self.element(counters, step)))
        if padded(n) > n:
            step = emitter.fresh("j")
            emitter.open()
            records.write(emitter, (add(step, index(n)),), records.last)
            emitter.close_nest([(step, padded(n) - n, "serial")])
        sort_in_place(emitter, records, n)

        def write(step: Expr) -> None:
            self.result(counters, step, *self.parts_of(records.read(emitter, (step,))))

        in_blocks(emitter, self.first, write)
        emitter.close_phase(counters, self.extents)

    @property
    def _is_packed(self) -> bool:
        """Whether key and place share a word of 64 bits."""
        return self.is_arg and self.keys.key.bits <= PLACE_BITS

    def scratch(self, shape: tuple[int, ...], space: Space) -> Records:
        """Scratch for elements of rows: keys, or keys with places where these are asked for."""
        if not self.is_arg or self._is_packed:
            word = uint64 if self._is_packed else self.keys.key
            return Records((self.emitter.buffer("words", word, shape, space),))
        buffers = (("keys", self.keys.key), ("places", int32))
        return Records(tuple(self.emitter.buffer(name, kind, shape, space) for name, kind in buffers))

    def element(self, counters: Sequence[Expr], position: Expr) -> tuple[Expr, ...]:
        """An element of the operand, as scratch holds it."""
        key = self._key(counters, position)
        if not self.is_arg:
            return (key,)
        if not self._is_packed:
            return key, convert(position, int32)
        high = Binary("shl", Cast(key, uint64), const(PLACE_BITS, uint64))
        return (self.emitter.let(Binary("or", high, Cast(position, uint64))),)

    def parts_of(self, element: tuple[Expr, ...]) -> tuple[Expr, Expr]:
        """Key and place of an element of scratch; without places the place means nothing."""
        if not self.is_arg:
            return element[0], index(0)
        if not self._is_packed:
            return element[0], element[1]
        place = Cast(Binary("and", element[0], const((1 << PLACE_BITS) - 1, uint64)), int64)
        return Cast(Binary("shr", element[0], const(PLACE_BITS, uint64)), self.keys.key), self.emitter.let(place)

    # ------------------------------------------------------------------------------------------------ ranks

    def _by_ranks(self) -> None:
        emitter, n = self.emitter, self.n
        counters = self.open()
        keys = emitter.buffer("keys", self.keys.key, (n,), "worker")
        step = emitter.fresh("j")
        emitter.open()
        emitter.append(Store(keys, (step,), self._key(counters, step)))
        emitter.close_nest([(step, n, "parallel")])

        ranks = self.ranks(keys, n)
        step = emitter.fresh("j")
        emitter.open()
        where = emitter.read(Load(ranks, (step,)))
        self.result(counters, where, emitter.read(Load(keys, (step,))), step)
        emitter.close_nest([(step, n, "serial")])
        emitter.close_phase(counters, self.extents)

    def ranks(self, keys: Buffer, n: int) -> Buffer:
        """How many of n keys come before each of them."""
        emitter = self.emitter
        ranks = emitter.buffer("ranks", int32, (n,), "worker")
        mine = emitter.fresh("j")
        emitter.open()
        rank = emitter.buffer("rank", int32, (), "register")
        emitter.append(Store(rank, (), const(0, int32)))
        key = emitter.read(Load(keys, (mine,)))
        number = emitter.let(Cast(mine, int32))
        other = emitter.fresh("k")
        emitter.open()
        theirs = emitter.read(Load(keys, (other,)))
        earlier = Binary("and", Compare("eq", theirs, key), Compare("lt", emitter.let(Cast(other, int32)), number))
        before = Binary("or", Compare("lt", theirs, key), earlier)
        emitter.append(Accumulate(((rank, ()),), (Cast(before, int32),), "add"))
        emitter.close_nest([(other, n, "serial")])
        emitter.append(Store(ranks, (mine,), Load(rank, ())))
        emitter.close_nest([(mine, n, "parallel")])
        return ranks

    # ------------------------------------------------------------------------------------------------ digits

    def _by_digits(self) -> None:
        emitter, n, passes = self.emitter, self.n, len(self.shifts)
        counters = self.open()
        counts = emitter.buffer("counts", int32, (passes, self.digits), "worker")
        records = [self._records(k, (n,), "worker") for k in range(min(passes - 1, 2))]
        self._clear(counts, (passes, self.digits), ())
        step = emitter.fresh("j")
        emitter.open()
        key = self._key(counters, step)
        for number, shift in enumerate(self.shifts):
            self._count(counts, (index(number), self._digit(key, shift)))
        emitter.close_nest([(step, n, "serial")])
        for number in range(passes):
            self._starts(counts, (index(number),))
        for number, shift in enumerate(self.shifts):
            source = records[(number - 1) % 2] if number else None
            target = records[number % 2] if number < passes - 1 else None
            step = emitter.fresh("j")
            emitter.open()
            self._move(counters, counts, (index(number),), source, target, step, shift, distinct=False)
            emitter.close_nest([(step, n, "serial")])
        emitter.close_phase(counters, self.extents)

    def _clear(self, counts: Buffer, shape: Sequence[int], before: Index) -> None:
        steps = [self.emitter.fresh("d") for _ in shape]
        self.emitter.open()
        self.emitter.append(Store(counts, (*before, *steps), const(0, int32)))
        self.emitter.close_nest([(s, e, "parallel") for s, e in zip(steps, shape, strict=True)])

    def _count(self, counts: Buffer, place: Index) -> None:
        self.emitter.append(Accumulate(((counts, place),), (const(1, int32),), "add"))

    def _starts(self, counts: Buffer, before: Index) -> None:
        """From how often each digit occurs to where its elements begin."""
        emitter = self.emitter
        total = emitter.buffer("total", int32, (), "register")
        emitter.append(Store(total, (), const(0, int32)))
        step = emitter.fresh("d")
        emitter.open()
        start, count = emitter.read(Load(total, ())), emitter.read(Load(counts, (*before, step)))
        emitter.append(Store(counts, (*before, step), start))
        emitter.append(Store(total, (), Binary("add", start, count)))
        emitter.close_nest([(step, self.digits, "serial")])

    def _read(self, counters: Sequence[Expr], source: _Records | None, position: Expr) -> tuple[Expr, Expr]:
        """The key at a position and the place it comes from; None: of the operand itself."""
        if source is None:
            return self._key(counters, position), position
        key = self.emitter.read(Load(source.keys, source.at(position)))
        if source.places is None:
            return key, position
        return key, self.emitter.read(Load(source.places, source.at(position)))

    def _move(
        self,
        counters: Sequence[Expr],
        next_place: Buffer,
        before: Index,
        source: _Records | None,
        target: _Records | None,
        position: Expr,
        shift: int,
        distinct: bool,
    ) -> None:
        """One element to the next place of its digit."""
        emitter = self.emitter
        key, place = self._read(counters, source, position)
        digit = (*before, self._digit(key, shift))
        where = emitter.read(Load(next_place, digit), "to")
        emitter.append(Store(next_place, digit, Binary("add", where, const(1, int32))))
        if target is None:
            self.result(counters, where, key, place, distinct)
            return
        emitter.append(Store(target.keys, target.at(where), key, distinct))
        if target.places is not None:
            emitter.append(Store(target.places, target.at(where), convert(place, int32), distinct))

    # ------------------------------------------------------------------------------------------------ parts

    def _by_parts(self) -> None:
        """Keys and results are made of elements in passes of their own, in vector lanes: to do so where elements are
        moved took as long as moving them. 10^6 elements, 2 threads, two systems in turns: float32 2.3 ms (NumPy 3.8),
        float64 6.0 (7.0), int32 2.5 (2.75), int64 5.3 (5.3).
        """
        self._cut_digits(self._bits_of_parts())
        emitter, n = self.emitter, self.n
        parts = -(-n // PART)
        size = -(-n // parts)
        counts = emitter.buffer("counts", int32, (*self.extents, parts, self.digits), "arena")
        starts = emitter.buffer("starts", int32, (*self.extents, self.digits), "arena")
        records = [self._records(k, (*self.extents, n), "arena") for k in range(2)]
        shares = [share for share in ((0, size, n // size), (n // size, n % size, 1)) if share[1]]
        source = None
        if self.keys.dtype.is_float:
            source = _Records(records[1].keys, None)
            self._convert(source)
        for number, shift in enumerate(self.shifts):
            target = records[number % 2]
            for share in shares:
                self._count_part(counts, source, shift, size, share)
            self._add_up(counts, starts, parts)
            for share in shares:
                self._move_part(counts, starts, source, target, shift, size, share)
            source = target
        self._back(source)

    def _bits_of_parts(self) -> int:
        """Bits of a digit: no more than make a pass less."""
        key = self.keys.key
        record = key.itemsize + (int32.itemsize if self.is_arg else 0)
        most = (WRITTEN // record).bit_length() - 1
        passes = -(-key.bits // most)
        return max(-(-key.bits // passes), min(BITS, key.bits))

    def _convert(self, target: _Records) -> None:
        """All keys, in vector lanes."""
        emitter, step = self.emitter, self.emitter.fresh("j")
        counters = self.open()
        emitter.append(Store(target.keys, (*counters, step), self._key(counters, step)))
        emitter.close_phase([*counters, step], (*self.extents, self.n))
        emitter.stage += 1

    def _back(self, source: _Records | None) -> None:
        """The result from records that are in order."""
        emitter, step = self.emitter, self.emitter.fresh("j")
        counters = self.open()
        self.result(counters, step, *self._read(counters, self._of_row(source, counters), step))
        emitter.close_phase([*counters, step], (*self.extents, self.n))
        emitter.stage += 1

    def _of_row(self, records: _Records | None, counters: Sequence[Expr]) -> _Records | None:
        return None if records is None else _Records(records.keys, records.places, tuple(counters))

    def _count_part(
        self, counts: Buffer, source: _Records | None, shift: int, size: int, share: tuple[int, int, int]
    ) -> None:
        """Count the digits of parts; `share`: the first of them, how long each is, how many."""
        emitter = self.emitter
        first, count, many = share
        part = emitter.fresh("p")
        counters = self.open()
        number = add(part, index(first))
        own = emitter.buffer("own", int32, (self.digits,), "worker")
        self._clear(own, (self.digits,), ())
        step = emitter.fresh("j")
        emitter.open()
        key, _ = self._read(counters, self._of_row(source, counters), add(mul(number, size), step))
        self._count(own, (self._digit(key, shift),))
        emitter.close_nest([(step, count, "serial")])
        step = emitter.fresh("d")
        emitter.open()
        emitter.append(Store(counts, (*counters, number, step), Load(own, (step,))))
        emitter.close_nest([(step, self.digits, "parallel")])
        emitter.close_phase([part, *counters], (many, *self.extents))
        emitter.stage += 1

    def _add_up(self, counts: Buffer, starts: Buffer, parts: int) -> None:
        """From counts to places: in `counts` how many of its digit come in parts before, in `starts` where a digit
        begins.
        """
        emitter = self.emitter
        counters = self.open()
        digit = emitter.fresh("d")
        emitter.open()
        total = emitter.buffer("total", int32, (), "register")
        emitter.append(Store(total, (), const(0, int32)))
        part = emitter.fresh("p")
        emitter.open()
        here = (*counters, part, digit)
        before, count = emitter.read(Load(total, ())), emitter.read(Load(counts, here))
        emitter.append(Store(counts, here, before))
        emitter.append(Store(total, (), Binary("add", before, count)))
        emitter.close_nest([(part, parts, "serial")])
        emitter.append(Store(starts, (*counters, digit), Load(total, ())))
        emitter.close_nest([(digit, self.digits, "parallel")])
        self._starts(starts, tuple(counters))
        emitter.close_phase(counters, self.extents)
        emitter.stage += 1

    def _move_part(
        self,
        counts: Buffer,
        starts: Buffer,
        source: _Records | None,
        target: _Records | None,
        shift: int,
        size: int,
        share: tuple[int, int, int],
    ) -> None:
        emitter = self.emitter
        first, count, many = share
        part = emitter.fresh("p")
        counters = self.open()
        number = add(part, index(first))
        own = emitter.buffer("own", int32, (self.digits,), "worker")
        step = emitter.fresh("d")
        emitter.open()
        before = Binary("add", Load(counts, (*counters, number, step)), Load(starts, (*counters, step)))
        emitter.append(Store(own, (step,), before))
        emitter.close_nest([(step, self.digits, "parallel")])
        step = emitter.fresh("j")
        emitter.open()
        rows = (self._of_row(source, counters), self._of_row(target, counters))
        self._move(counters, own, (), *rows, add(mul(number, size), step), shift, distinct=True)
        emitter.close_nest([(step, count, "serial")])
        emitter.close_phase([part, *counters], (many, *self.extents))
        emitter.stage += 1
