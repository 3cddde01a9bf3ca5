"""Gathers, scatters and sums of segments."""

import numpy as np

from benchmarks.arrays.row import COLUMNS, COUNT, ROWS, Array, ArrayOperation, Arrays, Named, matrix, places, vector


def gathers() -> Named:
    """Elements and rows that are taken."""
    import graphc.numpy as gnp

    yield (
        "take elements",
        ArrayOperation(
            lambda rng: [vector(rng), places(rng, COUNT, COUNT)],
            lambda x, at: gnp.take(x, at),
            lambda x, at, out: np.take(x, at, out=out, mode="clip"),
            _torch_rows,
        ),
    )
    for columns in (16, 64, 1000):
        yield f"take rows of {columns}", _rows_taken(columns)
    for where, axis in (("rows", 1), ("columns", 0)):
        yield f"take_along_axis {where}", _taken_along(axis)


def _rows_taken(columns: int) -> ArrayOperation:
    import graphc.numpy as gnp

    count = COUNT // columns
    return ArrayOperation(
        lambda rng: [matrix(rng, "float32", count, columns), places(rng, count, count)],
        lambda x, at: gnp.take(x, at, 0),
        lambda x, at, out: np.take(x, at, 0, out=out, mode="clip"),
        _torch_rows,
    )


def _taken_along(axis: int) -> ArrayOperation:
    import graphc.numpy as gnp

    def torch_taken(x: Array, at: Array, out: Array) -> Array:
        import torch

        return torch.gather(x, axis, at, out=out)

    return ArrayOperation(
        lambda rng: [matrix(rng), places(rng, ROWS, COUNT).reshape(ROWS, COLUMNS)],
        lambda x, at: gnp.take_along_axis(x, at, axis),
        lambda x, at, out: np.take_along_axis(x, at, axis),
        torch_taken,
    )


def _torch_rows(x: Array, at: Array, out: Array) -> Array:
    import torch

    return torch.index_select(x, 0, at, out=out)


def scatters() -> Named:
    """Elements and rows that are set, added, or compared; sums of segments."""
    import graphc.numpy as gnp

    for kind in ("set", "add", "max"):
        yield f"{kind} elements of 10^6", _scatter((COUNT,), (COUNT,), kind)
        yield f"{kind} rows of 100 of 10000", _scatter((10000, 100), (10000, 100), kind)
    for kind in ("add", "max"):
        yield f"{kind} elements of 1000", _scatter((1000,), (COUNT,), kind)
        yield f"{kind} rows of 100 of 100", _scatter((100, 100), (10000, 100), kind)
        yield f"{kind} rows of 10 of 1000", _scatter((1000, 10), (100_000, 10), kind)
    yield (
        "segment_sum sorted ids",
        ArrayOperation(
            lambda rng: [vector(rng), np.sort(places(rng, ROWS, COUNT))],
            lambda x, at: gnp.segment_sum(x, at, ROWS),
            lambda x, at, out: np.bincount(at, x, ROWS),
            _torch_segments,
            tolerance=1e-3,
        ),
    )


def _scatter(shape: tuple[int, ...], updates: tuple[int, ...], kind: str) -> ArrayOperation:
    def operands(rng: np.random.Generator) -> Arrays:
        at = rng.permutation(shape[0])[: updates[0]] if kind == "set" else places(rng, shape[0], updates[0])
        new = vector(rng, "float32", int(np.prod(updates))).reshape(updates)
        return [np.zeros(shape, np.float32), at, new]

    return ArrayOperation(
        operands,
        lambda x, at, new: getattr(x.at[at], kind)(new),
        lambda x, at, new, out: _numpy_combined(x, at, new, kind),
        lambda x, at, new, out: _torch_combined(x, at, new, kind),
        tolerance=1e-3,
    )


def _numpy_combined(x: np.ndarray, at: np.ndarray, updates: np.ndarray, kind: str) -> np.ndarray:
    result = x.copy()
    match kind:
        case "set":
            result[at] = updates
        case "add":
            np.add.at(result, at, updates)
        case "max":
            np.maximum.at(result, at, updates)
    return result


def _torch_combined(x: Array, at: Array, updates: Array, kind: str) -> Array:
    result = x.clone()
    match kind:
        case "set":
            result[at] = updates
        case "add":
            result.index_add_(0, at, updates)
        case "max" if updates.ndim == 1:
            result.scatter_reduce_(0, at, updates, "amax")
        case "max":
            result.index_reduce_(0, at, updates, "amax")
    return result


def _torch_segments(x: Array, at: Array, out: Array) -> Array:
    import torch

    return torch.zeros(ROWS).index_add_(0, at, x)
