"""Convolutions and pooling as functions of arrays: PyTorch's names, arguments and defaults.

Inputs are [n, c, ...] with as many spatial dims as the name says; without the batch dim they give a result without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError, with_line

Sizes = int | Sequence[int]


def tuple_of(name: str, value: Sizes, rank: int, what: str = "a size") -> tuple[int, ...]:
    """One size for each dim."""
    several = isinstance(value, Iterable) and getattr(value, "shape", None) != ()
    given: tuple[int, ...] = tuple(value) if several else (value,)  # type: ignore[arg-type,assignment]
    listed: tuple[object, ...] = given
    for each in listed:
        if not isinstance(each, int | np.integer) or isinstance(each, bool):
            raise ArgumentError(with_line(f"{name}: {what}={each!r:.60} must be an integer, or one for each dim"))
    if len(given) == 1:
        given *= rank
    if len(given) != rank:
        raise ArgumentError(with_line(f"{name}: {list(given)} for {rank} dims"))
    return given


def _batched(name: str, x: Array, rank: int, fn: Callable[[Array], Array]) -> Array:
    """fn of x with a batch dim."""
    x = gnp.asarray(x)
    if len(x.shape) == rank + 1:
        return gnp.squeeze(fn(gnp.expand_dims(x, 0)), 0)
    if len(x.shape) != rank + 2:
        raise ShapeError(with_line(f"{name}: input {list(x.shape)} is not [n, c] and {rank} dims"))
    return fn(x)


def _fits(name: str, x: Array, kernel: Sequence[int], dilation: Sequence[int], pads: Sequence[tuple[int, int]]) -> None:
    """Raise where a window is larger than what it slides over."""
    for dim, (extent, k, d, (low, high)) in enumerate(zip(x.shape[2:], kernel, dilation, pads, strict=True)):
        if d * (k - 1) + 1 > extent + low + high:
            padded = f" ({extent} and padding)" if low or high else ""
            size = f"{d * (k - 1) + 1}" + (f" ({k}, dilation {d})" if d > 1 else "")
            raise ShapeError(
                with_line(f"{name}: a window of {size} does not fit into {extent + low + high}{padded}, dim {dim + 2}")
            )


def _rounded_once(fn: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """fn, of half types computed in float32."""

    def wide(x: Array) -> Array:
        if x.dtype in (gnp.bfloat16, gnp.float16):
            return gnp.astype(fn(gnp.astype(x, "float32")), x.dtype)
        return fn(x)

    return wide


def _with_bias(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + gnp.reshape(bias, (-1,) + (1,) * (len(x.shape) - 2))


def _conv(
    rank: int,
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sizes,
    padding: str | Sizes,
    dilation: Sizes,
    groups: int,
) -> Array:
    name = f"conv{rank}d"
    steps, between = tuple_of(name, stride, rank, "stride"), tuple_of(name, dilation, rank, "dilation")
    pads = padding if isinstance(padding, str) else tuple_of(name, padding, rank, "padding")
    if not isinstance(pads, str) and min(pads) < 0:
        raise ArgumentError(with_line(f"{name}: padding is not negative, got {list(pads)}"))

    def conv(x: Array) -> Array:
        if not isinstance(pads, str) and len(weight.shape) == rank + 2:
            _fits(name, x, weight.shape[2:], between, [(p, p) for p in pads])
        return _with_bias(gnp.conv(x, weight, steps, pads, between, groups), bias)

    return _batched(name, x, rank, conv)


def conv1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """x [n, c, length] with weight [out, c / groups, k]: [n, out, places]. See `graphc.numpy.conv`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv1d(np.ones((1, 2, 5), np.float32), np.ones((3, 2, 3), np.float32)).shape
    (1, 3, 3)
    """
    return _conv(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """x [n, c, h, w] with weight [out, c / groups, kh, kw]: [n, out, ...]. See `graphc.numpy.conv`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv2d(np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32), padding=1, stride=2).shape
    (1, 3, 3, 3)
    """
    return _conv(2, x, weight, bias, stride, padding, dilation, groups)


def conv3d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: str | Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """x [n, c, d, h, w] with weight [out, c / groups, kd, kh, kw]: [n, out, ...]. See `graphc.numpy.conv`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv3d(np.ones((1, 2, 4, 4, 4), np.float32), np.ones((3, 2, 2, 2, 2), np.float32)).shape
    (1, 3, 3, 3, 3)
    """
    return _conv(3, x, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    rank: int,
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Array:
    name = f"conv_transpose{rank}d"
    given = {"stride": stride, "padding": padding, "output_padding": output_padding}
    steps, pads, further = (tuple_of(name, value, rank, what) for what, value in given.items())
    between = tuple_of(name, dilation, rank, "dilation")
    return _batched(
        name,
        x,
        rank,
        lambda x: _with_bias(gnp.conv_transpose(x, weight, steps, pads, further, groups, between), bias),
    )


def conv_transpose1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The transpose of `conv1d`: x [n, c, length] with weight [c, out / groups, k]. See `graphc.numpy.conv_transpose`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv_transpose1d(np.ones((1, 2, 3), np.float32), np.ones((2, 1, 2), np.float32), stride=2).shape
    (1, 1, 6)
    """
    return _conv_transpose(1, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The transpose of `conv2d`: weight [c, out / groups, kh, kw]. See `graphc.numpy.conv_transpose`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv_transpose2d(np.ones((1, 2, 3, 3), np.float32), np.ones((2, 4, 2, 2), np.float32), stride=2).shape
    (1, 4, 6, 6)
    """
    return _conv_transpose(2, x, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The transpose of `conv3d`: weight [c, out / groups, kd, kh, kw]. See `graphc.numpy.conv_transpose`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.conv_transpose3d(np.ones((1, 2, 2, 2, 2), np.float32), np.ones((2, 1, 2, 2, 2), np.float32)).shape
    (1, 1, 3, 3, 3)
    """
    return _conv_transpose(3, x, weight, bias, stride, padding, output_padding, groups, dilation)


# ---------------------------------------------------------------------------------------------------------- pooling


def _pads(
    extents: Sequence[int],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> list[tuple[int, int]]:
    """Padding before and after; with `ceil_mode` windows may end behind it, but none begins there."""
    found: list[tuple[int, int]] = []
    for extent, k, s, p, d in zip(extents, size, stride, padding, dilation, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise ArgumentError(with_line(f"pooling: padding {p} is more than half of a window of {k}"))
        high = p
        if ceil_mode:
            places = -(-(extent + 2 * p - d * (k - 1) - 1) // s) + 1
            if (places - 1) * s >= extent + p:
                places -= 1
            high = (places - 1) * s + d * (k - 1) + 1 - extent - p
        found.append((p, high))
    return found


def _max_pool(
    rank: int, x: Array, size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Array:
    name = f"max_pool{rank}d"
    given = {"kernel_size": size, "padding": padding, "dilation": dilation}
    sizes, pads, between = (tuple_of(name, value, rank, what) for what, value in given.items())
    steps = sizes if stride is None else tuple_of(name, stride, rank, "stride")

    def pool(x: Array) -> Array:
        widths = _pads(x.shape[2:], sizes, steps, pads, between, ceil_mode)
        _fits(name, x, sizes, between, widths)
        return gnp.reduce_window(x, "max", sizes, steps, widths, between)

    return _batched(name, x, rank, pool)


def max_pool1d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest element of each window of [n, c, length]. The gradient goes to the first of equal ones.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.max_pool1d(np.array([[[1.0, 3.0, 2.0, 4.0]]], np.float32), 2).tolist()
    [[[3.0, 4.0]]]
    """
    return _max_pool(1, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest element of each window of [n, c, h, w]; see `max_pool1d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.max_pool2d(np.zeros((1, 1, 5, 5), np.float32), 3, stride=2, padding=1).shape
    (1, 1, 3, 3)
    """
    return _max_pool(2, x, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Array:
    """The largest element of each window of [n, c, d, h, w]; see `max_pool1d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.max_pool3d(np.zeros((1, 1, 4, 4, 4), np.float32), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _max_pool(3, x, kernel_size, stride, padding, dilation, ceil_mode)


def _counts(
    extents: Sequence[int],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    widths: Sequence[tuple[int, int]],
    with_pad: Sequence[int],
) -> np.ndarray:
    """How many elements each window has; of the padding `with_pad` on either side count."""
    total: np.ndarray = np.ones((), np.int64)
    for extent, k, s, (low, high), p in zip(extents, size, stride, widths, with_pad, strict=True):
        places = (extent + low + high - k) // s + 1
        start = np.arange(places) * s - low
        total = np.multiply.outer(total, np.minimum(start + k, extent + p) - np.maximum(start, -p))
    return total


def _avg_pool(
    rank: int,
    x: Array,
    size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    name = f"avg_pool{rank}d"
    sizes, pads = tuple_of(name, size, rank, "kernel_size"), tuple_of(name, padding, rank, "padding")
    steps = sizes if stride is None else tuple_of(name, stride, rank, "stride")
    if divisor_override == 0:
        raise ArgumentError(with_line(f"{name}: divisor_override must not be 0"))

    def pool(x: Array) -> Array:
        widths = _pads(x.shape[2:], sizes, steps, pads, (1,) * rank, ceil_mode)
        _fits(name, x, sizes, (1,) * rank, widths)
        total = gnp.reduce_window(x, "sum", sizes, steps, widths)
        if divisor_override is not None:
            return total / divisor_override
        counts = _counts(x.shape[2:], sizes, steps, widths, pads if count_include_pad else (0,) * rank)
        if counts.size and (counts == counts.flat[0]).all():
            return total / int(counts.flat[0])
        return total / gnp.astype(counts, total.dtype)

    return _batched(name, x, rank, _rounded_once(pool))


def avg_pool1d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window of [n, c, length]; `count_include_pad`: zeros of the padding count as elements.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.avg_pool1d(np.array([[[1.0, 3.0, 2.0, 4.0]]], np.float32), 2).tolist()
    [[[2.0, 3.0]]]
    """
    return _avg_pool(1, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window of [n, c, h, w], or its sum divided by `divisor_override`; see `avg_pool1d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.avg_pool2d(np.ones((1, 1, 4, 4), np.float32), 2).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """
    return _avg_pool(2, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    x: Array,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window of [n, c, d, h, w]; see `avg_pool2d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.avg_pool3d(np.ones((1, 1, 4, 4, 4), np.float32), 2).shape
    (1, 1, 2, 2, 2)
    """
    return _avg_pool(3, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive(rank: int, x: Array, output_size: int | Sequence[int | None]) -> Array:
    """Means over windows that divide each dim as evenly as whole numbers do: one matrix of weights per dim."""
    name = f"adaptive_avg_pool{rank}d"
    given = (output_size,) * rank if isinstance(output_size, int) else tuple(output_size)
    if len(given) != rank:
        raise ArgumentError(with_line(f"{name}: output_size {list(given)} for {rank} dims"))

    def pool(x: Array) -> Array:
        extents = x.shape[2:]
        wanted = tuple(e if o is None else o for o, e in zip(given, extents, strict=True))
        if min(wanted, default=1) < 1 or 0 in extents:
            raise ArgumentError(with_line(f"{name}: {list(extents)} to {list(wanted)}"))
        if all(e % o == 0 for e, o in zip(extents, wanted, strict=True)):
            sizes = tuple(e // o for e, o in zip(extents, wanted, strict=True))
            mean: Array = gnp.reduce_window(x, "sum", sizes) / math.prod(sizes)
            return mean
        for n, (extent, places) in enumerate(zip(extents, wanted, strict=True)):
            weights = gnp.astype(_shares(extent, places), x.dtype)
            x = gnp.moveaxis(gnp.tensordot(x, weights, axes=(n + 2, 1)), -1, n + 2)
        return x

    return _batched(name, x, rank, _rounded_once(pool))


def _shares(extent: int, places: int) -> np.ndarray:
    """What each element adds to the mean of each window."""
    found = np.zeros((places, extent))
    for place in range(places):
        start, stop = place * extent // places, -(-(place + 1) * extent // places)
        found[place, start:stop] = 1 / (stop - start)
    return found


def adaptive_avg_pool1d(x: Array, output_size: int | Sequence[int | None]) -> Array:
    """Means over `output_size` windows of [n, c, length], which overlap by one where it does not divide the length.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.adaptive_avg_pool1d(np.array([[[1.0, 2.0, 3.0]]], np.float32), 2).tolist()
    [[[1.5, 2.5]]]
    """
    return _adaptive(1, x, output_size)


def adaptive_avg_pool2d(x: Array, output_size: int | Sequence[int | None]) -> Array:
    """Means over [n, c, h, w]; None keeps a dim. See `adaptive_avg_pool1d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.adaptive_avg_pool2d(np.ones((1, 2, 7, 7), np.float32), 1).tolist()
    [[[[1.0]], [[1.0]]]]
    """
    return _adaptive(2, x, output_size)


def adaptive_avg_pool3d(x: Array, output_size: int | Sequence[int | None]) -> Array:
    """Means over [n, c, d, h, w]; None keeps a dim. See `adaptive_avg_pool1d`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.adaptive_avg_pool3d(np.ones((1, 1, 4, 4, 4), np.float32), (2, None, 1)).shape
    (1, 1, 2, 4, 1)
    """
    return _adaptive(3, x, output_size)
