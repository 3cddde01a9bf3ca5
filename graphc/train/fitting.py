"""The fit: stretches of native steps between the points at which Python has something to do.

Comes in: a job, a number of steps, callbacks, a function that validates. Goes out: a `History`. Python runs at the end
of an epoch only when something is due there (validation, a callback, a smaller last batch); otherwise one native run
covers as many epochs as there are.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from graphc.train.callbacks import Callback, Event, callback_name, every_steps
from graphc.train.checks import warn
from graphc.train.history import History
from graphc.train.progress import ProgressBar

if TYPE_CHECKING:
    from graphc.train.job import Job

LONGEST_RUN = 1 << 20  # steps of one native run: bounds the memory of the recorded values


class Interrupt:
    """Ctrl-C while fitting: the first asks to stop after the current step, the second raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Take SIGINT over, in the main thread only: elsewhere Python allows no handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Fit:
    """One call of `job.fit`."""

    def __init__(
        self,
        job: Job,
        steps: int,
        callbacks: Sequence[Callback],
        validate: Callable[[], Mapping[str, float]] | None,
        progress: bool | None,
    ) -> None:
        self.job, self.callbacks, self.validate = job, callbacks, validate
        self.per_epoch = job.recipe.steps_per_epoch
        self.first = job.step
        self.target = self.first + steps
        self.history = History()
        self.interrupt = Interrupt()
        self.bar = ProgressBar(steps, self.per_epoch, progress)
        self.pending: dict[str, list[np.ndarray]] = {}  # values of the steps that are in no row yet
        self.losses: list[np.ndarray] = []
        self.logged = self.first  # steps that are in the history's rows
        self.values: dict[str, float] = {}
        self.has_warned = False

    def run(self) -> History:
        """Run to the end, an interrupt or a callback that stops; the history is complete in each case."""
        step = self.first
        with self.bar, self.interrupt.listening():
            while step < self.target and not self.interrupt.asked and not self.history.stopped:
                stop = self._next_stop(step)
                done = self._stretch(step, stop)
                step += done
                self._after(step)
        self.history.interrupted = self.interrupt.asked
        self._log(step)
        self.history.losses = np.concatenate(self.losses) if self.losses else np.zeros(0)
        return self.history

    # Where to stop next.
    def _needs_epochs(self) -> bool:
        return self.validate is not None or any(every_steps(callback) is None for callback in self.callbacks)

    def _next_stop(self, step: int) -> int:
        stops = [self.target, step + LONGEST_RUN]
        if self._needs_epochs():
            stops.append((step // self.per_epoch + 1) * self.per_epoch)
        stops += [(step // every + 1) * every for every in filter(None, map(every_steps, self.callbacks))]
        return min(stops)

    # Native runs.
    def _stretch(self, step: int, stop: int) -> int:
        """Steps step .. stop-1, or fewer after an interrupt; returns how many."""
        begun = step
        while step < stop and not self.interrupt.asked:
            entry, count = self._entry(step, stop)
            done = self._native(entry, step, count)
            step += done
            if done < count:
                break
        return step - begun

    def _entry(self, step: int, stop: int) -> tuple[str, int]:
        """The entry that makes the next step, and how many steps it may make."""
        if not self.job.recipe.last_batch:
            return "train", stop - step
        until_last = self.per_epoch - 1 - step % self.per_epoch
        return ("train", min(stop - step, until_last)) if until_last else ("train_last", 1)

    def _native(self, entry: str, step: int, count: int) -> int:
        def poll(done: int, losses: np.ndarray) -> bool:
            self.bar.show(step + done - self.first, step + done, float(losses[done - 1]) if done else None)
            return self.interrupt.asked

        begun = time.perf_counter()
        done, values = self.job.run(entry, step, count, poll)
        self.history.seconds += time.perf_counter() - begun
        poll(done, values["loss"])  # a run that was too short to be polled shows too
        for name, column in values.items():
            self.pending.setdefault(name, []).append(column[:done])
        self.losses.append(values["loss"][:done])
        self._warn_once(step, values["loss"][:done])
        return done

    def _warn_once(self, step: int, losses: np.ndarray) -> None:
        if self.has_warned or np.isfinite(losses).all():
            return
        self.has_warned = True
        bad = int(np.argmin(np.isfinite(losses)))
        warn(f"training diverged: the loss became {losses[bad]} at step {step + bad}")

    # Between native runs.
    def _after(self, step: int) -> None:
        """Rows of finished epochs, validation and callbacks."""
        is_epoch_end = step % self.per_epoch == 0
        if is_epoch_end:
            self._log(step)
        for callback in self.callbacks:
            every = every_steps(callback)
            if not (is_epoch_end if every is None else step % every == 0):
                continue
            values = self.values if is_epoch_end else self.values | self._recent()
            epoch = (step - 1) // self.per_epoch
            if callback(Event(self.job, epoch, step, values, is_epoch_end)) and not self.history.stopped:
                self.history.stopped = callback_name(callback)

    def _recent(self) -> dict[str, float]:
        return {name: float(chunks[-1][-1]) for name, chunks in self.pending.items() if len(chunks[-1])}

    def _log(self, step: int) -> None:
        """Append a row for each epoch, or part of one, that is not in the history yet; the last one is validated."""
        if step == self.logged:
            return
        columns = {name: np.concatenate(chunks) for name, chunks in self.pending.items()}
        start = self.logged
        self.pending = {}
        while self.logged < step:
            end = min((self.logged // self.per_epoch + 1) * self.per_epoch, step)
            weights = self._weights(self.logged, end)
            self.values = {
                n: _mean(column[self.logged - start : end - start], weights) for n, column in columns.items()
            }
            self.logged = end
            if end == step and self.validate is not None and not self.interrupt.asked:
                self.values |= {f"val_{name}": value for name, value in self.validate().items()}
            self.history.append(self.values)

    def _weights(self, first: int, end: int) -> np.ndarray:
        """Samples of each step."""
        recipe = self.job.recipe
        sizes = np.full(end - first, recipe.batch_size, np.float64)
        if recipe.last_batch:
            sizes[np.arange(first, end) % self.per_epoch == self.per_epoch - 1] = recipe.last_batch
        return sizes


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return math.nan if not len(values) else float(np.sum(values.astype(np.float64) * weights) / np.sum(weights))
