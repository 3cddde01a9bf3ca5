"""What the partition decided and why: one line per choice, with the bytes on both sides.

`partition(graph, log=decisions)` fills a list; `explain(graph)` prints it. Nothing is decided here.
"""

from typing import Literal

from graphc.core.records import dataclass
from graphc.core.source import UNKNOWN
from graphc.graph.ir import Node

Choice = Literal["join", "recompute", "prologue", "update", "phases"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice. `gain` and `price` are bytes: those moved, or kept, less; and those that are paid for it."""

    choice: Choice
    node: Node
    taken: bool
    gain: int
    price: int
    why: str

    def __str__(self) -> str:
        """
        >>> from graphc.graph.parser import parse
        >>> (node,) = parse('''
        ... graph f(%0: f32[8]) {
        ...   %1: f32[8] = exp(%0)
        ...   return %1
        ... }''').nodes
        >>> print(Decision("recompute", node, True, 32, 0, "kept: its key"))
        recompute  yes  exp f32[8]: gains 32 B, costs 0 B (kept: its key)
        """
        verdict = "yes" if self.taken else "no"
        line = "" if self.node.loc is UNKNOWN else f"  # {self.node.loc}"
        what = f"{self.node.op.name} {self.node.results[0].type}"
        sums = f"gains {self.gain:,} B, costs {self.price:,} B"
        return f"{self.choice:<10} {verdict:<4} {what}: {sums} ({self.why}){line}"


Log = list[Decision] | None
