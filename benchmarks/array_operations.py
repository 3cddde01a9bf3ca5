"""Reductions, cumulative operations, indexing, sorting and movement, each on 10^6 elements: one row per operation.

A row has the operands and what each system computes of them; results are compared with NumPy's before anything is
timed. Peers write to arrays that are there wherever they have a way to be told so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.serve import Case, Prepare, Request, repeated

ROWS = COLUMNS = 1000
COUNT = ROWS * COLUMNS

# NumPy arrays, tensors of PyTorch, and arrays of graphc while it traces: what one table says about all three.
Array = Any
Arrays = Sequence[np.ndarray]
Operands = Callable[[np.random.Generator], Arrays]
Compute = Callable[..., Array]


@dataclass(frozen=True, slots=True)
class ArrayOperation:
    """`graphc`, `numpy` and `torch` take the operands; NumPy's and PyTorch's also `out`, an array for the result, and
    may use it. `tolerance`: of the largest difference, over 1 + |NumPy's result|. `state`: the first operand is the
    state of a program, which the operation changes in place, everywhere.
    """

    operands: Operands
    graphc: Compute
    numpy: Compute
    torch: Compute
    tolerance: float = 1e-5
    state: bool = False


# ------------------------------------------------------------------------------------------------------- operands


def vector(rng: np.random.Generator, dtype: str = "float32", count: int = COUNT) -> np.ndarray:
    """Normal numbers; integers of all sizes; no bool is true, so that all have to be looked at."""
    match dtype:
        case "bool":
            return np.zeros(count, bool)
        case "int32" | "int64":
            bound = 2**31 if dtype == "int32" else 2**63
            return rng.integers(-bound, bound - 1, count, dtype=dtype)
    return rng.standard_normal(count).astype(dtype)


def matrix(rng: np.random.Generator, dtype: str = "float32", rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """A vector in rows."""
    return vector(rng, dtype, rows * columns).reshape(rows, columns)


def near_one(rng: np.random.Generator, dtype: str) -> np.ndarray:
    """A matrix whose products neither vanish nor overflow; of integers, odd ones."""
    if dtype == "int32":
        return matrix(rng, dtype) | 1
    return (1 + 1e-4 * matrix(rng, dtype)).astype(dtype)


# ------------------------------------------------------------------------------------------------------ reductions


def _reductions() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

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
                make = partial(near_one, dtype=dtype) if kind == "prod" else partial(matrix, dtype=dtype)
                yield (
                    f"{kind} {names[dtype]} {where}",
                    ArrayOperation(
                        lambda rng, make=make: [make(rng)],
                        lambda x, kind=kind, axis=axis: getattr(gnp, kind)(x, axis=axis),
                        lambda x, out, kind=kind, axis=axis: getattr(np, kind)(x, axis=axis),
                        lambda x, out, kind=kind, axis=axis: _torch_reduction(x, kind, axis),
                        tolerance=1e-2 if kind == "prod" else 1e-4,
                    ),
                )


def _torch_reduction(x: Array, kind: str, axis: int | None) -> Array:
    import torch

    if kind == "var":
        return torch.var(x, dim=axis, correction=0)
    function = {"max": torch.amax, "any": torch.any}.get(kind) or getattr(torch, kind)
    if kind == "max" and axis is None:
        return torch.max(x)
    return function(x) if axis is None else function(x, dim=axis)


# ------------------------------------------------------------------------------------------------------ cumulative


def _cumulatives() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    of_numpy: Mapping[str, Compute] = {
        "cumsum": lambda x, axis, out: np.cumsum(x, axis, out=out),
        "cumprod": lambda x, axis, out: np.cumprod(x, axis, out=out),
        "cummax": lambda x, axis, out: np.maximum.accumulate(x, axis, out=out),
        "cumlogsumexp": lambda x, axis, out: np.logaddexp.accumulate(x, axis, out=out),
    }

    def of_torch(x: Array, out: Array, kind: str, axis: int) -> Array:
        import torch

        if kind == "cummax":
            return torch.cummax(x, axis).values
        return {"cumsum": torch.cumsum, "cumprod": torch.cumprod, "cumlogsumexp": torch.logcumsumexp}[kind](
            x, axis, out=out
        )

    shapes: Mapping[str, tuple[Callable[..., np.ndarray], int]] = {
        "vector": (vector, 0),
        "rows": (matrix, 1),
        "columns": (matrix, 0),
    }
    rows = [(kind, "float32", shape) for kind in of_numpy for shape in shapes]
    rows += [("cumsum", "float64", "vector"), ("cumsum", "int64", "vector")]
    for kind, dtype, shape in rows:
        make, axis = shapes[shape]
        suffix = "" if dtype == "float32" else f" {dtype}"
        product = kind == "cumprod"
        yield (
            f"{kind} {shape}{suffix}",
            ArrayOperation(
                lambda rng, make=make, dtype=dtype, product=product: [
                    (1 + 1e-4 * make(rng, dtype)).astype(dtype) if product else make(rng, dtype)
                ],
                lambda x, kind=kind, axis=axis: getattr(gnp, kind)(x, axis=axis),
                lambda x, out, kind=kind, axis=axis: of_numpy[kind](x, axis, out),
                lambda x, out, kind=kind, axis=axis: of_torch(x, out, kind, axis),
                tolerance=1e-2,  # NumPy's are one chain of 10^6 roundings
            ),
        )


# -------------------------------------------------------------------------------------------------------- indexing


def _places(rng: np.random.Generator, below: int, count: int) -> np.ndarray:
    return rng.integers(0, below, count)


def _gathers() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    def torch_take_along(x: Array, at: Array, axis: int, out: Array) -> Array:
        import torch

        return torch.gather(x, axis, at, out=out)

    def torch_rows(x: Array, at: Array, out: Array) -> Array:
        import torch

        return torch.index_select(x, 0, at, out=out)

    yield (
        "take elements",
        ArrayOperation(
            lambda rng: [vector(rng), _places(rng, COUNT, COUNT)],
            lambda x, at: gnp.take(x, at),
            lambda x, at, out: np.take(x, at, out=out, mode="clip"),
            lambda x, at, out: torch_rows(x, at, out),
        ),
    )
    for columns in (16, 64, 1000):
        count = COUNT // columns
        yield (
            f"take rows of {columns}",
            ArrayOperation(
                lambda rng, columns=columns, count=count: [
                    matrix(rng, "float32", count, columns),
                    _places(rng, count, count),
                ],
                lambda x, at: gnp.take(x, at, 0),
                lambda x, at, out: np.take(x, at, 0, out=out, mode="clip"),
                lambda x, at, out: torch_rows(x, at, out),
            ),
        )
    for where, axis in (("rows", 1), ("columns", 0)):
        yield (
            f"take_along_axis {where}",
            ArrayOperation(
                lambda rng: [matrix(rng), _places(rng, ROWS, COUNT).reshape(ROWS, COLUMNS)],
                lambda x, at, axis=axis: gnp.take_along_axis(x, at, axis),
                lambda x, at, out, axis=axis: np.take_along_axis(x, at, axis),
                lambda x, at, out, axis=axis: torch_take_along(x, at, axis, out),
            ),
        )


def _scatters() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    def torch_combined(x: Array, at: Array, updates: Array, kind: str) -> Array:
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

    def numpy_combined(x: np.ndarray, at: np.ndarray, updates: np.ndarray, kind: str) -> np.ndarray:
        result = x.copy()
        match kind:
            case "set":
                result[at] = updates
            case "add":
                np.add.at(result, at, updates)
            case "max":
                np.maximum.at(result, at, updates)
        return result

    def of(shape: tuple[int, ...], updates: tuple[int, ...], kind: str) -> ArrayOperation:
        def operands(rng: np.random.Generator) -> Arrays:
            at = rng.permutation(shape[0])[: updates[0]] if kind == "set" else _places(rng, shape[0], updates[0])
            new = vector(rng, "float32", int(np.prod(updates))).reshape(updates)
            return [np.zeros(shape, np.float32), at, new]

        return ArrayOperation(
            operands,
            lambda x, at, new: getattr(x.at[at], kind)(new),
            lambda x, at, new, out: numpy_combined(x, at, new, kind),
            lambda x, at, new, out: torch_combined(x, at, new, kind),
            tolerance=1e-3,
        )

    for kind in ("set", "add", "max"):
        yield f"{kind} elements of 10^6", of((COUNT,), (COUNT,), kind)
        yield f"{kind} rows of 100 of 10000", of((10000, 100), (10000, 100), kind)
    for kind in ("add", "max"):
        yield f"{kind} elements of 1000", of((1000,), (COUNT,), kind)
        yield f"{kind} rows of 100 of 100", of((100, 100), (10000, 100), kind)
        yield f"{kind} rows of 10 of 1000", of((1000, 10), (100_000, 10), kind)

    def numpy_segments(x: np.ndarray, at: np.ndarray, out: np.ndarray) -> np.ndarray:
        return np.bincount(at, x, ROWS)

    def torch_segments(x: Array, at: Array, out: Array) -> Array:
        import torch

        return torch.zeros(ROWS).index_add_(0, at, x)

    yield (
        "segment_sum sorted ids",
        ArrayOperation(
            lambda rng: [vector(rng), np.sort(_places(rng, ROWS, COUNT))],
            lambda x, at: gnp.segment_sum(x, at, ROWS),
            numpy_segments,
            torch_segments,
            tolerance=1e-3,
        ),
    )


# --------------------------------------------------------------------------------------------------------- sorting


def _sorts() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    def numpy_sort(x: np.ndarray, out: np.ndarray, axis: int) -> np.ndarray:
        np.copyto(out, x)
        out.sort(axis)
        return out

    def torch_sort(x: Array, axis: int) -> Array:
        import torch

        return torch.sort(x, axis).values

    def torch_argsort(x: Array, axis: int) -> Array:
        import torch

        return torch.sort(x, axis, stable=True).indices

    cases: list[tuple[str, Callable[[np.random.Generator], np.ndarray], int]] = [
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
        yield (
            f"sort {name}",
            ArrayOperation(
                lambda rng, make=make: [make(rng)],
                lambda x, axis=axis: gnp.sort(x, axis),
                lambda x, out, axis=axis: numpy_sort(x, out, axis),
                lambda x, out, axis=axis: torch_sort(x, axis),
            ),
        )
        yield (
            f"argsort {name}",
            ArrayOperation(
                lambda rng, make=make: [make(rng)],
                lambda x, axis=axis: gnp.argsort(x, axis),
                lambda x, out, axis=axis: np.argsort(x, axis, stable=True),
                lambda x, out, axis=axis: torch_argsort(x, axis),
            ),
        )


def _selections() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    def numpy_top(x: np.ndarray, k: int) -> np.ndarray:
        return -np.sort(np.partition(-x, k - 1)[..., :k])

    def torch_top(x: Array, k: int) -> Array:
        return x.topk(k).values

    def torch_median(x: Array, axis: int | None) -> Array:
        """PyTorch's is one of the two in the middle; NumPy's is what is compared."""
        return x.median() if axis is None else x.median(axis).values

    def torch_search(table: Array, wanted: Array, out: Array) -> Array:
        import torch

        return torch.searchsorted(table, wanted)

    for k in (10, 100):
        for name, make in (("vector", vector), ("rows of 1000", matrix)):
            yield (
                f"top_k {k} {name}",
                ArrayOperation(
                    lambda rng, make=make: [make(rng)],
                    lambda x, k=k: gnp.top_k(x, k)[0],
                    lambda x, out, k=k: numpy_top(x, k),
                    lambda x, out, k=k: torch_top(x, k),
                ),
            )
    odd: Mapping[str, tuple[Callable[[np.random.Generator], np.ndarray], int | None]] = {
        "vector": (partial(vector, count=COUNT - 1), None),
        "rows of 999": (partial(matrix, columns=COLUMNS - 1), 1),
    }
    for name, (make, axis) in odd.items():
        yield (
            f"median {name}",
            ArrayOperation(
                lambda rng, make=make: [make(rng)],
                lambda x, axis=axis: gnp.median(x, axis),
                lambda x, out, axis=axis: np.median(x, axis),
                lambda x, out, axis=axis: torch_median(x, axis),
            ),
        )
    for length in (1000, COUNT):
        yield (
            f"searchsorted in {length}",
            ArrayOperation(
                lambda rng, length=length: [np.sort(vector(rng, count=length)), vector(rng)],
                lambda table, wanted: gnp.searchsorted(table, wanted),
                lambda table, wanted, out: np.searchsorted(table, wanted),
                torch_search,
            ),
        )


# -------------------------------------------------------------------------------------------------------- movement


def _movements() -> Iterator[tuple[str, ArrayOperation]]:
    import graphc.numpy as gnp

    def torch_of(name: str, *args: object, **kwargs: object) -> Array:
        import torch

        return getattr(torch, name)(*args, **kwargs)

    def numpy_into(out: np.ndarray, x: np.ndarray) -> np.ndarray:
        np.copyto(out, x)
        return out

    def numpy_updated(x: np.ndarray, new: np.ndarray, start: np.ndarray, out: np.ndarray) -> np.ndarray:
        at = int(start)
        np.copyto(out, x)
        out[at : at + len(new)] = new
        return out

    def numpy_in_place(x: np.ndarray, new: np.ndarray, start: np.ndarray, out: np.ndarray) -> np.ndarray:
        at = int(start)
        x[at : at + len(new)] = new
        return x

    def torch_updated(x: Array, new: Array, start: Array, out: Array) -> Array:
        at = int(start)
        out.copy_(x)
        out[at : at + len(new)] = new
        return out

    def torch_in_place(x: Array, new: Array, start: Array, out: Array) -> Array:
        at = int(start)
        x[at : at + len(new)] = new
        return x

    def window(rng: np.random.Generator) -> Arrays:
        return [matrix(rng), matrix(rng, rows=10), np.array(123)]

    yield (
        "dynamic_slice",
        ArrayOperation(
            lambda rng: [matrix(rng), np.array(123)],
            lambda x, start: gnp.dynamic_slice(x, [start, 0], [ROWS // 2, COLUMNS]),
            lambda x, start, out: numpy_into(out, x[int(start) : int(start) + ROWS // 2]),
            lambda x, start, out: out.copy_(x[int(start) : int(start) + ROWS // 2]),
        ),
    )

    def update(x: Array, new: Array, start: Array) -> Array:
        return gnp.dynamic_update_slice(x, new, [start, 0])

    yield "dynamic_update_slice copy", ArrayOperation(window, update, numpy_updated, torch_updated)
    yield (
        "dynamic_update_slice in place",
        ArrayOperation(window, update, numpy_in_place, torch_in_place, state=True),
    )
    for axis in (0, 1):
        yield (
            f"flip axis {axis}",
            ArrayOperation(
                lambda rng: [matrix(rng)],
                lambda x, axis=axis: gnp.flip(x, axis),
                lambda x, out, axis=axis: numpy_into(out, np.flip(x, axis)),
                lambda x, out, axis=axis: torch_of("flip", x, (axis,)),
            ),
        )
        yield (
            f"roll axis {axis}",
            ArrayOperation(
                lambda rng: [matrix(rng)],
                lambda x, axis=axis: gnp.roll(x, 123, axis),
                lambda x, out, axis=axis: np.roll(x, 123, axis),
                lambda x, out, axis=axis: torch_of("roll", x, 123, axis),
            ),
        )
        yield (
            f"concat axis {axis}",
            ArrayOperation(
                lambda rng: [matrix(rng, rows=500), matrix(rng, rows=500)],
                lambda x, y, axis=axis: gnp.concat([x, y], axis=axis),
                lambda x, y, out, axis=axis: np.concatenate([x, y], axis, out=out),
                lambda x, y, out, axis=axis: torch_of("cat", [x, y], axis, out=out),
            ),
        )
    yield (
        "pad",
        ArrayOperation(
            lambda rng: [matrix(rng)],
            lambda x: gnp.pad(x, 3),
            lambda x, out: np.pad(x, 3),
            lambda x, out: _torch_pad(x),
        ),
    )
    yield (
        "transpose",
        ArrayOperation(
            lambda rng: [matrix(rng)],
            lambda x: gnp.transpose(x) + 0.0,
            lambda x, out: numpy_into(out, x.T),
            lambda x, out: out.copy_(x.T),
        ),
    )
    yield (
        "repeat",
        ArrayOperation(
            lambda rng: [matrix(rng, columns=250)],
            lambda x: gnp.repeat(x, 4, axis=1),
            lambda x, out: np.repeat(x, 4, axis=1),
            lambda x, out: x.repeat_interleave(4, 1),
        ),
    )


def _torch_pad(x: Array) -> Array:
    functional: ModuleType = __import__("torch").nn.functional
    return functional.pad(x, (3, 3, 3, 3))


def array_operations() -> dict[str, ArrayOperation]:
    """All rows by name."""
    rows: dict[str, ArrayOperation] = {}
    for part in (_reductions, _cumulatives, _gathers, _scatters, _sorts, _selections, _movements):
        rows.update(part())
    return rows


# ---------------------------------------------------------------------------------------------------- the systems


def operands_of(row: ArrayOperation) -> list[np.ndarray]:
    """The same for all systems."""
    return list(row.operands(np.random.default_rng(0)))


def checked(name: str, row: ArrayOperation, operands: Arrays, result: Array) -> Mapping[str, object]:
    """The largest difference from NumPy's result, and how many bytes operands and result have. Raises `AssertionError`
    when it is large.
    """
    found = np.asarray(result)
    truth = np.asarray(row.numpy(*(x.copy() for x in operands), out=np.zeros_like(found)))
    if found.shape != truth.shape:
        raise AssertionError(f"{name} has shape {found.shape}, not {truth.shape}")
    wide = truth.astype(np.float64)
    error = float(np.max(np.abs(found.astype(np.float64) - wide) / (1 + np.abs(wide))))
    if not error <= row.tolerance:
        raise AssertionError(f"{name} is off by {error:g}")
    return {"largest_error": error, "nbytes": found.nbytes + sum(x.nbytes for x in operands)}


def graphc_arrays(threads: int) -> Prepare:
    """Ours: a native loop whose result stays in place."""
    import graphc as gc

    rows = array_operations()

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        row = rows[name]
        operands = operands_of(row)
        if row.state:
            state, batch = {"out": operands[0]}, tuple(operands[1:])
        else:
            like = gc.compile(lambda *given: row.graphc(*given), *operands, threads=threads)(*operands)
            state, batch = {"out": np.zeros_like(like)}, tuple(operands)

        def entry(state, batch, step):
            given = (state["out"], *batch) if row.state else batch
            return {"out": row.graphc(*given)}, ()

        program = gc.program(state, {"row": entry}, {"row": batch}, threads=threads)
        program.run("row", batch, n=1)
        facts = checked(name, row, operands, program.state["out"])
        return Case(lambda steps: program.run("row", batch, n=steps), facts)

    return prepare


def numpy_arrays(threads: int) -> Prepare:
    """NumPy computes these on one thread."""
    rows = array_operations()

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        row = rows[name]
        operands = operands_of(row)
        out = np.zeros_like(_result(name, operands))
        return Case(repeated(lambda: row.numpy(*operands, out=out)), {})

    return prepare


def torch_arrays(threads: int) -> Prepare:
    """PyTorch, eager. Its results are compared where they are the same: its median is the lower one of two."""
    import torch

    torch.set_num_threads(threads)
    rows = array_operations()

    def prepare(case: Request) -> Case:
        name = str(case["operation"])
        row = rows[name]
        operands = operands_of(row)
        out = torch.from_numpy(np.zeros_like(_result(name, operands)))
        tensors = [torch.from_numpy(x.copy()) for x in operands]
        facts = checked(name, row, operands, row.torch(*tensors, out=out).numpy())
        return Case(repeated(lambda: row.torch(*tensors, out=out)), facts)

    return prepare


def _result(name: str, operands: Arrays) -> np.ndarray:
    """An array like the result: graphc's at once."""
    return np.asarray(array_operations()[name].graphc(*operands))
