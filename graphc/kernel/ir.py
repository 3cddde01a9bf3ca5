"""The loop IR. Everything a kernel can say fits this file.

A `Kernel` is a list of *phases* over named, statically shaped, row-major buffers. Each top-level statement is a phase:
all of it is finished before the next begins. A phase that is a `For(kind="parallel")` may run its iterations on
any thread in any order; every other phase runs on one thread.

Order is meaning: a kernel computes what its statements say in the order they say it, so float results do not
depend on threads or vector width. A backend may only do what keeps every bit.

Expressions are pure. Integer arithmetic wraps. `div` and `rem` truncate towards zero, and give 0 for a zero divisor.
`min` and `max` propagate NaN and order -0 below +0. `shr` is arithmetic on signed and logical on unsigned integers;
shift counts are below the width. `Cast` from float to integer truncates, saturates, and turns NaN into 0.
`Fma` rounds once; no other expression may be contracted.

Half types (bfloat16, float16) are held, moved, selected, and cast to and from float32 (to nearest, ties to even; NaN
stays NaN; small numbers are not flushed); nothing is computed in them. `DotPair` alone may treat what is smaller than
the smallest normal float32 as zero.

A `For(kind="vector")` runs its iterations in lockstep, one lane each (SPMD): a statement takes effect in all lanes
before the next one starts, `If` inside it masks lanes, an `Alloc` inside it is private to each lane.

For machines whose threads come in blocks, a phase may be a `For(kind="block")`, or several nested directly: a
`parallel` loop each of whose iterations belongs to one block of threads. Inside it the iterations of a
`For(kind="thread")` are independent too and belong to threads of the block, or, when there are thread loops inside
them, to a team of threads each. What follows a thread loop begins when all its iterations are finished; there is no
barrier to forget, since the emitter puts one where threads could see the difference. What a block or a team does
outside of thread loops happens once.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from graphc.core.dtypes import DType, bool_, int64, uint32
from graphc.core.records import dataclass

Space = Literal["param", "register", "worker", "shared", "arena"]
# param: given by the plan; register: small, private, meant to live in registers; worker: scratch private to the
# iteration of the parallel loop that allocates it; shared: scratch of a block or team of threads, in memory they all
# see; arena: scratch shared by all phases of a kernel, allocated at the top level.


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named block of `shape` elements, row-major, 64-byte aligned at its start unless the plan says otherwise.

    is_view: the memory of the "in" parameter of that name, which is of bfloat16, read in pairs (see `in_pairs`).
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    space: Space = "param"
    is_view: bool = False

    @property
    def size(self) -> int:
        """Elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


# ---------------------------------------------------------------------------------------------------- expressions

UnaryOp = Literal["neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint", "not"]  # rint: ties to even; not: bitwise
BinaryOp = Literal["add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr"]
CompareOp = Literal["eq", "ne", "lt", "le", "gt", "ge"]  # ordered, except ne: NaN != NaN is true


@dataclass(frozen=True, slots=True)
class Const:
    value: bool | int | float
    dtype: DType


@dataclass(frozen=True, slots=True)
class Var:
    """A loop counter (int64) or a `Let` name. Names are unique in a kernel."""

    name: str
    dtype: DType = int64


@dataclass(frozen=True, slots=True)
class Load:
    buffer: Buffer
    index: tuple["Expr", ...]

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


@dataclass(frozen=True, slots=True)
class Unary:
    op: UnaryOp
    x: "Expr"

    @property
    def dtype(self) -> DType:
        return self.x.dtype


@dataclass(frozen=True, slots=True)
class Binary:
    op: BinaryOp
    lhs: "Expr"
    rhs: "Expr"

    @property
    def dtype(self) -> DType:
        return self.lhs.dtype


@dataclass(frozen=True, slots=True)
class Compare:
    op: CompareOp
    lhs: "Expr"
    rhs: "Expr"

    @property
    def dtype(self) -> DType:
        return bool_


@dataclass(frozen=True, slots=True)
class Select:
    """`on_true if cond else on_false`; both sides are evaluated (loads in them must be in bounds)."""

    cond: "Expr"
    on_true: "Expr"
    on_false: "Expr"

    @property
    def dtype(self) -> DType:
        return self.on_true.dtype


@dataclass(frozen=True, slots=True)
class Cast:
    """Value-preserving conversion as far as the target can hold it (see the module's rules)."""

    x: "Expr"
    dtype: DType


@dataclass(frozen=True, slots=True)
class Bitcast:
    """The same bits read as another dtype of the same width."""

    x: "Expr"
    dtype: DType


@dataclass(frozen=True, slots=True)
class Fma:
    """`a * b + c` rounded once."""

    a: "Expr"
    b: "Expr"
    c: "Expr"

    @property
    def dtype(self) -> DType:
        return self.c.dtype


@dataclass(frozen=True, slots=True)
class DotPair:
    """Two steps of a chain of products of bfloat16: `fma(low(a), low(b), fma(high(a), high(b), c))` in float32.

    a and b are uint32 that hold two bfloat16 each, `low` in the low half. What is not normal in float32 (an operand, or
    the result of either step) may be taken as zero of its sign: the dot product instructions of x86 do that.
    """

    a: "Expr"
    b: "Expr"
    c: "Expr"

    @property
    def dtype(self) -> DType:
        return self.c.dtype


Expr = Const | Var | Load | Unary | Binary | Compare | Select | Cast | Bitcast | Fma | DotPair

# ----------------------------------------------------------------------------------------------------- statements

LoopKind = Literal["serial", "parallel", "vector", "unroll", "block", "thread"]
INDEPENDENT: tuple[LoopKind, ...] = ("parallel", "block", "thread")  # no iteration touches what another one writes
Combine = Literal["add", "mul", "min", "max", "and", "or", "argmax", "argmin"]


@dataclass(frozen=True, slots=True)
class For:
    """`for var in range(extent)`. `extent` is constant; in serial loops it may depend on outer counters."""

    var: Var
    extent: Expr
    kind: LoopKind
    body: tuple["Stmt", ...]


@dataclass(frozen=True, slots=True)
class Let:
    """Name a value for the rest of the block."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Store:
    """`distinct`: while the outermost independent loop around it runs, this statement stores to no element twice, and
    nothing else in the loop touches the buffer. Whoever writes it vouches for that: the places were counted out before,
    and no index shows it (the interpreter checks it).
    """

    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Accumulate:
    """`targets = combine(targets, values)`, an associative combine over a tuple.

    add, mul, min, max, and, or take one target. argmax and argmin take (value, index): the other pair replaces the
    target when its value is larger (smaller), or equal with a smaller index; the first NaN wins over everything.
    """

    targets: tuple[tuple[Buffer, tuple[Expr, ...]], ...]
    values: tuple[Expr, ...]
    combine: Combine


@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: tuple["Stmt", ...]
    orelse: tuple["Stmt", ...] = ()


@dataclass(frozen=True, slots=True)
class While:
    """Run `body` while `cond` holds, at most `bound` times."""

    cond: Expr
    bound: int
    body: tuple["Stmt", ...]


@dataclass(frozen=True, slots=True)
class Alloc:
    """Scratch for the rest of the block; its contents are undefined until stored."""

    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Prefetch:
    """A hint: `buffer[index]` will soon be read. It changes no value, and the place may lie outside the buffer."""

    buffer: Buffer
    index: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class CallLibrary:
    """Call a function of LAPACK (`graphc.core.lapack`) with the addresses of these buffers, numbers and letters too.

    It may read and write all of them. They are scratch that the thread has to itself: allocated inside every loop
    around the call that is not serial, none of which is a vector loop.
    """

    function: str
    buffers: tuple[Buffer, ...]


Stmt = For | Let | Store | Accumulate | If | While | Alloc | Prefetch | CallLibrary

# --------------------------------------------------------------------------------------------------------- kernel

Mode = Literal["in", "out", "inout"]


@dataclass(frozen=True, slots=True)
class Param:
    """A buffer the plan passes in. `source` names the tensor value and user line it carries, for people.

    An "out" parameter may lie at the address of an "in" parameter of the same size when `aliases_ok` names that
    parameter: the kernel reads each element of it before (or in the same iteration, ahead of) writing that element.
    """

    buffer: Buffer
    mode: Mode
    source: str = ""
    aliases_ok: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """A named function over buffers. `flops` counts float operations; `sources` are the user lines inside."""

    name: str
    params: tuple[Param, ...]
    body: tuple[Stmt, ...]
    flops: int = 0
    sources: tuple[str, ...] = ()

    @property
    def structure(self) -> tuple[object, ...]:
        """What it computes: equal for kernels that differ in their name and source lines only."""
        return (tuple((p.buffer, p.mode, p.aliases_ok) for p in self.params), self.body)


# ---------------------------------------------------------------------------------------------------- small helpers


def in_pairs(buffer: Buffer) -> Buffer:
    """A bfloat16 parameter whose last extent is even, to be read as uint32: two elements each, the first one low."""
    *outer, last = buffer.shape
    return Buffer(buffer.name, uint32, (*outer, last // 2), buffer.space, is_view=True)


def index(value: int) -> Const:
    """An int64 constant."""
    return Const(value, int64)


_OPERANDS: dict[type, Callable[[Any], tuple[Expr, ...]]] = {
    Const: lambda e: (),
    Var: lambda e: (),
    Load: lambda e: e.index,
    Unary: lambda e: (e.x,),
    Cast: lambda e: (e.x,),
    Bitcast: lambda e: (e.x,),
    Binary: lambda e: (e.lhs, e.rhs),
    Compare: lambda e: (e.lhs, e.rhs),
    Select: lambda e: (e.cond, e.on_true, e.on_false),
    Fma: lambda e: (e.a, e.b, e.c),
    DotPair: lambda e: (e.a, e.b, e.c),
}


def operands(expr: Expr) -> tuple[Expr, ...]:
    """Direct sub-expressions. A table by type, as every walk over expressions comes here."""
    return _OPERANDS[type(expr)](expr)


def walk(statements: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer before inner, in program order."""
    stack: list[Stmt] = list(reversed(statements))
    while stack:
        statement = stack.pop()
        yield statement
        if isinstance(statement, For | While):
            stack += reversed(statement.body)
        elif isinstance(statement, If):
            stack += reversed(statement.orelse)
            stack += reversed(statement.then)
