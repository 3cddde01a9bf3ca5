"""Losses. Each takes model output first, then the target, and `reduction` "mean", "sum" or "none", as in PyTorch.

Per-sample values are compositions without overflow or cancellation; `reduction` is applied last.
"""

from __future__ import annotations

import math

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, DTypeError, ShapeError, checked_index, with_line
from graphc.nn.activations import detached, log_softmax, softplus_pair


def reduce(values: Array, reduction: str) -> Array:
    """Mean, sum or the values themselves."""
    if reduction == "mean":
        return gnp.mean(values)
    if reduction == "sum":
        return gnp.sum(values)
    if reduction == "none":
        return values
    raise ArgumentError(with_line(f"reduction={reduction!r}: use 'mean', 'sum' or 'none'"))


def _same_shape(name: str, output: Array, target: Array) -> None:
    if tuple(output.shape) != tuple(target.shape):
        raise ShapeError(
            with_line(f"{name}: output {list(output.shape)} and target {list(target.shape)} differ in shape")
        )


def is_integer(array: Array) -> bool:
    """Whether the elements are integers (bool does not count)."""
    return "int" in str(array.dtype)


def class_axis(output: Array, axis: int | None) -> int:
    """The axis that holds the classes: PyTorch's, 1 (0 for a single sample), unless another is named."""
    rank = len(output.shape)
    if rank == 0:
        raise ShapeError(with_line("the output has no class axis: it is a scalar"))
    if axis is None:
        return min(1, rank - 1)
    if not -rank <= axis < rank:
        raise ShapeError(with_line(f"axis {axis} is outside the output {list(output.shape)}"))
    return axis % rank


def _pick(values: Array, labels: Array, axis: int) -> Array:
    """values[..., label, ...] along `axis`. A sum over a one-hot mask, which fuses with the softmax around it."""
    shape = tuple(values.shape)
    expected = shape[:axis] + shape[axis + 1 :]
    if tuple(labels.shape) != expected:
        raise ShapeError(
            with_line(
                f"integer labels {list(labels.shape)} do not fit an output {list(shape)}: {list(expected)} expected"
            )
        )
    line = [1] * len(shape)
    line[axis] = shape[axis]
    classes = gnp.reshape(gnp.arange(shape[axis], dtype=labels.dtype), tuple(line))
    chosen = gnp.expand_dims(labels, axis) == classes
    return gnp.sum(gnp.where(chosen, values, gnp.zeros_like(values)), axis=axis)


def _averaged(losses: Array, weights: Array | None, reduction: str) -> Array:
    """Reduce; with weights the mean is the weighted one, sum(losses) / sum(weights): the losses have them already."""
    if reduction == "mean" and weights is not None:
        return gnp.sum(losses) / gnp.sum(weights)
    return reduce(losses, reduction)


def nll_loss(
    log_probabilities: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    axis: int | None = None,
) -> Array:
    """-log p[target] for integer targets. `weight` is per class; the mean divides by the weights that counted.

    A label outside [0, classes) other than `ignore_index` costs nothing: check labels when they enter (`data.arrays`
    with `train.compile` does), or compile with `sanitize=True`.

    log_probabilities is [samples, classes, ...], target integers [samples, ...]. Raises `ShapeError` when they do
    not fit.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.nll_loss(np.array([[-1.0, -2.0], [-3.0, -4.0]], np.float32), np.array([0, 1])))
    2.5
    """
    axis = class_axis(log_probabilities, axis)
    if not is_integer(target):
        raise DTypeError(with_line(f"nll_loss: labels must be integers, got {target.dtype}"))
    ignore_index = _possible(ignore_index, target)
    target = checked_index(target, 0, log_probabilities.shape[axis], "class label", ignore_index)
    losses = -_pick(log_probabilities, target, axis)
    if weight is None and ignore_index is None:
        return reduce(losses, reduction)
    weights = _label_weights(log_probabilities, target, weight, ignore_index, axis)
    return _averaged(losses * weights, weights, reduction)


def _possible(ignore_index: int | None, target: Array) -> int | None:
    """None for a number that no label of this dtype can be, as -100 for uint8."""
    limits = np.iinfo(str(target.dtype))
    return ignore_index if ignore_index is not None and limits.min <= ignore_index <= limits.max else None


def _label_weights(output: Array, target: Array, weight: Array | None, ignore_index: int | None, axis: int) -> Array:
    """What each label counts: its class weight, or 1, and 0 where it is to be ignored."""
    dtype = output.dtype
    if weight is None:
        weights = gnp.ones(tuple(target.shape), dtype=dtype)
    else:
        line = [1] * len(output.shape)
        line[axis] = output.shape[axis]
        weights = _pick(gnp.broadcast_to(gnp.reshape(weight, tuple(line)), tuple(output.shape)), target, axis)
    if ignore_index is None:
        return weights
    return gnp.where(target == ignore_index, gnp.zeros_like(weights), weights)


def cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int | None = None,
) -> Array:
    """-sum(q log softmax(logits)): q is one-hot for integer `target`, or `target` itself (one-hot or soft labels).

    As in PyTorch: classes are on axis 1 (another one with `axis`); `label_smoothing` mixes q with the uniform
    distribution; the mean over integer labels leaves out `ignore_index` and is weighted by class, the mean over
    soft labels divides by the number of samples.

    logits is [samples, classes, ...]; raises `ShapeError` when the target does not fit.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> round(float(F.cross_entropy(np.array([[0.0, 0.0]], np.float32), np.array([1]))), 4)
    0.6931
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(with_line(f"cross_entropy: label_smoothing={label_smoothing} is outside [0, 1]"))
    axis = class_axis(logits, axis)
    log_p = log_softmax(logits, axis)
    if not is_integer(target):
        return _soft_cross_entropy(log_p, target, weight, label_smoothing, reduction, axis)
    ignore_index = _possible(ignore_index, target)
    hard = nll_loss(log_p, target, weight=weight, ignore_index=ignore_index, reduction=reduction, axis=axis)
    if label_smoothing == 0.0:
        return hard
    classes = logits.shape[axis]
    smooth = -gnp.sum(log_p * _per_class(weight, log_p, axis), axis=axis)
    if ignore_index is not None:
        smooth = gnp.where(target == ignore_index, gnp.zeros_like(smooth), smooth)
    weights = None
    if weight is not None or ignore_index is not None:
        weights = _label_weights(log_p, target, weight, ignore_index, axis)
    smooth = _averaged(smooth, weights, reduction)
    return hard * (1.0 - label_smoothing) + smooth * (label_smoothing / classes)


def _per_class(weight: Array | None, like: Array, axis: int) -> Array | float:
    if weight is None:
        return 1.0
    line = [1] * len(like.shape)
    line[axis] = like.shape[axis]
    return gnp.reshape(weight, tuple(line))


def _soft_cross_entropy(
    log_p: Array, target: Array, weight: Array | None, smoothing: float, reduction: str, axis: int
) -> Array:
    if tuple(target.shape) != tuple(log_p.shape):
        raise ShapeError(
            with_line(
                f"cross_entropy: a {target.dtype} target holds probabilities, shaped like the output "
                f"{list(log_p.shape)}; this one is {list(target.shape)}. Class labels are integers: cast them"
            )
        )
    if smoothing > 0.0:
        target = target * (1.0 - smoothing) + smoothing / log_p.shape[axis]
    losses = -gnp.sum(target * log_p * _per_class(weight, log_p, axis), axis=axis)
    return reduce(losses, reduction)


def mse_loss(output: Array, target: Array, *, reduction: str = "mean") -> Array:
    """(output - target)^2.

    Both of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.mse_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    2.0
    """
    _same_shape("mse_loss", output, target)
    difference = output - target
    return reduce(difference * difference, reduction)


def l1_loss(output: Array, target: Array, *, reduction: str = "mean") -> Array:
    """abs(output - target); the derivative at 0 is 0.

    Both of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.l1_loss(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    1.0
    """
    _same_shape("l1_loss", output, target)
    return reduce(gnp.abs(output - target), reduction)


def huber_loss(output: Array, target: Array, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    """d^2 / 2 up to abs(d) = delta, delta * (abs(d) - delta / 2) beyond (Huber 1964).

    Both of one shape, else `ShapeError`; delta must be positive, else `ArgumentError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.huber_loss(np.array([0.5, 3.0]), np.zeros(2), reduction="none").tolist()
    [0.125, 2.5]
    """
    if not delta > 0:
        raise ArgumentError(with_line(f"huber_loss: delta={delta} must be positive"))
    _same_shape("huber_loss", output, target)
    difference = output - target
    size = gnp.abs(difference)
    return reduce(gnp.where(size <= delta, difference * difference * 0.5, (size - 0.5 * delta) * delta), reduction)


def binary_cross_entropy_with_logits(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Array:
    """-(t log s(x) + (1 - t) log(1 - s(x))) as a sum of two softplus, exact for large logits of either sign.

    Both of one shape, else `ShapeError`; a target that is not floating is a `DTypeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.binary_cross_entropy_with_logits(np.array([1e9, -1e9]), np.array([1.0, 1.0]), reduction="none").tolist()
    [0.0, 1000000000.0]
    """
    _same_shape("binary_cross_entropy_with_logits", logits, target)
    if not str(target.dtype).startswith(("float", "bfloat")):
        raise DTypeError(
            with_line(f"binary_cross_entropy_with_logits: the target must be floating, got {target.dtype}; cast it")
        )
    to_zero, to_one = softplus_pair(logits)  # the cost of answering 0 and of answering 1
    if pos_weight is not None:
        to_one = to_one * pos_weight
    losses = target * to_one + (1.0 - target) * to_zero
    return reduce(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy(
    probabilities: Array, target: Array, *, weight: Array | None = None, reduction: str = "mean"
) -> Array:
    """-(t log p + (1 - t) log(1 - p)), each logarithm at least -100 as in PyTorch. Prefer the form with logits.

    Both of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> round(float(F.binary_cross_entropy(np.array([0.5]), np.array([1.0]))), 4)
    0.6931
    """
    _same_shape("binary_cross_entropy", probabilities, target)
    log_p = gnp.maximum(gnp.log(probabilities), -100.0)
    log_q = gnp.maximum(gnp.log1p(-probabilities), -100.0)
    losses = -(target * log_p + (1.0 - target) * log_q)
    return reduce(losses if weight is None else losses * weight, reduction)


def hinge_loss(output: Array, target: Array, *, margin: float = 1.0, reduction: str = "mean") -> Array:
    """max(0, margin - target * output) for targets -1 and 1. `margin=0` is the perceptron's loss.

    Both of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> F.hinge_loss(np.array([0.25, 3.0]), np.array([1.0, 1.0]), reduction="none").tolist()
    [0.75, 0.0]
    """
    _same_shape("hinge_loss", output, target)
    slack = margin - target * output
    return reduce(gnp.where(slack <= 0, gnp.zeros_like(slack), slack), reduction)


def kl_div(log_q: Array, p: Array, *, log_target: bool = False, reduction: str = "mean") -> Array:
    """sum p (log p - log q), pointwise, with 0 log 0 = 0. The first argument is log q, as in PyTorch.

    `reduction="batchmean"` divides the sum by the first extent, which is the KL divergence proper.

    Both of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.kl_div(np.log([[0.5, 0.5]]), np.array([[0.5, 0.5]]), reduction="batchmean"))
    0.0
    """
    _same_shape("kl_div", log_q, p)
    if log_target:
        values = gnp.exp(p) * (p - log_q)
    else:
        positive = p > 0
        safe = gnp.where(positive, p, gnp.ones_like(p))
        values = gnp.where(positive, p * (gnp.log(safe) - log_q), gnp.zeros_like(p))
    if reduction == "batchmean":
        return gnp.sum(values) / p.shape[0]
    return reduce(values, reduction)


def gaussian_nll_loss(
    mean: Array, target: Array, variance: Array, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Array:
    """(log v + (mean - target)^2 / v) / 2 with v = max(variance, eps), and log(2 pi) / 2 more when `full`.

    Nix and Weigend 1994. mean and target of one shape, else `ShapeError`.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.gaussian_nll_loss(np.array([1.0]), np.array([3.0]), np.array([1.0])))
    2.0
    """
    _same_shape("gaussian_nll_loss", mean, target)
    # The clamp takes no part in the derivative, as in PyTorch: a variance below eps can still be pushed up.
    clamped = variance + detached(gnp.maximum(variance, eps) - variance)
    difference = mean - target
    losses = (gnp.log(clamped) + difference * difference / clamped) * 0.5
    return reduce(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def accuracy(output: Array, target: Array, *, reduction: str = "mean", axis: int | None = None) -> Array:
    """Share of samples whose largest output is the target: a class number, or the largest element of soft labels.

    An output without a class axis of its own (one logit per sample, shaped like the target) counts as class 1 above 0.

    >>> import numpy as np
    >>> from graphc.nn import functional as F
    >>> float(F.accuracy(np.array([[0.1, 0.9], [0.8, 0.2]], np.float32), np.array([1, 1])))
    0.5
    """
    if tuple(output.shape) == tuple(target.shape) and (len(output.shape) < 2 or output.shape[-1] == 1):
        right = (output > 0) == (target > 0)
    else:
        axis = class_axis(output, axis)
        best = gnp.argmax(output, axis=axis)
        right = best == (target.astype(best.dtype) if is_integer(target) else gnp.argmax(target, axis=axis))
    return reduce(right.astype(np.float32), reduction)
