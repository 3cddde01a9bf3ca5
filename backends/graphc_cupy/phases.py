"""A scheduled kernel becomes CUDA functions, launched one after the other: one per phase, or for small phases together.

The arguments of a function are the addresses of the parameters and the arena scratch that it uses, in the order of the
kernel. Names inside are those of the kernel; the function is named by a hash of its text, so that equal phases of any
kernel are one function.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.core.errors import BackendError
from graphc.kernel.affine import loads
from graphc.kernel.ir import Alloc, Buffer, For, Kernel, Let, Stmt, Var, index
from graphc_cupy.expressions import Place, Scope
from graphc_cupy.products import Compute, Matmul, Product, product_of
from graphc_cupy.recipes import MOST_SHARED, shared_bytes
from graphc_cupy.spelling import memory
from graphc_cupy.statements import StatementEmitter, touched
from graphc_cupy.teams import Layout, iterations, layout

Group = tuple[Stmt, ...]  # the statements of a phase


@dataclass(frozen=True, slots=True)
class Phase:
    """One CUDA function: a phase, or several that are one block each.

    args: positions in the kernel's parameters followed by its arena scratch.
    """

    name: str
    text: str
    blocks: int
    threads: int
    shared_bytes: int
    args: tuple[int, ...]
    reads: frozenset[int]  # positions, likewise
    writes: frozenset[int]
    notes: dict[int, str] = field(hash=False, compare=False)  # line of the text -> the buffer it stores to


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """A product that a library computes. args: left, right, result, as of a `Phase`; `offsets` in bytes from there."""

    matmul: Matmul
    args: tuple[int, int, int]
    offsets: tuple[int, int, int]

    @property
    def text(self) -> str:
        """What it computes, for people."""
        found = self.matmul
        shape = f"[{found.result.columns},{found.depth}] @ [{found.depth},{found.result.rows}]"
        return f"{found.count} x {shape} in {found.compute}, by cuBLASLt"


def phases(kernel: Kernel, library: Compute | None = None) -> tuple[Phase | LibraryCall, ...]:
    """Emit all phases. Raises `BackendError` naming the kernel and its lines when something cannot be emitted.

    library: what products are computed in that the schedule left to one.
    """
    buffers = [param.buffer for param in kernel.params]
    buffers += [s.buffer for s in kernel.body if isinstance(s, Alloc) and s.buffer.space == "arena"]
    lets = [s for s in kernel.body if isinstance(s, Let)]
    writable = {param.buffer.name for param in kernel.params if param.mode != "in"}
    memory = _memory(kernel)
    try:
        return tuple(
            _call(groups, buffers, library)
            or _emit(groups, buffers, lets, writable | {b.name for b in buffers if b.space == "arena"}, memory)
            for groups in _launches(_groups(kernel.body, library), library)
        )
    except BackendError as error:
        where = f" ({', '.join(kernel.sources)})" if kernel.sources else ""
        raise BackendError(f"gpu backend, kernel {kernel.name}{where}: {error}") from error


def _memory(kernel: Kernel) -> dict[str, str]:
    """Parameters that may lie in the memory of others, those others too, and one name for all of them."""
    names: dict[str, str] = {}
    for param in kernel.params:
        group = {param.buffer.name, *param.aliases_ok} if param.aliases_ok else set()
        group |= {name for name, other in names.items() if other in {names.get(each) for each in group}}
        names |= dict.fromkeys(group, min(group, default=""))
    return names


def _product(statement: Stmt | None, library: Compute | None) -> Product | None:
    return None if library is None or statement is None else product_of(statement, library)


def _call(groups: tuple[Group, ...], buffers: Sequence[Buffer], library: Compute | None) -> LibraryCall | None:
    """The library call that a launch is, if it is one."""
    product = _product(groups[0][0], library) if len(groups) == len(groups[0]) == 1 else None
    if product is None:
        return None
    places = [buffer.name for buffer in buffers]
    left, right, result = (places.index(name) for name in product.buffers)
    return LibraryCall(product.matmul, (left, right, result), product.offsets)


def _groups(body: tuple[Stmt, ...], library: Compute | None) -> list[Group]:
    """The statements of each phase: a nest of block loops, a product for a library, or what stands between two."""
    groups: list[Group] = []
    serial: list[Stmt] = []
    for statement in (*body, None):
        is_nest = isinstance(statement, For) and statement.kind == "block"
        is_nest = is_nest or _product(statement, library) is not None
        if (is_nest or statement is None) and any(not isinstance(s, Let) for s in serial):
            groups.append(tuple(serial))
        if is_nest or statement is None:
            serial = []
        if is_nest:
            assert statement is not None
            groups.append((statement,))
        elif statement is not None and not (isinstance(statement, Alloc) and statement.buffer.space == "arena"):
            serial.append(statement)
    return groups


def _launches(groups: Sequence[Group], library: Compute | None) -> list[tuple[Group, ...]]:
    """The groups of each launch. Neighbours that are one block each are done by one block, one after the other, while
    what they share fits it.
    """
    result: list[tuple[Group, ...]] = []
    alone, shared = False, 0
    for group in groups:
        is_one = iterations(_block_nest(group)[0]) == 1 and _product(group[0], library) is None
        needed = shared_bytes(group)
        if is_one and alone and shared + needed <= MOST_SHARED:
            result[-1] += (group,)
            shared += needed
        else:
            result.append((group,))
            shared = needed
        alone = is_one
    return result


def _emit(
    groups: tuple[Group, ...],
    buffers: Sequence[Buffer],
    lets: Sequence[Let],
    writable: set[str],
    memory: dict[str, str],
) -> Phase:
    nests = [_block_nest(group) for group in groups]
    if len(groups) > 1:  # what is done by one thread waits for others, and they for it, as if it were a thread loop
        nests = [
            (nest, body if nest else (For(Var(f"gc_alone{k}"), index(1), "thread", body),))
            for k, (nest, body) in enumerate(nests)
        ]
    together = tuple(statement for _, body in nests for statement in body)
    shape = layout(together) if len(groups) > 1 or nests[0][0] else Layout(1, 0)
    known = tuple(let for let in lets if not any(let in group for group in groups) and not loads(let.value))
    reads, writes = touched(tuple(statement for group in groups for statement in group))
    args = [number for number, buffer in enumerate(buffers) if buffer.name in reads | writes]
    scope = Scope({buffers[n].name: Place(buffers[n].name) for n in args})
    emitter = StatementEmitter(scope, shape, [buffers[n].name for n in args], memory)
    blocks = iterations(nests[0][0])
    _numbers(emitter, shape)
    emitter.block(known)
    for nest, body in nests:
        emitter.counters(nest, "blockIdx.x" if blocks > 1 else "0", blocks)
        emitter.block(body)
    params = ", ".join(_parameter(buffers[n], writable, set(memory) | (reads & writes)) for n in args)
    bounds = f" __launch_bounds__({shape.threads})" if shape.threads > 1 else ""
    text = "\n".join([f"(void){bounds} NAME({params}) {{", *emitter.lines, "}"])
    text = text.removeprefix("(void)")
    name = f"gc_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    text = f'extern "C" __global__ void{text.replace(" NAME(", f" {name}(", 1)}'
    return Phase(
        name,
        text,
        blocks,
        shape.threads,
        emitter.shared_bytes,
        tuple(args),
        frozenset(n for n in args if buffers[n].name in reads),
        frozenset(n for n in args if buffers[n].name in writes),
        {line + 1: buffer for line, buffer in emitter.notes.items()},
    )


def _block_nest(group: Group) -> tuple[list[For], Group]:
    """The block loops around a phase, outermost first, and what is inside."""
    nest: list[For] = []
    body = group
    while len(body) == 1 and isinstance(first := body[0], For) and first.kind == "block":
        nest.append(first)
        body = first.body
    return nest, body


def _numbers(emitter: StatementEmitter, shape: Layout) -> None:
    """Which thread, and which of its team, this is."""
    if shape.threads > 1:
        emitter.line("const int gc_thread = threadIdx.x;")
    if shape.width:
        emitter.line(f"const int gc_team = gc_thread / {shape.width}, gc_lane = gc_thread % {shape.width};")
        members = (1 << shape.width) - 1
        emitter.line(f"const u32 gc_mask = {members:#x}u << (gc_thread % 32 - gc_lane);")


def _parameter(buffer: Buffer, writable: set[str], aliased: set[str]) -> str:
    """A pointer. What is read and written may not be `__restrict__`: then barriers would not count."""
    const = "" if buffer.name in writable else "const "
    alone = "" if buffer.name in aliased else " __restrict__"
    return f"{const}{memory(buffer.dtype)} *{alone.strip() + ' ' if alone else ''}{buffer.name}"
