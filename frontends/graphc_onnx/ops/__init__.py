"""The rows of all ops, one file per family."""

from graphc_onnx.ops import (
    control,
    elementwise,
    legacy,
    losses,
    movement,
    normalisation,
    products,
    reductions,
    selecting,
    sequences,
    training,
)
from graphc_onnx.table import Table

TABLE = Table(
    [
        *elementwise.ROWS,
        *legacy.ROWS,
        *reductions.ROWS,
        *movement.ROWS,
        *selecting.ROWS,
        *products.ROWS,
        *normalisation.ROWS,
        *losses.ROWS,
        *control.ROWS,
        *sequences.ROWS,
        *training.ROWS,
    ]
)
