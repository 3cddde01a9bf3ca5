"""More samples for derivatives than the table of all has: the corners of the rules, and both sides of each branch."""

import numpy as np

from graphc.core import dtypes
from graphc.graph.ir import NO_ATTRS, Attrs
from graphc.graph.ops.contraction import DotAttrs
from graphc.graph.ops.elementwise import DTypeAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.movement import AxesAttrs, AxisAttrs, BroadcastAttrs, PadAttrs, SliceAttrs, TransposeAttrs
from graphc.graph.ops.structural import CallAttrs
from graphc.graph.parser import parse
from tests.samples import Sample

_RNG = np.random.default_rng(0)


def _x(*shape: int, low: float = -2, high: float = 2) -> np.ndarray:
    return np.asarray(_RNG.uniform(low, high, shape))


def _index(*shape: int, dtype: str = "int32") -> np.ndarray:
    """Indices that leave [0, 5) on both sides."""
    return _RNG.integers(0 if dtype[0] == "u" else -2, 8, shape).astype(dtype)


def _sample(op: str, name: str, inputs: tuple[np.ndarray, ...], attrs: Attrs = NO_ATTRS) -> Sample:
    chosen = tuple(i for i, x in enumerate(inputs) if x.dtype.kind == "f")
    return Sample(op, name, inputs, attrs, differentiate=chosen)


_CALLEE = parse("""
graph square_and_scale(%0: f64[2,3] x, %1: f64[2,3] y, %2: i32[2,3] n) {
  %3: f64[2,3] = mul(%0, %0)
  %4: f64[2,3] = tanh(%1)
  %5: f64[2,3] = mul(%3, %4)
  %6: f64[2,3] = cast(%2) {dtype=f64}
  %7: f64[2,3] = mul(%5, %6)
  return %7, %2, %4, %0
}
""")

_DOTS = (
    ((2, 5, 3, 4), (4, 3, 2, 6), DotAttrs((3, 2), (0, 1), (0,), (2,))),
    ((2, 5, 3, 4), (3, 6, 2, 4), DotAttrs((3, 2), (3, 0), (0,), (2,))),
    ((3, 2, 4), (4, 3), DotAttrs((0, 2), (1, 0))),
    ((2, 0), (0, 3), DotAttrs((1,), (0,))),
)

CORNERS: tuple[Sample, ...] = (
    *(_sample(op, "below", (_x(4), _x(4, low=2.1, high=3))) for op in ("max", "min")),
    *(_sample(op, "above", (_x(4, low=2.1, high=3), _x(4))) for op in ("max", "min")),
    _sample("rem", "several", (_x(5, low=4.3, high=4.7), _x(5, low=1.6, high=2))),
    _sample("rem", "negative", (_x(5, low=-4.7, high=-4.3), _x(5, low=1.6, high=2))),
    _sample("cast", "narrow", (_x(3),), DTypeAttrs(dtypes.float64)),
    _sample("cast", "integer", (np.array([1.2, -3.4]),), DTypeAttrs(dtypes.int32)),
    _sample("transpose", "4d", (_x(2, 3, 1, 4),), TransposeAttrs((2, 0, 3, 1))),
    _sample("broadcast", "inner", (_x(2, 1),), BroadcastAttrs((4, 2, 3), (1, 2))),
    _sample("slice", "stepped", (_x(5, 7),), SliceAttrs((1, 0), (5, 6), (1, 2))),
    _sample("slice", "nothing", (_x(5, 7),), SliceAttrs((1, 3), (1, 7), (1, 3))),
    _sample("pad", "interior", (_x(2, 3), _x()), PadAttrs((1, 0), (0, 2), (0, 1))),
    _sample("concatenate", "empty", (_x(2, 1), _x(2, 3), _x(2, 0)), AxisAttrs(1)),
    *(_sample(op, "apart", (_x(2, 3, 4),), AxesAttrs((0, 2))) for op in ("reduce_max", "reduce_min", "reduce_prod")),
    *(_sample(op, "empty", (_x(0, 3),), AxesAttrs((0,))) for op in ("reduce_max", "reduce_min", "reduce_prod")),
    *(_sample("dot_general", str(i), (_x(*a), _x(*b)), attrs) for i, (a, b, attrs) in enumerate(_DOTS)),
    _sample("gather", "outside", (_x(5, 2), _index(3, 2)), GatherAttrs(0)),
    _sample("gather", "unsigned", (_x(2, 5), _index(4, dtype="uint8")), GatherAttrs(1)),
    _sample("gather", "nothing", (_x(2, 5), _index(0)), GatherAttrs(1)),
    _sample("scatter_add", "outside", (_x(5, 2), _index(3, 2), _x(3, 2, 2)), GatherAttrs(0)),
    _sample("scatter_add", "middle", (_x(2, 5, 2), _index(4), _x(2, 4, 2)), GatherAttrs(1)),
    *(
        _sample(op, "repeated", (_x(2, 5, 2), _index(2, 9), _x(2, 9, 2)), GatherAttrs(1, 1))
        for op in ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
    ),
    *(
        _sample(op, "nothing", (_x(2, 5), _index(0), _x(2, 0)), GatherAttrs(1))
        for op in ("scatter", "scatter_mul", "scatter_min", "scatter_max")
    ),
    _sample("call", "integers", (_x(2, 3), _x(2, 3), _index(2, 3)), CallAttrs(_CALLEE)),
)
