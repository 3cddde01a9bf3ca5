"""Schedule primitives: each checks that it keeps every bit of the result, then edits. No target is known here.

names = Names(kernel)
kernel = edit(kernel, "j", lambda loop: split(loop, 16, names, inner_kind="vector"))
"""

from graphc.kernel.affine import Affine, Facts, Interval, as_affine, bounds, flat_index, normal, stride_of
from graphc.kernel.independence import iterations_independent, may_meet
from graphc.kernel.ir import Load, Store, Var
from graphc.kernel.schedule.edit import (
    Block,
    Names,
    edit,
    find_loop,
    map_accesses,
    map_block,
    map_expr,
    replace_statement,
    substitute,
    substitute_expr,
    with_buffers,
)
from graphc.kernel.schedule.loops import (
    bind,
    expand_alloc,
    fission,
    fuse_loops,
    interchange,
    parallelize,
    reorder,
    serialize,
    split,
    static_extent,
    unroll,
    vectorize,
)
from graphc.kernel.schedule.simplify import counter_range, simplify, simplify_block, simplify_expr

__all__ = [
    "Affine",
    "Block",
    "Facts",
    "Interval",
    "Names",
    "as_affine",
    "bind",
    "bounds",
    "counter_range",
    "edit",
    "expand_alloc",
    "find_loop",
    "fission",
    "flat_index",
    "fuse_loops",
    "interchange",
    "iterations_independent",
    "map_accesses",
    "map_block",
    "map_expr",
    "may_meet",
    "normal",
    "parallelize",
    "reorder",
    "replace_statement",
    "serialize",
    "simplify",
    "simplify_block",
    "simplify_expr",
    "split",
    "static_extent",
    "stride_of",
    "strides_of",
    "substitute",
    "substitute_expr",
    "unroll",
    "vectorize",
    "with_buffers",
]


def strides_of(access: Load | Store, var: Var, facts: Facts | None = None) -> int | None:
    """Elements a load or store moves by when `var` grows by one; None when that is not constant."""
    return stride_of(access.buffer, access.index, var, facts or Facts({}, {}))
