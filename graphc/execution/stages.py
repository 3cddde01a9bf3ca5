"""Text of every stage of a compilation, by name. What `exe.text(stage)` and `graphc inspect --stage` print."""

from collections.abc import Callable, Mapping

from graphc.compilation import Compilation
from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.graph.ir import Graph

STAGES = ("trace", "grad", "optimized", "fused", "loop", "plan", "llvm", "cuda", "asm", "ptx", "sass")


def stage_text(compilation: Compilation, primals: Mapping[str, tuple[Graph, ...]], stage: str) -> str:
    """The text of one stage for all entries.

    "trace" shows what was differentiated (or the whole function when nothing was), "grad" the graph with its gradients
    as handed to the optimiser. Raises `ArgumentError` for an unknown stage and `UnsupportedError` for one this backend
    does not have.
    """
    if stage not in STAGES:
        raise ArgumentError(f"unknown stage {stage!r}; stages: {', '.join(STAGES)}")
    program = compilation.program
    texts: dict[str, Callable[[], str]] = {
        "trace": lambda: _graphs([g for n, e in program.entries.items() for g in primals.get(n) or (e.graph,)]),
        "grad": lambda: _graphs([entry.graph for entry in program.entries.values()]),
        "optimized": lambda: _graphs(list(compilation.optimized.values())),
        "fused": lambda: _graphs(list(compilation.fused.values())),
        "loop": lambda: _loops(compilation),
        "plan": lambda: _plan(compilation),
    }
    if stage in texts:
        text = texts[stage]()
    else:
        assert compilation.executable is not None
        text = "\n".join(k.text for k in compilation.executable.texts().get(stage, ()))
    if not text:
        raise UnsupportedError(
            f"the {compilation.backend.name} backend has no stage {stage!r} for this program; "
            f"it has {', '.join(_present(compilation))}"
        )
    return text


def _present(compilation: Compilation) -> list[str]:
    """The stages of this program that have a text."""
    assert compilation.executable is not None
    has = {"trace", "grad", "optimized"} | {stage for stage, texts in compilation.executable.texts().items() if texts}
    made = {"fused": compilation.fused, "loop": compilation.loops, "plan": compilation.plan}
    has |= {stage for stage, found in made.items() if found}
    return [stage for stage in STAGES if stage in has]


def _graphs(graphs: list[Graph]) -> str:
    return "\n".join(str(graph) for graph in graphs)


def _plan(compilation: Compilation) -> str:
    from graphc.plan.text import print_plan  # only texts need it

    return print_plan(compilation.plan) if compilation.plan else ""


def _loops(compilation: Compilation) -> str:
    """Each distinct kernel once, in order of first use."""
    from graphc.kernel.text import print_kernel

    kernels = dict.fromkeys(call.kernel for loops in compilation.loops.values() for call in loops.kernel_calls())
    return "\n".join(print_kernel(kernel) for kernel in kernels)
