"""Ops that move elements."""

from collections.abc import Iterator

from graphc.core import dtypes
from graphc.graph.ir import Attrs
from graphc.graph.ops.movement import (
    AxesAttrs,
    AxisAttrs,
    BroadcastAttrs,
    PadAttrs,
    ShapeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from tests.samples.arrays import generator, random_array
from tests.samples.sample import Sample


def movement_rows() -> Iterator[tuple[str, str, list[tuple[int, ...]], Attrs]]:
    yield "reshape", "split", [(6, 4)], ShapeAttrs((2, 3, 4))
    yield "reshape", "merge", [(2, 3, 4)], ShapeAttrs((24,))
    yield "reshape", "regroup", [(6, 4)], ShapeAttrs((8, 3))
    yield "reshape", "empty", [(0, 3)], ShapeAttrs((3, 0))
    yield "reshape", "scalar", [(1, 1)], ShapeAttrs(())
    yield "transpose", "2d", [(3, 5)], TransposeAttrs((1, 0))
    yield "transpose", "3d", [(2, 3, 4)], TransposeAttrs((2, 0, 1))
    yield "transpose", "0d", [()], TransposeAttrs(())
    yield "transpose", "wide", [(33, 18)], TransposeAttrs((1, 0))
    yield "broadcast", "rows", [(3,)], BroadcastAttrs((4, 3), (1,))
    yield "broadcast", "columns", [(4,)], BroadcastAttrs((4, 3), (0,))
    yield "broadcast", "ones", [(1, 3)], BroadcastAttrs((4, 3), (0, 1))
    yield "broadcast", "scalar", [()], BroadcastAttrs((2, 17), ())
    yield "broadcast", "empty", [(1,)], BroadcastAttrs((0,), (0,))
    yield "slice", "part", [(5, 7)], SliceAttrs((1, 2), (4, 7), (1, 1))
    yield "slice", "stepped", [(9, 4)], SliceAttrs((1, 0), (9, 4), (3, 2))
    yield "slice", "empty", [(5,)], SliceAttrs((2,), (2,), (1,))
    yield "pad", "both", [(3, 4), ()], PadAttrs((1, 0), (2, 3), (0, 0))
    yield "pad", "interior", [(3,), ()], PadAttrs((1,), (1,), (2,))
    yield "pad", "empty", [(0,), ()], PadAttrs((2,), (1,), (0,))
    yield "concatenate", "rows", [(2, 3), (1, 3), (0, 3)], AxisAttrs(0)
    yield "concatenate", "columns", [(2, 3), (2, 5)], AxisAttrs(1)
    yield "concatenate", "one", [(4,)], AxisAttrs(0)
    yield "reverse", "all", [(3, 4)], AxesAttrs((0, 1))
    yield "reverse", "last", [(2, 17)], AxesAttrs((1,))


def movement() -> Iterator[Sample]:
    for op, name, shapes, attrs in movement_rows():
        for dtype in (*dtypes.HALVES, dtypes.float32, dtypes.float64, dtypes.int16, dtypes.bool_):
            rng = generator(op, name, dtype)
            arrays = tuple(random_array(rng, shape, dtype, -9, 9) for shape in shapes)
            chosen = tuple(range(len(arrays))) if dtype is dtypes.float64 else ()
            yield Sample(op, f"{name}-{dtype.short}", arrays, attrs, differentiate=chosen)
