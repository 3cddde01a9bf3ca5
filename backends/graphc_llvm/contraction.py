"""Register tiles for contractions: `out[.., i, .., j] = epilogue(sum over k of a[.. i .. k] * b[.. k .. j])`.

A tile is `rows` x `vectors` accumulators of a full vector each, kept in registers over the whole sum. Rows run along
the axis that the vector operand does not depend on. The order of the sum of every element stays as written: serial
loops move outside of the tile as they are, nothing is reassociated. Where the vector operand is not contiguous along
the lanes it is copied to scratch first.
"""

from dataclasses import dataclass, replace

from graphc.kernel.affine import Facts, stride_of, variables
from graphc.kernel.ir import (
    Alloc,
    Binary,
    Buffer,
    Expr,
    Fma,
    For,
    If,
    Let,
    Load,
    LoopKind,
    Stmt,
    Store,
    Var,
    While,
    index,
    walk,
)
from graphc.kernel.schedule.edit import Names
from graphc_llvm import host
from graphc_llvm.axes import Axis, facts, lanes_for
from graphc_llvm.rewrite import Substitution, around, extent_of, loop, plus, times
from graphc_llvm.traverse import expressions

PACK_LIMIT = 1 << 20  # bytes of one packed panel
UNITS = 16  # iterations of the parallel loop worth having
MOST_ROWS = 14


@dataclass(frozen=True, slots=True)
class Contraction:
    """The parts of a contraction nest. `lane` runs in vectors, `row` down the tile, `rest` around it."""

    rest: tuple[Axis, ...]
    row: Axis | None
    lane: Axis
    leaf: tuple[Stmt, ...]
    packed: Load | None  # to be copied to scratch, because lanes are not contiguous in it


def as_contraction(axes: tuple[Axis, ...], leaf: tuple[Stmt, ...]) -> Contraction | None:
    """Recognise a leaf that sums products into a private scalar; choose the axes of the tile."""
    if not _sums_products(leaf):
        return None
    known = facts(leaf)
    operands = _operands(leaf)
    stores = [s for s in leaf if isinstance(s, Store) and s.buffer.space == "param"]
    stores += [s for o in leaf if isinstance(o, If) for s in walk(o.then) if isinstance(s, Store)]

    def misfits(axis: Axis) -> list[Load]:
        return [x for x in operands if stride_of(x.buffer, x.index, axis.var, known) not in (0, 1)]

    def rank(axis: Axis) -> tuple[int, int, int]:
        scattered = sum(stride_of(s.buffer, s.index, axis.var, known) != 1 for s in stores)
        return (len(misfits(axis)), scattered, -min(axis.extent, 16))

    lane = min(axes, key=rank)
    moving = [x for x in operands if stride_of(x.buffer, x.index, lane.var, known) != 0]
    rows = [
        axis
        for axis in axes
        if axis is not lane and all(stride_of(x.buffer, x.index, axis.var, known) == 0 for x in moving)
    ]
    row = max(rows, key=lambda axis: axis.extent, default=None)
    rest = tuple(axis for axis in axes if axis not in (lane, row))
    odd = misfits(lane)
    packed = odd[0] if len(odd) == 1 and row is not None and _can_pack(odd[0], leaf, known, lane) else None
    return Contraction(rest, row, lane, leaf, packed)


def _sums_products(leaf: tuple[Stmt, ...]) -> bool:
    own = {s.buffer for s in walk(leaf) if isinstance(s, Alloc)}
    if any(isinstance(s, For) and s.kind != "serial" for s in walk(leaf)) or any(
        isinstance(s, While) for s in walk(leaf)
    ):
        return False
    for statement in walk(leaf):
        if not isinstance(statement, For):
            continue
        for inner in statement.body:
            if isinstance(inner, Store) and isinstance(inner.value, Fma) and inner.buffer in own:
                return True
    return False


def _operands(leaf: tuple[Stmt, ...]) -> list[Load]:
    """What the innermost loops read from outside."""
    own = {s.buffer for s in walk(leaf) if isinstance(s, Alloc)}
    found: dict[Load, None] = {}
    for statement in walk(leaf):
        if isinstance(statement, For):
            for inner in walk(statement.body):
                found |= {e: None for e in expressions(inner) if isinstance(e, Load) and e.buffer not in own}
    return list(found)


def _summed(leaf: tuple[Stmt, ...]) -> list[For]:
    return [s for s in walk(leaf) if isinstance(s, For)]


def _can_pack(load: Load, leaf: tuple[Stmt, ...], known: Facts, lane: Axis) -> bool:
    """Whether the operand depends on the lane axis and loops of constant extent only (and axes outside of the tile)."""
    inside = {s.var.name for s in walk(leaf) if isinstance(s, Let | For)}
    used = {name for expr in load.index for name in variables(expr, known)}
    loops = {s.var.name: extent_of(s) for s in _summed(leaf)}
    size = 64 * load.buffer.dtype.itemsize
    for name in used & set(loops):
        extent = loops[name]
        if extent is None:
            return False
        size *= extent
    return lane.var.name in used and not (used & inside) - set(loops) and size <= PACK_LIMIT


# ---------------------------------------------------------------------------------------------------------- schedule


@dataclass(frozen=True, slots=True)
class Tile:
    """`rows` x `vectors` vectors of `lanes` elements."""

    rows: int
    vectors: int
    lanes: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes


def registers() -> int:
    """Accumulators of a full vector (16 floats) that fit in registers, with some left for operands."""
    return {512: 28, 256: 6}.get(host.host().vector_bits, 4)


def choose(rows: int, columns: int, lanes: int) -> Tile:
    """The tile for an output of `rows` x `columns`: near square in registers, dividing the rows where it can."""
    room = registers()
    vectors = max(min(columns // lanes, 2 if rows > 4 else 4, room // min(rows, 2)), 1)
    most = max(min(room // vectors, MOST_ROWS, rows), 1)
    best = max(range(max(most * 4 // 7, 1), most + 1), key=lambda n: (rows % n == 0, n))
    return Tile(best, vectors, lanes)


def schedule_contraction(found: Contraction, names: Names, small: bool) -> tuple[Stmt, ...] | None:
    """Panels of full tiles, then the columns that are left over; None when the leaf cannot be tiled."""
    if not _lets_hold(found.leaf):
        return None
    lanes = lanes_for(found.leaf)
    rows = found.row.extent if found.row is not None else 1
    tile = choose(rows, found.lane.extent, lanes)
    result: list[Stmt] = []
    begin, columns = 0, found.lane.extent
    while begin < columns:
        left = columns - begin
        if left < tile.width:
            vectors = max(left // lanes, 1)
            tile = replace(choose(rows, left, lanes), vectors=vectors, lanes=min(left, lanes))
        count = left // tile.width
        result += _panels(found, tile, begin, count, names, small)
        begin += count * tile.width
    return tuple(result)


def _panels(found: Contraction, tile: Tile, begin: int, count: int, names: Names, small: bool) -> tuple[Stmt, ...]:
    """`count` panels of `tile.width` columns from column `begin` on, all rows."""
    rows = found.row.extent if found.row is not None else 1
    full, tail = divmod(rows, tile.rows)
    rest = tuple((names.var(axis.var.name), axis.extent) for axis in found.rest)
    panel = names.var(found.lane.var.name)
    units = count
    for _, extent in rest:
        units *= extent
    blocks = _blocks(full, UNITS if found.packed is None else UNITS // 4, units)
    block, strip = names.var("block"), names.var("strip")
    outer = Substitution(names, {axis.var.name: var for axis, (var, _) in zip(found.rest, rest)})
    column = plus(times(panel, tile.width), index(begin))
    packing, outer = _pack(found, tile, column, outer)

    def at(first: Expr, height: int) -> tuple[Stmt, ...]:
        return _tile(found, replace(tile, rows=height), first, column, outer)

    each = full // blocks if blocks else 0
    part: Expr = times(block, each) if blocks > 1 else index(0)
    main: tuple[Stmt, ...] = ()
    if each == 1:
        main = at(times(part, tile.rows), tile.rows)
    elif each > 1:
        main = (loop(strip, each, "serial", at(times(plus(part, strip), tile.rows), tile.rows)),)
    kind: LoopKind = "serial" if small else "parallel"
    nest = (*rest, (panel, count))
    if tail and blocks <= 1:
        main += at(index(full * tile.rows), tail)
        tail = 0
    if blocks > 1:
        nest = (*nest, (block, blocks))
    result = around(nest, kind, packing + main)
    if tail:
        again = _panels_tail(found, replace(tile, rows=tail), begin, count, full * tile.rows, names, kind)
        result += again
    return result


def _panels_tail(
    found: Contraction, tile: Tile, begin: int, count: int, first_row: int, names: Names, kind: LoopKind
) -> tuple[Stmt, ...]:
    """The rows that fill no tile, of all panels."""
    rest = tuple((names.var(axis.var.name), axis.extent) for axis in found.rest)
    panel = names.var(found.lane.var.name)
    outer = Substitution(names, {axis.var.name: var for axis, (var, _) in zip(found.rest, rest)})
    column = plus(times(panel, tile.width), index(begin))
    packing, outer = _pack(found, tile, column, outer)
    body = packing + _tile(found, tile, index(first_row), column, outer)
    return around((*rest, (panel, count)), kind, body)


def _blocks(strips: int, wanted: int, units: int) -> int:
    """In how many equal parts to cut the row strips so that there are `wanted` units of work."""
    if units >= wanted or strips == 0:
        return min(strips, 1)
    return min((n for n in range(1, strips + 1) if strips % n == 0 and n * units >= wanted), default=strips)


def _pack(found: Contraction, tile: Tile, column: Expr, outer: Substitution) -> tuple[tuple[Stmt, ...], Substitution]:
    """Copy the panel of the packed operand to scratch, [k..][column in panel], and read it there."""
    if found.packed is None:
        return (), outer
    names, load = outer.names, found.packed
    known = facts(found.leaf)
    used = {name for expr in load.index for name in variables(expr, known)}
    loops = [s for s in _summed(found.leaf) if s.var.name in used]
    extents = tuple(extent_of(s) or 0 for s in loops)
    panel = Buffer(names.fresh("panel"), load.buffer.dtype, (*extents, tile.width), "worker")
    counters = [names.var(s.var.name) for s in loops]
    offset = names.var(found.lane.var.name)
    values: dict[str, Expr] = {s.var.name: counter for s, counter in zip(loops, counters)}
    values[found.lane.var.name] = plus(column, offset)
    source = outer.binding(values).expr(load)
    body: tuple[Stmt, ...] = (Store(panel, (*counters, offset), source),)
    body = (loop(offset, tile.width, "unroll", body),)
    for counter, extent in reversed(list(zip(counters, extents))):
        body = (loop(counter, extent, "serial", body),)
    place = Binary("sub", found.lane.var, column)
    moved = Load(panel, (*(s.var for s in loops), place))
    return (Alloc(panel), *body), replace(outer, loads={**outer.loads, load: moved})


def _tile(found: Contraction, tile: Tile, row: Expr, column: Expr, outer: Substitution) -> tuple[Stmt, ...]:
    """One register tile from (row, column) on."""
    lane = outer.names.var("lane")
    jam = _Jam(found, tile, row, column, lane)
    return (loop(lane, tile.lanes, "vector", jam.block(found.leaf, outer, {})),)


@dataclass(frozen=True, slots=True)
class _Jam:
    """Unroll-and-jam: the statements of the leaf for every row and vector of the tile, inside its serial loops.

    Private buffers get one copy per (row, vector). A `Let` is repeated in each group of statements that reads it.
    """

    found: Contraction
    tile: Tile
    row: Expr
    column: Expr
    lane: Expr

    def block(self, statements: tuple[Stmt, ...], outer: Substitution, lets: dict[str, Let]) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        group: list[Stmt] = []
        lets = dict(lets)

        def flush() -> None:
            if any(not isinstance(s, Let) for s in group):
                result.append(self._everywhere(tuple(group), outer, lets))
            lets.update({s.var.name: s for s in group if isinstance(s, Let)})
            group.clear()

        for statement in statements:
            if isinstance(statement, Alloc):
                flush()
                shape = (self.tile.rows, self.tile.vectors, *statement.buffer.shape)
                moved = replace(statement.buffer, name=outer.names.fresh(statement.buffer.name), shape=shape)
                outer = outer.holding(statement.buffer.name, moved)
                result.append(Alloc(moved))
            elif isinstance(statement, For):
                flush()
                counter = outer.names.var(statement.var.name)
                inner = self.block(statement.body, outer.binding({statement.var.name: counter}), lets)
                result.append(For(counter, outer.expr(statement.extent), "serial", inner))
            else:
                group.append(statement)
        flush()
        return tuple(result)

    def _everywhere(self, group: tuple[Stmt, ...], outer: Substitution, lets: dict[str, Let]) -> Stmt:
        r, v = outer.names.var("r"), outer.names.var("v")
        values: dict[str, Expr] = {}
        if self.found.row is not None:
            values[self.found.row.var.name] = plus(self.row, r)
        # The column is `column + place`; a packed panel is indexed by the place alone.
        place = plus(times(v, self.tile.lanes), self.lane)
        values[self.found.lane.var.name] = plus(self.column, place)
        moved = {name: (buffer, (r, v)) for name, (buffer, prefix) in outer.buffers.items()}
        here = replace(outer.binding(values), buffers=moved)
        here = replace(here, loads={load: self._placed(to, place) for load, to in outer.loads.items()})
        body = here.block(_needed(group, lets) + group)
        return loop(r, self.tile.rows, "unroll", (loop(v, self.tile.vectors, "unroll", body),))

    def _placed(self, load: Expr, place: Expr) -> Expr:
        assert isinstance(load, Load)
        return Load(load.buffer, (*load.index[:-1], place))


def _lets_hold(leaf: tuple[Stmt, ...]) -> bool:
    """Whether a `Let` may be evaluated again further down: nothing it reads is stored in the leaf."""
    stored = {s.buffer.name for s in walk(leaf) if isinstance(s, Store)}
    last = max((n for n, s in enumerate(leaf) if isinstance(s, For | Alloc)), default=-1)
    early = [s for n, s in enumerate(leaf) if n < last and isinstance(s, Let)]
    early += [s for outer in leaf if isinstance(outer, For) for s in walk(outer.body) if isinstance(s, Let)]
    return not any(isinstance(e, Load) and e.buffer.name in stored for let in early for e in expressions(let))


def _needed(group: tuple[Stmt, ...], lets: dict[str, Let]) -> tuple[Stmt, ...]:
    """The earlier `Let`s a group reads, in order."""
    wanted: set[str] = set()
    stack: list[Stmt] = list(walk(group))
    while stack:
        for expr in expressions(stack.pop()):
            if isinstance(expr, Var) and expr.name in lets and expr.name not in wanted:
                wanted.add(expr.name)
                stack.append(lets[expr.name])
    return tuple(let for name, let in lets.items() if name in wanted)
