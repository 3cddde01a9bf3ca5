"""Random orders, computed element by element: no table, no sort."""

import math

from graphc.core import dtypes
from graphc.graph.ops.source import IotaAttrs, ShuffleAttrs, iota, shuffle_index
from graphc.random.keys import checked, draw
from graphc.tracing.array import indexing, movement
from graphc.tracing.bind import as_array, bind1, to_dtype
from graphc.tracing.context import Array, ArrayLike, bind_nodes, is_tracing


def shuffle(key: ArrayLike, indices: ArrayLike, n: int) -> Array:
    """Where each index in [0, n) goes under a random permutation of [0, n): uint32, shaped like `indices`.

    Any part of the permutation is computed on its own (swap-or-not, Hoang, Morris and Rogaway, CRYPTO 2012); n is a
    Python int below 2**31.

    >>> import graphc as gc
    >>> sorted(gc.random.shuffle(gc.random.key(0), [0, 1, 2, 3, 4], 5).tolist())
    [0, 1, 2, 3, 4]
    """
    rounds = max(24, math.ceil(6 * math.log2(max(n, 2))))
    keys = draw(checked("shuffle", key), (rounds, 2))
    return bind1(shuffle_index, to_dtype(as_array(indices), dtypes.uint32), keys, attrs=ShuffleAttrs(n))


def permutation(key: ArrayLike, x: ArrayLike, axis: int = 0) -> Array:
    """A random permutation of the numbers below a Python int, or of the slices of an array along an axis.

    >>> import graphc as gc
    >>> sorted(gc.random.permutation(gc.random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    if isinstance(x, int):
        return shuffle(key, _positions(x), x)
    array = as_array(x)
    position = movement.normal_axis("permutation", axis, len(array.shape))
    extent = array.shape[position]
    return indexing.take(array, shuffle(key, _positions(extent), extent), position, mode="clip") if extent else array


def _positions(n: int) -> Array:
    attrs = IotaAttrs((n,), dtypes.uint32, 0)
    return bind_nodes(iota, (), attrs)[0] if is_tracing() else bind1(iota, attrs=attrs)
