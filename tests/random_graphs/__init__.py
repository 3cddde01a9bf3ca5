"""Random well-typed graphs over all primitives, for property tests and the fuzzer.

`random_graph(seed)` gives a graph and example inputs on which every value is finite and moderate (unless `wild`); each
node is run as it is added, and one whose values leave the range is taken back. Shapes are small and include 0-d, 1, odd
and empty extents. Constants favour 0, 1 and -1, and nodes are sometimes repeated, so that rewrites find work.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from tests.random_graphs import calls, control, elementwise, indexing, linalg, movement, products, reductions, sources
from tests.random_graphs.comparing import same_bits
from tests.random_graphs.grower import Choices, Grower, Maker, RandomGraph, Wish

__all__ = ["KINDS", "MAKERS", "RandomGraph", "Wish", "random_graph", "same_bits", "wished_graph"]

_FAMILIES = (elementwise, movement, reductions, products, indexing, linalg, sources, calls, control)
MAKERS: Mapping[str, Maker] = {name: maker for family in _FAMILIES for name, maker in family.MAKERS.items()}

KINDS: tuple[DType, ...] = (
    *(dtypes.float32, dtypes.float64, dtypes.float32, dtypes.float64),
    *(dtypes.bfloat16, dtypes.float16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.bool_),
)
_TRIES = 6


def random_graph(
    seed: int, size: int = 12, wild: bool = False, floats_only: bool = False, large: bool = False
) -> RandomGraph:
    """A graph of about `size` steps (a step adds one node or a few) on real numbers.

    `wild` lets NaN, infinities and huge values through and puts them into inputs and constants; `floats_only` makes
    every input a float32 or float64 and casts nothing to half types, since derivatives are compared with tolerances of
    float32; `large` takes shapes longer than a vector.
    """
    kinds = tuple(dtype for dtype in KINDS if not (floats_only and dtype.is_half))
    grower = Grower(np.random.default_rng(seed), Choices(kinds, MAKERS, wild, floats_only, large))
    for _ in range(grower.below(2) + 2):
        grower.new_input(grower.random_type())
    for _ in range(size):
        grower.attempt(grower.random_maker())
    return grower.finish(f"random_{seed}")


def wished_graph(seed: int, wishes: Sequence[Wish], wild: bool = False, large: bool = False) -> RandomGraph:
    """A graph that has each wish in it, if its values allow it in a few tries; of all dtypes there are."""
    grower = Grower(np.random.default_rng(seed), Choices(dtypes.EVERY, MAKERS, wild, False, large))
    grower.new_input(grower.random_type())
    for wish in wishes:
        makers = [maker for maker in MAKERS.values() if any(op.name == wish.op for op in maker.ops)]
        for _ in range(_TRIES if makers else 0):
            if grower.attempt(makers[grower.below(len(makers))], wish):
                break
    return grower.finish(f"random_{seed}", everything=True)
