"""The whole CUDA source of some phases, and the options it has to be compiled with."""

from collections.abc import Iterable

from graphc_cupy.phases import Phase
from graphc_cupy.prelude import PRELUDE

SHARED = 'extern "C" __shared__ __align__(16) unsigned char gc_shared[];\n'

# No contraction, no flush to zero, divisions and roots rounded correctly: bits are those of every other backend.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
QUIET = ("--diag-suppress=177,550",)  # a counter that is not used


# Outputs of a step are kept in a row of the record, and the step is counted: numbers in device memory, so that a
# captured step may be replayed as it is.
RECORD, COUNT = "gc_record", "gc_count"
BYTES_PER_THREAD, RECORD_THREADS = 16, 128

DRIVER = f"""\
extern "C" __global__ void {RECORD}(u8 *record, const u8 *output, const i64 *row, i64 nbytes) {{
  const i64 first = ((i64)blockIdx.x * {RECORD_THREADS} + threadIdx.x) * {BYTES_PER_THREAD};
  for (i64 k = first; k < first + {BYTES_PER_THREAD} && k < nbytes; ++k) record[*row * nbytes + k] = output[k];
}}

extern "C" __global__ void {COUNT}(i64 *step, i64 *row) {{
  *step += 1;
  *row += 1;
}}
"""


def source_of(found: Iterable[Phase]) -> str:
    """Every function once, after what they all need."""
    texts = {phase.name: phase.text for phase in found}
    return "\n\n".join([PRELUDE, SHARED, DRIVER, *texts.values(), ""])
