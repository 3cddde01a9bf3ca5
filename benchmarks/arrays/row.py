"""What a row is, and the arrays that rows take."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS = COLUMNS = 1000
COUNT = ROWS * COLUMNS

# NumPy arrays, tensors of PyTorch, and arrays of graphc while it traces: what one table says about all three.
Array = Any
Arrays = Sequence[np.ndarray]
Make = Callable[[np.random.Generator], np.ndarray]
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


Named = Iterator[tuple[str, ArrayOperation]]


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


def places(rng: np.random.Generator, below: int, count: int) -> np.ndarray:
    """Random indices."""
    return rng.integers(0, below, count)


def numpy_into(out: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A copy in the array that is there."""
    np.copyto(out, x)
    return out


def one(make: Make) -> Operands:
    """A single operand."""
    return lambda rng: [make(rng)]
