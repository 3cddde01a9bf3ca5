"""Random numbers and dropout. The bits are a function of the seed, or of the place of the node in the model."""

from __future__ import annotations

import struct

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import Array
from graphc_onnx.ops.common import Ints, cast, dtype_of, element_type, is_narrow
from graphc_onnx.table import NodeContext, Row


def _key(seed: float | None, node: NodeContext) -> Array:
    if seed is None:
        return gc.random.fold_in(gc.random.key(0), node.number)
    return gc.random.key(struct.unpack("<I", struct.pack("<f", seed))[0])


def _drawn_as(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def _uniform(shape: Ints, dtype: np.dtype[np.generic], low: float, high: float, key: Array) -> Array:
    unit = gc.random.uniform(key, shape, _drawn_as(dtype))
    return cast(unit * (high - low) + low, dtype)


def _normal(shape: Ints, dtype: np.dtype[np.generic], mean: float, scale: float, key: Array) -> Array:
    return cast(gc.random.normal(key, shape, _drawn_as(dtype)) * scale + mean, dtype)


def _random_uniform(
    *, shape: Ints, low: float = 0.0, high: float = 1.0, dtype: int = 1, seed: float | None = None, node: NodeContext
) -> Array:
    return _uniform(shape, element_type(dtype), low, high, _key(seed, node))


def _random_uniform_like(
    x: Array,
    *,
    low: float = 0.0,
    high: float = 1.0,
    dtype: int | None = None,
    seed: float | None = None,
    node: NodeContext,
) -> Array:
    kind = dtype_of(x) if dtype is None else element_type(dtype)
    return _uniform(tuple(x.shape), kind, low, high, _key(seed, node))


def _random_normal(
    *, shape: Ints, mean: float = 0.0, scale: float = 1.0, dtype: int = 1, seed: float | None = None, node: NodeContext
) -> Array:
    return _normal(shape, element_type(dtype), mean, scale, _key(seed, node))


def _random_normal_like(
    x: Array,
    *,
    mean: float = 0.0,
    scale: float = 1.0,
    dtype: int | None = None,
    seed: float | None = None,
    node: NodeContext,
) -> Array:
    kind = dtype_of(x) if dtype is None else element_type(dtype)
    return _normal(tuple(x.shape), kind, mean, scale, _key(seed, node))


def _bernoulli(x: Array, *, dtype: int | None = None, seed: float | None = None, node: NodeContext) -> Array:
    wide = cast(x, np.float32) if is_narrow(x) else x
    hit = gnp.less(gc.random.uniform(_key(seed, node), tuple(x.shape), dtype_of(wide)), wide)
    return cast(hit, dtype_of(x) if dtype is None else element_type(dtype))


def _multinomial(
    x: Array, *, sample_size: int = 1, dtype: int = 6, seed: float | None = None, node: NodeContext
) -> Array:
    """Classes drawn by their unnormalised log-probabilities."""
    shape = (x.shape[0], sample_size, x.shape[1])
    scores = gnp.expand_dims(cast(x, np.float32), 1) + gc.random.gumbel(_key(seed, node), shape)
    return cast(gnp.argmax(scores, axis=2), element_type(dtype))


def _dropout_by_attributes(x: Array, *, ratio: float = 0.5, node: NodeContext) -> tuple[Array, ...]:
    """Before opset 12 there is inference only."""
    mask = gnp.ones(x.shape, "bool" if node.opset >= 10 else dtype_of(x))
    return (x, mask)[: max(len(node.outputs), 1)]


def _dropout(
    x: Array,
    ratio: Array | None = None,
    training_mode: Array | None = None,
    *,
    seed: int | None = None,
    node: NodeContext,
) -> tuple[Array, ...]:
    training = training_mode is not None and bool(np.asarray(training_mode))
    if not training:
        return (x, gnp.ones(x.shape, "bool"))[: max(len(node.outputs), 1)]
    drop = np.asarray(0.5, np.float32) if ratio is None else cast(ratio, np.float32)
    key = _key(None, node) if seed is None else gc.random.key(seed)
    mask = gnp.greater_equal(gc.random.uniform(key, tuple(x.shape), "float32"), drop)
    scale = cast(gnp.where(gnp.less(drop, 1.0), 1.0 / (1.0 - drop), gnp.zeros_like(drop)), dtype_of(x))
    return (gnp.where(mask, x * scale, gnp.zeros_like(x)), mask)[: max(len(node.outputs), 1)]


ROWS = [
    Row("RandomUniform", 1, _random_uniform, makes=True),
    Row("RandomUniformLike", 1, _random_uniform_like, makes=True),
    Row("RandomNormal", 1, _random_normal, makes=True),
    Row("RandomNormalLike", 1, _random_normal_like, makes=True),
    Row("Bernoulli", 15, _bernoulli, makes=True),
    Row("Multinomial", 7, _multinomial, makes=True),
    Row("Dropout", 7, _dropout_by_attributes, until=11),
    Row("Dropout", 12, _dropout, known=(2,)),
]
