"""New arrays. While tracing they are made by the program and not stored in it.

The default float is float32, the default integer int64; NumPy arrays keep their dtype.
"""

import math
from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops.source import IotaAttrs
from graphc.graph.ops.source import iota as iota_op
from graphc.numpy.inspection import check_device
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, bind1, dtype_of, same_kind, scalar_array, staged, to_dtype
from graphc.tracing.context import Array, ArrayLike, TracedValue, bind_nodes, is_tracing, with_line
from graphc.tracing.spec import DEFAULT_FLOAT, static_size
from graphc.tracing.tracer import DTypeLike

Shape = int | Sequence[int]


def asarray(x: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None, copy: bool | None = None) -> Array:
    """A traced value or NumPy array as it is (or cast); Python numbers and lists as bool, int64 or float32 arrays.

    copy: True makes a new array always; False raises `ArgumentError` where one would be made.

    >>> import graphc.numpy as gnp
    >>> gnp.asarray([1.0, 2.0]).dtype
    dtype('float32')
    """
    check_device("asarray", device)
    found = as_array(x, None if dtype is None else dtypes.dtype(dtype))
    if copy is False and found is not x:
        raise ArgumentError(with_line("asarray: copy=False, but a new array has to be made"))
    return found.copy() if copy and found is x else found


def from_dlpack(x: object, device: str | None = None, copy: bool | None = None) -> Array:
    """An array of another library that lies in the host's memory, through DLPack; it is read where it lies.

    >>> import numpy as np
    >>> import graphc.numpy as gnp
    >>> gnp.from_dlpack(np.array([1, 2])).tolist()
    [1, 2]
    """
    check_device("from_dlpack", device)
    found = as_array(np.from_dlpack(x, copy=copy))  # type: ignore[arg-type]
    return found


def full(shape: Shape, fill_value: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """An array of one value; without a dtype it has that of the value. With one the value is cast: 1.5 is 1 in int32.

    >>> import graphc.numpy as gnp
    >>> gnp.full((2,), 7).tolist()
    [7, 7]
    """
    check_device("full", device)
    extents = movement.as_extents("full", shape)
    value = as_array(fill_value, None if dtype is None else dtypes.dtype(dtype))
    if isinstance(value, TracedValue):
        return movement.broadcast_to(value, extents)
    if not is_tracing():
        return np.full(extents, value)
    return movement.broadcast_to(staged(value), extents)


def zeros(shape: Shape, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """An array of zeros.

    >>> import graphc.numpy as gnp
    >>> gnp.zeros((2, 2)).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    check_device("zeros", device)
    return full(shape, scalar_array(0, DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)))


def ones(shape: Shape, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """An array of ones.

    >>> import graphc.numpy as gnp
    >>> gnp.ones(2, gnp.int32).tolist()
    [1, 1]
    """
    check_device("ones", device)
    return full(shape, scalar_array(1, DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)))


def empty(shape: Shape, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """Zeros: nothing is left undefined.

    >>> import graphc.numpy as gnp
    >>> gnp.empty((2,)).tolist()
    [0.0, 0.0]
    """
    return zeros(shape, dtype, device)


def full_like(x: ArrayLike, fill_value: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """An array of one value with the shape and dtype of x; a value of another kind needs a dtype.

    >>> import graphc.numpy as gnp
    >>> gnp.full_like([1.0, 2.0], 7).tolist()
    [7.0, 7.0]
    """
    check_device("full_like", device)
    array = as_array(x)
    if dtype is None:
        fill_value = same_kind("full_like", fill_value, dtype_of(array))
    return full(array.shape, fill_value, dtype_of(array) if dtype is None else dtype)


def zeros_like(x: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """Zeros with the shape and dtype of x.

    >>> import graphc.numpy as gnp
    >>> gnp.zeros_like([1.0, 2.0]).tolist()
    [0.0, 0.0]
    """
    return full_like(x, 0, dtype, device)


def ones_like(x: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """Ones with the shape and dtype of x.

    >>> import graphc.numpy as gnp
    >>> gnp.ones_like([3, 4]).tolist()
    [1, 1]
    """
    return full_like(x, 1, dtype, device)


def empty_like(x: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """Zeros with the shape and dtype of x.

    >>> import graphc.numpy as gnp
    >>> gnp.empty_like([3, 4]).tolist()
    [0, 0]
    """
    return full_like(x, 0, dtype, device)


def indices_along(shape: Sequence[int], axis: int, dtype: DTypeLike = "int64") -> Array:
    """Each element is its own index along `axis`.

    >>> import graphc.numpy as gnp
    >>> gnp.indices_along((2, 2), 1).tolist()
    [[0, 1], [0, 1]]
    """
    attrs = IotaAttrs(tuple(shape), dtypes.dtype(dtype), movement.normal_axis("indices_along", axis, len(shape)))
    return bind_nodes(iota_op, (), attrs)[0] if is_tracing() else np.array(bind1(iota_op, attrs=attrs))


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Array:
    """start, start + step, ... below stop; ints give int64, floats float32. All three are Python numbers.

    >>> import graphc.numpy as gnp
    >>> gnp.arange(3).tolist(), gnp.arange(1.0, 2.0, 0.5).tolist()
    ([0, 1, 2], [1.0, 1.5])
    """
    check_device("arange", device)
    for bound in (start, stop, step):
        if bound is not None and not isinstance(bound, (int, float, np.integer, np.floating)):
            raise ArgumentError(with_line(f"arange: needs Python numbers, shapes are static; got {bound!r}"))
    first, last = (0, start) if stop is None else (start, stop)
    if not all(math.isfinite(bound) for bound in (first, last, step)):
        raise ArgumentError(with_line(f"arange: start, stop and step are finite, got {first}, {last} and {step}"))
    if step == 0:
        raise ArgumentError(with_line("arange: step is 0"))
    count = max(math.ceil((last - first) / step), 0)
    whole = all(isinstance(bound, (int, np.integer)) for bound in (first, last, step))
    wanted = dtypes.dtype(dtype) if dtype is not None else dtypes.int64 if whole else DEFAULT_FLOAT
    for what, number in (("start", first), ("step", step)):
        if wanted.is_integer and int(number) != number:
            raise DTypeError(with_line(f"arange: {what}={number} is no {wanted}; leave dtype out and cast the result"))
    result = indices_along((count,), 0, wanted)
    if step != 1:
        result = bind1(ops.mul, result, scalar_array(step, wanted))
    return result if first == 0 else bind1(ops.add, result, scalar_array(first, wanted))


def linspace(
    start: float,
    stop: float,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    device: str | None = None,
) -> Array:
    """`num` evenly spaced floats from start to stop (with or without it); start and stop are Python numbers. An integer
    dtype takes the integers below them.

    >>> import graphc.numpy as gnp
    >>> gnp.linspace(0.0, 1.0, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    check_device("linspace", device)
    wanted = DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)
    num = static_size("linspace", "num", num, 0)
    points = np.linspace(float(start), float(stop), num, endpoint=endpoint)
    return staged((np.floor(points) if wanted.is_integer else points).astype(wanted.numpy))


def eye(
    n_rows: int, n_cols: int | None = None, k: int = 0, dtype: DTypeLike | None = None, device: str | None = None
) -> Array:
    """Ones on diagonal `k`, zeros elsewhere.

    >>> import graphc.numpy as gnp
    >>> gnp.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    check_device("eye", device)
    shape = movement.as_extents("eye", (n_rows, n_rows if n_cols is None else n_cols))
    k = static_size("eye", "k", k)
    row = indices_along(shape, 0)
    wanted = DEFAULT_FLOAT if dtype is None else dtypes.dtype(dtype)
    return to_dtype(bind1(ops.eq, bind1(ops.add, row, k), indices_along(shape, 1)), wanted)


def identity(n: int, dtype: DTypeLike = "float32") -> Array:
    """The square `eye`.

    >>> import graphc.numpy as gnp
    >>> gnp.identity(1).tolist()
    [[1.0]]
    """
    return eye(n, dtype=dtype)


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> list[Array]:
    """Coordinate arrays of a grid, with rows along y ("xy") or in the order of the arrays ("ij").

    >>> import graphc.numpy as gnp
    >>> [a.tolist() for a in gnp.meshgrid([1, 2], [3, 4], indexing="ij")]
    [[[1, 1], [2, 2]], [[3, 4], [3, 4]]]
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(with_line(f"meshgrid: indexing is 'xy' or 'ij', got {indexing!r}"))
    listed = [as_array(x) for x in arrays]
    rank = len(listed)
    places = [1, 0, *range(2, rank)] if indexing == "xy" and rank > 1 else list(range(rank))
    shape = [0] * rank
    for place, array in zip(places, listed, strict=True):
        shape[place] = array.shape[0]
    lines = [
        movement.reshape(array, tuple(-1 if d == place else 1 for d in range(rank)))
        for place, array in zip(places, listed, strict=True)
    ]
    return [movement.broadcast_to(line, tuple(shape)) for line in lines]


array = asarray
