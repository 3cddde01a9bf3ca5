"""`Tracer`: what a traced function computes with. Looks like a NumPy array; every operation adds a node to the graph.

Operators, methods and NumPy's protocols work; what needs the number itself (`if x`, `float(x)`, `x[0] = 1`, ...) is a
`TraceError` that names the user's line and what to write instead.
"""

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import NoReturn, cast

import numpy as np
import numpy.typing as npt

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import TraceError
from graphc.graph.ir import Op
from graphc.graph.ops import elementwise as ops
from graphc.tracing import protocols
from graphc.tracing.array import contraction, elementwise, indexing, movement, reduction, updating
from graphc.tracing.bind import bind1, broadcast_to, to_dtype
from graphc.tracing.context import ArrayLike, TracedValue, with_line

Axis = int | Sequence[int] | None
DTypeLike = DType | str | npt.DTypeLike

_OPERANDS = (TracedValue, np.ndarray, np.generic, bool, int, float, complex)


def _traced(x: object) -> "Tracer":
    """Results of functions with a traced operand are traced."""
    return cast("Tracer", x)


def _optional_dtype(dtype: DTypeLike | None) -> DType | None:
    return None if dtype is None else dtypes.dtype(dtype)


def _binary(op: Op) -> "Callable[[Tracer, ArrayLike], Tracer]":
    def method(self: "Tracer", other: ArrayLike) -> "Tracer":
        if not isinstance(other, _OPERANDS):
            return cast("Tracer", NotImplemented)
        return _traced(bind1(op, self, other))

    return method


def _reflected(op: Op) -> "Callable[[Tracer, ArrayLike], Tracer]":
    def method(self: "Tracer", other: ArrayLike) -> "Tracer":
        if not isinstance(other, _OPERANDS):
            return cast("Tracer", NotImplemented)
        return _traced(bind1(op, other, self))

    return method


def _composed(
    function: Callable[[ArrayLike, ArrayLike], object], swapped: bool = False
) -> "Callable[[Tracer, ArrayLike], Tracer]":
    def method(self: "Tracer", other: ArrayLike) -> "Tracer":
        if not isinstance(other, _OPERANDS):
            return cast("Tracer", NotImplemented)
        return _traced(function(other, self) if swapped else function(self, other))

    return method


class Tracer(TracedValue):
    """A value of the program being traced: it has a shape and a dtype, and no number yet."""

    __slots__ = ()

    # what is known while tracing

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self._value.type.size

    @property
    def nbytes(self) -> int:
        return self._value.type.nbytes

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def T(self) -> "Tracer":
        return _traced(movement.transpose(self))

    @property
    def mT(self) -> "Tracer":
        return _traced(contraction.matrix_transpose(self))

    @property
    def real(self) -> "Tracer":
        return _traced(bind1(ops.real, self)) if self.dtype.is_complex else self

    @property
    def imag(self) -> "Tracer":
        if self.dtype.is_complex:
            return _traced(bind1(ops.imag, self))
        return _traced(broadcast_to(np.zeros((), self.dtype.numpy), self.shape))

    def conj(self) -> "Tracer":
        if not self.dtype.is_complex:
            return self
        return _traced(bind1(ops.complex_, self.real, bind1(ops.neg, self.imag)))

    def __len__(self) -> int:
        if not self.shape:
            raise TraceError(with_line("len() of a traced scalar"))
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<traced {self._value.type} from {self._loc}>"

    # operators

    __add__ = _binary(ops.add)
    __radd__ = _reflected(ops.add)
    __sub__ = _binary(ops.sub)
    __rsub__ = _reflected(ops.sub)
    __mul__ = _binary(ops.mul)
    __rmul__ = _reflected(ops.mul)
    __truediv__ = _composed(elementwise.divide)
    __rtruediv__ = _composed(elementwise.divide, swapped=True)
    __floordiv__ = _composed(elementwise.floor_divide)
    __rfloordiv__ = _composed(elementwise.floor_divide, swapped=True)
    __mod__ = _composed(elementwise.remainder)
    __rmod__ = _composed(elementwise.remainder, swapped=True)
    __pow__ = _composed(elementwise.power)
    __rpow__ = _composed(elementwise.power, swapped=True)
    __matmul__ = _composed(contraction.matmul)
    __rmatmul__ = _composed(contraction.matmul, swapped=True)
    __and__ = _binary(ops.and_)
    __rand__ = _reflected(ops.and_)
    __or__ = _binary(ops.or_)
    __ror__ = _reflected(ops.or_)
    __xor__ = _binary(ops.xor)
    __rxor__ = _reflected(ops.xor)
    __lshift__ = _binary(ops.shift_left)
    __rlshift__ = _reflected(ops.shift_left)
    __rshift__ = _binary(ops.shift_right)
    __rrshift__ = _reflected(ops.shift_right)
    __lt__ = _binary(ops.lt)
    __le__ = _binary(ops.le)
    __gt__ = _binary(ops.gt)
    __ge__ = _binary(ops.ge)
    __eq__ = _binary(ops.eq)  # type: ignore[assignment]
    __ne__ = _binary(ops.ne)  # type: ignore[assignment]

    def __neg__(self) -> "Tracer":
        return _traced(elementwise.negative(self))

    def __pos__(self) -> "Tracer":
        return self

    def __abs__(self) -> "Tracer":
        return _traced(elementwise.absolute(self))

    def __round__(self, ndigits: int = 0) -> "Tracer":
        return self.round(ndigits)

    def __divmod__(self, other: ArrayLike) -> "tuple[Tracer, Tracer]":
        return self // other, self % other

    def __copy__(self) -> "Tracer":
        return self

    def __deepcopy__(self, memo: object) -> "Tracer":
        return self

    def __invert__(self) -> "Tracer":
        return _traced(bind1(ops.not_, self))

    def __getitem__(self, index: object) -> "Tracer":
        return _traced(indexing.getitem(self, index))

    def __iter__(self) -> Iterator["Tracer"]:
        if not self.shape:
            raise TraceError(with_line("iteration over a traced scalar"))
        return iter([self[i] for i in range(self.shape[0])])

    @property
    def at(self) -> "At":
        """`x.at[index].set(v)`, `.add(v)`, ...: a copy of `x` with some elements changed."""
        return At(self)

    # methods

    def astype(self, dtype: DTypeLike) -> "Tracer":
        return _traced(to_dtype(self, dtypes.dtype(dtype)))

    def view(self, dtype: DTypeLike, *shape: object) -> "Tracer":
        """The same bits read as another dtype of the same width."""
        if shape or isinstance(dtype, (int, tuple)):
            raise TraceError(with_line("view takes a dtype; x.reshape(...) gives an array another shape"))
        return _traced(elementwise.bitcast(self, dtypes.dtype(dtype)))

    def copy(self) -> "Tracer":
        return self

    def reshape(self, *shape: int | Sequence[int]) -> "Tracer":
        return _traced(movement.reshape(self, _spread(shape)))

    def ravel(self) -> "Tracer":
        return _traced(movement.reshape(self, -1))

    def flatten(self) -> "Tracer":
        return _traced(movement.reshape(self, -1))

    def transpose(self, *axes: int | Sequence[int]) -> "Tracer":
        return _traced(movement.transpose(self, _spread(axes) if axes else None))

    def swapaxes(self, axis1: int, axis2: int) -> "Tracer":
        return _traced(movement.swapaxes(self, axis1, axis2))

    def squeeze(self, axis: Axis = None) -> "Tracer":
        return _traced(movement.squeeze(self, axis))

    def sum(self, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.sum(self, axis, _optional_dtype(dtype), keepdims))

    def prod(self, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.prod(self, axis, _optional_dtype(dtype), keepdims))

    def mean(self, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.mean(self, axis, _optional_dtype(dtype), keepdims))

    def var(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, correction: float = 0) -> "Tracer":
        return _traced(reduction.var(self, axis, correction or ddof, keepdims))

    def std(self, axis: Axis = None, ddof: float = 0, keepdims: bool = False, correction: float = 0) -> "Tracer":
        return _traced(reduction.std(self, axis, correction or ddof, keepdims))

    def max(self, axis: Axis = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.max(self, axis, keepdims))

    def min(self, axis: Axis = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.min(self, axis, keepdims))

    def any(self, axis: Axis = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.any(self, axis, keepdims))

    def all(self, axis: Axis = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.all(self, axis, keepdims))

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.argmax(self, axis, keepdims))

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> "Tracer":
        return _traced(reduction.argmin(self, axis, keepdims))

    def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> "Tracer":
        return _traced(elementwise.clip(self, min, max))

    def round(self, decimals: int = 0) -> "Tracer":
        return _traced(elementwise.round_to(self, decimals))

    def dot(self, other: ArrayLike) -> "Tracer":
        return _traced(contraction.dot(self, other))

    def take(self, indices: ArrayLike, axis: int | None = None) -> "Tracer":
        return _traced(indexing.take(self, indices, axis))

    def repeat(self, repeats: int, axis: int | None = None) -> "Tracer":
        flat = movement.reshape(self, -1) if axis is None else self
        return _traced(movement.repeat(flat, repeats, movement.normal_axis("repeat", axis or 0, len(flat.shape))))

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: object, **kwargs: object) -> object:
        return protocols.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        return protocols.array_function(func, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return protocols.library()

    # what needs the number itself

    def __bool__(self) -> NoReturn:
        raise self._no_number(
            "decides an if, while, and, or, not or assert",
            "gnp.where(condition, a, b) chooses between two values, & | ~ combine conditions; "
            "a Python flag is a static argument, gc.jit(f, static='flag')",
        )

    def __int__(self) -> NoReturn:
        raise self._no_number("is converted with int()", "x.astype('int32') stays in the graph")

    def __float__(self) -> NoReturn:
        raise self._no_number(
            "is converted with float()",
            "Leave it an array, or return it and convert the result; gnp.stack replaces writing into a NumPy array",
        )

    def __complex__(self) -> NoReturn:
        raise self._no_number("is converted with complex()", "x.astype('complex64') stays in the graph")

    def __index__(self) -> NoReturn:
        raise self._no_number(
            "is used as a Python index, range or shape",
            "Shapes and loop counts are static (x.shape is ints); gnp.take(a, i) indexes a NumPy array or list",
        )

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise self._no_number(
            "is converted to a NumPy array",
            "Use gnp functions, or return it and convert the result; gnp.take(a, i) indexes a NumPy array, "
            "x.at[i].set(v) or gnp.stack replaces writing into one",
        )

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise TraceError(
            with_line(
                f"a traced value {self._value.type} cannot be changed in place; write x = x.at[index].set(value), "
                "or x = x.at[index].add(value) for +="
            )
        )

    def __contains__(self, item: object) -> NoReturn:
        raise self._no_number("is searched with `in`", "gnp.any(x == item) stays in the graph")

    def __hash__(self) -> NoReturn:
        raise self._no_number("is hashed (a dict key, a set, functools.cache)", "Use a name or position as the key")

    def __format__(self, format_spec: str) -> str:
        if not format_spec:
            return repr(self)
        raise self._no_number(f"is formatted as {format_spec!r}", "Return it and print the result")

    def item(self) -> NoReturn:
        raise self._no_number("is read with .item()", "Return it and print the result")

    def tolist(self) -> NoReturn:
        raise self._no_number("is read with .tolist()", "Return it and convert the result")

    def numpy(self) -> NoReturn:
        raise self._no_number("is read with .numpy()", "Return it; results are NumPy arrays")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise self._no_number("is pickled", "Return it and store the result")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # somebody asks for a protocol
            raise AttributeError(name)
        raise AttributeError(
            with_line(f"a traced value {self._value.type} has no {name!r}{protocols.instead_of(name)}")
        )

    def _no_number(self, what: str, instead: str) -> TraceError:
        made = f"made at {self._loc}"
        return TraceError(
            with_line(f"a traced value {self._value.type} ({made}) {what}: it has no number yet. {instead}")
        )


class At:
    """`x.at`: index it, then say what to do there."""

    __slots__ = ("_x",)

    def __init__(self, x: Tracer) -> None:
        self._x = x

    def __getitem__(self, index: object) -> "AtIndex":
        return AtIndex(self._x, index)


class AtIndex:
    """`x.at[index]`: a copy of `x` with the elements there changed."""

    __slots__ = ("_index", "_x")

    def __init__(self, x: Tracer, index: object) -> None:
        self._x = x
        self._index = index

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(with_line(f"x.at[...] has no {name!r}; there are get, set, add, multiply, min and max"))

    def _change(self, values: ArrayLike, change: updating.Change) -> Tracer:
        return _traced(updating.update(self._x, self._index, values, change))

    def get(self) -> Tracer:
        return self._x[self._index]

    def set(self, values: ArrayLike) -> Tracer:
        return self._change(values, updating.SET)

    def add(self, values: ArrayLike) -> Tracer:
        return self._change(values, updating.ADD)

    def multiply(self, values: ArrayLike) -> Tracer:
        return self._change(values, updating.MULTIPLY)

    mul = multiply

    def min(self, values: ArrayLike) -> Tracer:
        return self._change(values, updating.MIN)

    def max(self, values: ArrayLike) -> Tracer:
        return self._change(values, updating.MAX)


def _spread(numbers: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    first = numbers[0] if len(numbers) == 1 else numbers
    return movement.as_shape("shape", first)  # type: ignore[arg-type]
