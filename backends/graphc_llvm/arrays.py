"""Calls with NumPy arrays as they are: native code reads an array's type, shape and address from the array object.

`call_code.call_text` is the function of an entry that does it, `LAYOUT_IS_KNOWN` whether arrays of this interpreter are
laid out as NumPy 2 on CPython lays them out. That is looked at once, at import, on arrays of all kinds; where it is not
so, calls go through tables of addresses that Python writes.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache

import numpy as np

# Where the words of an array object lie: NumPy's part begins after the object header, whose last word is the type.
_HEADER = object.__basicsize__
TYPE = _HEADER - 8  # the last word of the object header
DATA, NDIM, DIMS, STRIDES, DESCRIPTOR, FLAGS = (_HEADER + offset for offset in (0, 8, 16, 24, 40, 48))
PLAIN = 0x101  # flags: C-contiguous and aligned

MOST_ARRAYS = 500  # inputs and outputs of a call; ctypes allows 1024 arguments


@cache
def _prototype(arrays: int) -> Callable[[int], Callable[..., int]]:
    """Of a function of a record, a step, descriptors and so many arrays.

    It is called with the interpreter's lock held, and gives it up itself; an exception that it leaves behind is raised.
    """
    head = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    return ctypes.PYFUNCTYPE(ctypes.c_int64, *head, *[ctypes.py_object] * arrays)


def native_call(where: int, arrays: int) -> Callable[..., int]:
    """The function at an address that `call_code.call_text` describes."""
    return _prototype(arrays)(where)


@cache
def interpreter_functions() -> dict[str, int]:
    """Addresses of the functions of the interpreter that native code calls, by the record's names."""
    names = {"save": "PyEval_SaveThread", "restore": "PyEval_RestoreThread", "check": "PyErr_CheckSignals"}
    names["ident"] = "PyThread_get_thread_ident"
    return {word: _address_of(getattr(ctypes.pythonapi, name)) for word, name in names.items()}


def _address_of(function: Callable[..., object]) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)  # type: ignore[arg-type]


def _word(array: np.ndarray, offset: int) -> int:
    return ctypes.c_int64.from_address(id(array) + offset).value


def _half(array: np.ndarray, offset: int) -> int:
    return ctypes.c_int32.from_address(id(array) + offset).value


def _seen(array: np.ndarray) -> tuple[object, ...]:
    """What native code reads from an array."""
    ndim = _half(array, NDIM)
    if not 0 <= ndim <= 64:
        return ()
    kind = ctypes.c_int64 * ndim
    tables = (_word(array, offset) for offset in (DIMS, STRIDES))
    shape, strides = (tuple(kind.from_address(table)) if ndim else () for table in tables)
    plain = _half(array, FLAGS) & PLAIN == PLAIN
    return _word(array, TYPE), _word(array, DATA), ndim, shape, strides, _word(array, DESCRIPTOR), plain


def _documented(array: np.ndarray) -> tuple[object, ...]:
    flags = array.flags
    plain = flags.c_contiguous and flags.aligned
    where = array.__array_interface__["data"][0]
    return id(type(array)), where, array.ndim, array.shape, array.strides, id(array.dtype), plain


def _agree() -> bool:
    block = np.zeros((4, 6), np.float32)
    probes = (block, block[1:], block.T, block[:, 1:3], block[0, :1], np.zeros((), np.int64), np.zeros((0, 2), bool))
    skewed = block.view(np.uint8).reshape(-1)[1:9].view(np.float64)
    return all(_seen(array) == _documented(array) for array in (*probes, skewed))


LAYOUT_IS_KNOWN = sys.implementation.name == "cpython" and _agree()
