"""Schedules for contractions: `out[.., i, .., j] = epilogue(sum over k of x[.. i .. k] * y[.. k .. j])`.

`pairs` takes terms of bfloat16 together, `recognise` finds contractions, `roles` chooses which axis runs in lanes,
`tiles` how large a register tile is, `blocking` how the output is shared out, `packing` and `jam` write the loops,
`packs` makes packing a kernel of its own, and `schedule` puts them together. Guaranteed: every element of the output is
computed by the operations of the leaf in their order, so no bit changes.
"""

from graphc.kernel.schedule.contractions import Contraction, as_contraction
from graphc_llvm.contraction.packing import Packed
from graphc_llvm.contraction.packs import as_pack
from graphc_llvm.contraction.pairs import paired
from graphc_llvm.contraction.schedule import schedule_contraction

__all__ = ["Contraction", "Packed", "as_contraction", "as_pack", "paired", "schedule_contraction"]
