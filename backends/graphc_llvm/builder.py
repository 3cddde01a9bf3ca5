"""A plain writer of one LLVM function: fresh names, basic blocks, stack slots, intrinsic declarations.

Everything is text. The builder knows the current block (phi nodes name their predecessors) and which line of its output
belongs to which value of the user's program.
"""

from collections.abc import Sequence

from graphc_llvm.types import widen


class Builder:
    """Collects the lines of one function body. `declarations` is shared by the functions of a module."""

    def __init__(self, declarations: set[str]) -> None:
        self.declarations = declarations
        self.slots: list[str] = []  # stack slots; they must sit in the entry block
        self.prologue: list[str] = []  # loads of buffer addresses, also in the entry block
        self.lines: list[str] = []
        self.notes: dict[int, str] = {}  # index into `lines` -> the buffer the line stores to
        self.block = "body"
        self._counter = 0

    def fresh(self, hint: str = "v") -> str:
        """A register or label name nobody has."""
        self._counter += 1
        return f"{hint}{self._counter}"

    def emit(self, text: str) -> str:
        """`%v = text`; returns the register."""
        name = "%" + self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

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

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch_if(self, cond: str, then: str, orelse: str) -> None:
        self.do(f"br i1 {cond}, label %{then}, label %{orelse}")

    def call(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """Call an intrinsic, given as (type, value) pairs, and declare it."""
        self._declare(name, result, arguments)
        inner = ", ".join(f"{kind} {value}" for kind, value in arguments)
        text = f"call {result} @{name}({inner})"
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    def _declare(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> None:
        kinds = ", ".join(kind.split()[0] if kind.startswith("ptr") else kind for kind, _ in arguments)
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
        first = self.emit(f"insertelement {vector} poison, {kind} {value}, i64 0")
        return self.emit(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")

    def text(self, signature: str) -> str:
        """The whole function."""
        return "\n".join(
            [f"{signature} {{", "entry:", *self.slots, *self.prologue, "  br label %body", "body:", *self.lines, "}"]
        )
