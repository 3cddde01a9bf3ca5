"""Sorting and what is chosen by order."""

from functools import partial

import numpy as np

from benchmarks.arrays.row import COLUMNS, COUNT, Array, ArrayOperation, Make, Named, matrix, one, vector


def sorts() -> Named:
    """`sort` and `argsort` of vectors, rows and columns."""
    cases: list[tuple[str, Make, int]] = [
        ("float32 vector", vector, 0),
        ("float64 vector", partial(vector, dtype="float64"), 0),
        ("int32 vector", partial(vector, dtype="int32"), 0),
        ("int64 vector", partial(vector, dtype="int64"), 0),
        ("float32 rows of 1000", matrix, 1),
        ("float64 rows of 1000", partial(matrix, dtype="float64"), 1),
        ("float32 columns of 1000", matrix, 0),
        ("float32 rows of 100", partial(matrix, rows=10000, columns=100), 1),
        ("float32 rows of 16", partial(matrix, rows=62500, columns=16), 1),
    ]
    for name, make, axis in cases:
        yield f"sort {name}", _sort(make, axis)
        yield f"argsort {name}", _argsort(make, axis)


def _sort(make: Make, axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    def numpy_sort(x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, x)
        out.sort(axis)
        return out

    def torch_sort(x: Array, out: Array) -> Array:
        import torch

        return torch.sort(x, axis).values

    return ArrayOperation(one(make), lambda x: gnp.sort(x, axis), numpy_sort, torch_sort)


def _argsort(make: Make, axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    def torch_argsort(x: Array, out: Array) -> Array:
        import torch

        return torch.sort(x, dim=axis, stable=True).indices

    return ArrayOperation(
        one(make),
        lambda x: gnp.argsort(x, axis),
        lambda x, out: np.argsort(x, axis, stable=True),
        torch_argsort,
    )


def selections() -> Named:
    """The largest, the one in the middle, and places in order."""
    for k in (10, 100):
        yield f"top_k {k} vector", _largest(vector, k)
        yield f"top_k {k} rows of 1000", _largest(matrix, k)
    yield "median vector", _median(partial(vector, count=COUNT - 1), None)
    yield "median rows of 999", _median(partial(matrix, columns=COLUMNS - 1), 1)
    for length in (1000, COUNT):
        yield f"searchsorted in {length}", _search(length)


def _largest(make: Make, k: int) -> ArrayOperation:
    import graphc.numpy as gnp

    def numpy_top(x: np.ndarray, out: np.ndarray) -> np.ndarray:
        smallest: np.ndarray = np.sort(np.partition(-x, k - 1)[..., :k])
        return -smallest

    return ArrayOperation(one(make), lambda x: gnp.top_k(x, k)[0], numpy_top, lambda x, out: x.topk(k).values)


def _median(make: Make, axis: int | None) -> ArrayOperation:
    """PyTorch's is one of the two in the middle; NumPy's is what is compared."""
    import graphc.numpy as gnp

    return ArrayOperation(
        one(make),
        lambda x: gnp.median(x, axis),
        lambda x, out: np.median(x, axis),
        lambda x, out: x.median() if axis is None else x.median(axis).values,
    )


def _search(length: int) -> ArrayOperation:
    import graphc.numpy as gnp

    def torch_search(table: Array, wanted: Array, out: Array) -> Array:
        import torch

        return torch.searchsorted(table, wanted)

    return ArrayOperation(
        lambda rng: [np.sort(vector(rng, count=length)), vector(rng)],
        lambda table, wanted: gnp.searchsorted(table, wanted),
        lambda table, wanted, out: np.searchsorted(table, wanted),
        torch_search,
    )
