"""The progress bar of a fit, fed by what the native loop reports about ten times a second."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar:
    """A bar on standard error; silent unless `show`, or when `show` is None and standard error is a terminal."""

    def __init__(self, total: int, steps_per_epoch: int, show: bool | None) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._bar = _bar() if (sys.stderr.isatty() if show is None else show) else None
        self._task = self._bar.add_task("training", total=total, note="") if self._bar else None

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: int, step: int, loss: float | None) -> None:
        """`done` steps of this fit, the number of the step, and its loss if there is one."""
        if self._bar is None or self._task is None:
            return
        note = "" if loss is None else f"loss {loss:.4f}"
        self._bar.update(self._task, completed=done, description=f"epoch {step // self.steps_per_epoch + 1}", note=note)


def _bar() -> Progress:
    """Imported for a bar that is shown: rich takes as long to import as the rest of training."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
