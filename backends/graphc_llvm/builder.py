"""A plain writer of one LLVM function: fresh names, basic blocks, stack slots, intrinsic declarations.

Everything is text. The builder knows the current block (phi nodes name their predecessors) and which line of its output
belongs to which value of the user's program.

It also knows how loops and branches nest (`loop`, `branching`), so that `pure` can write an instruction once: in front
of the loops that do not change its operands, and not again where its result is known.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from graphc.core.records import dataclass
from graphc_llvm.types import widen

Lines = list[str | list[str]]


@dataclass(slots=True)
class _Region:
    """Code that runs under one condition. `preheader`: of a loop, the lines in front of it; None for a branch."""

    preheader: list[str] | None
    known: dict[object, str] = field(default_factory=dict)  # instruction, or other key -> register


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that the code of several phases calls. Those of the same name are the same."""

    name: str
    text: str
    declarations: tuple[str, ...]


class Builder:
    """Collects the lines of one function body. `declarations` is shared by the functions of a module."""

    def __init__(self, declarations: set[str]) -> None:
        self.declarations = declarations
        self.slots: list[str] = []  # stack slots; they must sit in the entry block
        self.prologue: list[str] = []  # loads of buffer addresses, also in the entry block
        self.lines: Lines = []
        self.notes: dict[int, str] = {}  # index into `lines` -> the buffer the line stores to
        self.block = "body"
        self.helpers: set[Helper] = set()
        self._counter = 0
        self._below: dict[str, int] = {}  # register -> what it is less than; it is not negative
        self._regions = [_Region(None)]
        self._depths: dict[str, int] = {}  # register -> number of the region it is defined in; those not here: 0
        # What is known to lie in memory within this basic block: memory -> what is read of it -> registers.
        self.remembered: dict[str, dict[object, tuple[str, ...]]] = {}

    def fresh(self, hint: str = "v") -> str:
        """A register or label name nobody has."""
        self._counter += 1
        return f"{hint}{self._counter}"

    def emit(self, text: str) -> str:
        """`%v = text`; returns the register."""
        name = "%" + self.fresh()
        self.lines.append(f"  {name} = {text}")
        self._depths[name] = len(self._regions) - 1
        return name

    def pure(self, text: str, *operands: str) -> str:
        """`emit` for an instruction that only reads its operands and may run when it is not needed."""
        depth = self._deepest(operands)
        regions = self._regions
        at, lines = len(regions) - 1, None
        for inner in range(depth + 1, len(regions)):
            preheader = regions[inner].preheader
            if preheader is not None:
                at, lines = inner - 1, preheader
                break
        for region in regions[depth : at + 1]:
            if text in region.known:
                return region.known[text]
        name = "%" + self.fresh()
        if lines is None:
            self.lines.append(f"  {name} = {text}")
        else:
            lines.append(f"  {name} = {text}")
        self._depths[name] = at
        regions[at].known[text] = name
        return name

    def near(self, text: str, *operands: str) -> str:
        """`pure` that stays where it is: what costs nothing at its use, and a register elsewhere."""
        depth = self._deepest(operands)
        for region in self._regions[depth:]:
            if text in region.known:
                return region.known[text]
        name = self._regions[-1].known[text] = self.emit(text)
        return name

    def known(self, key: object) -> str | None:
        """The register that `know` was told of, where it is defined."""
        for region in self._regions:
            if key in region.known:
                return region.known[key]
        return None

    def know(self, key: object, register: str) -> None:
        """Remember a register as long as it is defined."""
        self._regions[self._depths.get(register, 0)].known[key] = register

    def _deepest(self, registers: tuple[str, ...]) -> int:
        depth = 0
        for name in registers:
            at = self._depths.get(name, 0)
            if at > depth:  # written out: this runs several times for every line
                depth = at
        return depth

    def depth(self, register: str) -> int:
        """How many regions are around its definition."""
        return self._depths.get(register, 0)

    def bound(self, register: str, extent: int) -> None:
        """Remember that 0 <= register < extent."""
        self._below[register] = extent

    def range(self, terms: Sequence[tuple[str, int]]) -> tuple[int, int] | None:
        """The least and the largest sum of registers times factors."""
        if any(name not in self._below for name, _ in terms):
            return None
        ends = [factor * (self._below[name] - 1) for name, factor in terms]
        return sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends)

    def counter(self) -> str:
        """A register that the code of this region defines by a phi."""
        name = "%" + self.fresh("i")
        self._depths[name] = len(self._regions) - 1
        return name

    @contextmanager
    def loop(self) -> Iterator[None]:
        """What is written inside is run again and again. Entered before the branch to it."""
        preheader: list[str] = []
        self.lines.append(preheader)
        self._regions.append(_Region(preheader))
        yield
        self._regions.pop()

    @contextmanager
    def branching(self) -> Iterator[None]:
        """What is written inside may not run."""
        self._regions.append(_Region(None))
        yield
        self._regions.pop()

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(f"  {text}")

    def note(self, buffer: str) -> None:
        """The next line stores to this buffer."""
        self.notes[len(self.lines)] = buffer

    def start(self, label: str) -> None:
        """Begin a basic block."""
        self.lines.append(f"{label}:")
        self.block = label
        self.remembered.clear()

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch_if(self, cond: str, then: str, orelse: str) -> None:
        self.do(f"br i1 {cond}, label %{then}, label %{orelse}")

    def call(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """Call an intrinsic, given as (type, value) pairs, and declare it."""
        text = self.calling(name, result, arguments)
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    def calling(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """The text of a call, declared but not written."""
        self._declare(name, result, arguments)
        inner = ", ".join(f"{kind} {value}" for kind, value in arguments)
        return f"call {result} @{name}({inner})"

    def _declare(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> None:
        # Without alignments: they belong to a call, and calls of one module may have different ones.
        kinds = ", ".join(kind.partition(" align ")[0] for kind, _ in arguments)
        self.declarations.add(f"declare {result} @{name}({kinds})")

    def slot(self, element: str, count: int, align: int = 64) -> str:
        """A stack slot of `count` elements."""
        name = "%" + self.fresh("slot")
        self.slots.append(f"  {name} = alloca [{count} x {element}], align {align}")
        return name

    def pointer(self, base: str, offset: str) -> str:
        """`base` plus a byte offset."""
        if offset == "0":
            return base
        return self.emit(f"getelementptr i8, ptr {base}, i64 {offset}")

    def splat(self, kind: str, value: str, lanes: int) -> str:
        """A vector of equal lanes."""
        if lanes == 1:
            return value
        if not value.startswith("%"):
            return f"splat ({kind} {value})"
        vector = widen(kind, lanes)
        first = self.pure(f"insertelement {vector} poison, {kind} {value}, i64 0", value)
        return self.pure(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer", first)

    def text(self, signature: str) -> str:
        """The whole function."""
        start = [f"{signature} {{", "entry:", *self.slots, *self.prologue, "  br label %body", "body:"]
        return "\n".join([*start, *_flat(self.lines), "}"])

    def line_notes(self) -> dict[int, str]:
        """The notes by line of the text, counted from 1."""
        number = 4 + len(self.slots) + len(self.prologue)
        found: dict[int, str] = {}
        for index, line in enumerate(self.lines):
            if index in self.notes:
                found[number + 1] = self.notes[index]
            number += 1 if isinstance(line, str) else len(line)
        return found


def _flat(lines: Lines) -> Iterator[str]:
    """The lines, with those in front of loops in their places."""
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield from line
