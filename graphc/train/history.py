"""What a fit leaves behind: values per epoch, the loss of every step, and how it ended."""

from __future__ import annotations

import numpy as np


class History(dict[str, list[float]]):
    """Values per epoch by name (`history["loss"]`, `history["val_accuracy"]`), in order.

    losses: the loss of every step. interrupted: ended by Ctrl-C. stopped: the callback that ended it, or "".
    """

    def __init__(self) -> None:
        super().__init__()
        self.losses: np.ndarray = np.zeros(0)
        self.interrupted: bool = False
        self.stopped: str = ""
        self.seconds: float = 0.0  # spent in native steps

    @property
    def steps(self) -> int:
        """Steps made."""
        return len(self.losses)

    def append(self, values: dict[str, float]) -> None:
        """Add one epoch."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)
