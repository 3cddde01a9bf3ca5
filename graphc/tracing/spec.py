"""Shapes and dtypes of arguments: what a function is traced with in place of arrays."""

from collections.abc import Iterable, Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, GraphcError, TraceError
from graphc.core.pytree import Leaf, Tree, flatten, leaf_names, unflatten
from graphc.core.records import dataclass
from graphc.graph.ir import TensorType
from graphc.tracing.context import TracedValue, with_line

DEFAULT_FLOAT = dtypes.float32
DEFAULT_INT = dtypes.int64


def is_int(value: object) -> TypeGuard[int]:
    """A Python or NumPy integer, known while tracing."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def static_advice(value: object) -> str:
    """What to do when a traced value stands where a Python number is needed."""
    return "; name the argument in gc.jit(f, static=...)" if isinstance(value, TracedValue) else ""


def static_size(name: str, what: str, value: object, least: int | None = None) -> int:
    """A number that decides about shapes, at least `least`; raises `ArgumentError` for what is none, or is not known
    while tracing.
    """
    if is_int(value) and (least is None or value >= least):
        return int(value)
    wanted = "an int" if least is None else f"an int of at least {least}"
    raise ArgumentError(with_line(f"{name}: {what} is {wanted}, got {value!r:.60}{static_advice(value)}"))


@dataclass(frozen=True, slots=True)
class Spec:
    """Shape and dtype of one array argument."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def type(self) -> TensorType:
        return TensorType(self.shape, self.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __str__(self) -> str:
        return str(self.type)


def spec(shape: Sequence[int] | int = (), dtype: "DType | str | npt.DTypeLike" = "float32") -> Spec:
    """The spec of an array of this shape and dtype.

    >>> print(spec((64, 784), "float32"))
    f32[64,784]
    """
    extents = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    for extent in extents:
        if not is_int(extent) or extent < 0:
            raise ArgumentError(with_line(f"spec: a shape is non-negative integers, got {shape!r}"))
    return Spec(tuple(int(extent) for extent in extents), dtypes.dtype(dtype))


def python_dtype(value: bool | int | float | complex) -> DType:
    """The dtype of a Python number that stands alone: bool, int64, float32 or complex64."""
    if isinstance(value, bool):
        return dtypes.bool_
    if isinstance(value, complex):
        return dtypes.complex64
    return DEFAULT_INT if isinstance(value, int) else DEFAULT_FLOAT


def leaf_spec(leaf: Leaf) -> Spec | None:
    """The spec of one leaf: a spec, an array, a traced value or a Python number; None for anything else.

    Raises `DTypeError` or `UnsupportedError` for an array that cannot be taken.
    """
    if isinstance(leaf, Spec):
        return leaf
    if isinstance(leaf, (TensorType, TracedValue)):
        return Spec(leaf.shape, leaf.dtype)
    if isinstance(leaf, (np.ndarray, np.generic)):
        check_has_no_mask(leaf)
        return Spec(leaf.shape, dtypes.dtype(leaf.dtype))
    if isinstance(leaf, (bool, int, float, complex)):
        return Spec((), python_dtype(leaf))
    if hasattr(leaf, "__array__") or hasattr(leaf, "__dlpack__"):
        array = foreign_array(leaf)
        return Spec(array.shape, dtypes.dtype(array.dtype))
    return None


def foreign_array(leaf: object) -> np.ndarray:
    """What is no NumPy array, such as an array of another library, as one. Raises `DTypeError`."""
    try:
        if hasattr(leaf, "__dlpack__") and not hasattr(leaf, "__array__"):
            return np.from_dlpack(leaf)
        return np.asarray(leaf)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise DTypeError(f"{type(leaf).__name__} cannot be read as an array: {error}") from error


def check_has_no_mask(array: np.ndarray | np.generic) -> None:
    """Raise `DTypeError` for a masked array, whose mask would be lost."""
    if type(array) is not np.ndarray and hasattr(array, "mask"):
        raise DTypeError("masked arrays cannot be taken; fill them with .filled(...), and pass the mask as an array")


def spec_of(tree: Tree, what: str = "argument", names: Sequence[str] | None = None) -> Tree:
    """The same pytree with a `Spec` for each leaf (array, traced value, Python number or spec); names are for messages.

    Raises `TraceError` naming the leaf that is none of these.

    >>> print(spec_of({"w": np.zeros((2, 3), np.float32)})["w"])
    f32[2,3]
    """
    leaves, treedef = flatten(tree)
    specs: list[Leaf] = []
    for leaf, name in zip(leaves, leaf_names(treedef) if names is None else names, strict=True):
        place = f"{what} {name}" if name else what
        try:
            found = leaf_spec(leaf)
        except GraphcError as error:
            raise type(error)(with_line(f"{place}: {error}")) from error
        if found is None:
            raise TraceError(
                with_line(
                    f"{place} is a {type(leaf).__name__}, not an array, number, spec or pytree of these; "
                    "close over it instead (functools.partial or a lambda)"
                )
            )
        specs.append(found)
    return unflatten(treedef, specs)
