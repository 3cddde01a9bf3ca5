"""Sampling at places that are computed: grids, regions, moved taps; and blocks put back into images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array, ShapeError, UnsupportedError
from graphc_onnx.ops.common import Ints, cast, dtype_of, flat_index, integers, only, size
from graphc_onnx.ops.selecting import written
from graphc_onnx.table import Row

Taps = list[tuple[Array, Array]]  # a neighbour's index along one dim, and its weight


def _neighbours(place: Array, mode: str) -> Taps:
    if mode == "nearest":
        return [(cast(place, np.int64), gnp.ones_like(place))]
    below = gnp.floor(place)
    part, index = place - below, cast(below, np.int64)
    if mode == "linear":
        return [(index, 1.0 - part), (index + 1, part)]
    a = -0.75
    near, far = part, 1.0 - part
    weights = [_far_weight(1.0 + near, a), _near_weight(near, a), _near_weight(far, a), _far_weight(1.0 + far, a)]
    return [(index + (at - 1), weight) for at, weight in enumerate(weights)]


def _near_weight(x: Array, a: float) -> Array:
    return ((a + 2) * x - (a + 3)) * x * x + 1.0


def _far_weight(x: Array, a: float) -> Array:
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def _reflected(x: Array, low: float, high: float) -> Array:
    """Mirrored at both borders until it lies within."""
    span = high - low
    if span <= 0:
        return gnp.full_like(x, low)
    below, above = gnp.less(x, low), gnp.greater(x, high)
    beyond = gnp.where(below, low - x, x - high)
    times = gnp.floor(beyond / span)
    rest = beyond - times * span
    from_low = gnp.equal(below, gnp.equal(gnp.remainder(times, 2.0), 0.0))
    inside = gnp.where(from_low, low + rest, high - rest)
    return gnp.where(gnp.logical_or(below, above), inside, x)


def _sampled(x: Array, places: Sequence[Array], mode: str, padding: str, align_corners: bool) -> Array:
    """Elements of x [B, C, *D] at places [B, *O], one array per dim of D: [B, C, *O]."""
    batch, channels, *extents = x.shape
    outer = places[0].shape[1:]
    rows = gnp.reshape(gnp.moveaxis(x, 1, -1), (batch * size(extents), channels))
    taps: list[Taps] = []
    for place, extent in zip(places, extents, strict=True):
        low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
        at = gnp.rint(place) if mode == "nearest" else place
        if padding == "border":
            outside = gnp.logical_or(gnp.less(at, low), gnp.greater(at, high))
            at = gnp.where(outside, gnp.clip(at, 0.0, extent - 1.0), at)
        elif padding == "reflection":
            at = _reflected(at, low, high)
        taps.append(_neighbours(at, mode))
    first = gnp.reshape(gnp.arange(batch), (batch,) + (1,) * len(outer))
    total: Array | None = None
    for combination in product(*taps):
        index: list[Array] = []
        weight: Array | None = None
        for (at, share), extent in zip(combination, extents, strict=True):
            inside = gnp.logical_and(gnp.greater_equal(at, 0), gnp.less(at, extent))
            if padding == "zeros":
                share = gnp.where(inside, share, gnp.zeros_like(share))
            elif padding == "reflection":
                low, high = (0.0, extent - 1.0) if align_corners else (-0.5, extent - 0.5)
                at = cast(gnp.trunc(_reflected(cast(at, dtype_of(share)), low, high)), np.int64)
            index.append(gnp.clip(at, 0, extent - 1))
            weight = share if weight is None else weight * share
        chosen = gnp.take(rows, flat_index([first, *index], (batch, *extents)), axis=0)
        term = chosen * cast(gnp.expand_dims(weight, -1), dtype_of(x))  # type: ignore[arg-type]
        total = term if total is None else total + term
    if total is None:
        raise ShapeError("there is no dim to sample along")
    return gnp.moveaxis(total, -1, 1)


def _grid_sample(
    x: Array, grid: Array, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Array:
    """The last dim of the grid has the place along each dim of x, the innermost first, from -1 to 1."""
    kind = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    only("mode", kind, "nearest", "linear", "cubic")
    only("padding_mode", padding_mode, "zeros", "border", "reflection")
    extents = x.shape[2:]
    places = []
    for dim, extent in enumerate(extents):
        at = grid[..., len(extents) - 1 - dim]
        places.append((at + 1.0) * (0.5 * (extent - 1)) if align_corners else ((at + 1.0) * extent - 1.0) * 0.5)
    return _sampled(x, places, kind, padding_mode, bool(align_corners))


def _roi_align(
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """He and others 2017: averages (or maxima) of bilinear samples in each cell of each region."""
    only("mode", mode, "avg", "max")
    if sampling_ratio <= 0:
        raise UnsupportedError("sampling_ratio=0 takes as many samples as the regions are large, which is data")
    height, width = x.shape[2:]
    half = coordinate_transformation_mode == "half_pixel"
    corner = cast(rois, dtype_of(x)) * spatial_scale - (0.5 if half else 0.0)
    axes: list[tuple[list[Array], list[Array]]] = []
    for first, cells, extent in ((1, output_height, height), (0, output_width, width)):
        start, length = corner[:, first], corner[:, first + 2] - corner[:, first]
        length = length if half else gnp.maximum(length, 1.0)
        steps = (np.arange(cells * sampling_ratio) + 0.5) / (sampling_ratio * cells)
        place = gnp.expand_dims(start, 1) + gnp.expand_dims(length, 1) * steps.astype(dtype_of(x))
        outside = gnp.logical_or(gnp.less(place, -1.0), gnp.greater(place, float(extent)))
        place = gnp.clip(place, 0.0, extent - 1.0)
        low = gnp.minimum(cast(place, np.int64), extent - 1)
        part = place - cast(low, dtype_of(x))
        zero = gnp.zeros_like(part)
        weights = [gnp.where(outside, zero, 1.0 - part), gnp.where(outside, zero, part)]
        axes.append(([low, gnp.minimum(low + 1, extent - 1)], weights))
    rows = gnp.reshape(gnp.transpose(x, (0, 2, 3, 1)), (-1, x.shape[1]))
    region = gnp.reshape(cast(batch_indices, np.int64), (-1, 1, 1))
    terms = []
    for down, across in product(range(2), range(2)):
        index = [region, gnp.expand_dims(axes[0][0][down], 2), gnp.expand_dims(axes[1][0][across], 1)]
        weight = gnp.expand_dims(axes[0][1][down], 2) * gnp.expand_dims(axes[1][1][across], 1)
        chosen = gnp.take(rows, flat_index(index, (x.shape[0], height, width)), axis=0)
        terms.append(chosen * gnp.expand_dims(weight, -1))
    shape = (rois.shape[0], output_height, sampling_ratio, output_width, sampling_ratio, x.shape[1])
    if mode == "avg":
        result = gnp.mean(gnp.reshape(sum(terms[1:], terms[0]), shape), axis=(2, 4))
    else:
        best = gnp.maximum(gnp.maximum(terms[0], terms[1]), gnp.maximum(terms[2], terms[3]))
        result = gnp.max(gnp.reshape(best, shape), axis=(2, 4))
    return gnp.transpose(result, (0, 3, 1, 2))


def _max_roi_pool(x: Array, rois: Array, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Array:
    """Girshick 2015: the maximum of each cell of each region, whose corners are pixels; 0 where a cell has none."""
    corners = cast(rois[:, 1:], dtype_of(x)) * spatial_scale
    corners = gnp.where(gnp.less(corners, 0.0), gnp.ceil(corners - 0.5), gnp.floor(corners + 0.5))  # halves go outwards
    columns = _pixels_of_cells(corners[:, 0], corners[:, 2], pooled_shape[1], x.shape[3])
    rows = _pixels_of_cells(corners[:, 1], corners[:, 3], pooled_shape[0], x.shape[2])
    lowest = -float("inf")
    images = gnp.take(x, cast(rois[:, 0], np.int64), axis=0)
    best = gnp.max(gnp.where(columns[:, None, None], images[:, :, :, None], lowest), axis=4)
    best = gnp.max(gnp.where(rows[:, None, :, :, None], best[:, :, None], lowest), axis=3)
    some = gnp.logical_and(gnp.any(rows, axis=2)[:, None, :, None], gnp.any(columns, axis=2)[:, None, None])
    return gnp.where(some, best, 0.0)


def _pixels_of_cells(first: Array, last: Array, cells: int, extent: int) -> Array:
    """Along one dim of regions [R], which pixels are in which cell: [R, cells, extent]. Cells may share pixels."""
    length = gnp.expand_dims(gnp.maximum(last - first + 1.0, 1.0) / cells, 1)
    number, pixel = np.arange(cells).astype(dtype_of(first)), np.arange(extent).astype(dtype_of(first))
    low = gnp.floor(length * number) + gnp.expand_dims(first, 1)
    high = gnp.ceil(length * (number + 1)) + gnp.expand_dims(first, 1)
    return gnp.logical_and(gnp.less_equal(low[..., None], pixel), gnp.less(pixel, high[..., None]))


def _deform_conv(
    x: Array,
    weight: Array,
    offset: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Dai and others 2017; Zhu and others 2019 with a mask: a convolution whose taps are moved by `offset`."""
    batch, channels, *extents = x.shape
    rank = len(extents)
    kernel, out = weight.shape[2:], offset.shape[2:]
    step, spread, before = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * (2 * rank)
    count = size(kernel)
    moved = gnp.reshape(offset, (batch * offset_group, count, rank, *out))
    places = []
    for dim in range(rank):
        taps = np.indices(kernel)[dim].reshape(count, *(1,) * rank) * spread[dim]
        base = np.indices(out)[dim] * step[dim] - before[dim] + taps
        places.append(moved[:, :, dim] + base.astype(dtype_of(x)))
    images = gnp.reshape(x, (batch * offset_group, channels // offset_group, *extents))
    values = _sampled(images, places, "linear", "zeros", align_corners=True)
    if mask is not None:
        values = values * gnp.reshape(mask, (batch * offset_group, 1, count, *out))
    columns = gnp.reshape(values, (batch, group, channels // group, count, size(out)))
    filters = gnp.reshape(weight, (group, weight.shape[0] // group, channels // group, count))
    result = gnp.reshape(gnp.einsum("gock,ngckp->ngop", filters, columns), (batch, weight.shape[0], *out))
    return result if bias is None else result + gnp.reshape(bias, (-1, *(1,) * rank))


def _col2im(
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Overlapping blocks, a column each, added up to an image."""
    image, block = integers(image_shape), integers(block_shape)
    rank = len(image)
    step, spread, around = strides or (1,) * rank, dilations or (1,) * rank, pads or (0,) * (2 * rank)
    counts = [
        (image[d] + around[d] + around[d + rank] - spread[d] * (block[d] - 1) - 1) // step[d] + 1 for d in range(rank)
    ]
    within = np.indices(block).reshape(rank, -1, 1)
    start = np.indices(counts).reshape(rank, 1, -1)
    places = [within[d] * spread[d] + start[d] * step[d] - around[d] for d in range(rank)]
    inside = np.all([(place >= 0) & (place < extent) for place, extent in zip(places, image, strict=True)], axis=0)
    position = np.ravel_multi_index([np.where(inside, place, 0) for place in places], image)
    batch, channels = x.shape[0], x.shape[1] // size(block)
    columns = gnp.transpose(gnp.reshape(x, (batch * channels, size(block) * size(counts))))
    pixels = gnp.zeros((size(image) + 1, batch * channels), dtype_of(x))
    total = written(pixels, np.where(inside, position, size(image)).ravel(), columns, "add")
    return gnp.reshape(gnp.transpose(total[: size(image)]), (batch, channels, *image))


def _max_unpool(
    x: Array,
    indices: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Each maximum back at its place, zeros elsewhere."""
    rank = len(kernel_shape)
    step, around = strides or (1,) * rank, pads or (0,) * (2 * rank)
    inner = [(x.shape[d + 2] - 1) * step[d] - around[d] - around[d + rank] + kernel_shape[d] for d in range(rank)]
    shape = (*x.shape[:2], *inner)
    zeros = gnp.zeros((size(shape),), dtype_of(x))
    result = gnp.reshape(written(zeros, gnp.ravel(indices), gnp.ravel(x), "none"), shape)
    if output_shape is None:
        return result
    return gnp.pad(result, [(0, want - have) for want, have in zip(integers(output_shape), shape, strict=True)])


ROWS = [
    Row("GridSample", 16, _grid_sample),
    Row("RoiAlign", 10, _roi_align, until=15),
    Row("RoiAlign", 16, _roi_align),
    Row("MaxRoiPool", 1, _max_roi_pool),
    Row("DeformConv", 19, _deform_conv),
    Row("Col2Im", 18, _col2im, known=(1, 2)),
    Row("MaxUnpool", 9, _max_unpool, known=(2,)),
]
