"""Primitives whose index depends on data: gather along an axis, and scatters into one.

The first `batch_dims` dims of x and indices run together: each of their places is a gather (scatter) of its own. An
index outside [0, extent) never reads or writes foreign memory: gather takes the nearest valid element, a scatter drops
the update. Negative indices do not count from the end.
"""

from collections.abc import Callable
from math import prod

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, Op, TensorType
from graphc.graph.ops.movement import AxisAttrs
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class GatherAttrs(AxisAttrs):
    """`axis` of x is indexed. The first `batch_dims` dims of x and indices run together; they lie before `axis`."""

    batch_dims: int = 0


def _check(name: str, x: TensorType, indices: TensorType, attrs: GatherAttrs) -> None:
    axis, batch = attrs.axis, attrs.batch_dims
    if not 0 <= axis < x.rank:
        raise ShapeError(f"{name}: axis {axis} is outside {x}")
    if not 0 <= batch <= min(axis, indices.rank):
        raise ShapeError(f"{name}: {batch} batch dims do not lie before axis {axis} of {x} and in indices {indices}")
    if x.shape[:batch] != indices.shape[:batch]:
        raise ShapeError(f"{name}: the first {batch} dims of {x} and indices {indices} differ")
    if not indices.dtype.is_integer:
        raise DTypeError(f"{name}: indices must be integers, got {indices}")


def gathered_shape(x: tuple[int, ...], indices: tuple[int, ...], attrs: GatherAttrs) -> tuple[int, ...]:
    """The dims of `indices` that are not batch dims in the place of the axis of x."""
    return x[: attrs.axis] + indices[attrs.batch_dims :] + x[attrs.axis + 1 :]


def _infer_gather(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, GatherAttrs)
    x, indices = types
    _check("gather", x, indices, attrs)
    result = x.with_shape(gathered_shape(x.shape, indices.shape, attrs))
    if x.shape[attrs.axis] == 0 and result.size > 0:
        raise ShapeError(f"gather: axis {attrs.axis} of {x} is empty")
    return (result,)


@dataclass(frozen=True, slots=True)
class _Rows:
    """x and indices as (batch, axis, rest) and (batch, index): one row of x for each index."""

    attrs: GatherAttrs
    x: np.ndarray
    indices: np.ndarray

    @property
    def batch(self) -> int:
        return prod(self.x.shape[: self.attrs.batch_dims])

    def rows(self) -> np.ndarray:
        moved = np.moveaxis(self.x, self.attrs.axis, self.attrs.batch_dims)
        rest = self.x.shape[self.attrs.batch_dims : self.attrs.axis] + self.x.shape[self.attrs.axis + 1 :]
        return np.array(moved, order="C").reshape(self.batch, self.x.shape[self.attrs.axis], prod(rest))

    def back(self, rows: np.ndarray) -> np.ndarray:
        """x of these rows."""
        axis, batch = self.attrs.axis, self.attrs.batch_dims
        shape = (*self.x.shape[:batch], self.x.shape[axis], *self.x.shape[batch:axis], *self.x.shape[axis + 1 :])
        return np.moveaxis(rows.reshape(shape), batch, axis)

    def positions(self) -> np.ndarray:
        return self.indices.reshape(self.batch, prod(self.indices.shape[self.attrs.batch_dims :]))

    def _places(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the index dims are after the batch dims, and where in the place of the axis."""
        rank = self.indices.ndim - self.attrs.batch_dims
        here, there = self.attrs.batch_dims, self.attrs.axis
        return tuple(range(here, here + rank)), tuple(range(there, there + rank))

    def taken(self, rows: np.ndarray) -> np.ndarray:
        """The result of a gather of these rows, shaped (batch, index, rest)."""
        axis, batch = self.attrs.axis, self.attrs.batch_dims
        shape = self.x.shape[:batch] + self.indices.shape[batch:] + self.x.shape[batch:axis] + self.x.shape[axis + 1 :]
        here, there = self._places()
        return np.moveaxis(rows.reshape(shape), here, there)

    def given(self, updates: np.ndarray) -> np.ndarray:
        """Updates, shaped like the result of a gather, as (batch, index, rest)."""
        here, there = self._places()
        moved = np.moveaxis(updates, there, here)
        rest = prod(self.x.shape[self.attrs.batch_dims : self.attrs.axis] + self.x.shape[self.attrs.axis + 1 :])
        return moved.reshape(self.batch, self.positions().shape[1], rest)


def _gather(attrs: GatherAttrs, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    shape = gathered_shape(x.shape, indices.shape, attrs)
    if prod(shape) == 0:
        return (np.zeros(shape, x.dtype),)
    nearest = np.clip(indices, 0, x.shape[attrs.axis] - 1).astype(np.int64)
    if attrs.batch_dims == 0:
        return (np.take(x, nearest, axis=attrs.axis),)
    found = _Rows(attrs, x, nearest)
    return (found.taken(found.rows()[np.arange(found.batch)[:, None], found.positions()]),)


# operands: x, indices. result = x[:, ..., indices, ..., :] with the dims of `indices` in place of `axis`.
gather = register("gather", "index", _infer_gather, _gather, GatherAttrs)


def _scatter(name: str, accepted: tuple[DType, ...], combine: Callable[..., None]) -> Op:
    def infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
        assert isinstance(attrs, GatherAttrs)
        x, indices, updates = types
        _check(name, x, indices, attrs)
        if updates != x.with_shape(gathered_shape(x.shape, indices.shape, attrs)):
            raise ShapeError(f"{name}: updates {updates} do not fit {x} at indices {indices} on axis {attrs.axis}")
        if x.dtype not in accepted:
            raise DTypeError(f"{name}: {x.dtype} is not accepted")
        return (x,)

    def meaning(attrs: GatherAttrs, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> tuple[np.ndarray, ...]:
        dtype = x.dtype
        x, updates = dtypes.widened(x), dtypes.widened(updates)
        found = _Rows(attrs, x, indices)
        result, at = found.rows(), found.positions()
        batch, number = np.nonzero((at >= 0) & (at < x.shape[attrs.axis]))  # in index order
        places = batch * x.shape[attrs.axis] + at[batch, number].astype(np.int64)
        rest = result.shape[2]
        shape = (-1,) if rest == 1 else (result.shape[0] * result.shape[1], rest)  # NumPy is much faster on one dim
        flat = result.reshape(shape)
        with np.errstate(all="ignore"):
            combine(flat, places, found.given(updates)[batch, number].reshape(len(places), *flat.shape[1:]))
        return (found.back(result).astype(dtype, copy=False),)

    return register(name, "index", infer, meaning, GatherAttrs)


# operands: x, indices, updates (shaped like gather's result). Updates of one element take effect in index order: the
# last one stays (scatter), or each is combined with what is there. Many updates of few short rows are combined chunk by
# chunk first (ARCHITECTURE, "Numbers"). Half types are combined in float32 and rounded at the end.
scatter = _scatter("scatter", dtypes.EVERY, lambda result, at, updates: result.__setitem__(at, updates))
scatter_add = _scatter("scatter_add", (*dtypes.NUMERIC, *dtypes.COMPLEX), np.add.at)
scatter_mul = _scatter("scatter_mul", dtypes.NUMERIC, np.multiply.at)
scatter_min = _scatter("scatter_min", dtypes.ALL, np.minimum.at)
scatter_max = _scatter("scatter_max", dtypes.ALL, np.maximum.at)

SCATTERS = (scatter, scatter_add, scatter_mul, scatter_min, scatter_max)
SCATTER_NAMES = frozenset(op.name for op in SCATTERS)
