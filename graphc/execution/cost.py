"""`exe.cost`: float operations and bytes, per kernel and per source line; depth, width and work of the graph."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphc.core.records import dataclass
from graphc.graph.cost import dimensions, node_bytes, node_flops
from graphc.graph.ir import Graph

if TYPE_CHECKING:
    from graphc.kernel.program import LoopProgram


@dataclass(frozen=True, slots=True)
class KernelCost:
    """One kernel call: float operations, bytes it reads and writes (each once), the user lines it computes. What is
    inside of a loop counts as often as the loop runs it, or once where that depends on data.
    """

    kernel: str
    flops: int
    bytes: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostReport:
    """Cost of one entry.

    flops: float operations of the optimised graph. bytes: what the kernels read and write, each element once; of the
    table of a gather only as much as is gathered. by_line: (flops, bytes) per user line of the unfused graph. depth,
    width: longest chain and most nodes at one level; work equals flops.
    """

    entry: str
    flops: int
    bytes: int
    kernels: tuple[KernelCost, ...]
    by_line: Mapping[str, tuple[int, int]]
    depth: int
    width: int
    work: int

    def __str__(self) -> str:
        lines = [
            f"{self.entry}: {self.flops:,} flop, {self.bytes:,} bytes, depth {self.depth}, width {self.width}",
            f"{'kernel':<40} {'flop':>14} {'bytes':>14}  source",
        ]
        for row in self.kernels:
            lines.append(f"{row.kernel:<40} {row.flops:>14,} {row.bytes:>14,}  {', '.join(row.sources[:3])}")
        return "\n".join(lines)


def cost_report(entry: str, graph: Graph, loops: "LoopProgram | None") -> CostReport:
    """Cost of an optimised graph and of the kernels it became (none on a backend that runs graphs)."""
    from graphc.kernel.traffic import bytes_moved  # only reports need it

    by_line: dict[str, tuple[int, int]] = {}
    for node in graph.nodes:
        flops, moved = by_line.get(str(node.loc), (0, 0))
        by_line[str(node.loc)] = (flops + node_flops(node), moved + node_bytes(node))
    kernels = tuple(
        KernelCost(
            call.kernel.name,
            times * call.kernel.flops,
            times * bytes_moved(call.kernel),
            call.kernel.sources,
        )
        for call, times in (loops.counted_calls() if loops else ())
    )
    size = dimensions(graph)
    moved = sum(row.bytes for row in kernels) if loops else sum(node_bytes(node) for node in graph.nodes)
    return CostReport(entry, size.work, moved, kernels, by_line, size.depth, size.width, size.work)
