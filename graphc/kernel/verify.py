"""The loop IR's verifier. In: a kernel. Out: nothing, or `VerifyError` naming the kernel and the statement.

A kernel is correct when

Names
- parameter, scratch and variable names are each unique in the kernel, and identifiers;
- a `Var` is used only where its `For` or `Let` is in scope, with the dtype it was defined with; counters are int64;
- a `Buffer` is used only where it is a parameter or its `Alloc` is in scope, equal to its definition; or it is
  `in_pairs` of an "in" parameter, and read.

Types
- operands of an operator, and the sides of a select or compare, have one dtype; conditions are bool;
- floats take no bit operation or shift; integers no sqrt, floor, ceil, trunc, rint; bool only and, or, xor, not, min,
  max and compare; fma is for floats; bitcast keeps the width; constants fit their dtype;
- nothing is computed or compared in a half type, and it is cast from and to float32 only; `DotPair` takes two uint32
  and a float32;
- an access has one integer index per dimension; a stored value has the buffer's dtype;
- `Accumulate` has one target, or for argmax and argmin two of which the second is an integer; "and" and "or" are not
  for floats.

Structure
- extents of all but serial loops are constants; no extent is negative; `While` has a positive bound;
- a block loop is a phase, or all that a block loop holds; a thread loop is inside a block loop, and not inside a
  parallel or vector loop;
- `Alloc`: "arena" at the top level only; "shared" inside a block loop; "register" and "worker" anywhere below or at the
  top; never "param";
- what a library gets is scratch, "worker" or "register", allocated inside all loops around that are not serial, none of
  which is a vector loop;
- an "in" parameter is never stored to; `aliases_ok` names "in" parameters of the same size in bytes.

Bounds
- no index is out of bounds where interval arithmetic over loop counters, `Let`s and enclosing conditions decides it:
  an affine index over counters must be provably inside unless a condition the analysis cannot read encloses it;
  any other index must not be provably outside.

Independence
- parallel, block, thread: no element of a buffer from outside the loop is stored by one iteration and accessed by
  another;
- vector: no statement stores to one element from two lanes.
  Indices that are not affine in the counters prove nothing, so a scatter belongs in serial loops; a store that says it
  is `distinct` is believed not to meet itself.
"""

from collections.abc import Iterator
from dataclasses import field

from graphc.core.dtypes import DType, bfloat16, bool_, float32, int64, uint32
from graphc.core.errors import VerifyError
from graphc.core.records import dataclass
from graphc.kernel.affine import NOTHING, Facts, Interval, bounds, loads, normal, variables
from graphc.kernel.independence import Access, Scope, conflict, inside_loop
from graphc.kernel.ir import (
    INDEPENDENT,
    Accumulate,
    Alloc,
    Binary,
    Bitcast,
    Buffer,
    CallLibrary,
    Cast,
    Compare,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
    in_pairs,
    operands,
)


def verify(kernel: Kernel) -> None:
    """Raise `VerifyError` unless every invariant of this module holds."""
    try:
        _Verifier(kernel).run()
    except VerifyError as error:
        raise VerifyError(f"kernel {kernel.name}: {error}") from None


@dataclass(slots=True)
class _Loop:
    """An open loop that is not serial: buffers visible outside of it, and the accesses made inside."""

    loop: For
    shared: frozenset[str]
    facts: Facts
    accesses: list[Access] = field(default_factory=list)


class _Verifier:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names: set[str] = set()
        self.vars: dict[str, DType] = {}
        self.buffers: dict[str, Buffer] = {}
        self.read_only: set[str] = set()
        self.facts = NOTHING
        self.open_loops: list[_Loop] = []
        self.opaque_guards: list[Expr] = []
        self.depth = 0

    # ------------------------------------------------------------------------------------------------ structure

    def run(self) -> None:
        for param in self.kernel.params:
            buffer = param.buffer
            self.define(buffer.name)
            self.buffers[buffer.name] = buffer
            _require(buffer.space == "param", f"parameter {buffer.name} has space {buffer.space}")
            _require(all(extent >= 0 for extent in buffer.shape), f"{buffer.name} has a negative extent")
            if param.mode == "in":
                self.read_only.add(buffer.name)
        sizes = {p.buffer.name: p.buffer.nbytes for p in self.kernel.params if p.mode == "in"}
        for param in self.kernel.params:
            for other in param.aliases_ok:
                same = param.mode == "out" and sizes.get(other) == param.buffer.nbytes
                _require(same, f"out parameter {param.buffer.name} cannot alias {other}")
        self.block(self.kernel.body)

    def define(self, name: str) -> None:
        _require(name.isidentifier(), f"{name!r} is not a name")
        _require(name not in self.names, f"{name} is defined twice")
        self.names.add(name)

    def block(self, statements: tuple[Stmt, ...]) -> None:
        scope = dict(self.vars), dict(self.buffers), self.facts
        self.depth += 1
        for statement in statements:
            self.statement(statement)
        self.depth -= 1
        self.vars, self.buffers, self.facts = scope

    def statement(self, statement: Stmt) -> None:
        match statement:
            case For():
                self.loop(statement)
            case Let(var, value):
                self.expr(value)
                _require(value.dtype == var.dtype, f"let {var.name}: {var.dtype} = {value.dtype}")
                self.define(var.name)
                self.vars[var.name] = var.dtype
                self.facts = self.facts.with_let(var, value)
            case Store(buffer, idx, value, distinct):
                self.expr(value)
                self.access(buffer, idx, stored=True, distinct=distinct)
                _require(value.dtype == buffer.dtype, f"store of {value.dtype} to {buffer.name} ({buffer.dtype})")
            case Accumulate():
                self.accumulate(statement)
            case If(cond, then, orelse):
                self.condition(cond, then, True)
                self.condition(cond, orelse, False)
            case While(cond, bound, body):
                _require(bound > 0, f"while: the bound is {bound}")
                self.condition(cond, body, True)
            case Alloc(buffer):
                self.alloc(buffer)
            case Prefetch(buffer, idx):
                self.place(buffer, idx, stored=False)
            case CallLibrary(function, buffers):
                for buffer in buffers:
                    self.handed_over(function, buffer)

    def loop(self, loop: For) -> None:
        self.expr(loop.extent)
        _require(loop.extent.dtype == int64, f"for {loop.var.name}: the extent is {loop.extent.dtype}, not int64")
        _require(loop.var.dtype == int64, f"for {loop.var.name}: the counter is {loop.var.dtype}, not int64")
        constant = loop.kind == "serial" or isinstance(loop.extent, Const)
        _require(constant, f"for {loop.var.name}: the extent of a {loop.kind} loop must be constant")
        extent = bounds(loop.extent, self.facts)
        _require(extent.high is None or extent.high >= 0, f"for {loop.var.name}: negative extent")
        self.nesting(loop)
        self.define(loop.var.name)
        before = self.vars, self.facts
        self.vars = {**self.vars, loop.var.name: int64}
        self.facts = inside_loop(loop, self.facts)
        if loop.kind in _NOT_SERIAL:
            self.open_loops.append(_Loop(loop, frozenset(self.buffers), self.facts))
        self.block(loop.body)
        if loop.kind in _NOT_SERIAL:
            self.independent(self.open_loops.pop())
        self.vars, self.facts = before

    def nesting(self, loop: For) -> None:
        """Where block and thread loops may stand."""
        around = [each.loop for each in self.open_loops]
        if loop.kind == "block":
            alone = bool(around) and around[-1].kind == "block" and around[-1].body == (loop,)
            _require(self.depth == 1 or alone, f"for {loop.var.name}: a block loop is a phase of its own")
        if loop.kind == "thread":
            kinds = {each.kind for each in around}
            fits = "block" in kinds and kinds <= {"block", "thread"}
            _require(fits, f"for {loop.var.name}: a thread loop is inside block and thread loops only")

    def condition(self, cond: Expr, body: tuple[Stmt, ...], holds: bool) -> None:
        self.expr(cond)
        _require(cond.dtype == bool_, f"a condition is {cond.dtype}, not bool")
        before = self.facts
        self.facts = self.facts.with_guard(cond, holds)
        read = len(self.facts.guards) > len(before.guards)
        if not read:
            self.opaque_guards.append(cond)
        self.block(body)
        if not read:
            self.opaque_guards.pop()
        self.facts = before

    def accumulate(self, statement: Accumulate) -> None:
        pair = statement.combine in ("argmax", "argmin")
        count = 2 if pair else 1
        fits = len(statement.targets) == len(statement.values) == count
        _require(fits, f"accumulate {statement.combine} takes {count} target(s) and value(s)")
        for (buffer, idx), value in zip(statement.targets, statement.values, strict=True):
            self.expr(value)
            self.access(buffer, idx, stored=True)
            _require(value.dtype == buffer.dtype, f"accumulate of {value.dtype} into {buffer.name} ({buffer.dtype})")
        dtype = statement.targets[-1 if pair else 0][0].dtype
        first = statement.targets[0][0].dtype
        _require(not first.is_half, f"accumulate {statement.combine} of {first}")
        if pair:
            _require(dtype.is_integer, f"accumulate {statement.combine}: the index is {dtype}")
        elif statement.combine in ("and", "or"):
            _require(not dtype.is_float, f"accumulate {statement.combine} of {dtype}")
        elif statement.combine in ("add", "mul"):
            _require(not dtype.is_bool, f"accumulate {statement.combine} of {dtype}")

    def alloc(self, buffer: Buffer) -> None:
        _require(buffer.space != "param", f"alloc {buffer.name}: space param is for parameters")
        top = self.depth == 1
        _require(buffer.space != "arena" or top, f"alloc {buffer.name}: arena scratch belongs at the top level")
        in_block = any(each.loop.kind == "block" for each in self.open_loops)
        _require(buffer.space != "shared" or in_block, f"alloc {buffer.name}: shared scratch belongs to a block loop")
        self.define(buffer.name)
        self.buffers[buffer.name] = buffer

    def handed_over(self, function: str, buffer: Buffer) -> None:
        """A buffer that a library may read and write."""
        _require(self.buffers.get(buffer.name) == buffer, f"call {function}: {buffer.name} is not allocated here")
        private = buffer.space in ("worker", "register") and not any(
            buffer.name in loop.shared or loop.loop.kind == "vector" for loop in self.open_loops
        )
        _require(private, f"call {function}: {buffer.name} is no scratch of its own of the thread that calls")

    # ---------------------------------------------------------------------------------------------- expressions

    def expr(self, expr: Expr) -> None:
        for operand in operands(expr):
            if not isinstance(expr, Load):
                self.expr(operand)
        match expr:
            case Var(name, dtype):
                _require(name in self.vars, f"{name} is used before it is defined")
                _require(self.vars[name] == dtype, f"{name} is {self.vars[name]}, used as {dtype}")
            case Load(buffer, idx):
                self.access(buffer, idx, stored=False)
            case _:
                problem = _type_problem(expr)
                _require(problem is None, str(problem))

    def access(self, buffer: Buffer, idx: tuple[Expr, ...], stored: bool, distinct: bool = False) -> None:
        self.place(buffer, idx, stored)
        for axis, (extent, index) in enumerate(zip(buffer.shape, idx, strict=True)):
            self.in_bounds(buffer, axis, extent, index)
        for loop in self.open_loops:
            if buffer.name in loop.shared:
                loop.accesses.append(Access(buffer, idx, stored, self.facts, distinct))

    def place(self, buffer: Buffer, idx: tuple[Expr, ...], stored: bool) -> None:
        """Everything about an access but its bounds."""
        known = self.buffers.get(buffer.name)
        _require(known is not None, f"{buffer.name} is used before it is allocated")
        if buffer.is_view:
            pairs = known is not None and known.dtype == bfloat16 and known.shape[-1:] and known.shape[-1] % 2 == 0
            fits = pairs and known is not None and in_pairs(known) == buffer and buffer.name in self.read_only
            _require(bool(fits) and not stored, f'{buffer.name} is no "in" parameter of pairs of bfloat16')
        else:
            _require(known == buffer, f"{buffer.name} is used with another type than it has")
        _require(not stored or buffer.name not in self.read_only, f'store to the "in" parameter {buffer.name}')
        rank = len(buffer.shape)
        _require(len(idx) == rank, f"{buffer.name} has {rank} dimensions, {len(idx)} indices")
        for axis, index in enumerate(idx):
            self.expr(index)
            _require(index.dtype.is_integer, f"{buffer.name}: index {axis} is {index.dtype}")

    def in_bounds(self, buffer: Buffer, axis: int, extent: int, index: Expr) -> None:
        found = bounds(index, self.facts)
        if found.low is not None and found.high is not None and found.low > found.high:
            return  # the conditions around it cannot hold: never executed
        place = f"{buffer.name}{list(buffer.shape)}: index {axis} is in [{found.low}, {found.high}]"
        _require(not found.outside(0, extent - 1), f"{place}, out of bounds")
        if found.within(0, extent - 1):
            return
        form = normal(index, self.facts)
        if any(loads(atom) or not isinstance(atom, Var) for atom, _ in form.terms):
            return
        names = {name for atom, _ in form.terms for name in variables(atom, self.facts)}
        if not all(self.facts.ranges.get(name, Interval()).high is not None for name in names):
            return
        guarded = any(names & variables(cond, self.facts) for cond in self.opaque_guards)
        _require(guarded, f"{place}, which may be out of bounds")

    # --------------------------------------------------------------------------------------------- independence

    def independent(self, found: _Loop) -> None:
        loop = found.loop
        lockstep = loop.kind == "vector"
        written = {access.buffer.name for access in found.accesses if access.stored}
        scope = Scope(
            loop,
            frozenset(found.facts.ranges) - {loop.var.name},
            frozenset(_parallel_counters(loop.body)) if lockstep else None,
            found.shared - written,
        )
        for first, second in _pairs(found.accesses, lockstep):
            if conflict(first, second, scope):
                kind = "lanes" if lockstep else "iterations"
                raise VerifyError(
                    f"two {kind} of the {loop.kind} loop {loop.var.name} may meet at one element of {first.buffer.name}"
                )


def _pairs(accesses: list[Access], lockstep: bool) -> Iterator[tuple[Access, Access]]:
    """Accesses that must not meet: a store and anything in parallel loops, a store and itself in vector loops."""
    unique = list(dict.fromkeys(accesses))
    for position, first in enumerate(unique):
        if first.stored:
            yield first, first
        if lockstep:
            continue
        for second in unique[:position]:
            if first.buffer == second.buffer and (first.stored or second.stored):
                yield first, second


def _parallel_counters(body: tuple[Stmt, ...]) -> Iterator[str]:
    """Counters of loops below that are not serial."""
    for statement in body:
        match statement:
            case For(var, _, kind, inner):
                if kind in _NOT_SERIAL:
                    yield var.name
                yield from _parallel_counters(inner)
            case If(_, then, orelse):
                yield from _parallel_counters(then)
                yield from _parallel_counters(orelse)
            case While(_, _, inner):
                yield from _parallel_counters(inner)


_NOT_SERIAL = (*INDEPENDENT, "vector")
_FLOAT_ONLY = ("sqrt", "floor", "ceil", "trunc", "rint")
_BITS = ("and", "or", "xor", "shl", "shr")
_BOOL = ("and", "or", "xor", "min", "max")


def _type_problem(expr: Expr) -> str | None:
    """What is wrong with the dtypes of one expression node."""
    computes = isinstance(expr, Unary | Binary | Compare | Fma)
    half = next((operand.dtype for operand in operands(expr) if operand.dtype.is_half), None) if computes else None
    if half is not None:
        return f"{getattr(expr, 'op', 'fma')} of {half}; cast to float32"
    match expr:
        case Const(value, dtype):
            return None if _fits(value, dtype) else f"constant {value!r} is no {dtype}"
        case Unary(op, x):
            if op in _FLOAT_ONLY:
                ok = x.dtype.is_float
            elif op == "not":
                ok = not x.dtype.is_float
            else:
                ok = not x.dtype.is_bool
            return None if ok else f"{op} of {x.dtype}"
        case Binary(op, lhs, rhs):
            if lhs.dtype != rhs.dtype:
                return f"{op} of {lhs.dtype} and {rhs.dtype}"
            if lhs.dtype.is_float:
                ok = op not in _BITS
            else:
                ok = not lhs.dtype.is_bool or op in _BOOL
            if ok and op in ("shl", "shr") and isinstance(rhs, Const):
                ok = 0 <= rhs.value < lhs.dtype.bits
            return None if ok else f"{op} of {lhs.dtype}"
        case Compare(op, lhs, rhs):
            return None if lhs.dtype == rhs.dtype else f"{op} of {lhs.dtype} and {rhs.dtype}"
        case Select(cond, a, b):
            ok = cond.dtype == bool_ and a.dtype == b.dtype
            return None if ok else f"select of {cond.dtype}, {a.dtype}, {b.dtype}"
        case Bitcast(x, dtype):
            ok = x.dtype.bits == dtype.bits and x.dtype.is_bool == dtype.is_bool
            return None if ok else f"bitcast of {x.dtype} to {dtype}"
        case Fma(a, b, c):
            ok = a.dtype == b.dtype == c.dtype and c.dtype.is_float
            return None if ok else f"fma of {a.dtype}, {b.dtype}, {c.dtype}"
        case DotPair(a, b, c):
            ok = (a.dtype, b.dtype, c.dtype) == (uint32, uint32, float32)
            return None if ok else f"dot_pair of {a.dtype}, {b.dtype}, {c.dtype}"
        case Cast(x, dtype):
            ok = not (x.dtype.is_half or dtype.is_half) or float32 in (x.dtype, dtype) or x.dtype == dtype
            return None if ok else f"cast of {x.dtype} to {dtype}; go through float32"
        case Var() | Load():
            return None


def _fits(value: bool | int | float, dtype: DType) -> bool:
    if dtype.is_bool:
        return isinstance(value, bool)
    if dtype.is_float:
        return isinstance(value, float)
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "int" else 0
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < low + (1 << dtype.bits)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise VerifyError(message)
