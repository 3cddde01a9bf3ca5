"""`data.arrays`: a data set that lies in memory, checked once, never copied, gathered from by the compiled loop."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from graphc.api import ArgumentError, DataError, pytree

Order = Literal["shuffle", "sequential", "replacement"]
NonFinite = Literal["error", "warn", "allow"]
_KINDS = "biuf"  # bool, integers, floats


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset:
    """Arrays with one row per sample, in a pytree; `tree` of a batch is the same pytree with `batch` rows each.

    order: "shuffle" visits every sample once per epoch in a new random order, "sequential" in the order given,
    "replacement" draws each sample of each batch independently.
    """

    tree: object
    size: int
    order: Order

    def __repr__(self) -> str:
        rows = ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in self.leaves)
        return f"Dataset({self.size} samples of {rows}, order={self.order!r})"

    @property
    def leaves(self) -> list[np.ndarray]:
        """The arrays, in order."""
        return [leaf for leaf in pytree.flatten(self.tree)[0] if isinstance(leaf, np.ndarray)]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(leaf.nbytes for leaf in self.leaves)


def arrays(*trees: object, order: Order = "shuffle", nonfinite: NonFinite = "error") -> Dataset:
    """A data set of arrays whose first axis counts samples: `arrays(x, y)`; batches are tuples of as many arrays.

    One argument that is a tuple, list or dict is taken as a pytree, and batches have its shape. C-contiguous arrays are
    used as they are (a later change to them is seen by training); others are copied once. On a card every run of steps
    begins by copying them there, since they may have changed; those that are read-only (`x.flags.writeable = False`)
    are copied once.

    nonfinite: what to do about NaN and infinity in floating arrays.

    Raises `DataError` for an empty set, lengths that differ, a dtype that is not numeric, and for NaN or infinity.

    >>> import numpy as np
    >>> arrays(np.zeros((5, 3), np.float32), np.arange(5)).size
    5
    """
    if order not in ("shuffle", "sequential", "replacement"):
        raise ArgumentError(f"order={order!r}: use 'shuffle', 'sequential' or 'replacement'")
    if nonfinite not in ("error", "warn", "allow"):
        raise ArgumentError(f"nonfinite={nonfinite!r}: use 'error', 'warn' or 'allow'")
    single = len(trees) == 1 and isinstance(trees[0], tuple | list | dict)
    leaves, treedef = pytree.flatten(trees[0] if single else trees)
    if not leaves:
        raise DataError("data.arrays: no arrays were given")
    names = [name or "0" for name in pytree.leaf_names(treedef)]
    checked = [_check(name, leaf, nonfinite) for name, leaf in zip(names, leaves, strict=True)]
    sizes = {name: len(leaf) for name, leaf in zip(names, checked, strict=True)}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"array {name} has {size}" for name, size in sizes.items())
        raise DataError(f"data.arrays: numbers of samples differ: {listed}")
    if len(checked[0]) >= 2**31:
        raise DataError(f"data.arrays: {len(checked[0])} samples are too many; at most 2**31 - 1")
    if not checked[0].shape[0]:
        raise DataError("data.arrays: there are no samples")
    return Dataset(pytree.unflatten(treedef, checked), len(checked[0]), order)


def _check(name: str, leaf: object, nonfinite: NonFinite) -> np.ndarray:
    if type(leaf) is not np.ndarray and hasattr(leaf, "mask"):
        raise DataError(f"data.arrays: array {name} is masked, which training would not see; fill it with .filled(...)")
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        kind = type(leaf).__name__
        raise DataError(f"data.arrays: array {name}: {kind} cannot be read as an array of the host: {error}") from error
    if array.dtype.kind not in _KINDS and array.dtype.name != "bfloat16":
        raise DataError(f"data.arrays: array {name} has dtype {array.dtype}; encode it as numbers first")
    if array.ndim == 0:
        raise DataError(f"data.arrays: array {name} is a scalar; the first axis counts samples")
    if nonfinite != "allow" and (array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
        _check_finite(name, array, nonfinite)
    return np.ascontiguousarray(array)


def _check_finite(name: str, array: np.ndarray, nonfinite: NonFinite) -> None:
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass without a mask; a sum that overflows is looked at again
            return
    bad = np.argwhere(~np.isfinite(array))
    if not len(bad):
        return
    place = [int(i) for i in bad[0]]
    message = (
        f"array {name} has {len(bad)} elements that are NaN or infinite, the first {array[tuple(place)]} at {place}"
    )
    if nonfinite == "error":
        raise DataError(f"data.arrays: {message}; pass nonfinite='allow' to keep them")
    warnings.warn(message, stacklevel=4)
