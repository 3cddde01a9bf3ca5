"""Loads and stores of a square of memory, transposed in registers.

In a vector loop, an unrolled loop may read elements that lie far apart from lane to lane and side by side from step to
step: `for lane in vector: for step in unroll: out[step, lane] = x[row + lane, column + step]`. One gather per step
would touch every line of memory as often as there are steps. Instead the row of each lane is read as one vector and
the square is transposed by log2(lanes) rounds of shuffles; step s then takes vector s.

In: the unrolled loop. Out: for each such load the value of every step. Guaranteed: exactly the elements that the loop
reads are read, before the first step instead of during the steps; so nothing the loop stores may be read by it.

Stores of a square wait until the last step and are written as rows: exactly the elements that the loop stores.
"""

from graphc.kernel.affine import loads, stride_of, variables
from graphc.kernel.independence import expressions
from graphc.kernel.ir import Accumulate, For, Let, Load, Store
from graphc_llvm.builder import Builder
from graphc_llvm.expressions import Scope
from graphc_llvm.types import memory, suffix, widen
from graphc_llvm.values import Linear, Value, integer

SQUARES_AHEAD = 4  # how early the rows of a square are prefetched
FEWEST = 3  # steps for which whole rows are read


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
        if isinstance(first, Linear):
            for lane in range(scope.active):
                scope.prefetch(load.buffer, _moved(first, lane), 1, SQUARES_AHEAD)
        rows = [_row(scope, load, first, lane, steps) for lane in range(scope.active)]
        result[load] = [Value(load.dtype, text, scope.lanes) for text in square(scope.builder, load, rows, scope.lanes)]
    return result


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
    kind, align = widen(element, scope.lanes), f"align {store.buffer.dtype.itemsize}"
    rows = square(b, Load(store.buffer, store.index), values, scope.lanes)
    for lane, row in enumerate(rows[: scope.active]):
        pointer = scope.address(store.buffer, _moved(first, lane))
        if steps == scope.lanes:
            b.do(f"store {kind} {row}, ptr {pointer}, {align}")
            continue
        mask = "<" + ", ".join(f"i1 {'true' if n < steps else 'false'}" for n in range(scope.lanes)) + ">"
        spelled = suffix(store.buffer.dtype, scope.lanes, in_memory=True)
        where = [(kind, row), (f"ptr {align}", pointer), (f"<{scope.lanes} x i1>", mask)]
        b.call(f"llvm.masked.store.{spelled}.p0", "void", where)


def _names(load: Load, loop: For) -> set[str]:
    """The variables of the indices except the loop's counter."""
    return {name for expr in load.index for name in variables(expr)} - {loop.var.name}


def _moved(first: Linear, lane: int) -> Linear:
    """The element of one lane."""
    return Linear(first.constant + lane * (first.step or 0), first.terms)


def _row(scope: Scope, load: Load, first: Value | Linear, lane: int, steps: int) -> str:
    """What one lane reads in all steps, as a vector."""
    b, element = scope.builder, memory(load.dtype)
    if isinstance(first, Linear):
        offset: Value | Linear = _moved(first, lane)
    else:
        offset = Value(first.dtype, b.emit(f"extractelement <{scope.lanes} x i64> {first.text}, i64 {lane}"))
    pointer = scope.address(load.buffer, offset)
    vector = widen(element, scope.lanes)
    align = f"align {2 if load.buffer.is_view else load.dtype.itemsize}"
    if steps == scope.lanes:
        return b.emit(f"load {vector}, ptr {pointer}, {align}")
    mask = "<" + ", ".join(f"i1 {'true' if n < steps else 'false'}" for n in range(scope.lanes)) + ">"
    spelled = suffix(load.dtype, scope.lanes, in_memory=True)
    rest = [(f"<{scope.lanes} x i1>", mask), (vector, "zeroinitializer")]
    return b.call(f"llvm.masked.load.{spelled}.p0", vector, [(f"ptr {align}", pointer), *rest])


def square(b: Builder, load: Load, rows: list[str], lanes: int) -> list[str]:
    """The columns of a square given by its rows; rows that are missing are zero."""
    vector = widen(memory(load.dtype), lanes)
    current = rows + ["zeroinitializer"] * (lanes - len(rows))
    distance = lanes // 2
    while distance:
        following = list(current)
        for low in range(lanes):
            if low & distance:
                continue
            x, y = current[low], current[low + distance]
            for target, shift in ((low, 0), (low + distance, distance)):
                picks = ", ".join(f"i32 {_pick(lane, shift, distance, lanes)}" for lane in range(lanes))
                following[target] = b.emit(f"shufflevector {vector} {x}, {vector} {y}, <{lanes} x i32> <{picks}>")
        current = following
        distance //= 2
    return current


def _pick(lane: int, shift: int, distance: int, lanes: int) -> int:
    """Where lane `lane` of a result comes from: the first vector, or (from `lanes` on) the second."""
    return lane + shift if not lane & distance else lanes + lane - distance + shift
