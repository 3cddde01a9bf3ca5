"""Contractions: `out[batch, i, j] = epilogue(sum over k of lhs * rhs)`.

One accumulator per output element and one chain of fused multiply-adds in ascending k (row-major over several
contracted dims). Sums longer than 4096 are cut at multiples of 4096, and the parts are combined by the left-aligned
pairwise tree.

Products of half types are added up in float32, those of bfloat16 in the order that the dot product instructions of x86
have: of every pair of terms 2p and 2p + 1 the odd one comes first. A last term without a partner comes alone. The
finished element is rounded to the dtype of the result once. The one thing bits may depend on is how a processor's
instruction treats numbers below the smallest normal float32 (`ir.DotPair`).

Long sums of one row or one column seldom come here: the compiler makes reductions of them (`graphc.passes.matvec`).

Operands may be moved (transposed, sliced, broadcast) and cast on the way in; what follows is applied to
the finished element.
"""

from collections.abc import Callable, Sequence

from graphc.core.dtypes import bfloat16
from graphc.core.errors import UnsupportedError
from graphc.graph.dims import Slot, classes_of
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.contraction import DotAttrs
from graphc.kernel.ir import Accumulate, Binary, Buffer, Expr, Fma, Kernel, Load, LoopKind, Store, Var, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, computing, const, convert, delinear, mul
from graphc.kernel.lower.merge import merge_dims

CHAIN = 4096  # longest sum that is one chain


def lower_contraction(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body with one contraction."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    return _Contraction(builder).lower(name)


class _Contraction:
    def __init__(self, builder: KernelBuilder) -> None:
        self.builder = builder
        self.emitter = builder.emitter
        self.node: Node = next(n for n in builder.body.nodes if n.op.kind == "contraction")
        assert isinstance(self.node.attrs, DotAttrs)
        self.attrs: DotAttrs = self.node.attrs
        self.classes = classes_of(builder.body)
        self.summed = tuple(self.node.operands[0].shape[d] for d in self.attrs.lhs_contract)

    @property
    def count(self) -> int:
        total = 1
        for extent in self.summed:
            total *= extent
        return total

    def lower(self, name: str) -> Kernel:
        result = self.node.result
        counters = [self.emitter.fresh("i") for _ in result.shape]
        self.emitter.open()
        self.emitter.floor = 1
        idx: Index = tuple(counters)
        total = self._chain(idx) if self.count <= CHAIN else self._cut(idx)
        self.emitter.bind(result, idx, total)
        self._epilogue(idx)
        self.emitter.close_phase(counters, result.shape)
        return self.builder.finish(name)

    def _chain(self, idx: Index) -> Expr:
        dtype = computing(self.node.result.dtype)
        if self.count == 0:
            return const(0, self.node.result.dtype)
        acc = self.emitter.buffer("acc", dtype, (), "register")
        self.emitter.append(Store(acc, (), const(0, dtype)))
        if self.in_pairs:
            self._sum_pairs(acc, (), idx, index(0), self.count)
            return self._rounded(Load(acc, ()))
        counters = [self.emitter.fresh("k") for _ in self.summed]
        nest: list[tuple[Var, int, LoopKind]] = [(c, e, "serial") for c, e in zip(counters, self.summed, strict=True)]
        self._sum(acc, (), idx, counters, nest)
        return self._rounded(Load(acc, ()))

    def _rounded(self, total: Expr) -> Expr:
        return self.emitter.let(convert(total, self.node.result.dtype), "dot")

    def _cut(self, idx: Index) -> Expr:
        dtype = computing(self.node.result.dtype)
        full, tail = divmod(self.count, CHAIN)
        parts = self.emitter.buffer("part", dtype, (full + (tail > 0),), "worker")
        part = self.emitter.fresh("q")
        self.emitter.open()
        self.emitter.append(Store(parts, (part,), const(0, dtype)))
        self._part(parts, (part,), idx, mul(part, CHAIN), CHAIN)
        self.emitter.close_nest([(part, full, "serial")])
        if tail:
            last = (index(full),)
            self.emitter.append(Store(parts, last, const(0, dtype)))
            self._part(parts, last, idx, index(full * CHAIN), tail)
        self._tree(parts)
        return self._rounded(Load(parts, (index(0),)))

    def _part(self, parts: Buffer, at: Index, idx: Index, first: Expr, count: int) -> None:
        """`parts[at] +=` the terms [first, first + count)."""
        if self.in_pairs:
            self._sum_pairs(parts, at, idx, first, count)
            return
        k = self.emitter.fresh("k")
        self._sum(parts, at, idx, self._summed_at(add(first, k)), [(k, count, "serial")])

    @property
    def in_pairs(self) -> bool:
        return self.node.operands[0].dtype is bfloat16

    def _sum_pairs(self, acc: Buffer, at: Index, idx: Index, first: Expr, count: int) -> None:
        """`_part` in pairs, the odd term of each first. `first` is even."""
        pairs, tail = divmod(count, 2)
        if pairs:
            outer, places, nest = self._pair_nest(first, pairs)
            self.emitter.open()
            for half in (1, 0):
                self._step(acc, at, idx, (*outer, *places(half)))
            self.emitter.close_nest(nest)
        if tail:
            self._step(acc, at, idx, self._summed_at(add(first, index(count - 1))))

    def _pair_nest(
        self, first: Expr, pairs: int
    ) -> tuple[Index, Callable[[int], Index], list[tuple[Var, int, LoopKind]]]:
        """Loops over pairs: outer indices, the others by half, and the nest. Pairs do not straddle dims if they can."""
        *dims, last = self.summed
        if pairs * 2 == self.count and last % 2 == 0:
            counters = [self.emitter.fresh("k") for _ in self.summed]
            nest: list[tuple[Var, int, LoopKind]] = [(c, e, "serial") for c, e in zip(counters, (*dims, last // 2))]
            place = mul(counters[-1], 2)
            return tuple(counters[:-1]), lambda half: (add(place, index(half)),), nest
        k = self.emitter.fresh("k")
        start = add(first, mul(k, 2))
        return (), lambda half: self._summed_at(add(start, index(half))), [(k, pairs, "serial")]

    def _summed_at(self, position: Expr) -> Index:
        return delinear(position, self.summed)

    def _tree(self, parts: Buffer) -> None:
        stride = 1
        while stride < parts.size:
            pairs = -(-(parts.size - stride) // (2 * stride))
            pair = self.emitter.fresh("t")
            self.emitter.open()
            left = mul(pair, 2 * stride)
            self.emitter.append(Accumulate(((parts, (left,)),), (Load(parts, (add(left, index(stride)),)),), "add"))
            self.emitter.close_nest([(pair, pairs, "parallel")])
            stride *= 2

    def _sum(
        self, acc: Buffer, at: Index, idx: Index, summed: Sequence[Expr], nest: list[tuple[Var, int, LoopKind]]
    ) -> None:
        """`acc[at] += lhs * rhs` in loops over the contracted dims."""
        self.emitter.open()
        self._step(acc, at, idx, summed)
        self.emitter.close_nest(nest)

    def _step(self, acc: Buffer, at: Index, idx: Index, summed: Sequence[Expr]) -> None:
        """`acc[at] += lhs * rhs` at one place of the contracted dims."""
        lhs, rhs = self.node.operands
        self.emitter.naming = False  # operands appear in the multiply-add itself
        free = len(self.attrs.lhs_batch)
        lhs_place = self._operand_place(lhs, self.attrs.lhs_batch, self.attrs.lhs_contract, idx, summed, free)
        free = lhs.type.rank - len(self.attrs.lhs_contract)
        rhs_place = self._operand_place(rhs, self.attrs.rhs_batch, self.attrs.rhs_contract, idx, summed, free)
        elements = (self.emitter.pull(lhs, lhs_place), self.emitter.pull(rhs, rhs_place))
        a, b = (convert(x, computing(x.dtype)) for x in elements)
        self.emitter.naming = True
        old = Load(acc, at)
        value: Expr = Fma(a, b, old) if a.dtype.is_float else Binary("add", old, Binary("mul", a, b))
        self.emitter.append(Store(acc, at, value))

    def _operand_place(
        self, x: Value, batch: tuple[int, ...], contract: tuple[int, ...], idx: Index, summed: Sequence[Expr], free: int
    ) -> Index:
        """The element of an operand; `free` is the result dim of its first free dim."""
        place: list[Expr] = []
        for dim in range(x.type.rank):
            if dim in batch:
                place.append(idx[batch.index(dim)])
            elif dim in contract:
                place.append(summed[contract.index(dim)])
            else:
                place.append(idx[free])
                free += 1
        return tuple(place)

    def _epilogue(self, idx: Index) -> None:
        self.emitter.stage += 1
        body = self.builder.body
        values = list(dict.fromkeys(body.outputs))
        places = [self._output_place(value, idx) for value in values]
        elements = [self.emitter.pull(v, place) for v, place in zip(values, places, strict=True)]
        for value, place, element in zip(values, places, elements, strict=True):
            for position in self.builder.output_positions(value):
                self.builder.store(position, place, element)

    def _output_place(self, value: Value, idx: Index) -> Index:
        if value is self.node.result:
            return idx  # `x @ x.T` reads one value along both of its dims, so the classes do not tell them apart
        slots = self.classes.of(value)
        env: dict[Slot, Expr] = dict(zip(self.classes.of(self.node.result), idx, strict=True))
        wide = {s for s, e in zip(self.classes.of(self.node.result), self.node.result.shape, strict=True) if e != 1}
        if set(self.classes.wide(value)) != wide or len(self.classes.wide(value)) != len(wide):
            raise UnsupportedError(f"{self.builder.body.name}: output {value.type} does not run along the product")
        return tuple(index(0) if extent == 1 else env[s] for s, extent in zip(slots, value.shape, strict=True))
