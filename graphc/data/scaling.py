"""Standardisation: statistics of the training set, used again for every other set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.api import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Standardizer:
    """(x - mean) / std, in the dtype of x if that is floating, else float32. `inverse` undoes it."""

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((x - self.mean) / self.std, _float_dtype(x))

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """The values that were standardised."""
        return np.asarray(z * self.std + self.mean, _float_dtype(z))


def _float_dtype(x: np.ndarray) -> np.dtype[np.generic]:
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)


def standardize(x: np.ndarray, axis: int | Sequence[int] | None = 0, eps: float = 0.0) -> Standardizer:
    """Mean and standard deviation of a training set over `axis`, as a function to apply to any set.

    axis=0: per feature, or per pixel over the set; axis=(0, 2, 3): per channel of NCHW images; None: one number each.
    Where the deviation is 0 the feature is only centred. `eps` is added to the variance.

    >>> import numpy as np
    >>> scale = standardize(np.array([[0.0, 5.0], [2.0, 5.0]]))
    >>> scale(np.array([[4.0, 6.0]])).tolist()
    [[3.0, 1.0]]
    """
    x = np.asarray(x)
    if x.size == 0:
        raise DataError("standardize: there are no samples")
    axes = axis if axis is None or isinstance(axis, int) else tuple(axis)
    mean = np.asarray(np.mean(x, axis=axes, keepdims=True, dtype=np.float64))
    std = np.asarray(np.sqrt(np.var(x, axis=axes, keepdims=True, dtype=np.float64) + eps))
    return Standardizer(mean, np.where(std > 0, std, 1.0))
