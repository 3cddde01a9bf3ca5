"""Reductions, cumulative operations, indexing, sorting and movement, each on 10^6 elements: the rows of `arrays`.

A row has the operands and what each system computes of them; results are compared with NumPy's before anything is
timed. Peers write to arrays that are there wherever they have a way to be told so.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np

from benchmarks.arrays.indexing import gathers, scatters
from benchmarks.arrays.movement import movements, slices
from benchmarks.arrays.reductions import cumulatives, reductions
from benchmarks.arrays.row import Array, ArrayOperation, Arrays
from benchmarks.arrays.sorting import selections, sorts
from benchmarks.serve import Case, Prepare, Request, repeated


def array_operations() -> dict[str, ArrayOperation]:
    """All rows by name."""
    rows: dict[str, ArrayOperation] = {}
    for part in (reductions, cumulatives, gathers, scatters, sorts, selections, slices, movements):
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

        def entry(
            state: Mapping[str, Array], batch: tuple[Array, ...], step: Array
        ) -> tuple[dict[str, Array], tuple[()]]:
            given = (state["out"], *batch) if row.state else batch
            return {"out": row.graphc(*given)}, ()

        program = gc.program(state, {"row": entry}, {"row": batch}, threads=threads)
        program.run("row", batch, n=1)
        facts = checked(name, row, operands, cast("Mapping[str, Array]", program.state)["out"])
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
    """An array like the result: graphc's."""
    import graphc as gc

    row = array_operations()[name]
    return np.asarray(gc.jit(lambda *given: row.graphc(*given))(*operands))
