"""`graphc explain`: what the partition of a program decided, and what each choice gains and costs in bytes."""

from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.execution.compiled import CompiledFunction
from graphc.execution.program import Program
from graphc.passes.partition import explain
from graphc.train import Job


def explanation(target: object, place: str) -> str:
    """One paragraph per entry. Raises `UnsupportedError` for a backend that runs graphs as they are."""
    if isinstance(target, Job):
        target = target.program
    if not isinstance(target, CompiledFunction | Program):
        raise ArgumentError(f"{place} is a {type(target).__name__}; name a function, program or job")
    compilation = target.compilation
    if not compilation.fused:
        raise UnsupportedError(f"the {compilation.backend.name} backend fuses nothing")
    paragraphs = []
    for name, fused in compilation.fused.items():
        graph = compilation.optimized[name]
        title = f"{name}: {len(graph.nodes)} nodes become {len(fused.nodes)}"
        paragraphs.append(f"{title}\n{explain(graph)}".rstrip())
    return "\n\n".join(paragraphs)
