"""Windows that slide along dims: `windows` moves elements, `conv_general` sums products, `reduce_window` reduces.

`conv_general` is `dot_general` with dims that slide along each other besides (spatial dims). Its derivatives are
`conv_general` again, which is why both operands may be dilated: holes between the elements of lhs are what a stride
becomes in the gradient by the input. Kernels are not flipped, as in all of deep learning, unless
asked for.

Where taps meet the padding they multiply zeros, so an infinite weight gives NaN there, as the product of a padded array
does. The holes of a dilated lhs are not multiplied with anything.

Neither has loops of its own: `graphc.passes.windows` writes both in terms of `windows`, products and reductions.
"""

from collections.abc import Iterator
from itertools import product
from math import gcd, prod

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, TensorType
from graphc.graph.ops import contraction
from graphc.graph.ops.contraction import DotAttrs, free_dims
from graphc.graph.ops.reduction import limits
from graphc.graph.registry import register

# ------------------------------------------------------------------------------------------------------- geometry


def places(extent: int, size: int, stride: int, dilation: int) -> int:
    """How many windows fit into an extent."""
    covered = (size - 1) * dilation + 1
    return (extent - covered) // stride + 1 if extent >= covered else 0


def dilated(extent: int, dilation: int) -> int:
    """The extent with `dilation - 1` holes between neighbours."""
    return max(extent - 1, 0) * dilation + min(extent, 1)


@dataclass(frozen=True, slots=True)
class Sliding:
    """One dim of `extent` elements, `base` apart, along which windows slide; padded by low and high (negative: cut)."""

    extent: int
    size: int
    stride: int = 1
    low: int = 0
    high: int = 0
    base: int = 1
    dilation: int = 1

    @property
    def places(self) -> int:
        """Windows."""
        return places(dilated(self.extent, self.base) + self.low + self.high, self.size, self.stride, self.dilation)

    @property
    def period(self) -> int:
        """Windows this far apart lie alike over the elements and the holes between them."""
        return self.base // gcd(self.stride, self.base)

    def phase(self, number: int) -> "Phase":
        """The windows number, number + period, ...: what they are without holes."""
        start = number * self.stride - self.low
        every = self.base // gcd(self.dilation, self.base)
        first = next((k for k in range(every) if (start + k * self.dilation) % self.base == 0), self.size)
        taps = len(range(first, self.size, every))
        count = -(-self.places // self.period)
        stride, dilation = self.period * self.stride // self.base, every * self.dilation // self.base
        low = -((start + first * self.dilation) // self.base) if taps else 0
        reach = (count - 1) * stride + (taps - 1) * dilation + 1
        return Phase(first, every, Sliding(self.extent, taps, stride, low, reach - self.extent - low, 1, dilation))


@dataclass(frozen=True, slots=True)
class Phase:
    """Taps first, first + every, ... of windows that slide over elements without holes."""

    first: int
    every: int
    sliding: Sliding  # as many windows as the longest phase has


def check_sliding(name: str, each: Sliding) -> None:
    """Raise unless sizes, strides and dilations make sense."""
    if each.size < 1 or each.stride < 1 or each.base < 1 or each.dilation < 1:
        raise ArgumentError(
            f"{name}: windows of {each.size}, stride {each.stride}, dilations {each.base} and {each.dilation}; "
            "all must be positive"
        )


def _check_dims(name: str, x: TensorType, dims: tuple[int, ...], *rows: tuple[int, ...]) -> None:
    if list(dims) != sorted(set(dims)) or any(not 0 <= d < x.rank for d in dims):
        raise ShapeError(f"{name}: dims {list(dims)} do not fit {x}")
    if any(len(row) != len(dims) for row in rows):
        raise ShapeError(f"{name}: {len(dims)} dims need as many sizes, strides, paddings and dilations")


# -------------------------------------------------------------------------------------------------------- windows


@dataclass(frozen=True, slots=True)
class WindowsAttrs(Attrs):
    """Windows of `size` along `dims` (increasing): they begin `stride` apart, their elements are `dilation` apart."""

    dims: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]


def _windows(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, WindowsAttrs)
    (x,) = types
    _check_dims("windows", x, attrs.dims, attrs.size, attrs.stride, attrs.dilation)
    shape = list(x.shape)
    for dim, size, stride, dilation in zip(attrs.dims, attrs.size, attrs.stride, attrs.dilation, strict=True):
        check_sliding("windows", Sliding(x.shape[dim], size, stride, 0, 0, 1, dilation))
        shape[dim] = places(x.shape[dim], size, stride, dilation)
    return (x.with_shape((*shape, *attrs.size)),)


def _windows_meaning(attrs: WindowsAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    (result,) = _windows((TensorType(x.shape, dtypes.dtype(x.dtype)),), attrs)
    if 0 in result.shape:
        return (np.zeros(result.shape, x.dtype),)
    strides = list(x.strides)
    for dim, stride in zip(attrs.dims, attrs.stride, strict=True):
        strides[dim] *= stride
    inner = [x.strides[dim] * dilation for dim, dilation in zip(attrs.dims, attrs.dilation, strict=True)]
    return (np.lib.stride_tricks.as_strided(x, result.shape, (*strides, *inner), writeable=False),)


# result[.., i, .., k] = x[.., i * stride + k * dilation, ..]: the dims of the windows come last, in order
windows = register("windows", "movement", _windows, _windows_meaning, WindowsAttrs)


def padded(x: np.ndarray, dims: tuple[int, ...], sliding: tuple[Sliding, ...], fill: object) -> np.ndarray:
    """x with the padding of dims without holes: elements added, or cut where it is negative."""
    cut = [slice(None)] * x.ndim
    widths = [(0, 0)] * x.ndim
    for dim, each in zip(dims, sliding, strict=True):
        start = min(max(-each.low, 0), each.extent)
        cut[dim] = slice(start, max(each.extent - max(-each.high, 0), start))
        widths[dim] = (max(each.low, 0), max(each.high, 0))
    return np.pad(x[tuple(cut)], widths, constant_values=np.asarray(fill, x.dtype))


def _slide(x: np.ndarray, dims: tuple[int, ...], sliding: tuple[Sliding, ...], fill: object) -> np.ndarray:
    """All windows of an array without holes."""
    attrs = WindowsAttrs(
        dims,
        tuple(each.size for each in sliding),
        tuple(each.stride for each in sliding),
        tuple(each.dilation for each in sliding),
    )
    return _windows_meaning(attrs, padded(x, dims, sliding, fill))[0]


# --------------------------------------------------------------------------------------------------- convolutions


@dataclass(frozen=True, slots=True)
class ConvAttrs(Attrs):
    """Dims of lhs and rhs that run together (batch), are summed over (contract), and slide (spatial), pairwise.

    Along a spatial dim result[i] = sum over k of lhs[i * stride + k * rhs_dilation - low] * rhs[k], where lhs has its
    elements lhs_dilation apart. low and high are added before and after; negative ones cut. The result has the batch
    dims, the free dims of lhs, those of rhs, and the spatial dims.

    flipped: rhs is reversed along its spatial dims first, but its terms are added up in the order they come in.
    """

    lhs_contract: tuple[int, ...]
    rhs_contract: tuple[int, ...]
    lhs_spatial: tuple[int, ...]
    rhs_spatial: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]
    lhs_batch: tuple[int, ...] = ()
    rhs_batch: tuple[int, ...] = ()
    dtype: DType | None = None  # of the result; None: of the operands
    flipped: bool = False

    @property
    def lhs_taken(self) -> tuple[int, ...]:
        """Dims of lhs that are not free."""
        return (*self.lhs_batch, *self.lhs_contract, *self.lhs_spatial)

    @property
    def rhs_taken(self) -> tuple[int, ...]:
        """Dims of rhs that are not free."""
        return (*self.rhs_batch, *self.rhs_contract, *self.rhs_spatial)

    def sliding(self, lhs: tuple[int, ...], rhs: tuple[int, ...]) -> tuple[Sliding, ...]:
        """Each spatial dim, for operands of these shapes."""
        rows = zip(
            *(self.lhs_spatial, self.rhs_spatial, self.stride, self.low, self.high),
            *(self.lhs_dilation, self.rhs_dilation),
            strict=True,
        )
        return tuple(Sliding(lhs[i], rhs[j], s, low, high, base, d) for i, j, s, low, high, base, d in rows)

    def terms(self, lhs: tuple[int, ...], rhs: tuple[int, ...]) -> int:
        """Terms of each sum, holes not counted."""
        taps = prod(-(-each.size // (each.base // gcd(each.dilation, each.base))) for each in self.sliding(lhs, rhs))
        return taps * prod(lhs[d] for d in self.lhs_contract)


def _conv(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ConvAttrs)
    lhs, rhs = types
    if lhs.dtype != rhs.dtype or lhs.dtype not in dtypes.NUMERIC:
        raise DTypeError(f"conv_general: needs two tensors of one numeric dtype, got {lhs} and {rhs}")
    dtype = attrs.dtype or lhs.dtype
    if dtype != lhs.dtype and (lhs.dtype, dtype) != (dtypes.bfloat16, dtypes.float32):
        raise DTypeError(f"conv_general: a product of {lhs.dtype} is not added up in {dtype}; cast the operands")
    for dims, rank in ((attrs.lhs_taken, lhs.rank), (attrs.rhs_taken, rhs.rank)):
        if len(set(dims)) != len(dims) or any(not 0 <= d < rank for d in dims):
            raise ShapeError(f"conv_general: dims {list(dims)} do not fit {lhs} and {rhs}")
    for what, left, right in (
        ("contracted", attrs.lhs_contract, attrs.rhs_contract),
        ("batch", attrs.lhs_batch, attrs.rhs_batch),
    ):
        if len(left) != len(right) or any(lhs.shape[i] != rhs.shape[j] for i, j in zip(left, right, strict=True)):
            raise ShapeError(f"conv_general: {what} sizes differ, {lhs} and {rhs} over {list(left)} and {list(right)}")
    _check_dims("conv_general", TensorType(lhs.shape, lhs.dtype), tuple(sorted(attrs.lhs_spatial)), attrs.rhs_spatial)
    rows = (attrs.stride, attrs.low, attrs.high, attrs.lhs_dilation, attrs.rhs_dilation)
    _check_dims("conv_general", lhs, tuple(sorted(attrs.lhs_spatial)), *rows)
    sliding = attrs.sliding(lhs.shape, rhs.shape)
    for each in sliding:
        check_sliding("conv_general", each)
    shape = [lhs.shape[d] for d in attrs.lhs_batch]
    shape += [lhs.shape[d] for d in free_dims(lhs.rank, attrs.lhs_taken)]
    shape += [rhs.shape[d] for d in free_dims(rhs.rank, attrs.rhs_taken)]
    return (TensorType((*shape, *(each.places for each in sliding)), dtype),)


def as_product(attrs: ConvAttrs, lhs_rank: int, rhs_rank: int) -> tuple[DotAttrs, tuple[int, ...]]:
    """The product of all windows of lhs with rhs, and the permutation of its result that a convolution has."""
    spatial = len(attrs.lhs_spatial)
    order = tuple(sorted(range(spatial), key=attrs.lhs_spatial.__getitem__))  # windows come in the order of their dims
    taps = tuple(lhs_rank + order.index(n) for n in range(spatial))
    dot = DotAttrs(
        (*attrs.lhs_contract, *taps),
        (*attrs.rhs_contract, *attrs.rhs_spatial),
        attrs.lhs_batch,
        attrs.rhs_batch,
        attrs.dtype,
    )
    batch = len(attrs.lhs_batch)
    kept = free_dims(lhs_rank, attrs.lhs_batch, attrs.lhs_contract)
    place = {dim: batch + n for n, dim in enumerate(kept)}
    others = rhs_rank - len(attrs.rhs_taken)
    permutation = (
        *range(batch),
        *(place[d] for d in free_dims(lhs_rank, attrs.lhs_taken)),
        *range(batch + len(kept), batch + len(kept) + others),
        *(place[d] for d in attrs.lhs_spatial),
    )
    return dot, permutation


def phases(sliding: tuple[Sliding, ...]) -> Iterator[tuple[tuple[int, ...], tuple[Phase, ...]]]:
    """The numbers and phases of windows over several dims, in row-major order."""
    for numbers in product(*(range(each.period) for each in sliding)):
        yield numbers, tuple(each.phase(n) for each, n in zip(sliding, numbers, strict=True))


def _conv_meaning(attrs: ConvAttrs, lhs: np.ndarray, rhs: np.ndarray) -> tuple[np.ndarray, ...]:
    types = tuple(TensorType(x.shape, dtypes.dtype(x.dtype)) for x in (lhs, rhs))
    (result,) = _conv(types, attrs)
    sliding = attrs.sliding(lhs.shape, rhs.shape)
    found = np.zeros(result.shape, result.dtype.numpy)
    if found.size == 0:
        return (found,)
    dot, permutation = as_product(attrs, lhs.ndim, rhs.ndim)
    rhs = np.flip(rhs, attrs.rhs_spatial) if attrs.flipped else rhs
    first = len(result.shape) - len(sliding)
    order = tuple(sorted(range(len(sliding)), key=attrs.lhs_spatial.__getitem__))
    for numbers, parts in phases(sliding):
        if any(part.sliding.size == 0 for part in parts):
            continue
        taps = [slice(None)] * rhs.ndim
        where = [slice(None)] * len(result.shape)
        for n, (dim, part) in enumerate(zip(attrs.rhs_spatial, parts, strict=True)):
            taps[dim] = slice(part.first, None, part.every)
            where[first + n] = slice(numbers[n], None, sliding[n].period)
        dims = tuple(attrs.lhs_spatial[n] for n in order)
        view = _slide(lhs, dims, tuple(parts[n].sliding for n in order), 0)
        (value,) = contraction.dot_general.meaning(dot, view, rhs[tuple(taps)])
        there = found[tuple(where)]
        there[...] = np.transpose(value, permutation)[tuple(slice(e) for e in there.shape)]
    return (found,)


conv_general = register("conv_general", "window", _conv, _conv_meaning, ConvAttrs)

# ------------------------------------------------------------------------------------------------------- reductions

REDUCERS = ("sum", "max", "min")


@dataclass(frozen=True, slots=True)
class ReduceWindowAttrs(Attrs):
    """Windows along `dims` (increasing), reduced. Padding and the holes of a base dilation are not part of any window:
    the sum of no elements is 0, the largest of none is the smallest value there is.
    """

    reducer: str
    dims: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    base_dilation: tuple[int, ...]
    dilation: tuple[int, ...]

    def sliding(self, x: tuple[int, ...]) -> tuple[Sliding, ...]:
        """Each dim, for an operand of that shape."""
        rows = (self.dims, self.size, self.stride, self.low, self.high, self.base_dilation, self.dilation)
        return tuple(Sliding(x[dim], *row) for dim, *row in zip(*rows, strict=True))

    def identity(self, dtype: DType) -> bool | int | float:
        """What the reduction of nothing is."""
        smallest, largest = limits(dtype)
        return {"sum": 0, "max": smallest, "min": largest}[self.reducer]


def _reduce_window(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ReduceWindowAttrs)
    (x,) = types
    if attrs.reducer not in REDUCERS:
        raise ArgumentError(f"reduce_window: {attrs.reducer!r} is none of {', '.join(REDUCERS)}")
    if x.dtype not in (dtypes.NUMERIC if attrs.reducer == "sum" else dtypes.ALL):
        raise DTypeError(f"reduce_window: {attrs.reducer} does not accept {x.dtype}")
    rows = (attrs.size, attrs.stride, attrs.low, attrs.high, attrs.base_dilation, attrs.dilation)
    _check_dims("reduce_window", x, attrs.dims, *rows)
    shape = list(x.shape)
    for dim, each in zip(attrs.dims, attrs.sliding(x.shape), strict=True):
        check_sliding("reduce_window", each)
        shape[dim] = each.places
    return (x.with_shape(tuple(shape)),)


def _reduce_window_meaning(attrs: ReduceWindowAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
    dtype = dtypes.dtype(x.dtype)
    (result,) = _reduce_window((TensorType(x.shape, dtype),), attrs)
    identity = np.asarray(attrs.identity(dtype)).astype(x.dtype)
    found = np.full(result.shape, identity, x.dtype)
    if found.size == 0:
        return (found,)
    sliding = attrs.sliding(x.shape)
    combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[attrs.reducer]
    axes = tuple(range(x.ndim, x.ndim + len(attrs.dims)))
    for numbers, parts in phases(sliding):
        if any(part.sliding.size == 0 for part in parts):
            continue
        where = [slice(None)] * x.ndim
        for n, dim in enumerate(attrs.dims):
            where[dim] = slice(numbers[n], None, sliding[n].period)
        view = _slide(x, attrs.dims, tuple(part.sliding for part in parts), identity)
        wide = view.astype(np.float64) if dtypes.holds_floats(x) else view
        with np.errstate(all="ignore"):
            value = _with_zeros(np.asarray(combine.reduce(wide, axis=axes)), wide, axes, attrs.reducer).astype(x.dtype)
        there = found[tuple(where)]
        there[...] = value[tuple(slice(e) for e in there.shape)]
    return (found,)


def _with_zeros(value: np.ndarray, x: np.ndarray, axes: tuple[int, ...], reducer: str) -> np.ndarray:
    """Extremes that are zero with their sign: -0 is less than 0, of which NumPy takes either."""
    if reducer == "sum" or x.dtype.kind != "f":
        return value
    negative = np.signbit(x)
    is_negative = np.all(negative | (x != 0), axes) if reducer == "max" else np.any(negative & (x == 0), axes)
    return np.where(value == 0, np.where(is_negative, -0.0, 0.0), value)


reduce_window = register("reduce_window", "window", _reduce_window, _reduce_window_meaning, ReduceWindowAttrs)
