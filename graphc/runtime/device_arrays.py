"""Arrays in a GPU's memory, of whatever library, as their owners describe them.

In: an object with `__dlpack__` and `__dlpack_device__`, or with `__cuda_array_interface__`. Out: a `DeviceArray`: where
it lies, its shape, dtype and strides, and what keeps it alive. Nothing is copied, and no library of a GPU is called.
"""

import ctypes
from collections.abc import Mapping
from operator import index
from typing import Protocol, TypeGuard, cast

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, GraphcError
from graphc.core.records import dataclass

CUDA, CUDA_MANAGED = 2, 13  # numbers of DLPack's DLDeviceType
NO_ORDER = -1  # DLPack: the producer need not order anything


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """`strides` are in bytes; None for an array in the order of C. `owner` keeps the memory.

    device: the number of the card; None when the owner does not say. stream: that of the owner, which has to be waited
    for before the memory is read (1: the default one); None when there is nothing to wait for.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    strides: tuple[int, ...] | None
    device: int | None
    stream: int | None
    owner: object

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether its elements lie one after the other in the order of C."""
        expected = self.dtype.itemsize
        for extent, stride in zip(reversed(self.shape), reversed(self.strides or ())):
            if extent != 1 and stride != expected:
                return not self.nbytes
            expected *= extent
        return True


class _Producer(Protocol):
    def __dlpack__(self, *, stream: int | None = None) -> object: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


class _Interface(Protocol):
    @property
    def __cuda_array_interface__(self) -> Mapping[str, object]: ...


def lies_on_gpu(leaf: object) -> bool:
    """Whether an object is an array in a GPU's memory."""
    if isinstance(leaf, np.ndarray | np.generic | bool | int | float):
        return False
    if _has_dlpack(leaf):
        return _kind(leaf) in (CUDA, CUDA_MANAGED)
    try:
        return hasattr(leaf, "__cuda_array_interface__")
    except (RuntimeError, TypeError, ValueError):  # of the owner's; whoever reads it is told
        return True


def _has_dlpack(leaf: object) -> TypeGuard[_Producer]:
    return hasattr(leaf, "__dlpack_device__") and hasattr(leaf, "__dlpack__")


def _kind(leaf: _Producer) -> int:
    try:
        return int(leaf.__dlpack_device__()[0])
    except (BufferError, RuntimeError, TypeError, ValueError):  # such as a tensor on no device
        return 0


def described(leaf: object, name: str, stream: int | None = None) -> DeviceArray:
    """Where an array on a GPU lies, and how. Raises `ArgumentError` or `DTypeError` naming it.

    stream: one that the owner shall make wait for what it has under way, if it can; None: nobody reads the array yet.
    """
    try:
        if _has_dlpack(leaf):
            return _by_dlpack(leaf, name, NO_ORDER if stream is None else stream)
        return _by_interface(cast(_Interface, leaf), name)
    except GraphcError:
        raise
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(f"argument {name}: {type(leaf).__name__} does not share its memory: {error}") from error


# ------------------------------------------------------------------------------------------- __cuda_array_interface__


def _by_interface(leaf: _Interface, name: str) -> DeviceArray:
    found = leaf.__cuda_array_interface__
    lacks = sorted({"shape", "typestr", "data"} - set(found))
    if lacks:
        raise BufferError(f"its __cuda_array_interface__ lacks {', '.join(lacks)}")
    if found.get("mask") is not None:
        raise ArgumentError(f"argument {name}: an array with a mask cannot be taken")
    shape = tuple(map(index, cast("tuple[int, ...]", found["shape"])))
    strides = None if found.get("strides") is None else tuple(map(index, cast("tuple[int, ...]", found["strides"])))
    if min(shape, default=0) < 0 or (strides is not None and len(strides) != len(shape)):
        raise BufferError(f"its shape is {shape} and its strides are {strides}")
    dtype = np.dtype(cast(str, found["typestr"]))
    if not dtype.isnative:
        raise DTypeError(f"argument {name}: its elements {dtype.str!r} have the other byte order; convert it first")
    address, _ = cast("tuple[int | None, bool]", found["data"])
    return DeviceArray(
        index(address or 0),
        shape,
        dtype,
        strides,
        None,
        cast("int | None", found.get("stream")),
        leaf,
    )


# ------------------------------------------------------------------------------------------------------------- DLPack


class _Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_KINDS = {0: "i", 1: "u", 2: "f", 5: "c"}  # DLDataTypeCode, as NumPy names kinds
_BFLOAT, _BOOL = 4, 6

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _by_dlpack(leaf: _Producer, name: str, stream: int) -> DeviceArray:
    capsule = leaf.__dlpack__(stream=stream)
    address = _pointer_of(capsule, b"dltensor")
    tensor = _Tensor.from_address(address)
    dtype = _dtype(tensor.code, tensor.bits, tensor.lanes, name)
    shape = tuple(tensor.shape[k] for k in range(tensor.ndim))
    strides = tuple(tensor.strides[k] * dtype.itemsize for k in range(tensor.ndim)) if tensor.strides else None
    # A capsule that nobody has taken the tensor from gives it back when it goes: it is what keeps the memory.
    return DeviceArray(
        (tensor.data or 0) + tensor.byte_offset, shape, dtype, strides, tensor.device_id, None, (leaf, capsule)
    )


def _dtype(code: int, bits: int, lanes: int, name: str) -> np.dtype[np.generic]:
    if lanes == 1 and code == _BFLOAT and bits == 16:
        return dtypes.bfloat16.numpy
    if lanes == 1 and code == _BOOL and bits == 8:
        return np.dtype(np.bool_)
    if lanes == 1 and code in _KINDS and bits % 8 == 0:
        return np.dtype(f"{_KINDS[code]}{bits // 8}")
    raise DTypeError(f"argument {name}: its elements are of a type that is not known here (DLPack {code}, {bits} bits)")
