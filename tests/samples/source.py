"""Ops without operands of floats: constants, iota, random bits."""

from collections.abc import Iterator

import numpy as np

from graphc.core import dtypes
from graphc.graph.ops.movement import ShapeAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs
from tests.samples.arrays import edges, generator
from tests.samples.sample import Sample


def sources() -> Iterator[Sample]:
    for dtype in dtypes.ALL:
        yield Sample("constant", dtype.short, (), ConstantAttrs(edges(dtype)))
        if not dtype.is_bool:
            yield Sample("iota", dtype.short, (), IotaAttrs((3, 5), dtype, 1))
    yield Sample("constant", "0d", (), ConstantAttrs(np.array(2.5, np.float32)))
    yield Sample("constant", "empty", (), ConstantAttrs(np.zeros((0, 3), np.float32)))
    yield Sample("iota", "rows", (), IotaAttrs((20, 2), dtypes.int64, 0))
    key = np.array([0x12345678, 0x9ABCDEF0], np.uint32)
    for shape in ((), (0,), (1,), (7,), (3, 5), (100,)):
        yield Sample("random_bits", f"{list(shape)}", (key,), ShapeAttrs(shape))
    keys = generator("keys").integers(0, 2**32, (3, 2, 2), dtype=np.uint32)
    for rows, shape in (((3, 2), (3, 2)), ((3, 2), (3, 2, 7)), ((3,), (3, 5)), ((3,), (3, 2, 30)), ((3,), (3, 0))):
        yield Sample(
            "random_bits",
            f"keys{list(rows)}{list(shape)}",
            (keys if rows == (3, 2) else keys[:, 0],),
            ShapeAttrs(shape),
        )
