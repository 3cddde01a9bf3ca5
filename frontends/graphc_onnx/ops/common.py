"""What rows of several families share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from onnx import helper

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, UnsupportedError

Ints: TypeAlias = tuple[int, ...]


def dtype_of(x: Array) -> np.dtype[np.generic]:
    """The NumPy dtype of an array, traced or not."""
    return np.dtype(x.dtype)


def is_float(x: Array) -> bool:
    """Whether the elements are floats, bfloat16 too."""
    return dtype_of(x).kind == "f" or dtype_of(x).name == "bfloat16"


def is_narrow(x: Array) -> bool:
    """Whether the elements are floats of 16 bits."""
    return is_float(x) and dtype_of(x).itemsize == 2


def element_type(code: int) -> np.dtype[np.generic]:
    """The NumPy dtype for ONNX's number of an element type. Raises `UnsupportedError` for one graphc does not have."""
    found = np.dtype(helper.tensor_dtype_to_np_dtype(code))
    if found.kind not in "biufc" and found.name != "bfloat16":
        raise UnsupportedError(f"element type {found.name} is not supported")
    return found


def integers(known: object) -> list[int]:
    """The numbers of a known operand or attribute."""
    return [int(i) for i in np.asarray(known).ravel()]


def normal(axis: int, rank: int) -> int:
    """The axis counted from the front."""
    if not -rank <= axis < max(rank, 1):
        raise ArgumentError(f"axis {axis} is outside of the {rank} dims")
    return axis + rank if axis < 0 else axis


def cast(x: Array, dtype: object) -> Array:
    """`x` converted."""
    return gnp.astype(x, np.dtype(dtype))  # type: ignore[call-overload]


def in_float32(compute: Callable[..., Array]) -> Callable[..., Array]:
    """The function computed in float32 for floats of 16 bits, with the result rounded back."""

    @functools.wraps(compute)
    def wrapped(x: Array, *rest: object, **attributes: object) -> Array:
        if not is_narrow(x):
            return compute(x, *rest, **attributes)
        return cast(compute(cast(x, np.float32), *rest, **attributes), dtype_of(x))

    return wrapped


def size(shape: Sequence[int]) -> int:
    """The number of elements of a shape."""
    return math.prod(shape)


def flat_index(indices: Sequence[Array], shape: Sequence[int]) -> Array:
    """The position in the flattened array of that shape, of an element given by its index in each dim."""
    position: Array = np.zeros((), np.int64)
    for index, extent in zip(indices, shape, strict=True):
        position = position * extent + index
    return position


def only(name: str, value: str, *allowed: str) -> None:
    """Raises `ArgumentError` unless the attribute has one of the values."""
    if value not in allowed:
        raise ArgumentError(f"attribute {name} is one of {', '.join(allowed)}, got {value!r}")


def none_of(**attributes: object) -> None:
    """Raises `UnsupportedError` naming an attribute that is set and has no meaning here yet."""
    for name, value in attributes.items():
        if value is not None:
            raise UnsupportedError(f"attribute {name}={value!r} is not supported")
