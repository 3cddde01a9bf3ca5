"""Which movements need none: what lies in memory already, seen under another name."""

import numpy as np

from graphc.graph.ir import Graph, Node
from graphc.graph.ops.movement import AxisAttrs, SliceAttrs


def slice_offset(node: Node) -> int | None:
    """First element of a slice that is one run of its operand's memory, else None."""
    assert isinstance(node.attrs, SliceAttrs)
    attrs, x = node.attrs, node.operands[0]
    offset = 0
    stride = x.type.size
    one_row = True  # all dims before this one have extent 1 in the result
    for extent, start, stop, step in zip(x.shape, attrs.start, attrs.stop, attrs.step, strict=True):
        stride //= max(extent, 1)
        kept = -(-(stop - start) // step)
        if (kept > 1 and step > 1) or (kept != extent and not one_row):
            return None
        offset += start * stride
        one_row = one_row and kept == 1
    return offset


def is_flat_concatenate(node: Node) -> bool:
    """Whether the operands of a concatenate follow each other in memory."""
    assert isinstance(node.attrs, AxisAttrs)
    return all(extent == 1 for extent in node.result.shape[: node.attrs.axis])


def is_window_of(body: Graph, node: Node) -> bool:
    """Whether a node puts a small window into an array that lies in memory before and after, and that nothing else in
    the body reads: then what lies around the window need not be touched.
    """
    if node.op.name != "dynamic_update_slice":
        return False
    x, update, *_ = node.operands
    is_small = 0 < 2 * update.type.size <= x.type.size and not x.dtype.is_complex
    in_memory = x in body.inputs and x not in body.outputs and node.result in body.outputs
    return is_small and in_memory and len(body.users.get(x, ())) == 1 and node.operands.count(x) == 1


def one_number(array: np.ndarray) -> np.ndarray | None:
    """The number all elements are, to the bit, as a 0-d array; None when they differ or there are none."""
    if array.size == 0:
        return None
    first = array.reshape(-1)[:1]
    if array.size > 1 and not _are_all(array, first):
        return None
    return np.array(first[0])


def _are_all(array: np.ndarray, first: np.ndarray) -> bool:
    """Whether every element has the bits of `first`, without a copy of a large array."""
    bits = f"u{array.dtype.itemsize}"
    return bool((np.ascontiguousarray(array).view(bits) == first.view(bits)).all())
