"""Python to Graph: run a function once on traced values and record what it does."""

from graphc.tracing.bind import as_array, bind, bind1, staged
from graphc.tracing.context import Array, ArrayLike, is_tracing, note_primal
from graphc.tracing.function import Traced, apply_graph, trace
from graphc.tracing.spec import Spec, spec, spec_of
from graphc.tracing.tracer import Tracer

__all__ = [
    "Array",
    "ArrayLike",
    "Spec",
    "Traced",
    "Tracer",
    "apply_graph",
    "as_array",
    "bind",
    "bind1",
    "is_tracing",
    "note_primal",
    "spec",
    "spec_of",
    "staged",
    "trace",
]
