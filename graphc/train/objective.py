"""Losses and metrics of training by name or as functions, evaluated on a bound model and a batch.

A named loss takes the last array of the batch as target and calls the model on the others. A function takes
`(model, batch, key)`, calls the model as it likes and returns the loss, or `(loss, {name: metric})`. A metric is a name
or a function of `(output, target)`: the output of the latest call of the model, the last array of the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

import graphc.api as gc
import graphc.numpy as gnp
from graphc import nn
from graphc.api import ArgumentError, Array, DataError, pytree
from graphc.nn import functional as F
from graphc.nn.losses import is_integer

Batch = object
LossFunction = Callable[[nn.Module, Batch, Array], "Array | tuple[Array, dict[str, Array]]"]
MetricFunction = Callable[[Array, Array], Array]
_Named = Callable[..., Array]  # (output, target, reduction=)

LOSSES: dict[str, _Named] = {
    "cross_entropy": F.cross_entropy,
    "nll": F.nll_loss,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "bce": F.binary_cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "hinge": F.hinge_loss,
    "kl_div": F.kl_div,
}
_CLASS_LOSSES = ("cross_entropy", "nll")
IGNORED = -100  # PyTorch's ignore_index

METRICS: dict[str, _Named] = {
    "accuracy": F.accuracy,
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "cross_entropy": F.cross_entropy,
}


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised and what is watched. Made by `objective`."""

    loss: str | LossFunction
    metrics: tuple[str | MetricFunction, ...]
    ignores: bool = False  # some integer label is IGNORED, so the mean has to leave it out

    @property
    def is_per_sample(self) -> bool:
        """Whether every value is a mean over samples that can be taken apart: then padding can be masked."""
        return isinstance(self.loss, str) and not self.ignores and all(isinstance(m, str) for m in self.metrics)

    @property
    def names(self) -> list[str]:
        """Names of the values but for those that a loss function adds."""
        return ["loss", *(metric_name(metric) for metric in self.metrics)]

    def means(self, model: nn.Module, batch: Batch, key: Array) -> dict[str, Array]:
        """The loss and the metrics of a batch, by name."""
        if not isinstance(self.loss, str):
            return self._from_function(self.loss, model, batch, key)
        inputs, target = inputs_and_target(batch, self.loss)
        output = self._one_output(model(*inputs))
        values = {"loss": self._named_loss(output, target, "mean")}
        return values | {metric_name(m): _metric(m)(output, target) for m in self.metrics}

    def per_sample(self, model: nn.Module, batch: Batch) -> dict[str, Array]:
        """The same values before the mean over samples: arrays of one number per sample."""
        inputs, target = inputs_and_target(batch, str(self.loss))
        output = self._one_output(model(*inputs))
        values = {"loss": self._named_loss(output, target, "none")}
        for metric in self.metrics:
            values[metric_name(metric)] = _metric(metric)(output, target, reduction="none")
        return {name: _row_means(value) for name, value in values.items()}

    def _one_output(self, output: object) -> Array:
        if not hasattr(output, "shape"):
            raise ArgumentError(
                f"loss={self.loss!r} compares one array, and the model returns a {type(output).__name__}; "
                "pass a function of (model, batch, key)"
            )
        return cast("Array", output)

    def _named_loss(self, output: Array, target: Array, reduction: str) -> Array:
        assert isinstance(self.loss, str)
        function = LOSSES[self.loss]
        if self.loss in _CLASS_LOSSES and is_integer(target):
            function = partial(function, ignore_index=IGNORED if self.ignores else None)
        return function(output, target, reduction=reduction)

    def _from_function(self, loss: LossFunction, model: nn.Module, batch: Batch, key: Array) -> dict[str, Array]:
        result = loss(model, batch, key)
        value, extra = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        if not isinstance(extra, dict):
            raise ArgumentError(f"{_owner(loss)} returns (loss, {{name: value}}), not (loss, {type(extra).__name__})")
        values = {name: _scalar(loss, name, item) for name, item in ({"loss": value} | extra).items()}
        if not self.metrics:
            return values
        output = nn.last_output(model)
        if output is None:
            raise ArgumentError("metrics need an output, and the loss function never called the model")
        target = pytree.flatten(batch)[0][-1]
        for metric in self.metrics:
            values[metric_name(metric)] = _metric(metric)(cast("Array", output), cast("Array", target))
        return values


def _owner(loss: LossFunction) -> str:
    return f"the loss function {getattr(loss, '__name__', type(loss).__name__)}"


def _scalar(loss: LossFunction, name: str, value: object) -> Array:
    """One number that a loss function returned."""
    if not isinstance(value, gc.Tracer | np.ndarray | np.generic | bool | int | float):
        raise ArgumentError(f"{_owner(loss)} must return numbers; {name} is a {type(value).__name__}")
    array = gnp.asarray(value)
    if tuple(array.shape) != ():
        raise ArgumentError(f"{_owner(loss)} must return scalars; {name} has shape {list(array.shape)}: take the mean")
    return array


def objective(loss: str | LossFunction, metrics: Sequence[str | MetricFunction]) -> Objective:
    """Check names; raises `ArgumentError` listing those there are."""
    if isinstance(loss, str) and loss not in LOSSES:
        raise ArgumentError(f"unknown loss {loss!r}; known: {', '.join(LOSSES)}, or a function of (model, batch, key)")
    if not isinstance(loss, str) and not callable(loss):
        raise ArgumentError(f"loss={loss!r} must be a name or a function of (model, batch, key)")
    if not isinstance(loss, str):
        advice = ". For a loss of (output, target) write lambda model, batch, key: loss(model(batch[0]), batch[1])"
        check_takes("loss", loss, ("model", "batch", "key"), advice)
    if isinstance(metrics, str):
        metrics = (metrics,)
    for metric in metrics:
        if isinstance(metric, str) and metric not in METRICS:
            raise ArgumentError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
        if not isinstance(metric, str) and not callable(metric):
            raise ArgumentError(f"metric {metric!r} must be a name or a function of (output, target)")
        if not isinstance(metric, str):
            check_takes("metric", metric, ("output", "target"))
    return Objective(loss, tuple(metrics))


def check_takes(what: str, function: Callable[..., object], arguments: Sequence[str], advice: str = "") -> None:
    """Raise `ArgumentError` unless the function can be called on these positional arguments."""
    try:
        inspect.signature(function.forward if isinstance(function, nn.Module) else function).bind(*arguments)
    except ValueError:  # it does not tell
        return
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise ArgumentError(f"{what} {name} is called as ({', '.join(arguments)}): {error}{advice}") from None


def metric_name(metric: str | MetricFunction) -> str:
    """The name a metric is reported by."""
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", type(metric).__name__))


def _metric(metric: str | MetricFunction) -> _Named:
    return METRICS[metric] if isinstance(metric, str) else metric


def _row_means(values: Array) -> Array:
    if len(values.shape) < 2:
        return values
    return gnp.mean(gnp.reshape(values, (values.shape[0], -1)), axis=1)


def inputs_and_target(batch: Batch, loss: str) -> tuple[tuple[Array, ...], Array]:
    """What the model is called on, and what its output is compared with."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise ArgumentError(
            f"loss={loss!r} needs data.arrays(x, y): inputs and a target; "
            "for other data pass a function of (model, batch, key)"
        )
    return tuple(batch[:-1]), batch[-1]


def is_classification(loss: str | LossFunction) -> bool:
    """Whether integer targets of this loss are class numbers."""
    return isinstance(loss, str) and loss in _CLASS_LOSSES


def has_ignored(labels: np.ndarray) -> bool:
    """Whether some label is `IGNORED`."""
    return labels.dtype.kind == "i" and bool((labels == IGNORED).any())


def check_labels(labels: np.ndarray, classes: int) -> None:
    """Raise `DataError` if an integer label is neither in [0, classes) nor `IGNORED`."""
    if labels.dtype.kind not in "iu" or not labels.size:
        return
    bad = (labels < 0) | (labels >= classes)
    if labels.dtype.kind == "i":
        bad &= labels != IGNORED
    if not bad.any():
        return
    place = [int(i) for i in np.argwhere(bad)[0]]
    raise DataError(
        f"label {labels[tuple(place)]} at {place} is outside [0, {classes}): the model's output has {classes} classes"
    )
