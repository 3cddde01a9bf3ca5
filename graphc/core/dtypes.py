"""Element types of tensors: name, NumPy type, short text form, and array-API promotion.

A `DType` is a singleton; compare with `is` or `==`. It equals the NumPy dtype and the name of the same elements, and
NumPy takes it where it takes a dtype. The table below is the whole set. NumPy's bfloat16 is the one of `ml_dtypes`,
which is imported when such an array is first needed.
"""

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from graphc.core.errors import DTypeError
from graphc.core.records import dataclass

Kind = Literal["bool", "int", "uint", "float", "complex"]


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type: NumPy name (`float32`), short text form (`f32`), kind and width in bits."""

    name: str
    short: str
    kind: Kind
    bits: int

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype with the same elements."""
        return _numpy(self.name)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return max(self.bits // 8, 1)

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The same as `numpy`; NumPy reads it from objects that stand for a dtype."""
        return self.numpy

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, DType) or other is None:
            return False
        try:
            found = np.dtype(other)  # type: ignore[call-overload]
        except (TypeError, ValueError, SyntaxError):  # NumPy reads strings and tuples as descriptions of records
            return isinstance(other, str) and other == self.name  # "bfloat16" before ml_dtypes is imported
        if self.name == "bfloat16" and found.kind != "V":
            return False  # without importing ml_dtypes
        return bool(found == self.numpy)

    def __hash__(self) -> int:
        return _hash(self.name)

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_complex(self) -> bool:
        return self.kind == "complex"

    @property
    def is_inexact(self) -> bool:
        """A float or complex type: what has derivatives."""
        return self.kind in ("float", "complex")

    @property
    def part(self) -> "DType":
        """The dtype of the real and the imaginary part: float32 or float64 of a complex type; of others themselves."""
        return _PARTS.get(self.name, self)

    @property
    def is_half(self) -> bool:
        """A float of 16 bits, which nothing is computed in."""
        return self.kind == "float" and self.bits == 16

    @property
    def computes_in(self) -> "DType":
        """The dtype that ops on these elements compute in: float32 for half types, which are rounded to afterwards."""
        return float32 if self.is_half else self

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    def __str__(self) -> str:
        return self.name


@cache
def _hash(name: str) -> int:
    """Equal things have equal hashes: that of NumPy's dtype. Types are hashed more than anything else."""
    return hash(_numpy(name))


@cache
def _numpy(name: str) -> np.dtype[np.generic]:
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes  # here, because few programs need it and all wait for it

    found: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
    return found


bool_ = DType("bool", "bool", "bool", 8)
int8 = DType("int8", "i8", "int", 8)
int16 = DType("int16", "i16", "int", 16)
int32 = DType("int32", "i32", "int", 32)
int64 = DType("int64", "i64", "int", 64)
uint8 = DType("uint8", "u8", "uint", 8)
uint16 = DType("uint16", "u16", "uint", 16)
uint32 = DType("uint32", "u32", "uint", 32)
uint64 = DType("uint64", "u64", "uint", 64)
bfloat16 = DType("bfloat16", "bf16", "float", 16)
float16 = DType("float16", "f16", "float", 16)
float32 = DType("float32", "f32", "float", 32)
float64 = DType("float64", "f64", "float", 64)
complex64 = DType("complex64", "c64", "complex", 64)
complex128 = DType("complex128", "c128", "complex", 128)

_PARTS: dict[str, DType] = {"complex64": float32, "complex128": float64}
_COMPLEX: dict[int, DType] = {16: complex64, 32: complex64, 64: complex128}  # by the bits of a part

ALL: tuple[DType, ...] = (  # what the loop IR has
    *(bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(bfloat16, float16, float32, float64),
)
HALVES: tuple[DType, ...] = (bfloat16, float16)
FLOATS: tuple[DType, ...] = (*HALVES, float32, float64)
INTEGERS: tuple[DType, ...] = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
NUMERIC: tuple[DType, ...] = INTEGERS + FLOATS
COMPLEX: tuple[DType, ...] = (complex64, complex128)  # of graphs alone: loops have the parts
EVERY: tuple[DType, ...] = ALL + COMPLEX

_BY_NAME: dict[str, DType] = {d.name: d for d in EVERY}
_BY_NUMPY: dict[np.dtype[np.generic], DType] = {d.numpy: d for d in EVERY if d is not bfloat16}  # that one by name
_BY_SHORT: dict[str, DType] = {d.short: d for d in EVERY}


def dtype(of: "DType | str | type | npt.DTypeLike") -> DType:
    """The `DType` for a name, short name, Python type or NumPy dtype.

    Raises `DTypeError` for anything graphc has no element type for.
    """
    if isinstance(of, DType):
        return of
    if isinstance(of, np.dtype) and of in _BY_NUMPY:  # every array met in a trace; NumPy makes its name anew each time
        return _BY_NUMPY[of]
    if isinstance(of, str) and (known := _BY_NAME.get(of) or _BY_SHORT.get(of)):
        return known
    try:
        name = np.dtype(of).name
    except TypeError as error:
        raise DTypeError(f"not a dtype: {of!r}; known: {', '.join(_BY_NAME)}") from error
    if name not in _BY_NAME:
        raise DTypeError(f"dtype {name} is not supported; known: {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def finfo(of: DType) -> "np.finfo[np.floating]":
    """The limits of a float dtype."""
    if of is not bfloat16:
        return np.finfo(of.numpy)  # type: ignore[arg-type]
    import ml_dtypes

    found: np.finfo[np.floating] = ml_dtypes.finfo(of.numpy)  # type: ignore[no-untyped-call]
    return found


def holds_floats(array: np.ndarray | np.generic) -> bool:
    """Whether the elements of a NumPy array are floats; NumPy's own `kind` is "V" for bfloat16."""
    kind = array.dtype.kind
    return kind == "f" or (kind == "V" and array.dtype.name == "bfloat16")


def widened(array: np.ndarray) -> np.ndarray:
    """An array of a half type in the dtype it is computed in; others as they are."""
    return array.astype(np.float32) if array.dtype.itemsize == 2 and holds_floats(array) else array


def half_bits(value: float, of: DType) -> int:
    """The bits of a number in a half type, rounded to nearest by way of float32."""
    with np.errstate(over="ignore"):
        return int(np.float32(value).astype(of.numpy).view(np.uint16))


def promote(a: DType, b: DType) -> DType:
    """The common dtype of two arrays by the array API standard's promotion table.

    Raises `DTypeError` where the standard leaves the result undefined (bool with number, integer with
    float, uint64 with a signed integer, float16 with bfloat16): graphc asks for an explicit cast instead of guessing.
    """
    if a == b:
        return a
    if (a.is_complex and b.is_inexact) or (b.is_complex and a.is_inexact):
        return _COMPLEX[max(a.part.bits, b.part.bits)]
    if a.is_float and b.is_float and a.bits != b.bits:
        return a if a.bits > b.bits else b
    if a.is_integer and b.is_integer:
        if a.kind == b.kind:
            return a if a.bits >= b.bits else b
        signed, unsigned = (a, b) if a.kind == "int" else (b, a)
        if unsigned.bits < signed.bits:
            return signed
        wider = unsigned.bits * 2
        if wider <= 64:
            return _BY_NAME[f"int{wider}"]
    raise DTypeError(f"no promotion of {a} with {b}; cast one of them with .astype(...)")


def of_python_scalar(value: bool | int | float | complex, other: DType) -> DType:
    """The dtype of an array of dtype `other` beside a Python scalar: its own, if the kind fits; of floats beside a
    complex number the complex type of their precision.
    """
    if isinstance(value, bool):
        if other.is_bool:
            return other
    elif isinstance(value, int):
        if not other.is_bool:
            return other
    elif isinstance(value, float):
        if other.is_inexact:
            return other
    elif other.is_inexact:
        return _COMPLEX[other.part.bits]
    raise DTypeError(
        f"no promotion of the Python {type(value).__name__} {value!r} with {other}; cast with .astype(...)"
    )
