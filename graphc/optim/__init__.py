"""Optimisers, learning-rate schedules and gradient clipping, as functions that are traced into the training step.

>>> sgd(0.1, momentum=0.9)
SGD(lr=0.1, momentum=0.9, nesterov=False, dampening=0.0, weight_decay=0.0, ema=False)
"""

from collections.abc import Callable

from graphc.api import ArgumentError
from graphc.optim.clipping import clip_by_global_norm, global_norm
from graphc.optim.description import describe, restore
from graphc.optim.rules import SGD, AdaGrad, Adam, AdamW, Optimizer, RMSProp, adagrad, adam, adamw, rmsprop, sgd
from graphc.optim.schedules import Rate, Schedule, constant, cosine, linear, warmup

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "Rate",
    "Schedule",
    "adagrad",
    "adam",
    "adamw",
    "by_name",
    "clip_by_global_norm",
    "constant",
    "cosine",
    "describe",
    "global_norm",
    "linear",
    "restore",
    "rmsprop",
    "sgd",
    "warmup",
]

# What `optimizer="adam"` means. PyTorch's default rates; sgd's is that of its documentation.
_BY_NAME: dict[str, Callable[[], Optimizer]] = {
    "sgd": lambda: sgd(1e-3),
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}


def by_name(name: str) -> Optimizer:
    """The optimiser of this name with its default arguments.

    >>> by_name("adam").lr
    0.001
    """
    if name not in _BY_NAME:
        raise ArgumentError(f"unknown optimizer {name!r}; known: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]()
