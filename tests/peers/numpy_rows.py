"""What each primitive means in functions of NumPy and SciPy, or in plain Python where they have none.

These are written from the documentation of the primitives, and call other functions than `graphc.graph.ops` where there
is a choice: loops where that has strides, `einsum` where it has matrix products, integers of Python where it wraps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.special

from graphc.core import dtypes
from graphc.graph.ops.sorting import SortAttrs
from tests.peers.rows import Row, run, structural

Array = np.ndarray


def _native(fn: Callable[..., Any]) -> Row:
    """A function of NumPy on the dtype as it is; ml_dtypes brings those of bfloat16."""

    def row(_: object, *xs: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (np.asarray(fn(*xs)),)

    return row


def _special(fn: Callable[..., Any]) -> Row:
    """A function of SciPy, which knows no half types."""

    def row(_: object, x: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (np.asarray(fn(dtypes.widened(x))).astype(x.dtype),)

    return row


def _wrapped(number: int, kind: np.dtype) -> int:
    """The integer of that dtype with the same low bits."""
    info = np.iinfo(kind)
    return (number - int(info.min)) % 2**info.bits + int(info.min)


def _integers(floats: Callable[..., Any], whole: Callable[[int, int], int]) -> Row:
    """One function for floats, and one of Python's integers."""

    def row(_: object, x: Array, y: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            if x.dtype.kind not in "iu":
                return (np.asarray(floats(x, y)),)
        pairs = zip(x.reshape(-1).tolist(), y.reshape(-1).tolist(), strict=True)
        return (np.array([_wrapped(whole(a, b), x.dtype) for a, b in pairs], x.dtype).reshape(x.shape),)

    return row


def _quotient(a: int, b: int) -> int:
    return 0 if b == 0 else (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) % abs(b) * (-1 if a < 0 else 1)


def _places_moved(count: int) -> int:
    """All bits are moved out by 64 and more, and by a negative number, which is a large one without a sign."""
    return count if 0 <= count < 64 else 64


def _cast(attrs: Any, x: Array) -> tuple[Array]:
    target = attrs.dtype
    with np.errstate(all="ignore"):
        if target.is_integer and dtypes.dtype(x.dtype).is_float:
            info = np.iinfo(target.numpy)
            numbers = dtypes.widened(x).reshape(-1).tolist()
            low, high = int(info.min), int(info.max)
            whole = [
                0 if math.isnan(v) else (high if v > 0 else low) if math.isinf(v) else min(max(int(v), low), high)
                for v in numbers
            ]
            return (np.array(whole, target.numpy).reshape(x.shape),)
        if target.is_half and x.dtype.kind in "iu":  # by way of float32
            return (x.astype(np.float32).astype(target.numpy),)
        if x.dtype == np.float64 and target.is_half:
            return (x.astype(np.float32).astype(target.numpy),)
        return (x.astype(target.numpy),)


def _parts(_: object, x: Array, y: Array) -> tuple[Array]:
    return (np.stack([x, y], axis=-1).reshape(*x.shape, 2).view(np.result_type(x, np.complex64)).reshape(x.shape),)


_ELEMENTWISE: dict[str, Row] = {
    "neg": _native(np.negative),
    "abs": _native(np.absolute),
    "sign": _native(np.sign),
    "exp": _native(np.exp),
    "expm1": _native(np.expm1),
    "log": _native(np.log),
    "log1p": _native(np.log1p),
    "sqrt": _native(np.sqrt),
    "sin": _native(np.sin),
    "cos": _native(np.cos),
    "atan": _native(np.arctan),
    "asin": _native(np.arcsin),
    "acos": _native(np.arccos),
    "tanh": _native(np.tanh),
    "erf": _special(scipy.special.erf),
    "erfc": _special(scipy.special.erfc),
    "sigmoid": _special(lambda x: scipy.special.expit(x.astype(np.float64))),  # that of float32 is rough at its ends
    "floor": _native(np.floor),
    "ceil": _native(np.ceil),
    "trunc": _native(np.trunc),
    "round": _native(np.rint),
    "is_finite": _native(np.isfinite),
    "not": _native(lambda x: ~x),
    "add": _native(np.add),
    "sub": _native(np.subtract),
    "mul": _native(np.multiply),
    "div": _integers(np.true_divide, _quotient),
    "rem": _integers(np.fmod, _remainder),
    "pow": _native(np.power),
    "max": _native(np.maximum),
    "min": _native(np.minimum),
    "and": _native(lambda x, y: x & y),
    "or": _native(lambda x, y: x | y),
    "xor": _native(lambda x, y: x ^ y),
    "shift_left": _integers(None, lambda a, b: a << _places_moved(b)),
    "shift_right": _integers(None, lambda a, b: a >> _places_moved(b)),
    "eq": _native(np.equal),
    "ne": _native(np.not_equal),
    "lt": _native(np.less),
    "le": _native(np.less_equal),
    "gt": _native(np.greater),
    "ge": _native(np.greater_equal),
    "select": _native(lambda c, x, y: np.choose(c.astype(int), [y, x]) if x.dtype.kind != "V" else np.where(c, x, y)),
    "cast": _cast,
    "bitcast": lambda a, x: (np.frombuffer(x.tobytes(), a.dtype.numpy).reshape(x.shape),),
    "real": _native(np.real),
    "imag": _native(np.imag),
    "complex": _parts,
    "stop_gradient": lambda _, x: (x,),
    "saved": lambda _, x: (x,),
    "within": lambda _, x: (x,),
}

# --------------------------------------------------------------------------------------------------------- movement


def _broadcast(attrs: Any, x: Array) -> tuple[Array]:
    new = tuple(d for d in range(len(attrs.shape)) if d not in attrs.dims)
    return (np.broadcast_to(np.expand_dims(x, new), attrs.shape),)


def _slice(attrs: Any, x: Array) -> tuple[Array]:
    for dim, (start, stop, step) in enumerate(zip(attrs.start, attrs.stop, attrs.step, strict=True)):
        x = np.take(x, np.arange(start, stop, step, dtype=np.int64), dim)
    return (x,)


def spread(x: Array, dim: int, every: int, fill: Any) -> Array:
    """The elements along a dim `every` apart."""
    extent = x.shape[dim]
    shape = list(x.shape)
    shape[dim] = extent and (extent - 1) * every + 1
    result = np.full(shape, fill, x.dtype)
    for k in range(extent):
        result[_at(dim, k * every)] = x[_at(dim, k)]
    return result


def framed(x: Array, dim: int, low: int, high: int, fill: Any) -> Array:
    """Elements added on both sides of a dim; taken off where the number is negative."""
    extent = x.shape[dim]
    first, last = min(max(-low, 0), extent), max(extent - max(-high, 0), 0)
    x = np.take(x, np.arange(first, max(first, last)), dim)
    parts = []
    for count in (low, high):
        shape = list(x.shape)
        shape[dim] = max(count, 0)
        parts.append(np.full(shape, fill, x.dtype))
    return np.concatenate([parts[0], x, parts[1]], dim)


def _at(dim: int, place: Any) -> tuple[Any, ...]:
    return (slice(None),) * dim + (place,)


def _pad(attrs: Any, x: Array, value: Array) -> tuple[Array]:
    for dim in range(x.ndim):
        x = spread(x, dim, attrs.interior[dim] + 1, value)
        x = framed(x, dim, attrs.low[dim], attrs.high[dim], value)
    return (x,)


def _reverse(attrs: Any, x: Array) -> tuple[Array]:
    for axis in attrs.axes:
        x = x[_at(axis, slice(None, None, -1))]
    return (x,)


_MOVEMENT: dict[str, Row] = {
    "reshape": lambda a, x: (np.array(list(x.flat), x.dtype).reshape(a.shape),),
    "transpose": lambda a, x: (np.moveaxis(x, a.permutation, range(x.ndim)),),
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concatenate": lambda a, *xs: (np.concatenate(xs, a.axis),),
    "reverse": _reverse,
}

# ------------------------------------------------------------------------------------------- reductions and products


def _reduce(fn: Callable[..., Array], initial: Callable[[Array], Any]) -> Row:
    def row(attrs: Any, x: Array) -> tuple[Array]:
        wide = dtypes.widened(x)
        with np.errstate(all="ignore"):
            found = fn(wide, axis=attrs.axes, initial=np.array(initial(wide), wide.dtype))
        return (np.asarray(found).astype(x.dtype),)

    return row


def lowest(x: Array) -> Any:
    """The smallest value of the dtype."""
    return False if x.dtype.kind == "b" else np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf


def highest(x: Array) -> Any:
    return True if x.dtype.kind == "b" else np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.inf


def letters(attrs: Any, lhs: Array, rhs: Array) -> str:
    names = iter("abcdefghijklmnopqrstuvwxyz")
    left, right = {}, {}
    for mine, theirs in (
        *zip(attrs.lhs_batch, attrs.rhs_batch, strict=True),
        *zip(attrs.lhs_contract, attrs.rhs_contract, strict=True),
    ):
        left[mine] = right[theirs] = next(names)
    batch = "".join(left[d] for d in attrs.lhs_batch)
    free = ""
    for taken, rank in ((left, lhs.ndim), (right, rhs.ndim)):
        for d in (d for d in range(rank) if d not in taken):
            taken[d] = next(names)
            free += taken[d]
    operands = ("".join(taken[d] for d in sorted(taken)) for taken in (left, right))
    return f"{','.join(operands)}->{batch}{free}"


def _dot(attrs: Any, lhs: Array, rhs: Array) -> tuple[Array]:
    kind = attrs.dtype.numpy if attrs.dtype else lhs.dtype
    wide = lhs.dtype if lhs.dtype.kind in "iu" else np.complex128 if lhs.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        return (np.einsum(letters(attrs, lhs, rhs), lhs.astype(wide), rhs.astype(wide)).astype(kind),)


def _arg(fn: Callable[..., Array]) -> Row:
    return lambda a, x: (np.asarray(fn(dtypes.widened(x), a.axis)),)


_REDUCTIONS: dict[str, Row] = {
    "reduce_sum": _reduce(lambda x, **k: np.sum(x, dtype=x.dtype, **k), lambda x: 0),
    "reduce_prod": _reduce(lambda x, **k: np.prod(x, dtype=x.dtype, **k), lambda x: 1),
    "reduce_max": _reduce(np.amax, lowest),
    "reduce_min": _reduce(np.amin, highest),
    "argmax": _arg(np.argmax),
    "argmin": _arg(np.argmin),
    "dot_general": _dot,
}

# ---------------------------------------------------------------------------------------------------------- windows


def _taps(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*(range(n) for n in sizes))


def _places(extent: int, size: int, stride: int, dilation: int) -> int:
    return len(range(0, extent - (size - 1) * dilation, stride))


def _tap(x: Array, first: int, tap: Sequence[int], places: Sequence[int], a: Any, dilation: Sequence[int]) -> Array:
    """What one tap sees at all places, along the dims from `first` on."""
    at = []
    for k, n, stride, apart in zip(tap, places, a.stride, dilation, strict=True):
        at.append(slice(k * apart, k * apart + (n - 1) * stride + 1 if n else k * apart, stride))
    return x[(slice(None),) * first + tuple(at)]


def _windows(attrs: Any, x: Array) -> tuple[Array]:
    x = np.moveaxis(x, attrs.dims, range(x.ndim - len(attrs.dims), x.ndim))
    first = x.ndim - len(attrs.dims)
    rows = zip(x.shape[first:], attrs.size, attrs.stride, attrs.dilation, strict=True)
    places = [_places(*row) for row in rows]
    seen = [_tap(x, first, tap, places, attrs, attrs.dilation) for tap in _taps(attrs.size)]
    found = np.moveaxis(np.stack(seen, -1), range(first, x.ndim), attrs.dims)
    return (found.reshape(*found.shape[:-1], *attrs.size),)


def conv_order(a: Any, rank: int, left: bool) -> tuple[tuple[int, ...], int]:
    """Dims of an operand in the order batch, free, contracted, spatial; how many are free."""
    batch, contract, spatial = (
        (a.lhs_batch, a.lhs_contract, a.lhs_spatial) if left else (a.rhs_batch, a.rhs_contract, a.rhs_spatial)
    )
    free = tuple(d for d in range(rank) if d not in (*batch, *contract, *spatial))
    return (*batch, *free, *contract, *spatial), len(free)


def merged(shape: Sequence[int], batch: int, free: int, spatial: int) -> tuple[int, ...]:
    """One extent for the batch, the free and the contracted dims each, then the spatial ones."""
    last = len(shape) - spatial
    groups = (shape[:batch], shape[batch : batch + free], shape[batch + free : last])
    return (*(math.prod(group) for group in groups), *shape[last:])


def conv_result(a: Any, lhs: Sequence[int], rhs: Sequence[int], places: Sequence[int]) -> tuple[int, ...]:
    (left, lhs_free), (right, rhs_free) = conv_order(a, len(lhs), True), conv_order(a, len(rhs), False)
    batch = len(a.lhs_batch)
    sizes = [lhs[d] for d in left[: batch + lhs_free]] + [rhs[d] for d in right[batch : batch + rhs_free]]
    return (*sizes, *places)


def _conv(attrs: Any, lhs: Array, rhs: Array) -> tuple[Array]:
    kind = attrs.dtype.numpy if attrs.dtype else lhs.dtype
    wide = lhs.dtype if lhs.dtype.kind in "iu" else np.float64
    batch, spatial = len(attrs.lhs_batch), len(attrs.lhs_spatial)
    parts = []
    for x, is_left in ((lhs, True), (rhs, False)):
        order, free = conv_order(attrs, x.ndim, is_left)
        x = np.transpose(x, order).astype(wide)
        parts.append(x.reshape(merged(x.shape, batch, free, spatial)))
    x, weights = parts
    for n in range(spatial):
        x = spread(x, 3 + n, attrs.lhs_dilation[n], 0)
        x = framed(x, 3 + n, attrs.low[n], attrs.high[n], 0)
        if attrs.flipped:
            weights = np.flip(weights, 3 + n)
    rows = zip(x.shape[3:], weights.shape[3:], attrs.stride, attrs.rhs_dilation, strict=True)
    places = [_places(*row) for row in rows]
    result = np.zeros((*x.shape[:2], weights.shape[1], *places), wide)
    with np.errstate(all="ignore"):
        for tap in _taps(weights.shape[3:]):
            seen = _tap(x, 3, tap, places, attrs, attrs.rhs_dilation)
            result += np.einsum("bmc...,bnc->bmn...", seen, weights[(..., *tap)])
        return (result.reshape(conv_result(attrs, lhs.shape, rhs.shape, places)).astype(kind),)


def _reduce_window(attrs: Any, x: Array) -> tuple[Array]:
    combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[attrs.reducer]
    fill = {"sum": lambda _: 0, "max": lowest, "min": highest}[attrs.reducer]
    wide = np.moveaxis(dtypes.widened(x), attrs.dims, range(x.ndim - len(attrs.dims), x.ndim))
    nothing = fill(wide)
    first = x.ndim - len(attrs.dims)
    for n in range(len(attrs.dims)):
        wide = spread(wide, first + n, attrs.base_dilation[n], nothing)
        wide = framed(wide, first + n, attrs.low[n], attrs.high[n], nothing)
    places = [_places(*row) for row in zip(wide.shape[first:], attrs.size, attrs.stride, attrs.dilation, strict=True)]
    result = np.full((*wide.shape[:first], *places), nothing, wide.dtype)
    with np.errstate(all="ignore"):
        for tap in _taps(attrs.size):
            result = combine(result, _tap(wide, first, tap, places, attrs, attrs.dilation))
    return (np.moveaxis(result, range(first, x.ndim), attrs.dims).astype(x.dtype),)


_WINDOWS: dict[str, Row] = {"windows": _windows, "conv_general": _conv, "reduce_window": _reduce_window}

# --------------------------------------------------------------------------------------------------------- indexing


def _gather(attrs: Any, x: Array, indices: Array) -> tuple[Array]:
    batch, extent = attrs.batch_dims, x.shape[attrs.axis]
    wide = np.array([min(max(int(i), 0), extent - 1) for i in indices.flat], np.int64).reshape(indices.shape)
    if not batch:
        return (np.take(x, wide, attrs.axis),)
    found = [np.take(x[b], wide[b], attrs.axis - batch) for b in np.ndindex(x.shape[:batch])]
    return (np.stack(found).reshape(*x.shape[:batch], *found[0].shape),)


def _scatter(combine: Callable[[Array, Array], Array]) -> Row:
    def row(attrs: Any, x: Array, indices: Array, updates: Array) -> tuple[Array]:
        batch, dim = attrs.batch_dims, attrs.axis - attrs.batch_dims
        result = np.array(dtypes.widened(x))
        for b in np.ndindex(x.shape[:batch]):
            for p in np.ndindex(indices.shape[batch:]):
                place = int(indices[b + p])
                if 0 <= place < x.shape[attrs.axis]:
                    at = b + _at(dim, place)
                    with np.errstate(all="ignore"):
                        result[at] = combine(result[at], dtypes.widened(updates)[b + (slice(None),) * dim + p])
        return (result.astype(x.dtype),)

    return row


def _window(x: Array, dims: Sequence[int], sizes: Sequence[int], starts: Sequence[Array]) -> tuple[Any, ...]:
    at = [range(extent) for extent in x.shape]
    for dim, size, start in zip(dims, sizes, starts, strict=True):
        first = sorted((0, int(start), x.shape[dim] - size))[1]
        at[dim] = range(first, first + size)
    return np.ix_(*(np.array(r, np.int64) for r in at))


def _update(attrs: Any, x: Array, update: Array, *starts: Array) -> tuple[Array]:
    result = np.array(x)
    if x.ndim:
        result[_window(x, attrs.dims, [update.shape[d] for d in attrs.dims], starts)] = update
    return (result if x.ndim else update,)


def _csr_dot(_: object, data: Array, indices: Array, indptr: Array, dense: Array) -> tuple[Array]:
    columns = np.clip(indices.astype(np.int64), 0, len(dense) - 1) if data.size else indices.astype(np.int64)
    starts = np.clip(indptr.astype(np.int64), 0, len(data))
    rows = [
        scipy.sparse.csr_array(
            (data[a:b], columns[a:b], np.array([0, max(b - a, 0)])), shape=(1, max(len(dense), 1))
        ).toarray()
        for a, b in pairwise(starts)
    ]
    return ((np.concatenate(rows)[:, : len(dense)] @ dense).astype(dense.dtype),)


_INDEXING: dict[str, Row] = {
    "gather": _gather,
    "scatter": _scatter(lambda old, new: new),
    "scatter_add": _scatter(np.add),
    "scatter_mul": _scatter(np.multiply),
    "scatter_min": _scatter(np.minimum),
    "scatter_max": _scatter(np.maximum),
    "dynamic_slice": lambda a, x, *starts: (x[_window(x, a.dims, a.sizes, starts)],),
    "dynamic_update_slice": _update,
    "csr_dot": _csr_dot,
}

# ------------------------------------------------------------------------------------------- along an axis, in order


def _lines(axis: int, fn: Callable[..., Array], *xs: Array) -> Array:
    """`fn` on each line along an axis."""
    moved = [np.moveaxis(x, axis, -1) for x in xs]
    result = None
    for place in np.ndindex(moved[0].shape[:-1]):
        line = fn(*(x[place] for x in moved))
        result = np.zeros(moved[0].shape, line.dtype) if result is None else result
        result[place] = line
    return xs[0] if result is None else np.moveaxis(result, -1, axis)


def _cumulative(fn: Callable[..., Array]) -> Row:
    def row(attrs: Any, x: Array) -> tuple[Array]:
        wide = x.astype(np.float64) if dtypes.dtype(x.dtype).is_float else x
        wide = np.flip(wide, attrs.axis) if attrs.reverse else wide
        with np.errstate(all="ignore"):
            found = fn(wide, attrs.axis)
        return ((np.flip(found, attrs.axis) if attrs.reverse else found).astype(x.dtype),)

    return row


def _recurrence(attrs: Any, a: Array, b: Array) -> tuple[Array]:
    def solve(factors: Array, terms: Array) -> Array:
        order = range(len(terms))
        number = complex if b.dtype.kind == "c" else float
        made, last = np.zeros(len(terms), number), number(0)
        for position, i in enumerate(reversed(order) if attrs.reverse else order):
            last = number(terms[i]) + (number(factors[i]) * last if position else 0)
            made[i] = last
        return made.astype(b.dtype)

    return (_lines(attrs.axis, solve, a, b),)


def _sort(attrs: Any, x: Array) -> tuple[Array]:
    def ordered(line: Array) -> Array:
        def key(i: int) -> tuple[Any, ...]:
            v = dtypes.widened(line)[i]
            return (bool(v != v), 0 if v != v else v, not np.signbit(v) if v == 0 and v.dtype.kind == "f" else 0)

        return line[sorted(range(len(line)), key=key, reverse=attrs.descending)]

    return (_lines(attrs.axis, ordered, x),)


def _argsort(attrs: Any, x: Array) -> tuple[Array]:
    def order(line: Array) -> Array:
        values = [(v != v, 0 if v != v else v) for v in dtypes.widened(line).tolist()]
        return np.array(sorted(range(len(line)), key=values.__getitem__, reverse=attrs.descending), np.int64)

    return (_lines(attrs.axis, order, x).astype(np.int64),)


def _arg_top_k(attrs: Any, x: Array) -> tuple[Array]:
    (order,) = _argsort(SortAttrs(attrs.axis, attrs.largest), x)
    return (np.take(order, np.arange(attrs.k), attrs.axis),)


_ORDERED: dict[str, Row] = {
    "cumsum": _cumulative(lambda x, axis: np.cumsum(x, axis, dtype=x.dtype)),
    "cumprod": _cumulative(lambda x, axis: np.cumprod(x, axis, dtype=x.dtype)),
    "cummax": _cumulative(lambda x, axis: np.maximum.accumulate(x, axis)),
    "cummin": _cumulative(lambda x, axis: np.minimum.accumulate(x, axis)),
    "linear_recurrence": _recurrence,
    "sort": _sort,
    "argsort": _argsort,
    "arg_top_k": _arg_top_k,
}

# --------------------------------------------------------------------------------------------------- linear algebra


def _each(fn: Callable[..., tuple[Array, ...]], *xs: Array) -> tuple[Array, ...]:
    """`fn` on each matrix, results stacked."""
    places = list(np.ndindex(xs[0].shape[:-2]))
    if not places:
        made = fn(*(np.eye(*x.shape[-2:], dtype=x.dtype) for x in xs))
        return tuple(np.zeros((*xs[0].shape[:-2], *m.shape), m.dtype) for m in made)
    each = [fn(*(x[p] for x in xs)) for p in places]
    return tuple(np.stack(column).reshape(*xs[0].shape[:-2], *column[0].shape) for column in zip(*each, strict=True))


def _cholesky(x: Array) -> tuple[Array]:
    whole = np.tril(x) + np.tril(x, -1).T  # LAPACK looks at one triangle, what checks its operand at both
    try:
        found = scipy.linalg.cholesky(whole, lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        found = np.full(x.shape, np.nan, x.dtype)
    fine = np.all(np.diagonal(found) > 0)  # with NaN in it LAPACK may stop half way and call it done
    return (found if fine else np.tril(np.full(x.shape, np.nan, x.dtype)),)


def _triangular(attrs: Any, a: Array, b: Array) -> tuple[Array, ...]:
    def solve(a: Array, b: Array) -> tuple[Array]:
        options = {"lower": attrs.lower, "trans": int(attrs.transposed), "unit_diagonal": attrs.unit}
        return (scipy.linalg.solve_triangular(a, b, **options),)

    return _each(solve, a, b)


def _lu(x: Array) -> tuple[Array, ...]:
    if x.size == 0:
        return x, np.zeros(0, np.int32), np.zeros(0, np.int32)
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(scipy.linalg.LinAlgWarning)
        packed, pivots = scipy.linalg.lu_factor(x)
    order = np.arange(len(x), dtype=np.int32)
    for k, pivot in enumerate(pivots):
        order[[k, pivot]] = order[[pivot, k]]
    return packed, pivots.astype(np.int32), order


def signs(columns: Array) -> Array:
    """+-1 for each column: its first element above 0.437 / sqrt(length) is to be positive."""
    found = []
    for column in columns.T:
        large = column[np.abs(column) > 0.437 / math.sqrt(len(column))]
        found.append(-1 if large[0] < 0 else 1)
    return np.array(found, columns.dtype)


def _finite(fn: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    """NaN throughout for matrices that are not finite."""

    def apply(x: Array) -> tuple[Array, ...]:
        if np.isfinite(x).all():
            return fn(x)
        return tuple(np.full_like(part, np.nan) for part in fn(np.eye(*x.shape, dtype=x.dtype)))

    return apply


def _svd(full: bool) -> Callable[[Array], tuple[Array, ...]]:
    def factors(x: Array) -> tuple[Array, ...]:
        u, s, vt = scipy.linalg.svd(x, full_matrices=full)
        left, right = signs(u), signs(vt.T)
        right[: len(s)] = left[: len(s)]
        return u * left, s, vt * right[:, None]

    return _finite(factors)


def _eigh(x: Array) -> tuple[Array, ...]:
    values, vectors = scipy.linalg.eigh(x, lower=True)
    return values, vectors * signs(vectors)


_LINALG: dict[str, Row] = {
    "cholesky": lambda _, x: _each(_cholesky, x),
    "triangular_solve": _triangular,
    "lu": lambda _, x: _each(_lu, x),
    "qr": lambda a, x: _each(_finite(lambda m: scipy.linalg.qr(m, mode="full" if a.full else "economic")), x),
    "svd": lambda a, x: _each(_svd(a.full), x),
    "eigh": lambda _, x: _each(_finite(_eigh), np.tril(x)),
}

# ------------------------------------------------------------------------------------------------ sources, and loops


def _random_bits(attrs: Any, key: Array) -> tuple[Array]:
    """Philox 4x32-10 of Salmon, Moraes, Dror and Shaw 2011, in Python's integers."""
    rows = key.reshape(-1, 2).tolist()
    count = math.prod(attrs.shape[key.ndim - 1 :])
    words = [_philox(i // 4, *row)[i % 4] for row in rows for i in range(count)]
    return (np.array(words, np.uint32).reshape(attrs.shape),)


def _philox(counter: int, low: int, high: int) -> tuple[int, int, int, int]:
    a, b, c, d = counter, 0, 0, 0
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (second >> 32) ^ b ^ low, second & 0xFFFFFFFF, (first >> 32) ^ d ^ high, first & 0xFFFFFFFF
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def _shuffle_index(attrs: Any, indices: Array, keys: Array) -> tuple[Array]:
    """Swap-or-not of Hoang, Morris and Rogaway 2012 in Python's integers."""
    batch = keys.shape[:-2]
    result = np.zeros(indices.shape, np.uint32)
    for place in np.ndindex(indices.shape):
        x = int(indices[place])
        for first, second in keys[place[: len(batch)]].tolist():
            partner = ((first * attrs.n >> 32) - x) % attrs.n
            x = partner if _murmur(max(x, partner), second) >> 31 else x
        result[place] = x
    return (result,)


def _murmur(x: int, key: int) -> int:
    """The finaliser of MurmurHash3, keyed."""
    h = (x * 0x9E3779B1 % 2**32) ^ key
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def _scan(attrs: Any, *operands: Array) -> tuple[Array, ...]:
    count = sorted((0, int(operands[0]), attrs.length))[1] if attrs.counted else attrs.length
    operands = operands[int(attrs.counted) :]
    captures, rest = operands[: attrs.num_captures], operands[attrs.num_captures :]
    carries, xs = rest[: attrs.num_carries], rest[attrs.num_carries :]
    ys = [np.zeros((attrs.length, *v.shape), v.dtype.numpy) for v in attrs.body.outputs[attrs.num_carries :]]
    for t in sorted(range(count), reverse=attrs.reverse):
        made = run(ROWS, attrs.body, [*captures, *carries, *(x[t] for x in xs)])
        carries = made[: attrs.num_carries]
        for whole, row in zip(ys, made[attrs.num_carries :], strict=True):
            whole[t] = row
    return (*carries, *ys)


def _while(attrs: Any, *operands: Array) -> tuple[Array, ...]:
    captures, carries = operands[: attrs.num_captures], operands[attrs.num_captures :]
    ys = [np.zeros((attrs.bound or 0, *v.shape), v.dtype.numpy) for v in attrs.body.outputs[len(carries) :]]
    made = 0
    while run(ROWS, attrs.cond, [*captures, *carries])[0]:
        results = run(ROWS, attrs.body, [*captures, *carries])
        for whole, row in zip(ys, results[len(carries) :], strict=True):
            whole[made] = row
        carries = results[: len(carries)]
        made += 1
    return tuple(carries) if attrs.bound is None else (*carries, *ys, np.array(made))


def _branch(attrs: Any, index: Array, *operands: Array) -> tuple[Array, ...]:
    return run(ROWS, attrs.branches[sorted((0, int(index), len(attrs.branches) - 1))[1]], operands)


ROWS: dict[str, Row] = {
    **_ELEMENTWISE,
    **_MOVEMENT,
    **_REDUCTIONS,
    **_WINDOWS,
    **_INDEXING,
    **_ORDERED,
    **_LINALG,
    "constant": lambda a: (a.value,),
    "iota": lambda a: (np.indices(a.shape)[a.axis].astype(a.dtype.numpy),),
    "random_bits": _random_bits,
    "shuffle_index": _shuffle_index,
    "scan": _scan,
    "while": _while,
    "branch": _branch,
}
ROWS.update(structural(ROWS))
