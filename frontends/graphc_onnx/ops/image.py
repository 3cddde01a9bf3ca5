"""Resizing, and sampling at places that are computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError, UnsupportedError
from graphc_onnx.ops.common import Ints, cast, dtype_of, flat_index, integers, is_float, normal, only, size
from graphc_onnx.ops.selecting import written
from graphc_onnx.table import Row

# -------------------------------------------------------------------------------------------------------------- Resize

Kernel = Callable[[float, float], np.ndarray]  # (fraction, scale) -> weights of neighbours
_FEW = 4  # so many neighbours are added up one by one; more are a product with a matrix


def _nearest(ratio: float, mode: str) -> np.ndarray:
    right = {
        "round_prefer_floor": ratio > 0.5,
        "round_prefer_ceil": ratio >= 0.5,
        "floor": ratio == 1.0,
        "ceil": True,
    }[mode]
    return np.array([not right, right], np.float64)


def _linear(ratio: float, scale: float) -> np.ndarray:
    return np.array([1 - ratio, ratio])


def _smooth_linear(ratio: float, scale: float) -> np.ndarray:
    """Wider when the result is smaller, so that no element is left out."""
    shrink = min(scale, 1.0)
    first = math.floor(-1 / shrink) + 1
    weights = np.clip(1 - np.abs((np.arange(first, 2 - first) - ratio) * shrink), 0, 1)
    return weights / weights.sum()  # type: ignore[no-any-return]


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys 1981: cubic convolution."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _cubic(a: float, smooth: bool) -> Kernel:
    def kernel(ratio: float, scale: float) -> np.ndarray:
        if not smooth:
            return _keys(np.arange(-1, 3) - ratio, a)
        shrink = min(scale, 1.0)
        first = math.floor(-2 / shrink) + 1
        weights = _keys(shrink * (np.arange(first, 2 - first) - ratio), a)
        return weights / weights.sum()  # type: ignore[no-any-return]

    return kernel


def _source(mode: str, extent: int, wanted: int, scale: float, roi: tuple[float, float]) -> np.ndarray:
    """For each place of the result, the place in the input."""
    place = np.arange(wanted, dtype=np.float64)
    length = scale * extent
    first, last = roi
    if mode == "align_corners":
        return np.zeros(wanted) if length == 1 else place * (extent - 1) / (length - 1)
    if mode == "asymmetric":
        return place / scale
    if mode == "tf_crop_and_resize":
        span = (last - first) * (extent - 1)
        return first * (extent - 1) + (np.full(wanted, span / 2) if length == 1 else place * span / (length - 1))
    if mode == "pytorch_half_pixel" and length == 1:
        return np.full(wanted, -0.5)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (place + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":
        return extent / 2 * (1 - wanted / length) + (place + 0.5) / scale - 0.5
    raise ArgumentError(f"unknown coordinate_transformation_mode {mode!r}")


def _weights(
    source: np.ndarray, extent: int, scale: float, kernel: Kernel, inside_only: bool
) -> tuple[np.ndarray, ...]:
    """Neighbours of each place and their weights; neighbours outside are those at the edge, or have no weight."""
    below = np.floor(source)
    ratio = np.where(source == below, 1.0, source - below)  # an element's own place is right of the one before
    weights = np.stack([kernel(float(r), scale) for r in ratio]) if len(ratio) else np.zeros((0, 1))
    count = weights.shape[1]
    if count % 2:
        first = below + np.where(source - below <= 0.5, 0, 1) - (count - 1) // 2
    else:
        first = np.where(source == below, below - 1, below) - (count // 2 - 1)
    places = first[:, None].astype(np.int64) + np.arange(count)
    if inside_only:
        weights = np.where((places < 0) | (places >= extent), 0.0, weights)
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1.0, total)
    return np.clip(places, 0, extent - 1), weights


def _along(x: Array, axis: int, places: np.ndarray, weights: np.ndarray) -> Array:
    """Weighted sums of neighbours along an axis."""
    single = weights.max(axis=1, initial=0.0) == 1.0
    if np.all(single) and np.all(np.count_nonzero(weights, axis=1) == 1):
        chosen = places[np.arange(len(places)), weights.argmax(axis=1)]
        return gnp.take(x, chosen, axis=axis)
    if places.shape[1] <= _FEW:
        shape = tuple(-1 if d == axis else 1 for d in range(len(x.shape)))
        parts = [
            gnp.take(x, places[:, k], axis=axis) * weights[:, k].astype(dtype_of(x)).reshape(shape)
            for k in range(places.shape[1])
        ]
        return sum(parts[1:], parts[0])
    matrix = np.zeros((len(places), x.shape[axis]))
    np.add.at(matrix, (np.arange(len(places))[:, None], places), weights)
    return gnp.moveaxis(gnp.tensordot(x, matrix.astype(dtype_of(x)), axes=(axis, 1)), -1, axis)


def _resize(
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Ints | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Array:
    only("mode", mode, "nearest", "linear", "cubic")
    rank = len(x.shape)
    places = list(range(rank)) if axes is None else [normal(axis, rank) for axis in axes]
    extents = [x.shape[place] for place in places]
    wanted, factors = _sizes(extents, scales, sizes, keep_aspect_ratio_policy)
    corners = [0.0] * len(places) + [1.0] * len(places)
    if coordinate_transformation_mode == "tf_crop_and_resize" and roi is not None:
        corners = [float(c) for c in np.asarray(roi)]
    smooth = bool(antialias)
    kernel: Kernel = {
        "nearest": lambda ratio, scale: _nearest(ratio, nearest_mode),
        "linear": _smooth_linear if smooth else _linear,
        "cubic": _cubic(cubic_coeff_a, smooth),
    }[mode]
    result = x if is_float(x) or mode == "nearest" else cast(x, np.float32)
    for at, place in enumerate(places):
        window = (corners[at], corners[at + len(places)])
        if wanted[at] == extents[at] and math.isclose(factors[at], 1.0) and window == (0.0, 1.0):
            continue
        source = _source(coordinate_transformation_mode, extents[at], wanted[at], factors[at], window)
        result = _along(result, place, *_weights(source, extents[at], factors[at], kernel, bool(exclude_outside)))
        outside = (source < 0) | (source > extents[at] - 1)
        if coordinate_transformation_mode == "tf_crop_and_resize" and outside.any():
            mask = outside.reshape(tuple(-1 if d == place else 1 for d in range(rank)))
            result = gnp.where(mask, gnp.full_like(result, extrapolation_value), result)
    return result if dtype_of(result) == dtype_of(x) else cast(gnp.rint(result), dtype_of(x))


def _sizes(
    extents: Sequence[int], scales: Array | None, sizes: Array | None, policy: str
) -> tuple[list[int], list[float]]:
    """The extents of the result and the factors, from either."""
    if sizes is None or np.asarray(sizes).size == 0:
        if scales is None or len(np.asarray(scales)) != len(extents):
            raise ArgumentError(f"needs scales or sizes for {len(extents)} dims")
        factors = [float(f) for f in np.asarray(scales)]
        return [int(f * e) for f, e in zip(factors, extents, strict=True)], factors
    wanted = integers(sizes)
    factors = [w / e for w, e in zip(wanted, extents, strict=True)]
    only("keep_aspect_ratio_policy", policy, "stretch", "not_larger", "not_smaller")
    if policy == "stretch":
        return wanted, factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [int(factor * e + 0.5) for e in extents], [factor] * len(extents)


def _resize_10(x: Array, scales: Array, *, mode: str = "nearest") -> Array:
    """Opset 10 and Upsample."""
    return _resize(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def _upsample_7(x: Array, *, scales: tuple[float, ...], mode: str = "nearest") -> Array:
    return _resize_10(x, np.asarray(scales), mode=mode)


# ------------------------------------------------------------------------------------------------ sampling at places

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
    Row("Resize", 10, _resize_10, known=(1,), until=10),
    Row("Resize", 11, _resize, known=(1, 2, 3)),
    Row("Upsample", 7, _upsample_7, until=8),
    Row("Upsample", 9, _resize_10, known=(1,)),
    Row("GridSample", 16, _grid_sample),
    Row("RoiAlign", 10, _roi_align, until=15),
    Row("RoiAlign", 16, _roi_align),
    Row("DeformConv", 19, _deform_conv),
    Row("Col2Im", 18, _col2im, known=(1, 2)),
    Row("MaxUnpool", 9, _max_unpool, known=(2,)),
]
