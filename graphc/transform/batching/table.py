"""All batching rows in one table, and the look-up that names the op and the user's line when there is none."""

from collections.abc import Mapping

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Node, Op
from graphc.transform.batching import (
    contraction,
    control,
    cumulative,
    custom,
    elementwise,
    indexing,
    linalg,
    movement,
    reduction,
    sliding,
    sorting,
    source,
    sparse,
    structural,
    windows,
)
from graphc.transform.batching.rows import Batch, BatchRegion, NoBatching, Row

_FAMILIES = (
    source,
    elementwise,
    movement,
    reduction,
    contraction,
    cumulative,
    indexing,
    linalg,
    windows,
    sliding,
    sorting,
    sparse,
    structural,
    control,
    custom,
)

ROWS: Mapping[Op, Row] = {op: row for family in _FAMILIES for op, row in family.ROWS.items()}


def row_of(node: Node) -> Batch | BatchRegion:
    """The batching row of a node's op; raises `UnsupportedError` when it has none."""
    row = ROWS.get(node.op)
    if row is None:
        raise UnsupportedError(f"{node.op.name}: no batching rule ({node.loc})")
    if isinstance(row, NoBatching):
        raise UnsupportedError(f"{node.op.name}: cannot be batched, {row.reason} ({node.loc})")
    return row
