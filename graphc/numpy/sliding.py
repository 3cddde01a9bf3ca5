"""Windows that slide over the last dims of an array: convolutions, their transposes, and reductions."""

from collections.abc import Sequence
from math import prod

from graphc.core.errors import ArgumentError, ShapeError
from graphc.graph.ops import sliding as ops
from graphc.graph.ops.sliding import ConvAttrs, ReduceWindowAttrs
from graphc.tracing.array import movement
from graphc.tracing.array.contraction import describe
from graphc.tracing.bind import as_array, bind1, promoted
from graphc.tracing.context import Array, ArrayLike, with_line

Sizes = int | Sequence[int]  # one for all dims, or one for each
Padding = str | int | Sequence[int | tuple[int, int]]


def conv(
    x: ArrayLike,
    weight: ArrayLike,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    input_dilation: Sizes = 1,
) -> Array:
    """Slide kernels over the spatial dims of x [n, c, ...]: weight [out, c / groups, ...] gives [n, out, ...].

    Any number of spatial dims. Kernels are not flipped, as in deep learning. padding: zeros around x, an int, one int
    or a pair (before, after) for each dim, "valid" (none), or "same" (as many as keep the size, for a stride of 1; the
    odd one comes after). dilation: the distance between the elements of a kernel; input_dilation: between those of x,
    which is what transposes a convolution with a stride. Channels of x and of the result are in `groups` that do not
    see each other. An infinite weight that meets the padding gives NaN.

    The terms of a sum are added in ascending order of (channel, kernel element), each rounded once (fused
    multiply-adds); sums of more than 4096 terms are cut into equal parts, see `graphc.passes.windows`.

    >>> import graphc.numpy as gnp
    >>> gnp.conv([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]], padding=[(1, 0)]).tolist()
    [[[-1.0, -1.0, -1.0, -1.0]]]
    """
    lhs, rhs = promoted("conv", (x, weight))
    rank = _spatial("conv", lhs, rhs)
    steps, between, holes = (_each("conv", "sizes", v, rank) for v in (stride, dilation, input_dilation))
    if rhs.shape[1] * groups != lhs.shape[1] or groups < 1 or rhs.shape[0] % groups:
        raise ShapeError(
            with_line(f"conv: {groups} groups of {lhs.shape[1]} channels do not fit a weight {describe(rhs)}")
        )
    pads = _padding(padding, rank, rhs.shape[2:], steps, between)
    low, high = tuple(a for a, _ in pads), tuple(b for _, b in pads)
    shape = (groups, rhs.shape[0] // groups, *rhs.shape[1:])
    return _grouped(lhs, rhs, shape, 1, groups, (steps, low, high, holes, between))


def conv_transpose(
    x: ArrayLike,
    weight: ArrayLike,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The transpose of `conv`, as its gradient by the input: x [n, c, ...] and weight [c, out / groups, ...] give
    [n, out, ...] with (extent - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1 places.

    >>> import graphc.numpy as gnp
    >>> gnp.conv_transpose([[[1.0, 2.0]]], [[[1.0, 10.0]]], stride=2).tolist()
    [[[1.0, 10.0, 2.0, 20.0]]]
    """
    lhs, rhs = promoted("conv_transpose", (x, weight))
    rank = _spatial("conv_transpose", lhs, rhs)
    steps, between, pads, further = (
        _each("conv_transpose", "sizes", v, rank) for v in (stride, dilation, padding, output_padding)
    )
    if rhs.shape[0] != lhs.shape[1] or groups < 1 or lhs.shape[1] % groups:
        raise ShapeError(
            with_line(f"conv_transpose: {groups} groups of {lhs.shape[1]} channels do not fit {describe(rhs)}")
        )
    if any(extra >= max(s, d) for extra, s, d in zip(further, steps, between)):
        raise ArgumentError(with_line(f"conv_transpose: output_padding={further} must be less than the stride"))
    low = tuple(d * (k - 1) - p for d, k, p in zip(between, rhs.shape[2:], pads))
    high = tuple(a + extra for a, extra in zip(low, further))
    shape = (groups, rhs.shape[0] // groups, *rhs.shape[1:])
    return _grouped(lhs, rhs, shape, 0, groups, ((1,) * rank, low, high, steps, between), flipped=True)


_Rows = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _grouped(
    lhs: Array, rhs: Array, shape: tuple[int, ...], summed: int, groups: int, rows: _Rows, flipped: bool = False
) -> Array:
    """x [n, c, ...] with a weight of `shape` [group, a, b, ...]; `summed`: which of a (0) and b (1) is summed over."""
    rank = len(shape) - 3
    if groups == 1:
        spatial = tuple(range(2, rank + 2))
        kernel = movement.reshape(rhs, shape[1:])
        return bind1(
            ops.conv_general, lhs, kernel, attrs=ConvAttrs((1,), (summed,), spatial, spatial, *rows, flipped=flipped)
        )
    spatial = tuple(range(3, rank + 3))
    n, channels, *extents = lhs.shape
    split = movement.reshape(lhs, (n, groups, channels // groups, *extents))
    kernel = movement.reshape(rhs, shape)
    attrs = ConvAttrs((2,), (summed + 1,), spatial, spatial, *rows, (1,), (0,), flipped=flipped)
    found = bind1(ops.conv_general, split, kernel, attrs=attrs)  # [group, n, out, ...]
    found = movement.transpose(found, (1, 0, *range(2, rank + 3)))
    return movement.reshape(found, (n, found.shape[1] * found.shape[2], *found.shape[3:]))


def reduce_window(
    x: ArrayLike,
    reducer: str,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
) -> Array:
    """Reduce every window of the last dims of x: "sum", "max" or "min" of `size` elements, `stride` (the size) apart.

    As many of the last dims as `size` has numbers (one int: the last dim). Padding is as in `conv`, but no part of any
    window: the sum of no elements is 0, the largest of none the smallest value there is. The gradient of an extreme
    goes to the first such element of a window, in row-major order.

    >>> import graphc.numpy as gnp
    >>> gnp.reduce_window([1.0, 3.0, 2.0, 5.0], "max", 2).tolist()
    [3.0, 5.0]
    """
    array = as_array(x)
    sizes = (size,) if isinstance(size, int) else tuple(size)
    rank = len(sizes)
    if rank > len(array.shape):
        raise ShapeError(with_line(f"reduce_window: windows of {rank} dims over {describe(array)}"))
    steps = sizes if stride is None else _each("reduce_window", "stride", stride, rank)
    between = _each("reduce_window", "dilation", dilation, rank)
    pads = _padding(padding, rank, sizes, steps, between)
    low, high = tuple(a for a, _ in pads), tuple(b for _, b in pads)
    dims = tuple(range(len(array.shape) - rank, len(array.shape)))
    attrs = ReduceWindowAttrs(reducer, dims, sizes, steps, low, high, (1,) * rank, between)
    return bind1(ops.reduce_window, array, attrs=attrs)


def _spatial(name: str, x: Array, weight: Array) -> int:
    """The number of spatial dims."""
    rank = len(weight.shape) - 2
    if rank < 0 or len(x.shape) != len(weight.shape):
        raise ShapeError(with_line(f"{name}: {describe(x)} and a weight {describe(weight)} differ in their rank"))
    return rank


def _each(name: str, what: str, value: Sizes, rank: int) -> tuple[int, ...]:
    given = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(given) != rank:
        raise ArgumentError(with_line(f"{name}: {what} {list(given)} for {rank} dims"))
    return given


def _padding(
    padding: Padding, rank: int, size: Sequence[int], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ArgumentError(with_line(f"padding={padding!r}: use 'same', 'valid' or numbers"))
        if padding == "same" and prod(stride) != 1:
            raise ArgumentError(with_line("padding='same' is for a stride of 1"))
        widths = [(k - 1) * d if padding == "same" else 0 for k, d in zip(size, dilation)]
        return [(width // 2, width - width // 2) for width in widths]
    given = (padding,) * rank if isinstance(padding, int) else tuple(padding)
    if len(given) != rank:
        raise ArgumentError(with_line(f"padding={padding!r} for {rank} dims"))
    return [(each, each) if isinstance(each, int) else (each[0], each[1]) for each in given]
