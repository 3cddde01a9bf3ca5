"""Batch, instance, group, layer and root-mean-square normalisation; norms; local response."""

from __future__ import annotations

from collections.abc import Sequence

import graphc.numpy as gnp
from graphc.api import Array
from graphc_onnx.ops.common import Ints, cast, dtype_of, element_type, none_of, normal, size
from graphc_onnx.table import NodeContext, Row


def _channels(x: Array, rank: int, axis: int = 1) -> Array:
    """One number per channel, to be broadcast over an array of that rank."""
    return gnp.reshape(x, tuple(-1 if place == axis else 1 for place in range(rank)))


def _normalised(x: Array, axes: Sequence[int], epsilon: float) -> tuple[Array, Array, Array]:
    """x with mean 0 and variance 1 over the axes; the mean, and one over the standard deviation."""
    mean = gnp.mean(x, axis=tuple(axes), keepdims=True)
    centred = x - mean
    variance = gnp.mean(centred * centred, axis=tuple(axes), keepdims=True)
    inverse = gnp.rsqrt(variance + epsilon)
    return centred * inverse, mean, inverse


def _batch_norm(
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    is_test: int = 1,
    consumed_inputs: Ints | None = None,
    node: NodeContext,
) -> Array | tuple[Array, ...]:
    """In training the statistics are those of the batch, and the running ones are results."""
    none_of(spatial=None if spatial else 0, is_test=None if is_test else 0)
    rank, dtype = len(x.shape), dtype_of(x)
    if not training_mode:
        slope = scale / gnp.sqrt(variance + epsilon)
        return cast(x * _channels(slope, rank) + _channels(bias - mean * slope, rank), dtype)
    axes = tuple(place for place in range(rank) if place != 1)
    now = gnp.mean(x, axis=axes)
    centred = x - _channels(now, rank)
    spread = gnp.mean(centred * centred, axis=axes)
    slope = scale / gnp.sqrt(spread + epsilon)
    result = centred * _channels(slope, rank) + _channels(bias, rank)
    running = [old * momentum + new * (1.0 - momentum) for old, new in ((mean, now), (variance, spread))]
    return (result, *running)[: max(len(node.outputs), 1)]


def _instance_norm(x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5) -> Array:
    normed, _, _ = _normalised(x, range(2, len(x.shape)), epsilon)
    return normed * _channels(scale, len(x.shape)) + _channels(bias, len(x.shape))


def _group_norm(
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    node: NodeContext,
) -> Array:
    """Before opset 21 scale and bias are per group, then per channel."""
    rank, dtype = len(x.shape), dtype_of(x)
    n, channels = x.shape[:2]
    each = channels // num_groups
    groups = gnp.reshape(cast(x, element_type(stash_type)), (n, num_groups, each * size(x.shape[2:])))
    normed = cast(gnp.reshape(_normalised(groups, (2,), epsilon)[0], x.shape), dtype)
    if node.opset < 21:
        scale, bias = gnp.repeat(scale, each), gnp.repeat(bias, each)
    return normed * _channels(scale, rank) + _channels(bias, rank)


def _layer_norm(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    node: NodeContext,
) -> tuple[Array, ...]:
    rank = len(x.shape)
    axes = range(normal(axis, rank), rank)
    normed, mean, inverse = _normalised(cast(x, element_type(stash_type)), axes, epsilon)
    result = cast(normed, dtype_of(x)) * scale
    return (result if bias is None else result + bias, mean, inverse)[: max(len(node.outputs), 1)]


def _rms_norm(x: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Array:
    rank = len(x.shape)
    wide = cast(x, element_type(stash_type))
    square = gnp.mean(wide * wide, axis=tuple(range(normal(axis, rank), rank)), keepdims=True)
    return cast(wide * gnp.rsqrt(square + epsilon), dtype_of(x)) * scale


def _lp_norm(x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """A row of zeros stays one."""
    place = normal(axis, len(x.shape))
    sizes = gnp.abs(x) if p == 1 else x * x
    total = gnp.sum(sizes, axis=place, keepdims=True)
    length = total if p == 1 else gnp.sqrt(total)
    return gnp.where(gnp.equal(length, 0), gnp.zeros_like(x), x / length)


def _mean_variance_norm(x: Array, *, axes: Ints = (0, 2, 3)) -> Array:
    mean = gnp.mean(x, axis=axes, keepdims=True)
    spread = gnp.sqrt(gnp.mean(x * x, axis=axes, keepdims=True) - mean * mean)
    return (x - mean) / (spread + 1e-9)


def _local_response(x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Array:
    """Krizhevsky and others 2012: squares of neighbouring channels are added up."""
    before, after = (size - 1) // 2, size // 2
    rank, channels = len(x.shape), x.shape[1]
    squares = gnp.pad(x * x, [(before, after) if place == 1 else (0, 0) for place in range(rank)])
    total = sum((squares[:, first : first + channels] for first in range(1, size)), squares[:, :channels])
    return x / gnp.power(bias + total * (alpha / size), beta)


ROWS = [
    Row("BatchNormalization", 1, _batch_norm),
    Row("InstanceNormalization", 6, _instance_norm),
    Row("GroupNormalization", 18, _group_norm),
    Row("LayerNormalization", 17, _layer_norm),
    Row("RMSNormalization", 23, _rms_norm),
    Row("LpNormalization", 1, _lp_norm),
    Row("MeanVarianceNormalization", 9, _mean_variance_norm),
    Row("LRN", 1, _local_response),
]
