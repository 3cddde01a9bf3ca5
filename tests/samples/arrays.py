"""Arrays that samples are made of: shapes, random values, special values."""

from collections.abc import Sequence

import numpy as np

import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.dtypes import DType

SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (7,), (3, 5), (2, 0, 3), (2, 3, 17), (100,))
_EDGE = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, 2.5, 1e-8, 3.0, 100.0, -100.0, 1e30, -1e30, np.inf, -np.inf, np.nan)
WIDE = (-3.0, 3.0)
# of sums and products of many terms
RTOL = {dtypes.bfloat16: 2.0**-8, dtypes.float16: 2.0**-11, dtypes.float32: 1e-5, dtypes.float64: 1e-13}


def generator(*seed: object) -> np.random.Generator:
    return np.random.default_rng(_stable(seed))


def _stable(seed: tuple[object, ...]) -> int:
    """A seed that does not depend on Python's per-process string hashing."""
    value = 0
    for character in repr(tuple(map(str, seed))):
        value = (value * 131 + ord(character)) % 2**32
    return value


def edges(dtype: DType) -> np.ndarray:
    """Special values of a dtype."""
    kind = dtype.numpy
    if dtype.is_bool:
        return np.array([True, False])
    if dtype.is_float:
        info = gnp.finfo(dtype)
        tiny = float(info.smallest_subnormal)
        extra = (float(info.max), float(info.min), float(info.tiny), -float(info.tiny), tiny, -tiny, float(info.eps))
        with np.errstate(over="ignore"):
            return np.array([*_EDGE, *extra]).astype(kind)
    info_int = np.iinfo(kind)
    values = [0, 1, 2, 3, 7, info_int.max, info_int.max - 1, info_int.min, info_int.min + 1]
    if dtype.kind == "int":
        values += [-1, -2, -3, -7]
    return np.array(values, kind)


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: DType, low: float, high: float) -> np.ndarray:
    """Uniform values in [low, high] of any dtype."""
    if dtype.is_bool:
        return np.asarray(rng.random(tuple(shape)) < 0.5)
    values = rng.uniform(low, high, tuple(shape))
    if dtype.is_integer:
        values = np.clip(np.round(values), np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max)
    return np.asarray(values).astype(dtype.numpy)


def edge_inputs(arity: int, dtype: DType) -> tuple[np.ndarray, ...]:
    """All pairs of special values for two operands, the list itself for one."""
    values = edges(dtype)
    if arity == 1:
        return (values,)
    left, right = np.meshgrid(values, values, indexing="ij")
    return (np.ascontiguousarray(left).reshape(-1), np.ascontiguousarray(right).reshape(-1))


def complex_array(rng: np.random.Generator, shape: Sequence[int], dtype: DType, low: float, high: float) -> np.ndarray:
    """Both parts uniform in [low, high)."""
    parts = (random_array(rng, shape, dtype.part, low, high) for _ in range(2))
    return np.asarray(sum(factor * part for factor, part in zip((1, 1j), parts, strict=True)), dtype.numpy)


def complex_edges(dtype: DType) -> np.ndarray:
    """All pairs of special values."""
    real, imag = edge_inputs(2, dtype.part)
    found = np.empty(real.shape, dtype.numpy)
    found.real, found.imag = real, imag
    return found


def index_dtypes(dtype: DType) -> tuple[DType, ...]:
    """All of them with one dtype, one with the others."""
    return (dtypes.int32, dtypes.int64, dtypes.uint8) if dtype is dtypes.float32 else (dtypes.int64,)
