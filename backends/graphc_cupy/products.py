"""Matrix products in loop IR, as a library computes them.

In: a nest of independent loops whose body sums products. Out: a `Product`, which says how its three matrices lie in
memory, column after column as cuBLASLt has it; or None when the nest is something else besides, or smaller than what a
library is good at. Nothing is said about the order in which a library adds up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from graphc.core.dtypes import DType, float32
from graphc.kernel.affine import flat_index, loads
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, Alloc, Buffer, Cast, Const, Expr, For, Let, Load, Stmt, Store, Var, walk
from graphc.kernel.schedule.contractions import as_step
from graphc.kernel.schedule.edit import Block
from graphc.kernel.schedule.nests import Axis, nest

Compute = Literal["float32", "tf32"]  # what products of two float32 elements are computed in; sums are in float32
SMALLEST = 16  # rows, columns and terms: a library has no use for tiles that it cannot fill


@dataclass(frozen=True, slots=True)
class Matrix:
    """Element (row, column) of matrix b is at `row + column * leading + b * batch`. is_transposed: when multiplied."""

    rows: int
    columns: int
    leading: int
    batch: int
    dtype: DType
    is_transposed: bool = False


@dataclass(frozen=True, slots=True)
class Matmul:
    """`result = left @ right`, for each of `count` matrices; the sums have `depth` terms."""

    left: Matrix
    right: Matrix
    result: Matrix
    depth: int
    count: int
    compute: Compute


@dataclass(frozen=True, slots=True)
class Product:
    """A nest that is one call of a library: buffers of left, right and result, and where in them matrices begin."""

    matmul: Matmul
    buffers: tuple[str, str, str]
    offsets: tuple[int, int, int]  # bytes


@dataclass(frozen=True, slots=True)
class Term:
    """A multiply-add, and the loops around it."""

    x: Expr
    y: Expr
    loops: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """A leaf: scratch, the statements that sum up in it, and those that go on with the `total`."""

    scratch: Buffer
    head: Block
    tail: Block
    total: Load
    terms: tuple[Term, ...]


def sum_of(leaf: Block) -> Sum | None:
    """The sum of products that a leaf begins with; None when there is none in float32."""
    if not leaf or not isinstance(leaf[0], Alloc) or leaf[0].buffer.dtype is not float32:
        return None
    scratch = leaf[0].buffer
    reads = (n for n, s in enumerate(leaf) if isinstance(s, Let) and _reads(s, scratch))
    start = next(reads, len(leaf))
    tail = leaf[start:]
    totals = {load for s in walk(tail) for load in _reads(s, scratch)}
    terms: list[Term] = []
    if len(totals) != 1 or any(_writes(s, scratch) for s in walk(tail)):
        return None
    (total,) = totals
    is_first = all(isinstance(at, Const) and at.value == 0 for at in total.index)
    if not is_first or not _collect(leaf[1:start], scratch, (), terms) or not terms:
        return None
    return Sum(scratch, leaf[1:start], tail, total, tuple(terms))


def _reads(statement: Stmt, buffer: Buffer) -> list[Load]:
    return [load for expr in expressions(statement) for load in loads(expr) if load.buffer.name == buffer.name]


def _writes(statement: Stmt, buffer: Buffer) -> bool:
    match statement:
        case Store(target):
            return target.name == buffer.name
        case Accumulate(targets):
            return any(target.name == buffer.name for target, _ in targets)
        case _:
            return False


def _collect(statements: Block, scratch: Buffer, loops: tuple[Axis, ...], found: list[Term]) -> bool:
    """Whether statements do nothing but add up products in the scratch, from zero; the products."""
    for statement in statements:
        match statement:
            case Store(target, _, Const(value)) if target.name == scratch.name and value == 0:
                continue
            case Store(target) if target.name == scratch.name and (step := as_step(statement)) is not None:
                found.append(Term(step.x, step.y, loops))
            case Accumulate(((target, _),), (Load(part),), "add") if target.name == part.name == scratch.name:
                continue  # parts of a long sum, put together
            case For(var, Const(extent), _, body):
                if not _collect(body, scratch, (*loops, Axis(var, int(extent))), found):
                    return False
            case _:
                return False
    return True


def operand(expr: Expr) -> Load | None:
    """What a library reads as it lies: float32, or a half type that is cast to it."""
    if isinstance(expr, Cast) and expr.dtype is float32 and isinstance(expr.x, Load) and expr.x.dtype.is_half:
        expr = expr.x
    if not isinstance(expr, Load) or expr.dtype.computes_in is not float32 or expr.buffer.is_view:
        return None
    return expr if expr.buffer.space in ("param", "arena") else None


# -------------------------------------------------------------------------------------------------- how matrices lie


@dataclass(frozen=True, slots=True)
class _Dim:
    """An axis, with how far left, right and result move along it."""

    extent: int
    x: int
    y: int
    out: int

    def around(self, inner: "_Dim") -> "_Dim | None":
        """Both as one, when they are one after the other in all three."""
        joined = tuple(inner.extent * step for step in (inner.x, inner.y, inner.out))
        if (self.x, self.y, self.out) != joined:
            return None
        return replace(inner, extent=self.extent * inner.extent)


def product_of(statement: Stmt, compute: Compute) -> Product | None:
    """The product that a nest is, and nothing besides."""
    if not isinstance(statement, For) or statement.kind != "parallel":
        return None
    axes, leaf = nest(statement)
    found = sum_of(leaf)
    stored = None if found is None else _stored(found)
    if found is None or stored is None:
        return None
    sides = [_side([operand(each) for each in side], found.terms, axes) for side in _operands(found)]
    left, right = sides
    if left is None or right is None or left.dtype is not right.dtype:
        return None
    order = np.argsort(left.places, kind="stable")
    steps = _step(left.places[order]), _step(right.places[order])
    result = flat_index(stored.buffer, stored.index)
    if None in steps or any(not isinstance(atom, Var) for atom, _ in result.terms):
        return None
    dims = [
        _Dim(axis.extent, x, y, result.coefficient(axis.var))
        for axis, x, y in zip(axes, left.strides, right.strides, strict=True)
    ]
    shape = _shape(dims)
    if shape is None:
        return None
    row, column, outer = shape
    first = left.places[order][0], right.places[order][0]
    if column.out != 1:  # the result lies transposed: so do the factors, in the other order
        left, right, steps, first = right, left, steps[::-1], first[::-1]
        row, column, outer = (replace(dim, x=dim.y, y=dim.x) for dim in (column, row, outer))
    depth = len(order)
    a = _columns(column.extent, depth, column.y, steps[1], outer.y, right.dtype)
    b = _columns(row.extent, depth, row.x, steps[0], outer.x, left.dtype)
    if a is None or b is None or column.out != 1 or row.out < column.extent:
        return None
    if min(row.extent, column.extent, depth) < SMALLEST:
        return None
    c = Matrix(column.extent, row.extent, row.out, outer.out, float32)
    matmul = Matmul(a, replace(b, is_transposed=not b.is_transposed), c, depth, outer.extent, compute)
    buffers = (right.buffer.name, left.buffer.name, stored.buffer.name)
    size = right.dtype.itemsize
    return Product(matmul, buffers, (int(first[1]) * size, int(first[0]) * size, result.const * 4))


def _operands(found: Sum) -> tuple[list[Expr], list[Expr]]:
    return [term.x for term in found.terms], [term.y for term in found.terms]


def _stored(found: Sum) -> Store | None:
    """Where the total goes, when that is all that becomes of it."""
    match found.tail:
        case (Let(var, value), Store(buffer, _, Var(name)) as store):
            is_all = value == found.total and name == var.name
            return store if is_all and buffer.dtype is float32 and buffer.space in ("param", "arena") else None
        case _:
            return None


@dataclass(frozen=True, slots=True)
class _Side:
    """One factor: where its elements are for each term of the sum, and how far that moves along each axis."""

    buffer: Buffer
    places: np.ndarray
    strides: tuple[int, ...]

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


def _side(reads: Sequence[Load | None], terms: Sequence[Term], axes: Sequence[Axis]) -> _Side | None:
    places: list[np.ndarray] = []
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for load, term in zip(reads, terms, strict=True):
        if load is None:
            return None
        form = flat_index(load.buffer, load.index)
        counters = {axis.var for axis in (*axes, *term.loops)}
        if any(atom not in counters for atom, _ in form.terms):
            return None
        found = np.array([form.const])
        for axis in term.loops:
            found = np.add.outer(found, form.coefficient(axis.var) * np.arange(axis.extent)).reshape(-1)
        places.append(found)
        seen.add((load.buffer.name, tuple(form.coefficient(axis.var) for axis in axes)))
        buffer = load.buffer
    if len(seen) != 1:
        return None
    ((_, strides),) = seen
    return _Side(buffer, np.concatenate(places), strides)


def _step(places: np.ndarray) -> int | None:
    """How far one element of a sum is from the next; None when that differs."""
    steps = np.unique(np.diff(places))
    return int(steps[0]) if len(steps) == 1 else None


def _shape(dims: Sequence[_Dim]) -> tuple[_Dim, _Dim, _Dim] | None:
    """Rows (of the left factor alone), columns (of the right one), and one more; None when there are others."""
    rows = _merged([dim for dim in dims if dim.x and not dim.y])
    columns = _merged([dim for dim in dims if dim.y and not dim.x])
    others = [*rows[:-1], *columns[:-1], *_merged([dim for dim in dims if dim.x and dim.y])]
    known = sum(bool(dim.x or dim.y) for dim in dims if dim.extent != 1)
    if not rows or not columns or len(others) > 1 or known < sum(dim.extent != 1 for dim in dims):
        return None
    return rows[-1], columns[-1], others[0] if others else _Dim(1, 0, 0, 0)


def _merged(dims: Sequence[_Dim]) -> list[_Dim]:
    result: list[_Dim] = []
    for dim in dims:
        if dim.extent == 1:
            continue
        joined = result[-1].around(dim) if result else None
        if joined is not None:
            result.pop()
        result.append(joined or dim)
    return result


def _columns(extent: int, depth: int, along: int, deep: int | None, batch: int, dtype: DType) -> Matrix | None:
    """An operand as the left factor: `extent` rows of `depth` elements, or their transpose."""
    assert deep is not None
    if along == 1 and deep >= extent:
        return Matrix(extent, depth, deep, batch, dtype)
    if deep == 1 and along >= depth:
        return Matrix(depth, extent, along, batch, dtype, is_transposed=True)
    return None
