"""Factors of matrices by functions of LAPACK: each matrix is copied into scratch, column by column, and its factors out
of it. Where the function says that it failed, or an element is not finite, all of them are NaN.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from graphc.core.dtypes import DType, float64, int32, uint8
from graphc.graph.ops.linalg import SMALL, FullAttrs
from graphc.kernel.ir import (
    Accumulate,
    Binary,
    Buffer,
    CallLibrary,
    Compare,
    Const,
    Expr,
    If,
    Load,
    Select,
    Store,
    Unary,
    index,
)
from graphc.kernel.lower.expr import Index, add, const
from graphc.kernel.lower.matrices import Matrixwise, Place

Vector = Callable[[Expr, Expr], Load]  # the number of a vector, and of its element
BLOCK = 64  # columns that LAPACK takes together at most; it is given room for them


class _Library(Matrixwise):
    """A kernel around one or two calls."""

    def body(self, at: Index) -> None:
        self.rows, self.cols = self.node.operands[0].shape[-2:]
        self.inner = min(self.rows, self.cols)
        self.matrix = self.scratch("a", (self.cols, self.rows))
        self.info = self.scratch("info", (1,), int32)
        self.prepare()
        finite = self._copied(at)
        self.put(self.info, 1)
        self.emitter.open()
        self.calls()
        called = self.emitter.close()
        self.emitter.append(If(Compare("gt", self.emitter.read(Load(finite, ())), const(0, self.dtype)), called))
        self.good = Compare("eq", self.emitter.read(Load(self.info, (index(0),))), const(0, int32))
        self.results(at)

    @abstractmethod
    def prepare(self) -> None:
        """Allocate what the calls need."""

    @abstractmethod
    def calls(self) -> None:
        """Call the library."""

    @abstractmethod
    def results(self, at: Index) -> None:
        """Write what it left to the results of the matrix at `at`."""

    def is_read(self, row: Expr, column: Expr) -> Expr | None:
        """Which elements of the matrix matter; None: all."""
        return None

    def _copied(self, at: Index) -> Buffer:
        """Copy the matrix; 1 if all of it is finite, else 0."""
        finite = self.number("finite", const(1, self.dtype))
        with self.loop("r", self.rows) as row, self.loop("c", self.cols) as column:
            value = self.emitter.pull(self.node.operands[0], (*at, row, column))
            condition = self.is_read(row, column)
            if condition is not None:
                value = self.emitter.let(Select(condition, value, const(0, self.dtype)))
            self.emitter.append(Store(self.matrix, (column, row), value))
            is_number = Compare("eq", Binary("sub", value, value), const(0, self.dtype))
            sign = Select(is_number, const(1, self.dtype), const(0, self.dtype))
            self.emitter.append(Accumulate(((finite, ()),), (sign,), "min"))
        return finite

    def scratch(self, base: str, shape: tuple[int, ...], dtype: DType | None = None) -> Buffer:
        return self.emitter.buffer(base, dtype or self.dtype, shape, "worker")

    def put(self, buffer: Buffer, value: int) -> None:
        self.emitter.append(Store(buffer, (index(0),), Const(value, buffer.dtype)))

    def call(self, function: str, *arguments: Buffer | int | str) -> None:
        """Call "dgeqrf" (function: "geqrf") or "sgeqrf": numbers and letters are put into memory first."""
        buffers: list[Buffer] = []
        for argument in arguments:
            if isinstance(argument, Buffer):
                buffers.append(argument)
                continue
            made = self.scratch("n", (1,), uint8 if isinstance(argument, str) else int32)
            self.put(made, ord(argument) if isinstance(argument, str) else argument)
            buffers.append(made)
        prefix = "d" if self.dtype is float64 else "s"
        self.emitter.append(CallLibrary(prefix + function, tuple(buffers)))

    def set_signs(
        self, count: int, vector: "Vector", length: int, partner: "Vector | None" = None, partner_length: int = 0
    ) -> None:
        """Give `count` vectors, and the partner of each, the sign they are to have."""
        small = const(SMALL / length**0.5, self.dtype)
        zero, one = (const(k, self.dtype) for k in (0, 1))
        with self.loop("c", count) as number:
            sign = self.number("sign", zero)
            with self.loop("r", length) as row:
                value = self.emitter.read(vector(number, row))
                own = Select(Compare("lt", value, zero), Unary("neg", one), one)
                found = Select(Compare("gt", Unary("abs", value), small), own, zero)
                known = self.emitter.read(Load(sign, ()))
                self.emitter.append(Store(sign, (), Select(Compare("eq", known, zero), found, known)))
            for each, extent in ((vector, length), (partner, partner_length)):
                if each is not None:
                    with self.loop("r", extent) as row:
                        place = each(number, row)
                        turned = Binary("mul", self.emitter.read(place), self.emitter.read(Load(sign, ())))
                        self.emitter.append(Store(place.buffer, place.index, turned))

    def copy_out(self, position: int, at: Index, made: Buffer, dims: Sequence[int], upper: bool = False) -> None:
        """Write a result from scratch of its transpose, or from a vector; upper: with zeros below the diagonal."""
        found = self.builder.output_positions(self.node.results[position])
        if not found:
            return
        place = Place(self, self.builder.outputs[found[0]], at)
        if len(dims) == 1:
            with self.loop("r", dims[0]) as row:
                place.write(self._or_nan(self.emitter.read(Load(made, (row,)))), row)
            return
        with self.loop("r", dims[0]) as row, self.loop("c", dims[1]) as column:
            value: Expr = self.emitter.read(Load(made, (column, row)))
            if upper:
                value = Select(Compare("le", row, column), value, const(0, self.dtype))
            place.write(self._or_nan(value), row, column)

    def _or_nan(self, value: Expr) -> Expr:
        return Select(self.good, value, const(float("nan"), self.dtype))


class Eigh(_Library):
    def is_read(self, row: Expr, column: Expr) -> Expr | None:
        return Compare("le", column, row)

    def prepare(self) -> None:
        size = self.size
        self.values = self.scratch("w", (size,))
        self.work = self.scratch("work", (1 + 6 * size + 2 * size * size + 2 * BLOCK * size,))
        self.whole = self.scratch("iwork", (3 + 5 * size,), int32)

    def calls(self) -> None:
        size, work, whole = self.size, self.work, self.whole
        head = ("V", "L", size, self.matrix, size, self.values)
        self.call("syevd", *head, work, work.size, whole, whole.size, self.info)

    def results(self, at: Index) -> None:
        self.set_signs(self.size, lambda c, r: Load(self.matrix, (c, r)), self.size)
        self.copy_out(0, at, self.values, (self.size,))
        self.copy_out(1, at, self.matrix, (self.size, self.size))


class Svd(_Library):
    def prepare(self) -> None:
        assert isinstance(self.node.attrs, FullAttrs)
        self.full = self.node.attrs.full
        self.left, self.right = (self.rows, self.cols) if self.full else (self.inner, self.inner)
        self.values = self.scratch("s", (self.inner,))
        self.u = self.scratch("u", (self.left, self.rows))
        self.v = self.scratch("v", (self.cols, self.right))
        larger = max(self.rows, self.cols)
        self.work = self.scratch("work", (4 * self.inner**2 + 7 * self.inner + BLOCK * (larger + 3 * self.inner),))
        self.whole = self.scratch("iwork", (8 * self.inner,), int32)

    def calls(self) -> None:
        head = ("A" if self.full else "S", self.rows, self.cols, self.matrix, self.rows, self.values)
        tail = (self.u, self.rows, self.v, self.right, self.work, self.work.size, self.whole, self.info)
        self.call("gesdd", *head, *tail)

    def results(self, at: Index) -> None:
        inner = index(self.inner)
        left: Vector = lambda c, r: Load(self.u, (c, r))
        right: Vector = lambda c, r: Load(self.v, (r, c))
        self.set_signs(self.inner, left, self.rows, right, self.cols)
        if self.left > self.inner:
            self.set_signs(self.left - self.inner, lambda c, r: left(add(c, inner), r), self.rows)
        if self.right > self.inner:
            self.set_signs(self.right - self.inner, lambda c, r: right(add(c, inner), r), self.cols)
        self.copy_out(0, at, self.u, (self.rows, self.left))
        self.copy_out(1, at, self.values, (self.inner,))
        self.copy_out(2, at, self.v, (self.right, self.cols))


class Qr(_Library):
    def prepare(self) -> None:
        assert isinstance(self.node.attrs, FullAttrs)
        self.width = self.rows if self.node.attrs.full else self.inner
        self.q = self.scratch("q", (self.width, self.rows))
        self.tau = self.scratch("tau", (self.inner,))
        self.work = self.scratch("work", (BLOCK * max(self.cols, self.width),))

    def calls(self) -> None:
        rows, width, work = self.rows, self.width, self.work
        self.call("geqrf", rows, self.cols, self.matrix, rows, self.tau, work, work.size, self.info)
        with self.loop("c", self.inner) as column, self.loop("r", rows) as row:
            self.emitter.append(Store(self.q, (column, row), Load(self.matrix, (column, row))))
        if width > self.inner:
            with self.loop("c", width - self.inner) as more, self.loop("r", rows) as row:
                place = (add(more, index(self.inner)), row)
                self.emitter.append(Store(self.q, place, const(0, self.dtype)))
        self.call("orgqr", rows, width, self.inner, self.q, rows, self.tau, work, work.size, self.info)

    def results(self, at: Index) -> None:
        self.copy_out(0, at, self.q, (self.rows, self.width))
        self.copy_out(1, at, self.matrix, (self.width, self.cols), upper=True)
