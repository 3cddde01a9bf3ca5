"""Splitting a data set in two: a function of the data's size, the labels and a seed only, the same on every machine."""

from __future__ import annotations

import numpy as np

from graphc.api import ArgumentError, DataError

Pair = tuple[np.ndarray, np.ndarray]


def split(
    x: np.ndarray, y: np.ndarray, *, test: float | int, seed: int = 0, stratify: bool = False
) -> tuple[Pair, Pair]:
    """`(x_train, y_train), (x_test, y_test)`. `test` is a share in (0, 1) or a number of samples.

    With `stratify` every class of the integer labels y has the same share in both parts, to within one sample.

    >>> import numpy as np
    >>> (_, train), (_, held_out) = split(np.zeros((10, 2)), np.repeat([0, 1], 5), test=4, stratify=True)
    >>> np.bincount(train).tolist(), np.bincount(held_out).tolist()
    ([3, 3], [2, 2])
    """
    x, y = np.asarray(x), np.asarray(y)
    if len(x) != len(y):
        raise DataError(f"split: x has {len(x)} samples and y has {len(y)}")
    count = _count(test, len(x))
    order = _order(len(x), seed)
    if stratify:
        order = _spread(order, y)
    chosen, rest = np.sort(order[:count]), np.sort(order[count:])
    return (x[rest], y[rest]), (x[chosen], y[chosen])


def _count(test: float | int, size: int) -> int:
    count = round(test * size) if isinstance(test, float) and 0 < test < 1 else test
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 0 < count < size:
        raise ArgumentError(f"split: test={test!r} must be a share in (0, 1) or a number of samples below {size}")
    return int(count)


def _order(size: int, seed: int) -> np.ndarray:
    """A random permutation. Sorted raw bits: NumPy promises those of a bit generator, but not `permutation`."""
    bits = np.random.Philox(key=seed).random_raw(size)
    return np.argsort(bits, kind="stable")


def _spread(order: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Reorder so that every prefix has each class in proportion: sort by (rank within the class + 1/2) / class size."""
    if y.ndim != 1 or y.dtype.kind not in "biu":
        raise ArgumentError(f"split: stratify needs one integer label per sample, y is {y.dtype}{list(y.shape)}")
    labels = y[order]
    position = np.empty(len(y))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(position, kind="stable")]
