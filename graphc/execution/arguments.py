"""Arrays at the border: callers' arguments become C-contiguous NumPy arrays of the wanted type, or an error.

An array that is one already is not copied. One that is not, because it is a transposed or strided view, lies at an odd
address or has the other byte order, is: compiled loops read memory in one order, and reading a view in its own would
cost more than one pass over it in all but the cheapest programs. The copy of a large one is reported once.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import numpy as np

from graphc.core.dtypes import dtype
from graphc.core.errors import ArgumentError, CopyWarning, DTypeError, GraphcError, ShapeError
from graphc.graph.ir import TensorType
from graphc.runtime.device_arrays import DeviceArray, described, lies_on_gpu
from graphc.tracing.context import TracedValue, check_alive
from graphc.tracing.spec import check_has_no_mask, foreign_array, python_dtype

LARGE_COPY = 1 << 20  # bytes
Arguments = tuple[tuple[object, ...], dict[str, object]]  # (args, kwargs)
_PACKAGE = str(Path(__file__).parents[1])
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def as_array(leaf: object, type: TensorType, name: str, reported: set[str] | None = None) -> np.ndarray:
    """`leaf` as a C-contiguous array of `type`. Python scalars and lists of them convert; arrays must have the dtype.

    Raises `ShapeError` or `DTypeError` that name the argument. An array that does not lie as it should is copied; with
    `reported`, the names this was said of, a large copy is a `CopyWarning` once.
    """
    wanted = type.dtype.numpy
    if isinstance(leaf, np.ndarray | np.generic):  # first: np.float64 is a Python float too
        array = _without_mask(leaf, name)
    elif isinstance(leaf, bool | int | float | complex):
        array = _scalar(leaf, type, name)
    else:
        array = _foreign(leaf, name)
    other_order = array.dtype != wanted and array.dtype.newbyteorder("=") == wanted
    if not other_order and array.dtype != wanted:
        raise DTypeError(f"argument {name}: expected {type}, got {type_text(array)}; cast it first")
    if array.shape != type.shape:
        raise ShapeError(f"argument {name}: expected {type}, got {type_text(array)}")
    if not other_order and array.flags.c_contiguous and array.flags.aligned:
        return array
    if reported is not None:
        where = f"strides {array.strides}" if not array.flags.c_contiguous else "address"
        why = f"of its {'byte order' if other_order else where}; pass np.ascontiguousarray(...) of it, made once"
        report_copy(array.nbytes, name, why, reported)
    return np.array(array, wanted, order="C")


def _without_mask(array: np.ndarray | np.generic, name: str) -> np.ndarray:
    try:
        check_has_no_mask(array)
    except DTypeError as error:
        raise DTypeError(f"argument {name}: {error}") from None
    return np.asarray(array)


def type_text(array: np.ndarray | DeviceArray) -> str:
    """The type of an array, spelled as graphs spell it; dtypes that they do not have as NumPy does."""
    try:
        return str(TensorType(tuple(array.shape), dtype(array.dtype)))
    except GraphcError:
        return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def report_copy(nbytes: int, name: str, why: str, reported: set[str]) -> None:
    """Warn of a copy if it is large, once for each name."""
    if nbytes < LARGE_COPY or name in reported:
        return
    reported.add(name)
    text = f"argument {name}: {nbytes:,} bytes are copied at each call because {why}"
    warnings.warn(text, CopyWarning, stacklevel=_frames_inside())


def _frames_inside() -> int:
    """How far the user's frame is from the caller, as `warnings.warn` counts."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def _scalar(value: bool | int | float | complex, type: TensorType, name: str) -> np.ndarray:
    if isinstance(value, complex) and not type.dtype.is_complex:
        raise DTypeError(f"argument {name}: expected {type}, got the complex number {value}")
    if isinstance(value, float) and not type.dtype.is_inexact:
        raise DTypeError(f"argument {name}: expected {type}, got the float {value}")
    if type.dtype.is_bool and not isinstance(value, bool):
        raise DTypeError(f"argument {name}: expected {type}, got the int {value}")
    try:
        return np.array(value, type.dtype.numpy)
    except OverflowError:
        raise ArgumentError(f"argument {name}: {value} does not fit {type}") from None


def _foreign(leaf: object, name: str) -> np.ndarray:
    if lies_on_gpu(leaf):
        raise ArgumentError(
            f"argument {name}: {type(leaf).__name__} lies on a GPU, and the memory of the host is read here; copy it "
            "to a NumPy array (functions compiled with backend='gpu' take it as it is, those with sanitize=True do not)"
        )
    try:
        array = foreign_array(leaf)
    except DTypeError as error:
        raise DTypeError(f"argument {name}: {error}") from error
    if array.dtype.kind in "OUS":
        raise DTypeError(
            f"argument {name}: {type(leaf).__name__} is not an array of numbers; close over it, name it in "
            "gc.jit(f, static=...), or make its class a container of arrays with gc.pytree.register"
        )
    return array


def type_of(leaf: object, name: str) -> TensorType:
    """The tensor type of a concrete argument. Python numbers count as bool, int64, float32 and complex64."""
    if isinstance(leaf, bool | int | float | complex) and not isinstance(leaf, np.generic):  # np.float64 is a float
        return TensorType((), python_dtype(leaf))
    if isinstance(leaf, TracedValue):
        check_alive(leaf)
        return TensorType(leaf.shape, leaf.dtype)
    array: np.ndarray | np.generic | DeviceArray
    if isinstance(leaf, np.ndarray | np.generic):
        array = _without_mask(leaf, name)
    else:
        array = described(leaf, name) if lies_on_gpu(leaf) else _foreign(leaf, name)
    try:
        return TensorType(tuple(array.shape), dtype(array.dtype))
    except GraphcError as error:
        raise type(error)(f"argument {name}: {error}") from None


def memory_size(limit: int | str | None) -> int | None:
    """Bytes from a number or a text such as "512MB" or "1.5 GiB"; raises `ArgumentError` for anything else."""
    if limit is None:
        return None
    if isinstance(limit, int) and not isinstance(limit, bool):
        if limit <= 0:
            raise ArgumentError(f"memory={limit}: must be positive")
        return limit
    text = str(limit).strip().upper().replace(" ", "")
    number = text.rstrip("BKMGI")
    unit = text[len(number) :]
    try:
        size = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        raise ArgumentError(f"memory={limit!r}: write a number of bytes or a text such as '512MB'") from None
    if size <= 0:
        raise ArgumentError(f"memory={limit!r}: must be positive")
    return size


def check_all(
    leaves: Sequence[object], types: Sequence[TensorType], names: Sequence[str], reported: set[str] | None = None
) -> list[np.ndarray]:
    """`as_array` over a whole argument list."""
    if len(leaves) != len(types):
        raise ArgumentError(f"expected {len(types)} arrays ({', '.join(names)}), got {len(leaves)}")
    return [as_array(leaf, type, name, reported) for leaf, type, name in zip(leaves, types, names, strict=True)]
