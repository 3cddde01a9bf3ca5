"""Elements chosen or written by integer arrays; one-hot; what is chosen by masks of constants."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError
from graphc_onnx.ops.common import cast, dtype_of, flat_index, integers, normal, only, size
from graphc_onnx.table import Row


def _gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return gnp.take(x, indices, axis=normal(axis, len(x.shape)))


def _from_front(indices: Array, extent: int) -> Array:
    """Negative indices count from the end."""
    return gnp.where(gnp.less(indices, 0), indices + extent, indices)


def _along(x: Array, indices: Array, axis: int) -> Array:
    """The flat position of the element that each index along `axis` means; the other dims of `indices` may be shorter
    than those of x."""
    places = [
        _from_front(indices, extent) if place == axis else gnp.indices_along(indices.shape, place, dtype_of(indices))
        for place, extent in enumerate(x.shape)
    ]
    return flat_index(places, x.shape)


def _gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    place = normal(axis, len(x.shape))
    return gnp.take(gnp.ravel(x), _along(x, indices, place), axis=0)


def _rows(x: Array, indices: Array, batch: int = 0) -> tuple[Array, tuple[int, ...]]:
    """For indices whose last dim is an index into the dims of x after `batch`: the position of each slice, counted in
    slices, and the shape of a slice."""
    depth = indices.shape[-1]
    if batch + depth > len(x.shape):
        raise ShapeError(f"indices of {depth} numbers into {len(x.shape) - batch} dims")
    outer = x.shape[: batch + depth]
    lead = [gnp.indices_along(indices.shape[:-1], place, dtype_of(indices)) for place in range(batch)]
    own = [_from_front(indices[..., place], outer[batch + place]) for place in range(depth)]
    position = flat_index([*lead, *own], outer)
    return gnp.broadcast_to(position, indices.shape[:-1]), x.shape[batch + depth :]


def _gather_nd(x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    position, rest = _rows(x, indices, batch_dims)
    outer = x.shape[: len(x.shape) - len(rest)]
    return gnp.take(gnp.reshape(x, (size(outer), *rest)), position, axis=0)


# ------------------------------------------------------------------------------------------------------------ writing

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def written(x: Array, position: Array, values: Array, reduction: str) -> Array:
    """x with the slices at `position` of its first dim set to values, or joined with them; later ones come later."""
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"attribute reduction is one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
    place = gnp.asarray(x)
    if isinstance(place, np.ndarray):
        return _written_at_once(place, np.asarray(position), np.asarray(values), reduction)
    at = place.at[position]
    change = {"none": at.set, "add": at.add, "mul": at.multiply, "max": at.max, "min": at.min}[reduction]
    return change(values)


def _written_at_once(x: np.ndarray, position: np.ndarray, values: np.ndarray, reduction: str) -> np.ndarray:
    result = x.copy()
    if reduction == "none":
        result[position] = values
        return result
    {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction].at(result, position, values)
    return result


def _scatter_elements(x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none") -> Array:
    place = normal(axis, len(x.shape))
    position = gnp.ravel(_along(x, indices, place))
    return gnp.reshape(written(gnp.ravel(x), position, gnp.ravel(updates), reduction), x.shape)


def _scatter_nd(x: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    position, rest = _rows(x, indices)
    outer = x.shape[: len(x.shape) - len(rest)]
    values = gnp.reshape(updates, (size(position.shape), *rest))
    slices = gnp.reshape(x, (size(outer), *rest))
    return gnp.reshape(written(slices, gnp.ravel(position), values, reduction), x.shape)


def _tensor_scatter(
    past: Array, update: Array, write_indices: Array | None = None, *, axis: int = -2, mode: str = "linear"
) -> Array:
    """`update` put into `past` along an axis, at a place of its own in each batch; "circular" goes on at the front."""
    only("mode", mode, "linear", "circular")
    place = normal(axis, len(past.shape))
    steps = gnp.indices_along(update.shape, place, "int64")
    if write_indices is not None:
        first = gnp.reshape(cast(write_indices, np.int64), (-1,) + (1,) * (len(past.shape) - 1))
        steps = gnp.remainder(steps + first, past.shape[place]) if mode == "circular" else steps + first
    return _scatter_elements(past, steps, update, axis=place)


# ----------------------------------------------------------------------------------------------- one-hot and masks


def _one_hot(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    count = integers(depth)[0]
    place = normal(axis, len(indices.shape) + 1)
    wanted = gnp.expand_dims(cast(indices, np.int64), place)
    shape = tuple(count if d == place else e for d, e in enumerate(wanted.shape))
    hot = gnp.equal(gnp.indices_along(shape, place, "int64"), _from_front(wanted, count))
    return gnp.where(hot, values[1], values[0])


def _top_k(x: Array, k: Array, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> tuple[Array, ...]:
    """Always in order; of equal elements the first."""
    place = normal(axis, len(x.shape))
    count = integers(k)[0]
    values, positions = gnp.top_k(x, count, axis=place, largest=bool(largest))
    return values, cast(positions, np.int64)


def _top_k_by_attributes(x: Array, *, k: int, axis: int = -1) -> tuple[Array, ...]:
    return _top_k(x, np.asarray(k), axis=axis)


def _array_feature_extractor(x: Array, indices: Array) -> Array:
    chosen = gnp.take(x, gnp.ravel(indices), axis=len(x.shape) - 1)
    return gnp.reshape(chosen, (1, *chosen.shape)) if len(x.shape) == 1 else chosen


def _compress(x: Array, condition: Array, *, axis: int | None = None) -> Array:
    chosen = np.flatnonzero(np.asarray(condition))
    if axis is None:
        return gnp.take(gnp.ravel(x), chosen, axis=0)
    return gnp.take(x, chosen, axis=normal(axis, len(x.shape)))


def _non_zero(x: Array) -> Array:
    return np.asarray(np.nonzero(np.asarray(x)), np.int64).reshape(len(x.shape), -1)


def _unique(x: Array, *, axis: int | None = None, sorted: int = 1) -> tuple[Array, ...]:
    array = np.asarray(x)
    found = np.unique(array, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    values, first, inverse, counts = found
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        values, first, counts = np.take(values, order, axis=axis or 0), first[order], counts[order]
        inverse = places[inverse]
    return values, *(part.astype(np.int64) for part in (first, inverse, counts))


ROWS = [
    Row("Gather", 1, _gather),
    Row("GatherElements", 11, _gather_elements),
    Row("GatherND", 11, _gather_nd),
    Row("Scatter", 9, _scatter_elements),
    Row("ScatterElements", 11, _scatter_elements),
    Row("ScatterND", 11, _scatter_nd),
    Row("TensorScatter", 24, _tensor_scatter),
    Row("OneHot", 9, _one_hot, known=(1,)),
    Row("TopK", 1, _top_k_by_attributes, until=9),
    Row("TopK", 10, _top_k, known=(1,)),
    Row("ArrayFeatureExtractor", 1, _array_feature_extractor, domain="ai.onnx.ml"),
    Row("Compress", 9, _compress, known=(1,), of_constants=True),
    Row("NonZero", 9, _non_zero, known=(0,), of_constants=True),
    Row("Unique", 11, _unique, known=(0,), of_constants=True),
]
