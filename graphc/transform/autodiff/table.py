"""All derivative rows in one table, and the look-up that names the op and the user's line when there is none."""

from collections.abc import Mapping

from graphc.core.errors import GradientError
from graphc.graph.ir import Node, Op
from graphc.transform.autodiff import (
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
from graphc.transform.autodiff.rows import NoDerivative, Row

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


def row_of(node: Node) -> Row:
    """The derivative row of a node's op; raises `GradientError` when it has none."""
    row = ROWS.get(node.op)
    if row is None:
        raise GradientError(f"{node.op.name}: no derivative rule ({node.loc})")
    if isinstance(row, NoDerivative):
        raise GradientError(f"{node.op.name}: cannot be differentiated, {row.reason} ({node.loc})")
    return row
