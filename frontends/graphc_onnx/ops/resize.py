"""Resizing: each dim by itself, as weighted sums of neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc_onnx.ops.common import Ints, cast, dtype_of, integers, is_float, normal, only
from graphc_onnx.table import Row

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
            result = gnp.where(mask, gnp.full_like(result, extrapolation_value, dtype_of(result)), result)
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


ROWS = [
    Row("Resize", 10, _resize_10, known=(1,), until=10),
    Row("Resize", 11, _resize, known=(1, 2, 3)),
    Row("Upsample", 7, _upsample_7, until=8),
    Row("Upsample", 9, _resize_10, known=(1,)),
]
