"""Elements chosen by integer arrays, and windows at places that data says."""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import elementwise as ops
from graphc.graph.ops import windows
from graphc.graph.ops.windows import DimsAttrs, WindowAttrs
from graphc.numpy.creation import indices_along
from graphc.tracing.array import indexing, movement
from graphc.tracing.bind import as_array, bind1, dtype_of, same_kind, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.tracer import DTypeLike


def take(x: ArrayLike, indices: ArrayLike, axis: int | None = None, mode: str = "raise") -> Array:
    """Elements of x along `axis` (of the flattened x without one); the dims of `indices` stand in its place.

    Negative indices count from the end. An index outside is an error if it is known while tracing; a traced one takes
    the nearest valid element. mode="clip" takes the nearest valid element always, negative indices too.

    >>> import graphc.numpy as gnp
    >>> gnp.take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    if mode not in ("raise", "clip"):
        raise ArgumentError(with_line(f"take: mode is 'raise' or 'clip', got {mode!r}"))
    return indexing.take(x, indices, axis, mode)


def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: int = -1) -> Array:
    """`result[i, j] = x[i, indices[i, j]]` for the last axis, and likewise for others.

    >>> import graphc.numpy as gnp
    >>> gnp.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
    [[2], [3]]
    """
    return indexing.take_along_axis(x, indices, axis)


def one_hot(indices: ArrayLike, num_classes: int, dtype: DTypeLike = "float32") -> Array:
    """1 at each index along a new last dim, 0 elsewhere; an index outside gives a row of zeros.

    >>> import graphc.numpy as gnp
    >>> gnp.one_hot([1, 0], 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    positions = movement.expand_dims(as_array(indices), -1)
    columns = indices_along((num_classes,), 0, dtype_of(positions))
    return to_dtype(bind1(ops.eq, positions, columns), dtypes.dtype(dtype))


def dynamic_slice(x: ArrayLike, start_indices: Sequence[ArrayLike], slice_sizes: Sequence[int]) -> Array:
    """The window of `slice_sizes` elements per dim that begins at `start_indices` (integers, which may be traced).

    A start is moved so that the whole window lies inside. Negative starts do not count from the end.

    >>> import graphc.numpy as gnp
    >>> gnp.dynamic_slice([1, 2, 3, 4, 5], [3], [3]).tolist()
    [3, 4, 5]
    """
    array, sizes = as_array(x), movement.as_shape("dynamic_slice", slice_sizes)
    starts = _starts("dynamic_slice", array, start_indices)
    if len(sizes) != len(array.shape) or any(not 0 <= a <= b for a, b in zip(sizes, array.shape)):
        raise ShapeError(with_line(f"dynamic_slice: a window of {list(sizes)} does not fit {list(array.shape)}"))
    dims = tuple(d for d, extent in enumerate(array.shape) if sizes[d] != extent)
    attrs = WindowAttrs(dims, tuple(sizes[d] for d in dims))
    return bind1(windows.dynamic_slice, array, *(starts[d] for d in dims), attrs=attrs) if dims else array


def dynamic_update_slice(x: ArrayLike, update: ArrayLike, start_indices: Sequence[ArrayLike]) -> Array:
    """A copy of x with `update` in the place of the window that begins at `start_indices`; see `dynamic_slice`.

    >>> import graphc.numpy as gnp
    >>> gnp.dynamic_update_slice([1, 2, 3, 4, 5], [0, 0], [1]).tolist()
    [1, 0, 0, 4, 5]
    """
    array = as_array(x)
    window = same_kind("dynamic_update_slice", update, dtype_of(array))
    starts = _starts("dynamic_update_slice", array, start_indices)
    if len(window.shape) != len(array.shape) or any(a > b for a, b in zip(window.shape, array.shape)):
        shapes = f"{list(window.shape)} does not fit {list(array.shape)}"
        raise ShapeError(with_line(f"dynamic_update_slice: a window of {shapes}"))
    dims = tuple(d for d, extent in enumerate(array.shape) if window.shape[d] != extent)
    given = (starts[d] for d in dims)
    return bind1(windows.dynamic_update_slice, array, window, *given, attrs=DimsAttrs(dims)) if dims else window


def _starts(name: str, x: Array, starts: Sequence[ArrayLike]) -> list[Array]:
    found = [as_array(start) for start in starts]
    if len(found) != len(x.shape) or any(start.shape != () or not dtype_of(start).is_integer for start in found):
        raise ShapeError(with_line(f"{name}: takes one integer per dim of {list(x.shape)}, got {len(found)} starts"))
    return found
