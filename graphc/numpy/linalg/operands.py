"""What functions of linear algebra are given: matrices in the last two dims, and right sides that fit them."""

from collections.abc import Sequence

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.tracing.array import movement
from graphc.tracing.bind import as_array, broadcast_shape, dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line
from graphc.tracing.spec import DEFAULT_FLOAT


def inexact(x: ArrayLike) -> Array:
    """Floats and complex numbers as they are; integers as floats."""
    array = as_array(x)
    return array if dtype_of(array).is_inexact else to_dtype(array, DEFAULT_FLOAT)


REAL = (dtypes.float32, dtypes.float64)
FULL = (*REAL, *dtypes.COMPLEX)
ALL = (*dtypes.HALVES, *FULL)


def matrix(name: str, x: ArrayLike, square: bool = False, accepted: Sequence[DType] = FULL) -> Array:
    """x, which must hold matrices of accepted dtypes, in an error that begins with `name`."""
    array = inexact(x)
    if dtype_of(array) not in accepted:
        listed = ", ".join(each.name for each in accepted)
        raise DTypeError(with_line(f"{name}: {dtype_of(array)} is not accepted, only {listed}; cast it"))
    if len(array.shape) < 2 or (square and array.shape[-1] != array.shape[-2]):
        what = "square matrices" if square else "matrices"
        raise ShapeError(with_line(f"{name}: needs {what} in the last two dims, got shape {list(array.shape)}"))
    return array


def system(name: str, a: ArrayLike, b: ArrayLike, accepted: Sequence[DType] = FULL) -> tuple[Array, Array, bool]:
    """The matrices, the right sides in columns with the same dims before, and whether b is a vector."""
    lhs, rhs = promoted(name, (matrix(name, a, True, accepted), inexact(b)))
    is_vector = len(rhs.shape) == 1
    rhs = movement.reshape(rhs, (*rhs.shape, 1)) if is_vector else rhs
    if len(rhs.shape) < 2 or rhs.shape[-2] != lhs.shape[-1]:
        raise ShapeError(with_line(f"{name}: right sides {list(rhs.shape)} do not fit matrices {list(lhs.shape)}"))
    batch = broadcast_shape(name, (lhs.shape[:-2], rhs.shape[:-2]))
    lhs = movement.broadcast_to(lhs, (*batch, *lhs.shape[-2:]))
    return lhs, movement.broadcast_to(rhs, (*batch, *rhs.shape[-2:])), is_vector


def as_vector(x: Array, is_vector: bool) -> Array:
    """One column as a vector, if the right side was one."""
    return movement.reshape(x, x.shape[:-1]) if is_vector else x
