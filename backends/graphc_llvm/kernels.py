"""A scheduled kernel becomes one LLVM function per phase, and one that launches the phases in order.

A phase is `void (ptr args, i64 begin, i64 end, ptr scratch)`: `args` holds the addresses of the parameters, then of the
arena scratch; iterations begin..end of a top-level parallel loop, everything for any other phase; `scratch` belongs to
the thread. Neighbouring top-level statements that are not parallel loops share a phase. Names are numbered, so two
kernels that differ in names only have the same text.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from math import prod

from graphc.core.dtypes import int64
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.kernel.ir import Alloc, Binary, Buffer, Const, Expr, For, Kernel, Let, Load, Stmt, Var, index, operands
from graphc.kernel.schedule.traverse import buffers_of, stored_by
from graphc_llvm.builder import Builder, Helper
from graphc_llvm.cost import cost
from graphc_llvm.expressions import Place, Scope
from graphc_llvm.statements import Scratch, StatementEmitter
from graphc_llvm.values import Value

PHASE_SIGNATURE = "{define} void @{name}(ptr %args, i64 %begin, i64 %end, ptr %scratch) #0"


@dataclass(frozen=True, slots=True)
class Phase:
    """One function. `extent` iterations may be shared out to threads; extent 0: one thread does all of it."""

    body: str  # everything after the name of the function
    extent: int
    ns: float  # of one iteration, or of all when one thread does it: an estimate
    reads: frozenset[int]  # positions in `args`
    writes: frozenset[int]
    scratch_bytes: int
    notes: dict[int, str] = field(hash=False)  # line -> the buffer it stores to
    declarations: tuple[str, ...]  # of the functions it calls
    helpers: tuple[Helper, ...] = ()  # those among them that are no intrinsics


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel as text. `phases` are named by the module that holds them."""

    phases: tuple[Phase, ...]

    @property
    def scratch_bytes(self) -> int:
        """Heap scratch one thread needs."""
        return max((phase.scratch_bytes for phase in self.phases), default=0)


def compile_kernel(kernel: Kernel) -> Compiled:
    """Emit all phases. Raises `BackendError` naming the kernel and its lines when something cannot be emitted."""
    buffers = [param.buffer for param in kernel.params]
    buffers += [s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena"]
    lets = [s for s in kernel.body if isinstance(s, Let)]
    try:
        phases = [_emit_phase(group, buffers, lets) for group in _groups(kernel.body)]
    except (BackendError, KeyError) as error:
        where = f" ({', '.join(kernel.sources)})" if kernel.sources else ""
        detail = f"{error} is not visible in its phase" if isinstance(error, KeyError) else str(error)
        raise BackendError(f"cpu backend, kernel {kernel.name}{where}: {detail}") from error
    return Compiled(tuple(phases))


def _groups(body: tuple[Stmt, ...]) -> list[tuple[Stmt, ...]]:
    """The statements of each phase, in order."""
    groups: list[tuple[Stmt, ...]] = []
    serial: list[Stmt] = []
    for statement in body:
        if isinstance(statement, Alloc) and statement.buffer.space == "arena":
            continue
        if isinstance(statement, For) and statement.kind == "parallel":
            if any(not isinstance(s, Let) for s in serial):
                groups.append(tuple(serial))
            serial = []
            groups.append((statement,))
        else:
            serial.append(statement)
    if any(not isinstance(s, Let) for s in serial):
        groups.append(tuple(serial))
    return groups


def _emit_phase(group: tuple[Stmt, ...], buffers: Sequence[Buffer], lets: Sequence[Let]) -> Phase:
    b = Builder(set())
    scope = Scope(b)
    used = buffers_of(group)
    for number, buffer in enumerate(buffers):
        scope.places[buffer.name] = Place(f"%p{number}")
        if buffer.name in used:
            b.prologue.append(f"  %a{number} = getelementptr ptr, ptr %args, i64 {number}")
            b.prologue.append(f"  %p{number} = load ptr, ptr %a{number}, align 8")
    for let in lets:
        if let not in group and not _reads_memory(let):
            scope.values[let.var.name] = scope.lazily(let.value)
    scratch = Scratch("%scratch")
    emitter = StatementEmitter(scope, scratch)
    nest = _parallel_nest(group[0])
    extent = 0
    if nest:
        extent = _shared_loop(nest, emitter)
    else:
        emitter.block(group)
    b.do("ret void")
    ns = cost(nest[-1].body if nest else group)
    reads, writes = (
        frozenset(k for k, x in enumerate(buffers) if x.name in names) for names in (used, stored_by(group))
    )
    declarations = tuple(sorted(b.declarations))
    helpers = tuple(sorted(b.helpers, key=lambda helper: helper.name))
    return Phase(b.text(""), extent, ns, reads, writes, scratch.peak, b.line_notes(), declarations, helpers)


def _parallel_nest(statement: Stmt) -> list[For]:
    """The perfectly nested parallel loops from here inwards."""
    nest: list[For] = []
    while isinstance(statement, For) and statement.kind == "parallel":
        nest.append(statement)
        if len(statement.body) != 1:
            break
        statement = statement.body[0]
    return nest


FEWEST_INSIDE = 8  # iterations of the last loop that pay for a loop of their own


def _shared_loop(nest: Sequence[For], emitter: StatementEmitter) -> int:
    """All combinations of the counters, the last one fastest, from %begin to %end. Returns how many there are.

    The last loop is one inside of another over the rest where it is long, so that only a row's first iteration finds
    out where it is.
    """
    extents = []
    for loop in nest:
        if not isinstance(loop.extent, Const):
            raise BackendError("a parallel loop at the top needs a constant extent")
        extents.append(int(loop.extent.value))
    total, scope = prod(extents), emitter.scope
    begin, end, body = Value(int64, "%begin"), Value(int64, "%end"), nest[-1].body
    if total == 0:
        return 0
    if len(nest) == 1 or extents[-1] < FEWEST_INSIDE:
        flat = For(Var("@flat"), index(total), "serial", body)
        emitter.counted(flat, begin, end, lambda: _digits(scope, flat.var, nest, extents))
        return total
    row = For(Var("@row"), index(total // extents[-1]), "serial", ())
    scope.values |= {"@begin": begin, "@end": end}
    start = Binary("mul", row.var, index(extents[-1]))
    first = Binary("max", Binary("sub", Var("@begin"), start), index(0))
    last = Binary("min", Binary("sub", Var("@end"), start), index(extents[-1]))

    def inside() -> None:
        _digits(scope, row.var, nest[:-1], extents[:-1])
        emitter.counted(replace(nest[-1], kind="serial"), scope.lazily(first), scope.lazily(last))

    rows = Binary("div", Binary("add", Var("@end"), index(extents[-1] - 1)), index(extents[-1]))
    before = scope.evaluate(Binary("div", Var("@begin"), index(extents[-1])))
    emitter.counted(row, before, scope.evaluate(rows), inside)
    return total


def _digits(scope: Scope, flat: Var, nest: Sequence[For], extents: Sequence[int]) -> None:
    """The counters of a nest from the number of an iteration."""
    below = prod(extents)
    for position, (loop, extent) in enumerate(zip(nest, extents, strict=True)):
        below //= extent
        digit: Expr = flat if below == 1 else Binary("div", flat, index(below))
        digit = digit if position == 0 else Binary("rem", digit, index(extent))
        value = scope.values[loop.var.name] = scope.lazily(digit)
        if isinstance(value, Value):
            scope.builder.bound(value.text, extent)


def _reads_memory(let: Let) -> bool:
    stack = [let.value]
    while stack:
        expr = stack.pop()
        if isinstance(expr, Load):
            return True
        stack += operands(expr)
    return False
