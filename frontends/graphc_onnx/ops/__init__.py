"""The rows of all ops, one file per family."""

from graphc_onnx.ops import (
    control,
    convolution,
    elementwise,
    image,
    learned,
    legacy,
    losses,
    movement,
    normalisation,
    pooling,
    products,
    quantisation,
    recurrent,
    reductions,
    sampling,
    selecting,
    sequences,
    signal,
    strings,
    training,
)
from graphc_onnx.table import Table

FAMILIES = (
    control,
    convolution,
    elementwise,
    image,
    learned,
    legacy,
    losses,
    movement,
    normalisation,
    pooling,
    products,
    quantisation,
    recurrent,
    reductions,
    sampling,
    selecting,
    sequences,
    signal,
    strings,
    training,
)
TABLE = Table(row for family in FAMILIES for row in family.ROWS)
