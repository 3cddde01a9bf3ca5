"""Loads and stores of a square of memory, transposed in registers.

In a vector loop, an unrolled loop may read elements that lie far apart from lane to lane and side by side from step to
step: `for lane in vector: for step in unroll: out[step, lane] = x[row + lane, column + step]`. One gather per step
would touch every line of memory as often as there are steps. Instead the row of each lane is read as one vector and
the square is transposed by log2(lanes) rounds of shuffles; step s then takes vector s.

In: the unrolled loop. Out: for each such load the value of every step. Guaranteed: exactly the elements that the loop
reads are read, before the first step instead of during the steps; so nothing the loop stores may be read by it.

Stores of a square wait until the last step and are written as rows: exactly the elements that the loop stores.

LLVM takes about 0.1 ms for each shuffle of a large square. So squares of a kind are transposed by a function that all
phases of a program call. It is compiled in half the time when LLVM cannot look for shuffles that are two rounds at
once, of which there are none.
"""

from functools import cache, partial

from graphc.kernel.affine import loads, stride_of, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, For, Let, Load, Store
from graphc_llvm import host
from graphc_llvm.builder import Builder, Helper
from graphc_llvm.expressions import Scope
from graphc_llvm.spans import first_lanes
from graphc_llvm.types import memory, suffix, widen
from graphc_llvm.values import Linear, Value, integer

SQUARES_AHEAD = 4  # how early the rows of a square are prefetched
REGISTER_BYTES = 64
FEWEST = 3  # steps for which whole rows are read
CALLED_LANES = (8, 16)  # sides of squares that are passed to a function in registers


def transposed_loads(scope: Scope, loop: For, steps: int) -> dict[Load, list[Value]]:
    """The loads of the loop's body that are better read as rows, with their value in each step."""
    if scope.lanes < 4 or not FEWEST <= steps <= scope.lanes or scope.mask != scope.padding:
        return {}
    found: dict[Load, None] = {}
    stored: set[str] = set()
    for statement in loop.body:
        if not isinstance(statement, Let | Store | Accumulate):
            return {}
        if isinstance(statement, Store):
            stored.add(statement.buffer.name)
        elif isinstance(statement, Accumulate):
            stored |= {buffer.name for buffer, _ in statement.targets}
        found |= {load: None for expr in expressions(statement) for load in loads(expr)}
    known = set(scope.values) - {s.var.name for s in loop.body if isinstance(s, Let)}
    result: dict[Load, list[Value]] = {}
    for load in found:
        if load.buffer.name in stored or scope.places[load.buffer.name].lanes > 1 or load.dtype.is_bool:
            continue
        if stride_of(load.buffer, load.index, loop.var) != 1 or not _names(load, loop) <= known:
            continue
        scope.values[loop.var.name] = integer(0)
        first = scope.offset(load.buffer, load.index)
        if first.lanes == 1 or first.step == 1:
            continue
        read = partial(_columns, scope, load, first, steps)
        columns = scope.remembered(load.buffer, ("columns", first, steps), read)
        result[load] = [Value(load.dtype, text, scope.lanes) for text in columns]
    return result


def _columns(scope: Scope, load: Load, first: Value | Linear, steps: int) -> tuple[str, ...]:
    """What all lanes read in each step."""
    if isinstance(first, Linear):
        for lane in range(scope.active):
            scope.prefetch(load.buffer, _moved(first, lane), 1, SQUARES_AHEAD)
    side = _side(steps, scope.lanes, load)
    parts: list[list[str]] = []
    for start in range(0, scope.lanes, side):
        active = range(start, min(start + side, scope.active))
        rows = [_row(scope, load, first, lane, steps, side) for lane in active]
        parts.append(square(scope.builder, load, rows, side, steps))
    return tuple(_joined(scope.builder, load, list(column), side) for column in zip(*parts, strict=True))


def transposed_stores(scope: Scope, loop: For, steps: int) -> list[Store]:
    """The stores of the loop's body that are better written as rows."""
    if scope.lanes < 4 or not FEWEST <= steps <= scope.lanes or scope.mask != scope.padding:
        return []
    if not all(isinstance(statement, Let | Store | Accumulate) for statement in loop.body):
        return []
    touched = [load.buffer.name for s in loop.body for expr in expressions(s) for load in loads(expr)]
    touched += [s.buffer.name for s in loop.body if isinstance(s, Store)]
    touched += [buffer.name for s in loop.body if isinstance(s, Accumulate) for buffer, _ in s.targets]
    known = set(scope.values) - {s.var.name for s in loop.body if isinstance(s, Let)}
    return [
        s
        for s in loop.body
        if isinstance(s, Store)
        and touched.count(s.buffer.name) == 1
        and scope.places[s.buffer.name].lanes == 1
        and stride_of(s.buffer, s.index, loop.var) == 1
        and _names(Load(s.buffer, s.index), loop) <= known
        and _is_far(scope, s, loop)
    ]


def _is_far(scope: Scope, store: Store, loop: For) -> bool:
    """Whether neighbouring lanes store to places that lie apart by a known distance."""
    scope.values[loop.var.name] = integer(0)
    step = scope.offset(store.buffer, store.index).step
    return step is not None and abs(step) > 1


def store_rows(scope: Scope, store: Store, loop: For, values: list[str]) -> None:
    """Write what a store left of every step, given as registers of the type in memory: one row per lane."""
    b, element, steps = scope.builder, memory(store.buffer.dtype), len(values)
    scope.values[loop.var.name] = integer(0)
    first = scope.offset(store.buffer, store.index)
    assert isinstance(first, Linear)
    as_load = Load(store.buffer, store.index)
    side = _side(steps, scope.lanes, as_load)
    kind, align = widen(element, side), f"align {store.buffer.dtype.itemsize}"
    rows: list[str] = []
    for start in range(0, scope.active, side):
        part = values if side == scope.lanes else [_part(b, as_load, v, scope.lanes, start, side) for v in values]
        rows += square(b, as_load, part, side, min(side, scope.active - start))
    scope.forget(store.buffer)
    for lane, row in enumerate(rows):
        pointer = scope.address(store.buffer, _moved(first, lane))
        if steps == side:
            b.do(f"store {kind} {row}, ptr {pointer}, {align}")
            continue
        spelled = suffix(store.buffer.dtype, side, in_memory=True)
        where = [(kind, row), (f"ptr {align}", pointer), (f"<{side} x i1>", first_lanes(steps, side))]
        b.call(f"llvm.masked.store.{spelled}.p0", "void", where)


def _names(load: Load, loop: For) -> set[str]:
    """The variables of the indices except the loop's counter."""
    return {name for expr in load.index for name in variables(expr)} - {loop.var.name}


def _moved(first: Linear, lane: int) -> Linear:
    """The element of one lane."""
    return Linear(first.constant + lane * (first.step or 0), first.terms)


def _side(steps: int, lanes: int, load: Load) -> int:
    """The side of the squares that are transposed: of one register, unless the rows are longer."""
    register = max(REGISTER_BYTES // load.dtype.itemsize, 1)
    return min(max(1 << (steps - 1).bit_length(), register), lanes)


def _joined(b: Builder, load: Load, parts: list[str], lanes: int) -> str:
    """Vectors of `lanes` elements, one after the other, as one."""
    while len(parts) > 1:
        kind = widen(memory(load.dtype), lanes)
        order = f"<{2 * lanes} x i32> <{', '.join(f'i32 {n}' for n in range(2 * lanes))}>"
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [b.emit(f"shufflevector {kind} {x}, {kind} {y}, {order}") for x, y in pairs]
        lanes *= 2
    return parts[0]


def _part(b: Builder, load: Load, vector: str, lanes: int, start: int, count: int) -> str:
    """Elements from `start` on of a vector of `lanes`."""
    kind = widen(memory(load.dtype), lanes)
    order = f"<{count} x i32> <{', '.join(f'i32 {n}' for n in range(start, start + count))}>"
    return b.emit(f"shufflevector {kind} {vector}, {kind} poison, {order}")


def _row(scope: Scope, load: Load, first: Value | Linear, lane: int, steps: int, side: int) -> str:
    """What one lane reads in all steps, as a vector."""
    b, element = scope.builder, memory(load.dtype)
    if isinstance(first, Linear):
        offset: Value | Linear = _moved(first, lane)
    else:
        offset = Value(first.dtype, b.emit(f"extractelement <{scope.lanes} x i64> {first.text}, i64 {lane}"))
    pointer = scope.address(load.buffer, offset)
    vector = widen(element, side)
    align = f"align {2 if load.buffer.is_view else load.dtype.itemsize}"
    if steps == side:
        return b.emit(f"load {vector}, ptr {pointer}, {align}")
    spelled = suffix(load.dtype, side, in_memory=True)
    rest = [(f"<{side} x i1>", first_lanes(steps, side)), (vector, "zeroinitializer")]
    return b.call(f"llvm.masked.load.{spelled}.p0", vector, [(f"ptr {align}", pointer), *rest])


def square(b: Builder, load: Load, rows: list[str], lanes: int, columns: int) -> list[str]:
    """The first columns of a square given by its rows; rows that are missing are zero."""
    vector = widen(memory(load.dtype), lanes)
    bits = lanes * load.dtype.itemsize * 8
    if lanes not in CALLED_LANES or not host.passes_in_registers(lanes, bits):
        return _shuffled(b, vector, rows, lanes, columns)
    name = f"square_{suffix(load.dtype, lanes, in_memory=True)}"
    kind = f"[{lanes} x {vector}]"
    b.declarations.add(f"declare x86_regcallcc {kind} @{name}({', '.join([vector] * lanes)})")
    b.helpers.add(_square_function(name, vector, lanes, bits))
    given = ", ".join(f"{vector} {row}" for row in rows + [_ZERO] * (lanes - len(rows)))
    result = b.emit(f"call x86_regcallcc {kind} @{name}({given})")
    return [b.emit(f"extractvalue {kind} {result}, {n}") for n in range(columns)]


@cache
def _square_function(name: str, vector: str, lanes: int, bits: int) -> Helper:
    """A function of the rows of a square that returns its columns."""
    b = Builder(set())
    columns = _shuffled(b, vector, [f"%r{n}" for n in range(lanes)], lanes, lanes, bits // 32)
    kind = f"[{lanes} x {vector}]"
    result = "poison"
    for n, column in enumerate(columns):
        result = b.emit(f"insertvalue {kind} {result}, {vector} {column}, {n}")
    b.do(f"ret {kind} {result}")
    rows = ", ".join(f"{vector} %r{n}" for n in range(lanes))
    text = b.text(f"define x86_regcallcc {kind} @{name}({rows}) #0")
    return Helper(name, text, tuple(sorted(b.declarations)))


def _shuffled(b: Builder, vector: str, rows: list[str], lanes: int, columns: int, fence: int = 0) -> list[str]:
    """A square by log2(lanes) rounds of shuffles; those that the first columns do not need are left out.

    fence: vectors have the size of so many float32, and LLVM is to take each round as it is; 0: it may look further.
    """
    distances = [1 << n for n in range(lanes.bit_length() - 1)]
    needed = [set(range(columns))]  # positions after each round, the last round first
    for distance in distances:
        needed.append({side for n in needed[-1] for side in (n & ~distance, n | distance)})
    current = dict(enumerate(rows + [_ZERO] * (lanes - len(rows))))
    for distance, wanted in zip(reversed(distances), reversed(needed[:-1]), strict=True):
        picks = [
            f"<{lanes} x i32> <{', '.join(f'i32 {_pick(lane, shift, distance, lanes)}' for lane in range(lanes))}>"
            for shift in (0, distance)
        ]
        following: dict[int, str] = {}
        for target in sorted(wanted):
            x, y = current[target & ~distance], current[target | distance]
            pick = picks[1 if target & distance else 0]
            zero = x == y == _ZERO
            following[target] = _ZERO if zero else b.emit(f"shufflevector {vector} {x}, {vector} {y}, {pick}")
        last = distance == 1
        current = following if last or not fence else {n: _fenced(b, vector, v, fence) for n, v in following.items()}
    return [current[n] for n in range(columns)]


def _fenced(b: Builder, vector: str, value: str, floats: int) -> str:
    """The same bits, of which LLVM does not see where they come from. No instruction comes of it."""
    kind = f"<{floats} x float>"
    as_floats = b.emit(f"bitcast {vector} {value} to {kind}")
    fenced = b.call(f"llvm.arithmetic.fence.v{floats}f32", kind, [(kind, as_floats)])
    return b.emit(f"bitcast {kind} {fenced} to {vector}")


_ZERO = "zeroinitializer"


def _pick(lane: int, shift: int, distance: int, lanes: int) -> int:
    """Where lane `lane` of a result comes from: the first vector, or (from `lanes` on) the second."""
    return lane + shift if not lane & distance else lanes + lane - distance + shift
