"""Questions about dtypes and about this namespace, in the words of the array API standard."""

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError
from graphc.core.records import dataclass
from graphc.tracing.bind import as_array, common_dtype, dtype_of, is_scalar
from graphc.tracing.context import ArrayLike, TracedValue, with_line
from graphc.tracing.spec import DEFAULT_FLOAT, DEFAULT_INT
from graphc.tracing.tracer import DTypeLike

Kinds = DTypeLike | str | tuple[DTypeLike | str, ...]

_KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": ("uint",),
    "integral": ("int", "uint"),
    "real floating": ("float",),
    "complex floating": ("complex",),
    "numeric": ("int", "uint", "float", "complex"),
}
# dtypes that the standard does not name
_OTHERS = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class FloatInfo:
    """The limits of a float dtype, as Python numbers; `tiny` is NumPy's name for `smallest_normal`."""

    dtype: np.dtype[np.generic]
    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    smallest_subnormal: float

    @property
    def tiny(self) -> float:
        return self.smallest_normal


def finfo(dtype: DTypeLike | ArrayLike) -> FloatInfo:
    """The limits of a float dtype (or of an array's): eps, max, min, smallest_normal, ... Of a complex one those of the
    parts.

    >>> import graphc.numpy as gnp
    >>> gnp.finfo(gnp.float32).eps == 2.0**-23
    True
    """
    part = _dtype_of(dtype).part
    if not part.is_float:
        raise DTypeError(with_line(f"finfo: {part} is not a float dtype; see iinfo"))
    known = dtypes.finfo(part)
    numbers = (known.eps, known.max, known.min, known.smallest_normal, known.smallest_subnormal)
    return FloatInfo(part.numpy, part.bits, *map(float, numbers))


def iinfo(dtype: DTypeLike | ArrayLike) -> "np.iinfo[np.integer]":
    """The limits of an integer dtype (or of an array's): min and max.

    >>> import graphc.numpy as gnp
    >>> gnp.iinfo(gnp.int8).max
    127
    """
    return np.iinfo(_dtype_of(dtype).numpy)  # type: ignore[arg-type]


def isdtype(dtype: DTypeLike, kind: Kinds) -> bool:
    """Whether a dtype is another one, is of a kind ("integral", "real floating", ...), or is any of several of these.

    >>> import graphc.numpy as gnp
    >>> gnp.isdtype(gnp.int8, "integral"), gnp.isdtype("float32", (gnp.float64, "bool"))
    (True, False)
    """
    wanted = dtypes.dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(wanted, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return wanted.kind in _KINDS[kind]
    try:
        return wanted == dtypes.dtype(kind)
    except DTypeError:
        known = ", ".join(map(repr, _KINDS))
        raise ArgumentError(with_line(f"isdtype: {kind!r} is neither a dtype nor one of {known}")) from None


def can_cast(source: DTypeLike | ArrayLike, to: DTypeLike) -> bool:
    """Whether promotion takes a dtype (or that of an array) to another; `astype` converts any dtype to any.

    >>> import graphc.numpy as gnp
    >>> gnp.can_cast(gnp.int8, gnp.int16), gnp.can_cast(gnp.int8, gnp.float32)
    (True, False)
    """
    wanted = dtypes.dtype(to)
    try:
        return dtypes.promote(_dtype_of(source), wanted) == wanted
    except DTypeError:
        return False


def result_type(*values: ArrayLike | DTypeLike) -> np.dtype[np.generic]:
    """The NumPy dtype several arrays, dtypes and Python numbers are promoted to.

    >>> import graphc.numpy as gnp
    >>> gnp.result_type(gnp.zeros(2), 3)
    dtype('float32')
    """
    arrays: list[ArrayLike] = [
        value if is_scalar(value) or isinstance(value, TracedValue) else np.zeros((), _dtype_of(value).numpy)
        for value in values
    ]
    return common_dtype("result_type", arrays).numpy


def _dtype_of(value: DTypeLike | ArrayLike) -> DType:
    if isinstance(value, (TracedValue, np.ndarray, np.generic)):
        return dtype_of(as_array(value))
    return dtypes.dtype(value)  # type: ignore[arg-type]


class NamespaceInfo:
    """What the standard lets a library ask about a namespace."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """Shapes are static, so no mask selects and no shape depends on data, while tracing.

        >>> import graphc.numpy as gnp
        >>> gnp.__array_namespace_info__().capabilities()["data-dependent shapes"]
        False
        """
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None}

    def default_device(self) -> str:
        """Where arrays are: in the host's memory. Where a program runs is an option of `jit` and `compile`."""
        return "cpu"

    def devices(self) -> list[str]:
        """What `device=` may be."""
        return ["cpu"]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, DType]:
        """The dtypes that Python numbers and arrays without a dtype get."""
        check_device("default_dtypes", device)
        floats = {"real floating": DEFAULT_FLOAT, "complex floating": dtypes.complex64}
        return {**floats, "integral": DEFAULT_INT, "indexing": DEFAULT_INT}

    def dtypes(self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None) -> dict[str, DType]:
        """The dtypes of the standard, by name: all, or those of some kinds."""
        check_device("dtypes", device)
        standard = [d for d in dtypes.EVERY if d.name not in _OTHERS]
        return {d.name: d for d in standard if kind is None or isdtype(d, kind)}


def check_device(name: str, device: str | None) -> None:
    """Raise `ArgumentError` for what no array is on."""
    if device not in (None, "cpu"):
        raise ArgumentError(
            with_line(
                f"{name}: device={device!r}; arrays are made on 'cpu', jit(..., backend=...) says what runs where"
            )
        )
