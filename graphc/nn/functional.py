"""Layers, activations and losses as functions of arrays: PyTorch's names and defaults."""

from __future__ import annotations

import graphc.api as gc
import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, ShapeError, with_line
from graphc.nn.activations import (
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from graphc.nn.losses import (
    accuracy,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
)
from graphc.nn.windows import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)

__all__ = [
    "accuracy",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "gaussian_nll_loss",
    "gelu",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsumexp",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mse_loss",
    "nll_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x @ weight.T + bias over the last axis of x; weight is [out, in].

    x is [..., in], the result [..., out]. Raises `ShapeError` when x does not end in `in`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.linear(np.ones((4, 3), np.float32), np.ones((2, 3), np.float32)).shape
    (4, 2)
    """
    x = gnp.asarray(x)
    if len(x.shape) == 0 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            with_line(f"linear: input {list(x.shape)} does not end in the {weight.shape[1]} features of the weight")
        )
    product = gnp.tensordot(x, weight, axes=(-1, 1))
    return product if bias is None else product + bias


def dropout(x: Array, drop: float, key: Array) -> Array:
    """Zero each element with probability `drop` and divide the others by 1 - drop (inverted dropout).

    Any shape; floats. Raises `ArgumentError` for a probability outside [0, 1].

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> import graphc as gc
    >>> sorted(set(F.dropout(np.ones(100, np.float32), 0.5, gc.random.key(0)).tolist()))
    [0.0, 2.0]
    """
    if not 0.0 <= drop <= 1.0:
        raise ArgumentError(with_line(f"dropout: drop={drop} is outside [0, 1]"))
    if drop == 0.0:
        return x
    zeros = gnp.zeros_like(x)
    if drop == 1.0:
        return zeros
    keep = gc.random.uniform(key, tuple(x.shape), "float32") >= drop
    return gnp.where(keep, x * (1.0 / (1.0 - drop)), zeros)


def layer_norm(
    x: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """(x - mean) / sqrt(variance + eps) over the last dims, which must be `normalized_shape`; biased variance.

    Ba, Kiros and Hinton 2016. weight and bias are of `normalized_shape`. Raises `ShapeError` where x does not end
    in it.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.layer_norm(np.array([[1.0, 3.0]], np.float32), (2,), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    x = gnp.asarray(x)
    rank = len(normalized_shape)
    if rank == 0 or tuple(x.shape[-rank:]) != tuple(normalized_shape):
        raise ShapeError(with_line(f"layer_norm: input {list(x.shape)} does not end in {list(normalized_shape)}"))
    axes = tuple(range(-rank, 0))
    centred = x - gnp.mean(x, axis=axes, keepdims=True)
    variance = gnp.mean(centred * centred, axis=axes, keepdims=True)
    normed = centred / gnp.sqrt(variance + eps)
    if weight is not None:
        normed = normed * weight
    return normed if bias is None else normed + bias
