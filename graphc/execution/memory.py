"""The memory report of a compilation, or the error that its backend plans no memory."""

from graphc.compilation import Compilation
from graphc.core.errors import UnsupportedError
from graphc.plan.report import MemoryReport, memory_report


def memory_of(compilation: Compilation, entry: str | None) -> MemoryReport:
    """Of one entry, or of the one that needs most. Raises `UnsupportedError` for a backend without a plan."""
    if compilation.plan is None:
        raise UnsupportedError(f"the {compilation.backend.name} backend plans no memory; use backend='cpu'")
    assert compilation.executable is not None
    return memory_report(compilation.plan, entry, compilation.executable.scratch_bytes)
