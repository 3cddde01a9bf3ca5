"""What kernels of linear algebra are written with: loops, variables, and the matrices in memory they work on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from graphc.core.dtypes import DType
from graphc.graph.ir import Node
from graphc.kernel.ir import Binary, Buffer, Compare, Expr, Fma, For, If, Load, LoopKind, Store, Unary, Var, index
from graphc.kernel.lower.build import KernelBuilder
from graphc.kernel.lower.expr import Index, add, convert, div, mul

WIDE = 64  # columns taken together


def sub(lhs: Expr, rhs: Expr) -> Expr:
    return Binary("sub", lhs, rhs)


class Form(ABC):
    """A kernel that works on matrices. Results nobody asked for lie in scratch."""

    def __init__(self, builder: KernelBuilder, node: Node) -> None:
        self.builder = builder
        self.emitter = builder.emitter
        self.node = node
        self.batch = node.operands[0].shape[:-2]
        self.size = node.operands[0].shape[-1]
        self.dtype: DType = node.results[0].dtype

    @abstractmethod
    def lower(self) -> None:
        """Emit the kernel."""

    def open(self, *more: str) -> list[Var]:
        counters = [self.emitter.fresh(base) for base in (*("i" for _ in self.batch), *more)]
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1
        return counters

    def result(self, position: int, at: Index) -> "Place":
        """Where a result of this matrix is written."""
        value = self.node.results[position]
        found = self.builder.output_positions(value)
        if found:
            return Place(self, self.builder.outputs[found[0]], at)
        return Place(self, self.emitter.buffer("part", value.dtype, value.shape[len(at) :], "worker"), ())

    @contextmanager
    def loop(self, base: str, extent: Expr | int, kind: LoopKind = "serial") -> Iterator[Var]:
        var = self.emitter.fresh(base)
        self.emitter.open()
        yield var
        body = self.emitter.close()
        self.emitter.append(For(var, index(extent) if isinstance(extent, int) else extent, kind, body))

    @contextmanager
    def when(self, cond: Expr | None) -> Iterator[None]:
        """Statements under a condition; None: always."""
        if cond is None:
            yield
            return
        floor = self.emitter.floor
        self.emitter.open()
        self.emitter.floor = len(self.emitter.scopes) - 1  # what is read here may not exist elsewhere
        yield
        self.emitter.floor = floor
        self.emitter.append(If(cond, self.emitter.close()))

    @contextmanager
    def columns(self, first: Expr, count: int) -> Iterator[Expr]:
        """The columns from a multiple of the block of column `first` on, below `count`, some of them at a time."""
        wide = min(count, WIDE)
        blocks = -(-count // wide)
        skipped = div(first, wide)
        block: Expr = index(0)
        with self._blocks(blocks, skipped) as number:
            if number is not None:
                block = mul(add(skipped, number), wide)
            with self.loop("l", wide, "parallel") as lane:
                column = add(block, lane)
                with self.when(Compare("lt", column, index(count)) if count % wide else None):
                    yield column

    @contextmanager
    def _blocks(self, blocks: int, skipped: Expr) -> Iterator[Var | None]:
        if blocks == 1:
            yield None
            return
        with self.loop("b", sub(index(blocks), skipped)) as number:
            yield number

    def number(self, base: str, value: Expr) -> Buffer:
        """A variable."""
        made = self.emitter.buffer(base, value.dtype, (), "register")
        self.emitter.append(Store(made, (), value))
        return made

    def less(self, start: Expr, count: Expr | int, factors: Callable[[Expr], tuple[Expr, Expr]]) -> Expr:
        """`start` less the products of `count` pairs of factors, one after the other."""
        total = self.number("acc", start)
        with self.loop("k", count) as k:
            left, right = factors(k)
            self.emitter.append(Store(total, (), Fma(Unary("neg", left), right, Load(total, ()))))
        return self.emitter.read(Load(total, ()))


class Matrixwise(Form):
    """A form with one parallel iteration for each matrix."""

    def lower(self) -> None:
        counters = self.open()
        self.body(tuple(counters))
        self.emitter.close_phase(counters, self.batch)

    @abstractmethod
    def body(self, at: Index) -> None:
        """What is done with the matrix at `at`."""


class Place:
    """A matrix, or vector, in memory."""

    def __init__(self, form: Form, buffer: Buffer, at: Index) -> None:
        self.form = form
        self.buffer = buffer
        self.at = at

    def load(self, *place: Expr) -> Load:
        return Load(self.buffer, (*self.at, *place))

    def read(self, *place: Expr) -> Expr:
        """What is there now."""
        return self.form.emitter.read(self.load(*place))

    def write(self, value: Expr, *place: Expr) -> None:
        self.form.emitter.append(Store(self.buffer, (*self.at, *place), value))

    def exchange(self, here: Sequence[Expr], there: Sequence[Expr]) -> None:
        mine, other = self.read(*here), self.read(*there)
        self.write(other, *here)
        self.write(mine, *there)


def as_stored(place: Place, value: Expr) -> Expr:
    return convert(value, place.buffer.dtype)
