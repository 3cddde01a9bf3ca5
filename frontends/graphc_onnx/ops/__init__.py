"""The rows of all ops, one file per family."""

from graphc_onnx.ops import elementwise, losses, movement, normalisation, products, reductions, selecting
from graphc_onnx.table import Table

TABLE = Table(
    [
        *elementwise.ROWS,
        *reductions.ROWS,
        *movement.ROWS,
        *selecting.ROWS,
        *products.ROWS,
        *normalisation.ROWS,
        *losses.ROWS,
    ]
)
