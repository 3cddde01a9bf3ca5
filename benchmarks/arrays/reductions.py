"""Reductions, of all elements, of rows and of columns; cumulative operations."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from benchmarks.arrays.row import Array, ArrayOperation, Compute, Named, matrix, one, vector


def near_one(rng: np.random.Generator, dtype: str) -> np.ndarray:
    """A matrix whose products neither vanish nor overflow; of integers, odd ones."""
    if dtype == "int32":
        odd: np.ndarray = matrix(rng, dtype) | 1
        return odd
    return (1 + 1e-4 * matrix(rng, dtype)).astype(dtype)


def reductions() -> Named:
    """Reductions of every dtype they have."""
    names = {"float32": "f32", "float64": "f64", "int32": "i32", "bool": "bool"}
    kinds = {
        "float32": ("sum", "max", "argmax", "mean", "var", "prod"),
        "float64": ("sum", "max", "argmax", "mean", "var", "prod"),
        "int32": ("sum", "max", "argmax", "prod"),
        "bool": ("any",),
    }
    for dtype, of_dtype in kinds.items():
        for kind in of_dtype:
            for where, axis in (("all", None), ("rows", 1), ("columns", 0)):
                yield f"{kind} {names[dtype]} {where}", _reduction(kind, dtype, axis)


def _reduction(kind: str, dtype: str, axis: int | None) -> ArrayOperation:
    import graphc.numpy as gnp

    return ArrayOperation(
        one(partial(near_one if kind == "prod" else matrix, dtype=dtype)),
        lambda x: getattr(gnp, kind)(x, axis=axis),
        lambda x, out: getattr(np, kind)(x, axis=axis),
        lambda x, out: _torch_reduction(x, kind, axis),
        tolerance=1e-2 if kind == "prod" else 1e-4,
    )


def _torch_reduction(x: Array, kind: str, axis: int | None) -> Array:
    import torch

    if kind == "var":
        return torch.var(x, dim=axis, correction=0)
    if kind == "max":
        return torch.max(x) if axis is None else torch.amax(x, dim=axis)
    function: Compute = getattr(torch, kind)
    return function(x) if axis is None else function(x, dim=axis)


_OF_NUMPY: Mapping[str, Compute] = {
    "cumsum": lambda x, axis, out: np.cumsum(x, axis, out=out),
    "cumprod": lambda x, axis, out: np.cumprod(x, axis, out=out),
    "cummax": lambda x, axis, out: np.maximum.accumulate(x, axis, out=out),
    "cumlogsumexp": lambda x, axis, out: np.logaddexp.accumulate(x, axis, out=out),
}
_SHAPES: Mapping[str, tuple[Callable[[np.random.Generator, str], np.ndarray], int]] = {
    "vector": (vector, 0),
    "rows": (matrix, 1),
    "columns": (matrix, 0),
}


def cumulatives() -> Named:
    """Cumulative operations along vectors, rows and columns."""
    rows = [(kind, "float32", shape) for kind in _OF_NUMPY for shape in _SHAPES]
    rows += [("cumsum", "float64", "vector"), ("cumsum", "int64", "vector")]
    for kind, dtype, shape in rows:
        suffix = "" if dtype == "float32" else f" {dtype}"
        yield f"{kind} {shape}{suffix}", _cumulative(kind, dtype, shape)


def _cumulative(kind: str, dtype: str, shape: str) -> ArrayOperation:
    import graphc.numpy as gnp

    make, axis = _SHAPES[shape]

    def factors(rng: np.random.Generator) -> np.ndarray:
        return (1 + 1e-4 * make(rng, dtype)).astype(dtype)

    def terms(rng: np.random.Generator) -> np.ndarray:
        return make(rng, dtype)

    return ArrayOperation(
        one(factors if kind == "cumprod" else terms),
        lambda x: getattr(gnp, kind)(x, axis=axis),
        lambda x, out: _OF_NUMPY[kind](x, axis, out),
        lambda x, out: _torch_cumulative(x, out, kind, axis),
        tolerance=1e-2,  # NumPy's are one chain of 10^6 roundings
    )


def _torch_cumulative(x: Array, out: Array, kind: str, axis: int) -> Array:
    import torch

    if kind == "cummax":
        return torch.cummax(x, axis).values
    functions: Mapping[str, Compute] = {
        "cumsum": torch.cumsum,
        "cumprod": torch.cumprod,
        "cumlogsumexp": torch.logcumsumexp,
    }
    return functions[kind](x, axis, out=out)
