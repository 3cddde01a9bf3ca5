"""The whole CUDA source of some phases, and the options it has to be compiled with."""

from collections.abc import Iterable

from graphc_cupy.phases import Phase
from graphc_cupy.prelude import PRELUDE

SHARED = 'extern "C" __shared__ __align__(16) unsigned char gc_shared[];\n'

# No contraction, no flush to zero, divisions and roots rounded correctly: bits are those of every other backend.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--display-error-number", "--diag-suppress=177,550")


def source_of(found: Iterable[Phase]) -> str:
    """Every function once, after what they all need."""
    texts = {phase.name: phase.text for phase in found}
    return "\n\n".join([PRELUDE, SHARED, *texts.values(), ""])
