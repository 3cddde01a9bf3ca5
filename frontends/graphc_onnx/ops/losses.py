"""Losses of classifiers."""

from __future__ import annotations

import numpy as np

import graphc.numpy as gnp
from graphc.api import Array
from graphc.nn import functional as F
from graphc_onnx.ops.common import cast, in_float32, only
from graphc_onnx.table import NodeContext, Row


def _nll(
    log_probabilities: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
) -> Array:
    """Minus the entry of each target, times the weight of its class; classes are dim 1."""
    only("reduction", reduction, "none", "sum", "mean")
    labels = cast(target, np.int64)
    kept = gnp.ones(labels.shape, "bool") if ignore_index is None else gnp.not_equal(labels, ignore_index)
    labels = gnp.where(kept, labels, gnp.zeros_like(labels))
    picked = gnp.take_along_axis(log_probabilities, gnp.expand_dims(labels, 1), axis=1)
    losses = -gnp.reshape(picked, labels.shape)
    if weight is None and ignore_index is None:
        return losses if reduction == "none" else gnp.sum(losses) if reduction == "sum" else gnp.mean(losses)
    ones = gnp.ones_like(losses) if weight is None else gnp.take(weight, labels, axis=0)
    weights = gnp.where(kept, ones, gnp.zeros_like(ones))
    losses = gnp.where(kept, losses, gnp.zeros_like(losses)) * weights
    if reduction == "none":
        return losses
    return gnp.sum(losses) if reduction == "sum" else gnp.sum(losses) / gnp.sum(weights)


def _softmax_cross_entropy(
    scores: Array,
    target: Array,
    weight: Array | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
    node: NodeContext,
) -> tuple[Array, ...]:
    log_probabilities = in_float32(F.log_softmax)(scores, 1)
    loss = _nll(log_probabilities, target, weight, reduction=reduction, ignore_index=ignore_index)
    return (loss, log_probabilities)[: max(len(node.outputs), 1)]


ROWS = [
    Row("NegativeLogLikelihoodLoss", 12, _nll),
    Row("SoftmaxCrossEntropyLoss", 12, _softmax_cross_entropy),
]
