"""arg_top_k: the places of the first k elements in order, found without sorting the others.

A row is read in blocks of K elements, the next power of two from k on. A block is sorted by a network (`networks`) and
merged with the best K so far, of which K stay. All rows, and all parts of a long row, do so in step; the best k of each
part are candidates, of which the best are found likewise. An element is its key with its place, so that equal ones stay
in order, and the result is that of a sort. Where k is large, rows are sorted.
"""

from collections.abc import Callable, Sequence

from graphc.core.records import dataclass
from graphc.graph.ir import Graph
from graphc.graph.ops.sorting import TopAttrs
from graphc.kernel.ir import Binary, Expr, Kernel, index
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, mul
from graphc.kernel.lower.merge import merge_dims
from graphc.kernel.lower.networks import BLOCK, Records, clean, in_blocks, sort_in_place
from graphc.kernel.lower.sorting import Sort

MOST = 256  # the largest k that is selected
SHARE = 4  # of a row: blocks it has at least
PARTS = 64  # of a long row, which go to lanes and threads
LONGEST = 4096  # elements of a part
SMALLEST = 8  # blocks of a part


def lower_top(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one arg_top_k; its operand may be computed on the way in."""
    builder = KernelBuilder(merge_dims(original), original, memory)
    node = next(n for n in builder.body.nodes if n.op.name == "arg_top_k")
    assert isinstance(node.attrs, TopAttrs)
    sort = Sort(builder, node, node.attrs.axis, node.attrs.largest)
    block = max(1 << (node.attrs.k - 1).bit_length(), BLOCK)
    if node.attrs.k > MOST or sort.n < SHARE * block:
        sort.first = node.attrs.k
        sort.lower()
    else:
        _Selection(builder, sort, node.attrs.k, block).lower()
    return builder.finish(name)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the elements of a row are: in the operand, or with their places in scratch."""

    read: Callable[[Sequence[Expr], Expr], tuple[Expr, ...]]
    count: int


@dataclass(frozen=True, slots=True)
class _Selection:
    builder: KernelBuilder
    sort: Sort
    k: int
    block: int

    def lower(self) -> None:
        """Parts of rows, then rows."""
        source = _Source(lambda counters, position: self.sort.element(counters, position), self.sort.n)
        rows = 1
        for extent in self.sort.extents:
            rows *= extent
        while (size := self._size(source.count)) < source.count and rows < PARTS:
            source = self._candidates(source, size)
        counters = self.sort.open()
        best = self._best(lambda position: source.read(counters, position), source.count)

        def write(step: Expr) -> None:
            element = best.read(self.builder.emitter, (step,))
            self.sort.result(counters, step, *self.sort.parts_of(element))

        in_blocks(self.builder.emitter, self.k, write)
        self.builder.emitter.close_phase(counters, self.sort.extents)

    def _size(self, n: int) -> int:
        """Elements of a part."""
        return max(SMALLEST * self.block, min(LONGEST, n // PARTS))

    def _candidates(self, source: _Source, size: int) -> _Source:
        """The first k of each part of the rows, in scratch."""
        emitter, extents = self.builder.emitter, self.sort.extents
        whole, rest = divmod(source.count, size)
        found = whole * self.k + min(rest, self.k)
        target = self.sort.scratch((*extents, found), "arena")
        for first, many, count in ((0, whole, size), (whole, 1, rest)):
            if count:
                self._of_parts(source, target, size, (first, many, count))
        emitter.stage += 1
        return _Source(lambda counters, position: target.read(emitter, (*counters, position)), found)

    def _of_parts(self, source: _Source, target: Records, size: int, share: tuple[int, int, int]) -> None:
        """The first k of parts; `share`: the first of them, how many, how long each is."""
        emitter = self.builder.emitter
        first, many, count = share
        part = emitter.fresh("p")
        counters = self.sort.open()
        number = add(part, index(first))
        begin, start = mul(number, size), mul(number, self.k)
        best = self._best(lambda position: source.read(counters, add(begin, position)), count)

        def write(step: Expr) -> None:
            target.write(emitter, (*counters, add(start, step)), best.read(emitter, (step,)))

        in_blocks(emitter, min(self.k, count), write)
        emitter.close_phase([part, *counters], (many, *self.sort.extents))

    def _best(self, element: Callable[[Expr], tuple[Expr, ...]], n: int) -> Records:
        """The first elements of n in scratch, in order; as many as a block has."""
        emitter = self.builder.emitter
        best = self.sort.scratch((self.block,), "worker")
        blocks, rest = divmod(n, self.block)
        if not blocks:
            self._fill(best, element, rest)
            sort_in_place(emitter, best, self.block)
            return best
        self._fill(best, element, self.block)
        sort_in_place(emitter, best, self.block)
        others = self.sort.scratch((self.block,), "worker")
        if blocks > 1:
            number = emitter.fresh("q")
            emitter.open()
            begin = mul(add(number, index(1)), self.block)
            self._take(best, others, lambda position: element(add(begin, position)), self.block)
            emitter.close_nest([(number, blocks - 1, "serial")])
        if rest:
            self._take(best, others, lambda position: element(add(position, index(blocks * self.block))), rest)
        return best

    def _fill(self, records: Records, element: Callable[[Expr], tuple[Expr, ...]], n: int) -> None:
        """n elements, and behind them what comes last."""
        emitter = self.builder.emitter
        in_blocks(emitter, n, lambda step: records.write(emitter, (step,), element(step)))
        if n < self.block:
            step = emitter.fresh("j")
            emitter.open()
            records.write(emitter, (add(step, index(n)),), records.last)
            emitter.close_nest([(step, self.block - n, "serial")])

    def _take(self, best: Records, others: Records, element: Callable[[Expr], tuple[Expr, ...]], n: int) -> None:
        """Bring the elements of another block into the best ones."""
        emitter = self.builder.emitter
        self._fill(others, element, n)
        sort_in_place(emitter, others, self.block)

        def smaller(step: Expr) -> None:
            mirrored: Index = (Binary("sub", index(self.block - 1), step),)
            mine, theirs = best.read(emitter, (step,)), others.read(emitter, mirrored)
            best.write(emitter, (step,), best.ordered(emitter, mine, theirs)[0])

        in_blocks(emitter, self.block, smaller)
        clean(emitter, best, self.block)
