"""Factors of matrices, and solutions with triangles, as loops: one iteration of a parallel loop for each matrix.

A matrix is worked on where its result lies, row by row: a row less the rows before it, each times a number. Columns are
taken `WIDE` together, so that their sums stay in registers and memory is read in runs. Each element is one chain of
fused multiply-adds in the order of the elimination, whatever is taken together.
"""

from collections.abc import Callable

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.linalg import TriangleAttrs
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    Buffer,
    Compare,
    Expr,
    Fma,
    Kernel,
    Load,
    Select,
    Store,
    Unary,
    index,
)
from graphc.kernel.lower.build import KernelBuilder, Memory
from graphc.kernel.lower.expr import Index, add, const, mul
from graphc.kernel.lower.lapack import Eigh, Qr, Svd
from graphc.kernel.lower.matrices import WIDE, Form, Matrixwise, Place, as_stored, sub

ROWS = 8  # of a solution that are found together
PANEL = 32  # columns of a matrix that are eliminated before the others are touched


def lower_linalg(original: Graph, name: str, memory: Memory | None = None) -> Kernel:
    """The kernel of a body that is one op of linear algebra; its operands may be computed on the way in."""
    builder = KernelBuilder(original, original, memory)
    node = next(n for n in original.nodes if n.op.kind == "linalg")
    _FORMS[node.op.name](builder, node).lower()
    return builder.finish(name)


class _Cholesky(Matrixwise):
    """The transpose of the factor, row by row; then it is transposed where it lies."""

    def body(self, at: Index) -> None:
        place = self.result(0, at)
        size, zero = self.size, const(0, self.dtype)
        with self.loop("r", size) as row, self.columns(row, size) as column:
            place.write(self.emitter.pull(self.node.operands[0], (*at, column, row)), row, column)
        good = self.number("good", const(1, self.dtype))
        with self.loop("r", size) as row:
            self._row(place, row, good)
        fine = Compare("gt", self.emitter.read(Load(good, ())), zero)
        with self.loop("r", size) as row:
            whole = Select(fine, place.read(row, row), const(float("nan"), self.dtype))
            place.write(whole, row, row)
            with self.columns(row, size) as column, self.when(Compare("gt", column, row)):
                found = Select(fine, place.read(row, column), const(float("nan"), self.dtype))
                place.write(found, column, row)
                place.write(zero, row, column)

    def _row(self, place: Place, row: Expr, good: Buffer) -> None:
        with self.columns(row, self.size) as column:
            start = place.read(row, column)
            rest = self.less(start, row, lambda k: (place.read(k, row), place.read(k, column)))
            place.write(rest, row, column)
        pivot = place.read(row, row)
        sign = Select(Compare("gt", pivot, const(0, self.dtype)), const(1, self.dtype), const(0, self.dtype))
        self.emitter.append(Accumulate(((good, ()),), (sign,), "min"))
        root = self.emitter.let(Unary("sqrt", pivot))
        with self.columns(row, self.size) as column:
            quotient = Binary("div", place.read(row, column), root)
            place.write(Select(Compare("eq", column, row), root, quotient), row, column)


class _Triangular(Form):
    """`ROWS` rows of the solution after the others; blocks of columns do not depend on each other."""

    def lower(self) -> None:
        count = self.node.operands[1].shape[-1]
        wide = min(count, WIDE)
        *counters, block = self.open("b")
        whole, rest = divmod(self.size, ROWS)
        for blocks, first, rows in ((whole, 0, ROWS), (1, whole * ROWS, rest)):
            if not blocks * rows:
                continue
            with self.loop("s", blocks) as number, self.loop("l", wide, "parallel") as lane:
                column = add(mul(block, wide), lane)
                with self.when(Compare("lt", column, index(count)) if count % wide else None):
                    self._rows(tuple(counters), add(mul(number, rows), index(first)), rows, column)
        self.emitter.close_phase([*counters, block], (*self.batch, -(-count // wide)))

    def _rows(self, at: Index, base: Expr, count: int, column: Expr) -> None:
        """Elements of some rows, from step `base` of the elimination on: less the rows before them, then each other."""
        attrs, (a, b), emitter = self.node.attrs, self.node.operands, self.emitter
        assert isinstance(attrs, TriangleAttrs)
        forward = attrs.lower != attrs.transposed
        place = Place(self, self.builder.outputs[0], at)

        def row_of(step: Expr) -> Expr:
            return step if forward else sub(index(self.size - 1), step)

        def factor(step: Expr, other: Expr) -> Expr:
            row, beside = row_of(step), row_of(other)
            return emitter.pull(a, (*at, beside, row) if attrs.transposed else (*at, row, beside))

        steps = [add(base, index(k)) for k in range(count)]
        totals = [self.number("acc", emitter.pull(b, (*at, row_of(step), column))) for step in steps]

        def subtract(total: Buffer, step: Expr, other: Expr, known: Expr) -> None:
            value = Fma(Unary("neg", factor(step, other)), known, Load(total, ()))
            emitter.append(Store(total, (), value))

        with self.loop("k", base) as before:
            known = place.read(row_of(before), column)
            for step, total in zip(steps, totals, strict=True):
                subtract(total, step, before, known)
        for number, (step, total) in enumerate(zip(steps, totals, strict=True)):
            found: Expr = emitter.read(Load(total, ()))
            found = found if attrs.unit else emitter.let(Binary("div", found, factor(step, step)))
            place.write(found, row_of(step), column)
            for later, other in zip(steps[number + 1 :], totals[number + 1 :], strict=True):
                subtract(other, later, step, found)


class _Lu(Matrixwise):
    """Panels of columns: one is eliminated row by row, then all columns after it take its part in one sum."""

    def body(self, at: Index) -> None:
        self.place, self.pivots, self.order = (self.result(k, at) for k in range(3))
        size, self.rows = self.size, self.node.operands[0].shape[-2]
        with self.loop("r", self.rows) as row:
            self.order.write(as_stored(self.order, row), row)
            with self.columns(index(0), size) as column:
                self.place.write(self.emitter.pull(self.node.operands[0], (*at, row, column)), row, column)
        whole, rest = divmod(size, PANEL)
        before = whole if rest else whole - 1  # panels that have columns after them
        if before > 0:
            with self.loop("p", before) as number:
                self._panel(mul(number, PANEL), PANEL)
                self._columns_after(mul(number, PANEL))
        self._panel(index(before * PANEL), size - before * PANEL)

    def _panel(self, base: Expr, width: int) -> None:
        with self.loop("k", width) as step:
            self._eliminate(base, width, step)

    def _columns_after(self, base: Expr) -> None:
        size, place, width = self.size, self.place, PANEL
        after = add(base, index(width))
        with self.columns(after, size) as column, self.when(Compare("ge", column, after)):
            with self.loop("r", width) as row:
                here = add(base, row)
                parts = lambda k: (place.read(here, add(base, k)), place.read(add(base, k), column))
                place.write(self.less(place.read(here, column), row, parts), here, column)
            with self.loop("r", sub(index(self.rows), after)) as row:
                here = add(after, row)
                parts = lambda k: (place.read(here, add(base, k)), place.read(add(base, k), column))
                place.write(self.less(place.read(here, column), width, parts), here, column)

    def _eliminate(self, base: Expr, width: int, step: Expr) -> None:
        """One column: find the pivot, exchange rows, divide, and subtract from the rest of the panel."""
        emitter, place, size = self.emitter, self.place, self.size
        here = emitter.let(add(base, step))
        below = sub(index(self.rows - 1), here)
        largest = self.number("largest", Unary("abs", place.load(here, here)))
        chosen = self.number("chosen", here)
        with self.loop("r", below) as row:
            there = add(add(here, index(1)), row)
            found = Unary("abs", place.load(there, here))
            emitter.append(Accumulate(((largest, ()), (chosen, ())), (found, there), "argmax"))
        pivot = emitter.read(Load(chosen, ()))
        self.pivots.write(as_stored(self.pivots, pivot), here)
        with self.when(Compare("ne", pivot, here)):
            self.order.exchange((here,), (pivot,))
            with self.columns(index(0), size) as column:
                place.exchange((here, column), (pivot, column))
        top = place.read(here, here)
        with self.loop("r", below) as row:
            there = add(add(here, index(1)), row)
            old = place.read(there, here)
            factor = emitter.let(Select(Compare("eq", top, const(0, self.dtype)), old, Binary("div", old, top)))
            place.write(factor, there, here)
            with self.loop("l", width, "parallel") as lane, self.when(Compare("gt", lane, step)):
                column = add(base, lane)
                rest = Fma(Unary("neg", factor), place.read(here, column), place.read(there, column))
                place.write(rest, there, column)


_FORMS: dict[str, Callable[[KernelBuilder, Node], Form]] = {
    "cholesky": _Cholesky,
    "triangular_solve": _Triangular,
    "lu": _Lu,
    "qr": Qr,
    "svd": Svd,
    "eigh": Eigh,
}
