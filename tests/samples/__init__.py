"""One table of samples per primitive: inputs, attributes, tolerances. Forward, gradient and backend tests all read it.

A family of primitives has a file here, with generators of samples; `FAMILIES` lists them.
"""

from collections.abc import Callable, Iterator

from graphc.graph.ir import Op
from tests.samples.complexes import complex_elementwise, complex_others
from tests.samples.contraction import contractions
from tests.samples.control import control
from tests.samples.cumulative import cumulative
from tests.samples.elementwise import elementwise, select_and_casts
from tests.samples.indexing import indexing
from tests.samples.linalg import linalg, sparse
from tests.samples.movement import movement
from tests.samples.reduction import reductions
from tests.samples.sample import Sample, all_pass, assert_matches, graph_of, ulp_distance
from tests.samples.sliding import sliding
from tests.samples.sorting import selection, sorting
from tests.samples.source import sources
from tests.samples.structural import structural
from tests.samples.windows import windows

__all__ = ["FAMILIES", "SAMPLES", "Sample", "all_pass", "assert_matches", "graph_of", "samples_of", "ulp_distance"]

FAMILIES: tuple[Callable[[], Iterator[Sample]], ...] = (
    elementwise,
    select_and_casts,
    complex_elementwise,
    complex_others,
    movement,
    reductions,
    contractions,
    sliding,
    indexing,
    windows,
    cumulative,
    sorting,
    selection,
    linalg,
    sparse,
    sources,
    structural,
    control,
)

SAMPLES: tuple[Sample, ...] = tuple(sample for family in FAMILIES for sample in family())


def samples_of(op: Op) -> list[Sample]:
    """The rows of one primitive."""
    return [sample for sample in SAMPLES if sample.op == op.name]
