"""arg_top_k: the places of the first k elements in order, found without sorting the others.

The k-th smallest *key* (`sorting.Keys`) of a row is found bit by bit: as many keys are below it as a count in vector
lanes says. What is below it, and of its equals as many as are missing, is collected in order, and sorted by ranks. A
long row is cut: the first k of each part are the candidates, in order, of which the first k are found likewise. Equal
elements stay in order all the way, so the result is that of a sort. Where k is large, rows are sorted.
"""

from collections.abc import Sequence

from graphc.core.dtypes import int32, int64
from graphc.core.records import dataclass
from graphc.graph.ir import Graph
from graphc.graph.ops.sorting import TopAttrs
from graphc.kernel.ir import Accumulate, Binary, Buffer, Cast, Compare, Expr, If, Kernel, Load, Store, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import add, clamp, const, mul
from graphc.kernel.lower.merge import merge_dims
from graphc.kernel.lower.sorting import Records, Sort

MOST = 256  # the largest k whose elements are sorted by ranks
SHARE = 8  # of a row that is selected from: one of so many elements at most
SELECTED = 4096  # elements of a part, which stay in the first caches
LANES = 64  # that count


def lower_top(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one arg_top_k; its operand may be computed on the way in."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    node = next(n for n in builder.body.nodes if n.op.name == "arg_top_k")
    assert isinstance(node.attrs, TopAttrs)
    Selection(builder, Sort(builder, node, node.attrs.axis, node.attrs.largest), node.attrs.k).lower()
    return builder.finish(name)


@dataclass(frozen=True, slots=True)
class Selection:
    """Writes the loops. Key and place of an element come from the operand or, of candidates, from scratch."""

    builder: KernelBuilder
    sort: Sort
    k: int

    def lower(self) -> None:
        """Select, or sort and keep the first k."""
        n, k = self.sort.n, self.k
        if k > min(MOST, n // SHARE):
            self.sort.first = k
            self.sort.lower()
            return
        source: Records | None = None
        while n > 2 * SELECTED:
            source, n = self._candidates(source, n)
        counters = self.sort.open()
        self._select(self._row(source, counters), counters, index(0), n, k, None)
        self.builder.emitter.close_phase(counters, self.sort.extents)

    def _row(self, source: Records | None, counters: Sequence[Expr]) -> Records | None:
        return None if source is None else Records(source.keys, source.places, tuple(counters))

    def _candidates(self, source: Records | None, n: int) -> tuple[Records, int]:
        """The first k of each part of the rows, in scratch, and how many these are."""
        emitter = self.builder.emitter
        parts = -(-n // SELECTED)
        size = -(-n // parts)
        whole, rest = divmod(n, size)
        found = whole * self.k + min(rest, self.k)
        target = self.sort.records(0, (*self.sort.extents, found), "arena")
        for first, many, count in ((0, whole, size), (whole, 1, rest)):
            if count:
                part = emitter.fresh("p")
                counters = self.sort.open()
                number = add(part, index(first))
                into = Records(target.keys, target.places, tuple(counters))
                begin = mul(number, size)
                self._select(
                    self._row(source, counters),
                    counters,
                    begin,
                    count,
                    min(self.k, count),
                    (into, mul(number, self.k)),
                )
                emitter.close_phase([part, *counters], (many, *self.sort.extents))
        emitter.stage += 1
        return target, found

    def _select(
        self,
        source: Records | None,
        counters: Sequence[Expr],
        begin: Expr,
        n: int,
        k: int,
        into: tuple[Records, Expr] | None,
    ) -> None:
        """The first k of n elements from `begin` on: to scratch, from a place on; None: to the result."""
        emitter, key = self.builder.emitter, self.sort.keys.key
        keys = emitter.buffer("keys", key, (n,), "worker")
        step = emitter.fresh("j")
        emitter.open()
        element, _ = self.sort.read(counters, source, add(begin, step))
        emitter.append(Store(keys, (step,), element))
        emitter.close_nest([(step, n, "parallel")])
        last, missing = self._last(keys, n, k)
        chosen, places = self._collect(keys, n, k, last, missing)
        self._in_order(source, counters, begin, k, chosen, places, into)

    def _last(self, keys: Buffer, n: int, k: int) -> tuple[Expr, Expr]:
        """The k-th smallest key, and how many equal to it are among the first k."""
        emitter, key = self.builder.emitter, keys.dtype
        last = emitter.buffer("last", key, (), "register")
        below = emitter.buffer("below", int32, (), "register")
        bit = emitter.buffer("bit", key, (), "register")
        emitter.append(Store(last, (), const(0, key)))
        emitter.append(Store(below, (), const(0, int32)))
        emitter.append(Store(bit, (), const(1 << (key.bits - 1), key)))
        turn = emitter.fresh("t")
        emitter.open()
        one = emitter.read(Load(bit, ()))
        emitter.append(Store(bit, (), Binary("shr", one, const(1, key))))
        bound = emitter.let(Binary("or", emitter.read(Load(last, ())), one))
        count = self._count_below(keys, n, bound)
        emitter.open()
        emitter.append(Store(last, (), bound))
        emitter.append(Store(below, (), count))
        emitter.append(If(Compare("lt", count, const(k, int32)), emitter.close()))
        emitter.close_nest([(turn, key.bits, "serial")])
        missing = Binary("sub", const(k, int32), emitter.read(Load(below, ())))
        return emitter.read(Load(last, ())), missing

    def _count_below(self, keys: Buffer, n: int, bound: Expr) -> Expr:
        emitter = self.builder.emitter
        lanes = LANES if n >= LANES else 1 << (n.bit_length() - 1)
        counts = emitter.buffer("counts", int32, (lanes,), "register")
        lane = emitter.fresh("l")
        emitter.open()
        emitter.append(Store(counts, (lane,), const(0, int32)))
        emitter.close_nest([(lane, lanes, "parallel")])
        blocks, rest = divmod(n, lanes)

        def count(lane: Var, place: Expr) -> None:
            is_below = Compare("lt", emitter.read(Load(keys, (place,))), bound)
            emitter.append(Accumulate(((counts, (lane,)),), (Cast(is_below, int32),), "add"))

        block, lane = emitter.fresh("b"), emitter.fresh("l")
        emitter.open()
        count(lane, add(mul(block, lanes), lane))
        emitter.close_nest([(block, blocks, "serial"), (lane, lanes, "parallel")])
        if rest:
            lane = emitter.fresh("l")
            emitter.open()
            count(lane, add(lane, index(blocks * lanes)))
            emitter.close_nest([(lane, rest, "parallel")])
        half = lanes // 2
        while half:
            lane = emitter.fresh("l")
            emitter.open()
            there = Load(counts, (add(lane, index(half)),))
            emitter.append(Accumulate(((counts, (lane,)),), (there,), "add"))
            emitter.close_nest([(lane, half, "parallel")])
            half //= 2
        return emitter.read(Load(counts, (index(0),)))

    def _collect(self, keys: Buffer, n: int, k: int, last: Expr, missing: Expr) -> tuple[Buffer, Buffer]:
        """The first k by key, in the order they stand in, with their places."""
        emitter = self.builder.emitter
        chosen = emitter.buffer("chosen", keys.dtype, (k,), "worker")
        places = emitter.buffer("at", int32, (k,), "worker")
        taken = emitter.buffer("taken", int32, (), "register")
        equals = emitter.buffer("equals", int32, (), "register")
        emitter.append(Store(taken, (), const(0, int32)))
        emitter.append(Store(equals, (), missing))
        step = emitter.fresh("j")
        emitter.open()
        key = emitter.read(Load(keys, (step,)))
        emitter.open()
        number, left = emitter.read(Load(taken, ())), emitter.read(Load(equals, ()))
        is_last = emitter.let(Compare("eq", key, last))
        is_wanted = Binary("or", Compare("lt", key, last), Compare("gt", left, const(0, int32)))
        emitter.append(Store(equals, (), Binary("sub", left, Cast(is_last, int32))))
        emitter.open()
        slot = emitter.let(clamp(Cast(number, int64), k))  # in bounds as far as anyone sees
        emitter.append(Store(chosen, (slot,), key))
        emitter.append(Store(places, (slot,), Cast(step, int32)))
        emitter.append(Store(taken, (), Binary("add", number, const(1, int32))))
        emitter.append(If(is_wanted, emitter.close()))
        emitter.append(If(Compare("le", key, last), emitter.close()))
        emitter.close_nest([(step, n, "serial")])
        return chosen, places

    def _in_order(
        self,
        source: Records | None,
        counters: Sequence[Expr],
        begin: Expr,
        k: int,
        chosen: Buffer,
        places: Buffer,
        into: tuple[Records, Expr] | None,
    ) -> None:
        """Each chosen element to its rank among them."""
        emitter = self.builder.emitter
        ranks = self.sort.ranks(chosen, k)
        step = emitter.fresh("j")
        emitter.open()
        rank = emitter.let(clamp(Cast(emitter.read(Load(ranks, (step,))), int64), k))  # for the verifier
        where = add(begin, emitter.let(Cast(emitter.read(Load(places, (step,))), int64)))
        place: Expr = where
        if source is not None and source.places is not None:
            bounded = emitter.let(clamp(where, source.keys.shape[-1]))
            place = emitter.read(Load(source.places, source.at(bounded)))
        if into is None:
            self.sort.result(counters, rank, Load(chosen, (step,)), place)
        else:
            target, first = into
            assert target.places is not None
            to = target.at(add(first, rank))
            emitter.append(Store(target.keys, to, emitter.read(Load(chosen, (step,)))))
            emitter.append(Store(target.places, to, Cast(place, int32) if place.dtype != int32 else place))
        emitter.close_nest([(step, k, "serial")])
