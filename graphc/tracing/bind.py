"""`bind`: apply a primitive to arrays, traced or not.

With a traced value among the operands a node is added to the innermost active trace; otherwise the op's NumPy meaning
is evaluated at once. Elementwise operands are promoted to one dtype (array API rules, Python numbers are weakly typed)
and broadcast to one shape first, so the node that is added always has operands of exactly equal type.
"""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, TraceError
from graphc.core.source import here
from graphc.graph.builder import infer
from graphc.graph.ir import NO_ATTRS, Attrs, Op, TensorType
from graphc.graph.ops.elementwise import DTypeAttrs, cast, select
from graphc.graph.ops.movement import BroadcastAttrs, broadcast
from graphc.tracing.context import (
    Array,
    ArrayLike,
    Scalar,
    TracedValue,
    bind_nodes,
    current,
    is_tracing,
    with_line,
)
from graphc.tracing.spec import DEFAULT_FLOAT, DEFAULT_INT, check_has_no_mask, foreign_array, python_dtype


def bind(op: Op, *args: ArrayLike, attrs: Attrs = NO_ATTRS) -> tuple[Array, ...]:
    """Results of `op`: traced values if an operand is traced, NumPy arrays otherwise."""
    if op.kind == "elementwise" and len(args) > 1:
        operands = _matched(op, args)
    else:
        operands = [as_array(arg) for arg in args]
    if any(isinstance(operand, TracedValue) for operand in operands):
        return bind_nodes(op, operands, attrs)
    arrays = [np.asarray(operand) for operand in operands]
    infer(op, [TensorType(a.shape, dtypes.dtype(a.dtype)) for a in arrays], attrs, here())
    return op.meaning(attrs, *arrays)


def bind1(op: Op, *args: ArrayLike, attrs: Attrs = NO_ATTRS) -> Array:
    """`bind` for an op with one result."""
    (result,) = bind(op, *args, attrs=attrs)
    return result


def staged(array: np.ndarray) -> Array:
    """A constant as a traced value while tracing, so that what follows is computed by the program and not stored in it;
    the array itself otherwise."""
    return current().constant(array) if is_tracing() else array


def as_array(value: object, dtype: DType | None = None) -> Array:
    """A traced value as it is; anything else as a NumPy array. Raises `TraceError` for what is no array.

    Python numbers (and lists of them) without a dtype become bool, int64, float32 or complex64; arrays keep theirs.
    """
    if isinstance(value, TracedValue):
        traced: Array = value  # type: ignore[assignment]  # every traced value is a Tracer, which cannot be imported here
        return traced if dtype is None or traced.dtype == dtype else to_dtype(traced, dtype)
    if isinstance(value, (np.ndarray, np.generic)):
        check_has_no_mask(value)
        array = np.asarray(value)
        dtypes.dtype(array.dtype)
        return array if dtype is None else to_dtype(array, dtype)
    if isinstance(value, (bool, int, float, complex)):
        return scalar_array(value, dtype or python_dtype(value))
    return _from_sequence(value, dtype)


def scalar_array(value: Scalar, dtype: DType) -> np.ndarray:
    """A 0-d array of a Python number; raises `ArgumentError` if the dtype cannot hold it."""
    try:
        return np.array(value, dtype.numpy)
    except (OverflowError, TypeError, ValueError):  # too large; complex, which is no float; NaN, which is no integer
        raise ArgumentError(with_line(f"the Python number {value!r} does not fit {dtype}")) from None


def _from_sequence(value: object, dtype: DType | None) -> Array:
    if any(isinstance(item, TracedValue) for item in _items(value)):
        raise TraceError(with_line("a list holds traced values; join them with gnp.stack or gnp.concatenate"))
    try:
        array = foreign_array(value)
    except DTypeError as error:
        raise TraceError(with_line(str(error))) from error
    if array.dtype.kind not in "biufc" and not dtypes.holds_floats(array):
        raise TraceError(with_line(f"a {type(value).__name__} is not an array: {value!r:.80}"))
    if dtype is not None:
        return to_dtype(array, dtype)
    plain = not any(isinstance(item, (np.ndarray, np.generic)) for item in _items(value))
    if not plain:
        return array
    kinds = {"b": dtypes.bool_, "i": DEFAULT_INT, "u": DEFAULT_INT, "f": DEFAULT_FLOAT, "c": dtypes.complex64}
    wanted = kinds[array.dtype.kind]
    return array.astype(wanted.numpy)


def _items(value: object) -> list[object]:
    """The leaves of nested lists and tuples."""
    found: list[object] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting += item
        else:
            found.append(item)
    return found


def to_dtype(x: ArrayLike, dtype: DType) -> Array:
    """`x` converted to a dtype; itself if it has that dtype."""
    array = as_array(x)
    if dtype_of(array) == dtype:
        return array
    return bind1(cast, array, attrs=DTypeAttrs(dtype))


def same_kind(name: str, value: ArrayLike, dtype: DType) -> Array:
    """`value` as an array of a dtype of its kind, or of a wider kind: bool, integers, floats, complex numbers.

    Raises `DTypeError` for other ones (floats for integers, say), also where this value would lose nothing: what a
    program is does not depend on the numbers. A Python 0 or 1 is a bool too.
    """
    if dtype.is_bool and type(value) is int and value in (0, 1):
        return scalar_array(value, dtype)
    given = as_array(value, python_dtype(value)) if is_scalar(value) else as_array(value)
    kind = dtype_of(given)
    if _kind_rank(kind) > _kind_rank(dtype):
        what = f"the Python {type(value).__name__} {value!r}" if is_scalar(value) else f"an array of {kind}"
        advice = f"cast first, the array with .astype('{kind}') or the value to {dtype}"
        raise DTypeError(with_line(f"{name}: {what} does not become {dtype}, which would change it silently; {advice}"))
    return as_array(value, dtype)


def _kind_rank(dtype: DType) -> int:
    return 3 if dtype.is_complex else 2 if dtype.is_float else 1 if dtype.is_integer else 0


def dtype_of(x: Array) -> DType:
    return x.dtype if isinstance(x, TracedValue) else dtypes.dtype(x.dtype)


def is_scalar(value: object) -> TypeGuard[Scalar]:
    """A Python number: weakly typed, takes the dtype of what it meets."""
    return isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)


def common_dtype(name: str, args: Sequence[ArrayLike]) -> DType:
    """The dtype several operands are promoted to; Python numbers yield to arrays."""
    arrays = [dtype_of(as_array(arg)) for arg in args if not is_scalar(arg)]
    scalars = [arg for arg in args if is_scalar(arg)]
    try:
        if not arrays:
            kinds = [python_dtype(scalar) for scalar in scalars]
            return max(kinds, key=lambda d: (d.is_complex, d.is_float, d.is_integer))
        result = arrays[0]
        for other in arrays[1:]:
            result = dtypes.promote(result, other)
        for scalar in scalars:
            result = dtypes.of_python_scalar(scalar, result)
        return result
    except DTypeError as error:
        raise DTypeError(with_line(f"{name}: {error}")) from None


def promoted(name: str, args: Sequence[ArrayLike]) -> list[Array]:
    """The operands as arrays of their common dtype."""
    dtype = common_dtype(name, args)
    return [as_array(arg, dtype) for arg in args]


def broadcast_shape(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The shape several shapes broadcast to; raises `ShapeError` with the user's line."""
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[int] = []
    for column in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes)):
        extents = {extent for extent in column if extent != 1}
        if len(extents) > 1:
            listed = " and ".join(str(list(shape)) for shape in shapes)
            raise ShapeError(with_line(f"{name}: shapes {listed} do not broadcast together"))
        result.append(extents.pop() if extents else 1)
    return tuple(result)


def broadcast_to(x: ArrayLike, shape: tuple[int, ...]) -> Array:
    """`x` with leading dims added and dims of extent 1 repeated."""
    array = as_array(x)
    if array.shape == shape:
        return array
    offset = len(shape) - len(array.shape)
    if offset < 0 or broadcast_shape("broadcast_to", (array.shape, shape)) != shape:
        raise ShapeError(with_line(f"broadcast_to: shape {list(array.shape)} does not broadcast to {list(shape)}"))
    dims = tuple(range(offset, len(shape)))
    return bind1(broadcast, array, attrs=BroadcastAttrs(shape, dims))


def _matched(op: Op, args: Sequence[ArrayLike]) -> list[Array]:
    if op is select:
        arrays = [as_array(args[0]), *promoted(op.name, args[1:])]
    else:
        arrays = promoted(op.name, args)
    shape = broadcast_shape(op.name, [array.shape for array in arrays])
    if any(isinstance(array, TracedValue) for array in arrays):
        # a small constant stays small: the program broadcasts it
        arrays = [array if array.shape == shape else in_trace(array) for array in arrays]
    return [broadcast_to(array, shape) for array in arrays]


def in_trace(x: Array) -> Array:
    """`x` as a traced value of the innermost trace; call only beside a traced value."""
    if isinstance(x, TracedValue) or not is_tracing():
        return x
    return current().constant(x)
