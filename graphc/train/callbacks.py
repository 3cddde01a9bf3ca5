"""What runs between native runs: early stopping, the best model, checkpoints, conditions.

A callback is called at the end of each epoch, or every `every` steps where it says so, with an `Event`; returning True
ends the fit. Any function of an event is a callback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from graphc.api import ArgumentError, pytree
from graphc.train.checks import check_whole

if TYPE_CHECKING:
    from graphc.train.job import Job

Mode = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Event:
    """The end of an epoch, or of a stretch of steps. `values` has the latest mean of each value by name."""

    job: Job
    epoch: int
    step: int
    values: Mapping[str, float]
    is_epoch_end: bool


Callback = Callable[[Event], "bool | None"]


def every_steps(callback: Callback) -> int | None:
    """Steps between calls; None for once per epoch."""
    every = getattr(callback, "every", None)
    return every if isinstance(every, int) else None


def callback_name(callback: Callback) -> str:
    """The name reported when this callback ends the fit."""
    return str(getattr(callback, "__name__", type(callback).__name__))


def _value(owner: str, event: Event, monitor: str) -> float:
    if monitor not in event.values:
        known = ", ".join(event.values)
        raise ArgumentError(
            f"{owner}: there is no value {monitor!r} to monitor; there are {known} (val_* need validation=)"
        )
    return event.values[monitor]


def _is_better(value: float, best: float, mode: Mode, min_delta: float) -> bool:
    return value < best - min_delta if mode == "min" else value > best + min_delta


def _check_mode(owner: str, mode: Mode) -> float:
    if mode not in ("min", "max"):
        raise ArgumentError(f"{owner}: mode={mode!r}; use 'min' or 'max'")
    return math.inf if mode == "min" else -math.inf


class EarlyStopping:
    """End the fit when `monitor` has not improved by more than `min_delta` for `patience` epochs.

    NaN never improves.
    """

    def __init__(self, patience: int, monitor: str = "val_loss", min_delta: float = 0.0, mode: Mode = "min") -> None:
        check_whole("EarlyStopping: patience", patience, 1)
        if not min_delta >= 0:
            raise ArgumentError(f"EarlyStopping: min_delta={min_delta} must not be negative")
        self.patience, self.monitor, self.min_delta, self.mode = patience, monitor, min_delta, mode
        self.best = _check_mode("EarlyStopping", mode)
        self.waited = 0

    def __call__(self, event: Event) -> bool:
        value = _value("EarlyStopping", event, self.monitor)
        if _is_better(value, self.best, self.mode, self.min_delta):
            self.best, self.waited = value, 0
            return False
        self.waited += 1
        return self.waited >= self.patience


class BestModel:
    """Keep a copy of the parameters and buffers at the best `monitor`, and put them back when the fit ends."""

    def __init__(self, monitor: str = "val_loss", mode: Mode = "min", restore: bool = True) -> None:
        self.monitor, self.mode, self.restore = monitor, mode, restore
        self.best = _check_mode("BestModel", mode)
        self.step: int | None = None
        self._state: object = None

    def __call__(self, event: Event) -> bool:
        value = _value("BestModel", event, self.monitor)
        if _is_better(value, self.best, self.mode, 0.0):
            self.best, self.step = value, event.step
            self._state = pytree.tree_map(lambda leaf: np.array(leaf), event.job.model_state)
        return False

    def finish(self, job: Job) -> None:
        """Called when the fit ends, however it ends."""
        if self.restore and self._state is not None:
            job.model_state = self._state


class Checkpoint:
    """Save the job to `path` every `every` steps, or at the end of each epoch when `every` is None."""

    def __init__(self, path: str | Path, every: int | None = None) -> None:
        if every is not None:
            check_whole("Checkpoint: every", every, 1)
        self.path, self.every = Path(path), every

    def __call__(self, event: Event) -> bool:
        event.job.save(self.path)
        return False


class StopWhen:
    """End the fit when a condition on the values holds: `StopWhen(lambda values: values["val_accuracy"] > 0.99)`."""

    def __init__(self, condition: Callable[[Mapping[str, float]], bool]) -> None:
        self.condition = condition

    def __call__(self, event: Event) -> bool:
        return bool(self.condition(event.values))
