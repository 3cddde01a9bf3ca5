"""Sparse matrices times dense arrays against SciPy, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import graphc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from graphc.sparse import CSR, csr_dot

gc: Any = graphc  # results are arrays
RNG = np.random.default_rng(3)


def matrix(rows: int, columns: int, density: float = 0.3) -> scipy.sparse.csr_array:
    return scipy.sparse.random_array((rows, columns), density=density, format="csr", rng=RNG)


@pytest.mark.parametrize("rows,columns,density", [(7, 5, 0.3), (40, 60, 0.1), (5, 3, 0.0), (6, 4, 1.0), (30, 8, 0.02)])
@pytest.mark.parametrize("right", [(), (1,), (9,)])
def test_against_scipy(rows: int, columns: int, density: float, right: tuple[int, ...]) -> None:
    x, dense = matrix(rows, columns, density), RNG.normal(size=(columns, *right))
    for fn in (csr_dot, gc.jit(csr_dot)):
        np.testing.assert_allclose(fn(x.data, x.indices, x.indptr, dense), x @ dense, rtol=1e-12, atol=1e-14)


def test_empty_rows_at_both_ends_and_between() -> None:
    dense = np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    x = CSR.from_dense(dense)
    np.testing.assert_array_equal(gc.jit(lambda x: x.to_dense())(x), dense)
    np.testing.assert_array_equal(gc.jit(lambda x, v: x @ v)(x, np.array([1.0, 10.0])), dense @ [1, 10])


def test_derivatives_are_the_transpose_and_the_product_where_there_are_elements() -> None:
    x, dense, weight = matrix(7, 5), RNG.normal(size=(5, 3)), RNG.normal(size=(7, 3))

    def loss(data: gnp.Array, right: gnp.Array) -> gnp.Array:
        return gnp.sum(csr_dot(data, x.indices, x.indptr, right) * weight)

    by_data, by_dense = gc.jit(gc.grad(loss, argnums=(0, 1)))(x.data, dense)
    rows, columns = x.nonzero()
    np.testing.assert_allclose(by_data, (weight @ dense.T)[rows, columns], rtol=1e-12)
    np.testing.assert_allclose(by_dense, x.T @ weight, rtol=1e-12)
    gc.gradcheck(lambda data, right: csr_dot(data**2, x.indices, x.indptr, right), x.data, dense, order=2, directions=1)


def test_derivatives_of_some_rows_leave_out_the_elements_of_others() -> None:
    x, dense, weight = matrix(9, 5, 0.6), RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
    some = x.indptr[3:8]
    data = x.data.copy()
    data[-1] = np.inf  # of the last row, which is none of them

    def loss(data: gnp.Array, right: gnp.Array) -> gnp.Array:
        return gnp.sum(csr_dot(data, x.indices, some, right) * weight)

    by_data, by_dense = gc.jit(gc.grad(loss, argnums=(0, 1)))(data, dense)
    wanted = np.zeros((9, 3))
    wanted[3:7] = weight
    rows, columns = x.nonzero()
    np.testing.assert_allclose(by_data, (wanted @ dense.T)[rows, columns], rtol=1e-12)
    np.testing.assert_allclose(by_dense, x.T @ wanted, rtol=1e-12)


def test_derivatives_of_a_batch_of_matrices() -> None:
    x, dense = matrix(6, 4, 0.5), RNG.normal(size=(4, 2))
    data = RNG.normal(size=(3, x.data.size))

    def loss(data: gnp.Array) -> gnp.Array:
        return gnp.sum(csr_dot(data, x.indices, x.indptr, dense) ** 2)

    got = gc.jit(gc.grad(lambda data: gnp.sum(gc.vmap(loss)(data))))(data)
    np.testing.assert_allclose(got, [gc.grad(loss)(row) for row in data], rtol=1e-12)


def test_vmap() -> None:
    x, dense = matrix(6, 4), RNG.normal(size=(3, 4))
    got = gc.jit(gc.vmap(lambda v: csr_dot(x.data, x.indices, x.indptr, v)))(dense)
    np.testing.assert_allclose(got, (x @ dense.T).T, rtol=1e-12)


def test_mistakes() -> None:
    x = CSR.from_dense(np.eye(3))
    with pytest.raises(ShapeError, match=r"a 3x3 matrix times \[2\]"):
        x @ np.ones(2)
    with pytest.raises(DTypeError, match="indices are integers, got float64 and int64"):
        csr_dot(np.ones(2), np.ones(2), np.array([0, 2]), np.ones(2))
    with pytest.raises(UnsupportedError, match=r"CSR: a dense array times a sparse matrix.*test_sparse.py"):
        np.ones((3, 3)) @ x
    with pytest.raises(UnsupportedError, match=r"CSR: a dense array times a sparse matrix.*test_sparse.py"):
        gc.jit(lambda dense: dense @ x)(np.ones((3, 3)))


@pytest.mark.parametrize(
    ("columns", "starts", "shape", "error", "message"),
    [
        ([0, 2, 1], [0, 3], (2, 3), ShapeError, "indptr of 2 rows has 3 elements"),
        ([0, 2, 1], [0, 3, 2], (2, 3), ArgumentError, "goes up from 0 to the number of elements, 3"),
        ([0, 2, 1], [1, 2, 3], (2, 3), ArgumentError, "goes up from 0"),
        ([0, 2, 1], [0, 1, 2], (2, 3), ArgumentError, "the number of elements, 3"),
        ([0, 7, 1], [0, 1, 3], (2, 3), ArgumentError, "a column outside of a matrix of 3 columns"),
        ([0, -1, 1], [0, 1, 3], (2, 3), ArgumentError, "a column outside"),
        ([0, 2, 1], [0, 1, 3], (2, 3, 1), ShapeError, "two extents"),
    ],
)
def test_arrays_that_are_no_matrix(columns, starts, shape, error, message) -> None:
    csr = CSR(np.ones(3, np.float32), np.array(columns), np.array(starts), shape)
    with pytest.raises(error, match=message):
        csr @ np.ones(3, np.float32)
    with pytest.raises(error, match=message):
        csr.to_dense()


def test_rows_are_counted_while_tracing() -> None:
    csr = CSR(np.ones(3, np.float32), np.array([0, 2, 1]), np.array([0, 3]), (2, 3))
    with pytest.raises(ShapeError, match=r"indptr of 2 rows has 3 elements, got \[2\].*test_sparse.py"):
        gc.jit(lambda csr: csr @ np.ones(3, np.float32))(csr)
