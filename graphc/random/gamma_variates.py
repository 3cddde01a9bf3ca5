"""The gamma distribution (Marsaglia and Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000).

Their method proposes a cubed normal and accepts it 95 times in 100 or more often. Here there are eight proposals for
every draw and the first accepted one is taken, so there is no loop whose length depends on data, and a draw depends on
its place and the key alone. Once in 3e10 draws, or more seldom, none is accepted; then it is alpha - 1/3.
"""

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.graph.ops import elementwise as ops
from graphc.numpy.creation import indices_along
from graphc.random.antilogarithm import exp_below_one
from graphc.random.continuous import normal
from graphc.random.floats import float_dtype, open_unit, working
from graphc.random.keys import Shape, checked, split
from graphc.random.logarithm import log
from graphc.tracing.array import indexing, movement, reduction
from graphc.tracing.bind import as_array, bind1, broadcast_shape, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, with_line
from graphc.tracing.tracer import DTypeLike

_PROPOSALS = 8


def gamma(key: ArrayLike, alpha: ArrayLike, shape: Shape | None = None, dtype: DTypeLike = "float32") -> Array:
    """Gamma with shape parameter `alpha`, above 0, and scale 1. `shape` is that of alpha, or one it broadcasts to.

    Raises `UnsupportedError` for an alpha that is traced: a derivative with respect to it is not there.

    >>> import graphc as gc
    >>> x = gc.random.gamma(gc.random.key(0), 9.0, (1000,))
    >>> bool(abs(x.mean() - 9) < 0.5)
    True
    """
    wanted = float_dtype("gamma", dtype)
    known = _known(alpha)
    extents = known.shape if shape is None else movement.as_shape("gamma", shape)
    if broadcast_shape("gamma", (known.shape, extents)) != extents:
        raise ArgumentError(with_line(f"gamma: alpha of shape {list(known.shape)} for draws of {list(extents)}"))
    keys = split(checked("gamma", key), 3)
    streams = [indexing.getitem(keys, i) for i in range(3)]
    kind = working(wanted)
    drawn = _above_one(streams[0], streams[1], known + (known < 1), extents, kind)
    if (known < 1).any():  # gamma(alpha) is gamma(alpha + 1) times a power of a uniform number
        inverse = np.where(known < 1, 1 / known, 0.0).astype(kind.numpy)
        power = bind1(ops.mul, log(open_unit(streams[2], extents, kind), kind), inverse)
        drawn = bind1(ops.mul, drawn, exp_below_one(power, kind))
    return to_dtype(drawn, wanted)


def _known(alpha: ArrayLike) -> np.ndarray:
    given = as_array(alpha)
    if isinstance(given, TracedValue):
        raise UnsupportedError(
            with_line("random.gamma: alpha must be known while tracing; a derivative with respect to it is not there")
        )
    wide = given.astype(np.float64)
    if not (np.isfinite(wide) & (wide > 0)).all():
        raise ArgumentError(with_line("random.gamma: alpha must be above 0 and finite"))
    return wide


def _above_one(first: Array, second: Array, alpha: np.ndarray, shape: tuple[int, ...], kind: DType) -> Array:
    """For alpha >= 1."""
    centre = (alpha - 1 / 3).astype(kind.numpy)
    width = (1 / np.sqrt(9 * (alpha - 1 / 3))).astype(kind.numpy)
    proposals = (_PROPOSALS, *shape)
    x = normal(first, proposals, kind)
    root = bind1(ops.add, bind1(ops.mul, x, width), 1.0)
    cube = bind1(ops.mul, root, bind1(ops.mul, root, root))
    usable = bind1(ops.ge, cube, float(np.finfo(kind.name).tiny))
    cube = bind1(ops.select, usable, cube, 1.0)
    slack = bind1(ops.add, bind1(ops.sub, 1.0, cube), log(cube, kind))
    limit = bind1(ops.add, bind1(ops.mul, bind1(ops.mul, x, x), 0.5), bind1(ops.mul, slack, centre))
    below = bind1(ops.lt, log(open_unit(second, proposals, kind), kind), limit)
    accepted = bind1(ops.and_, usable, below)
    earliest = movement.expand_dims(reduction.argmax(accepted, 0), 0)
    taken = bind1(ops.and_, accepted, bind1(ops.eq, indices_along(proposals, 0, dtypes.int64), earliest))
    size = reduction.sum(bind1(ops.select, taken, cube, 0.0), 0, None, False)  # of one term and zeros
    return bind1(ops.mul, bind1(ops.select, bind1(ops.gt, size, 0.0), size, 1.0), centre)
