"""Cumulative primitives: what stands at a place depends on everything up to it along one axis (from it on, `reverse`).

cumsum, cumprod, cummax, cummin combine the elements up to a place. linear_recurrence solves h[i] = a[i] h[i-1] + b[i],
with h[0] = b[0]: a[0] is not looked at.

The order of rounding: elements are combined one after the other in aligned chunks of 1040, counted in the direction of
the axis; what a chunk gives is then combined with that of all chunks before it, which are combined one after the other.
A recurrence is one chain of fused multiply-adds. Half types are computed in float32 and each result rounded. Products
and recurrences of complex numbers have an order of their own (`graphc.passes.complex_scans`).
"""

from collections.abc import Callable

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.ir import Attrs, Op, TensorType
from graphc.graph.registry import register

CHUNK = 1040  # no power of two: lanes that take a chunk each would meet in a few sets of a cache


@dataclass(frozen=True, slots=True)
class CumulativeAttrs(Attrs):
    """`reverse`: from the end of the axis to its beginning."""

    axis: int
    reverse: bool = False


def _flipped(x: np.ndarray, attrs: CumulativeAttrs) -> np.ndarray:
    return np.flip(x, attrs.axis) if attrs.reverse else x


def _check(name: str, x: TensorType, attrs: Attrs, accepted: tuple[DType, ...]) -> None:
    assert isinstance(attrs, CumulativeAttrs)
    if not 0 <= attrs.axis < x.rank:
        raise ShapeError(f"{name}: axis {attrs.axis} is outside {x}")
    if x.dtype not in accepted:
        raise DTypeError(f"{name}: {x.dtype} is not accepted, only {', '.join(d.name for d in accepted)}")


def _cumulative(name: str, accepted: tuple[DType, ...], numpy: Callable[..., np.ndarray]) -> Op:
    def infer(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
        _check(name, types[0], attrs, accepted)
        return (types[0],)

    def meaning(attrs: CumulativeAttrs, x: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = x.astype(np.float64) if dtypes.holds_floats(x) else x  # the oracle is closer to the true value
        wide = x.astype(np.complex128) if x.dtype.kind == "c" else wide
        with np.errstate(all="ignore"):
            found = numpy(_flipped(wide, attrs), axis=attrs.axis, dtype=wide.dtype)
            return (_flipped(found, attrs).astype(x.dtype),)

    return register(name, "cumulative", infer, meaning, CumulativeAttrs)


cumsum = _cumulative("cumsum", (*dtypes.NUMERIC, *dtypes.COMPLEX), np.add.accumulate)
cumprod = _cumulative("cumprod", (*dtypes.NUMERIC, *dtypes.COMPLEX), np.multiply.accumulate)
cummax = _cumulative("cummax", dtypes.ALL, np.maximum.accumulate)
cummin = _cumulative("cummin", dtypes.ALL, np.minimum.accumulate)


def _infer_recurrence(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    a, b = types
    _check("linear_recurrence", b, attrs, (*dtypes.FLOATS, *dtypes.COMPLEX))
    if a != b:
        raise ShapeError(f"linear_recurrence: factors {a} and terms {b} differ")
    return (b,)


def _recurrence(attrs: CumulativeAttrs, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    wide = np.complex128 if b.dtype.kind == "c" else np.float64
    factors, terms = (np.moveaxis(_flipped(x, attrs), attrs.axis, 0).astype(wide) for x in (a, b))
    result = np.array(terms)
    with np.errstate(all="ignore"):
        for i in range(1, len(result)):
            result[i] = factors[i] * result[i - 1] + terms[i]
        return (_flipped(np.moveaxis(result, 0, attrs.axis), attrs).astype(b.dtype),)


# operands: the factors a, the terms b.
linear_recurrence = register("linear_recurrence", "cumulative", _infer_recurrence, _recurrence, CumulativeAttrs)

CUMULATIVE = (cumsum, cumprod, cummax, cummin, linear_recurrence)
