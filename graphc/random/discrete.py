"""Discrete distributions: coins, dice and categories."""

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError
from graphc.graph.ops import elementwise as ops
from graphc.random.continuous import gumbel
from graphc.random.floats import float_dtype, unit, working
from graphc.random.keys import Shape, checked, draw
from graphc.tracing.array import movement, reduction
from graphc.tracing.bind import as_array, bind1, dtype_of, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import static_size
from graphc.tracing.tracer import DTypeLike


def bernoulli(key: ArrayLike, p: ArrayLike = 0.5, shape: Shape | None = None) -> Array:
    """True with probability `p` (a number or an array, whose shape is the default); bool.

    Raises `ArgumentError` for a p, known while tracing, that is outside of [0, 1].

    >>> import graphc as gc
    >>> gc.random.bernoulli(gc.random.key(0), 0.5, (3,)).dtype
    dtype('bool')
    """
    chance = as_array(float(p) if isinstance(p, int) else p)
    if isinstance(chance, np.ndarray) and not bool(((chance >= 0) & (chance <= 1)).all()):
        raise ArgumentError(with_line(f"bernoulli: p is in [0, 1], got {p!r:.60}"))
    extents = chance.shape if shape is None else movement.as_extents("bernoulli", shape)
    wanted = dtype_of(chance) if dtype_of(chance) in (dtypes.float32, dtypes.float64) else dtypes.float32
    return bind1(ops.lt, unit(checked("bernoulli", key), extents, wanted), chance)


def randint(key: ArrayLike, shape: Shape, low: int, high: int, dtype: DTypeLike = "int32") -> Array:
    """Whole numbers in [low, high), Python ints at most 2**32 apart; no value is likelier than another by more than
    one part in 2**32 / (high - low).

    >>> import graphc as gc
    >>> x = gc.random.randint(gc.random.key(0), (100,), 1, 7)
    >>> int(x.min()), int(x.max())
    (1, 6)
    """
    low, high = (static_size("randint", what, n) for what, n in (("low", low), ("high", high)))
    wanted = dtypes.dtype(dtype)
    limits = np.iinfo(wanted.name) if wanted.is_integer else None
    if limits is None or not limits.min <= low < high <= int(limits.max) + 1 or high - low > 2**32:
        raise ArgumentError(with_line(f"randint: [{low}, {high}) is empty, wider than 2**32, or not of {wanted}"))
    words = to_dtype(draw(checked("randint", key), movement.as_extents("randint", shape)), dtypes.uint64)
    offset = bind1(ops.shift_right, bind1(ops.mul, words, high - low), 32)
    shifted = bind1(ops.add, to_dtype(offset, dtypes.int64), low if low < 2**63 else low - 2**64)
    return to_dtype(shifted, wanted)


def categorical(key: ArrayLike, logits: ArrayLike, axis: int = -1) -> Array:
    """An index (int64) along `axis`, drawn with probabilities softmax(logits).

    >>> import graphc as gc
    >>> int(gc.random.categorical(gc.random.key(0), [-1e9, 0.0, -1e9]))
    1
    """
    scores = as_array(logits)
    scores = to_dtype(scores, working(float_dtype("categorical", dtype_of(scores))))
    return reduction.argmax(bind1(ops.add, scores, gumbel(key, scores.shape, dtype_of(scores))), axis)
