"""gnp.linalg against NumPy and SciPy, its derivatives, and what is done where there is no answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 5, 5))
POSITIVE = X @ np.swapaxes(X, -1, -2) + np.eye(5)
B = RNG.normal(size=(2, 5, 3))
V = RNG.normal(size=5)

CASES: list[tuple[Callable[[Any, Any], Any], tuple[np.ndarray, ...]]] = [
    (lambda m, x: m.linalg.cholesky(x), (POSITIVE,)),
    (lambda m, x: m.linalg.cholesky(x, upper=True), (POSITIVE,)),
    (lambda m, x, b: m.linalg.solve(x, b), (X, B)),
    (lambda m, x, b: m.linalg.solve(x, b), (X[0], V)),
    (lambda m, x, b: m.linalg.solve(x, b), (X[:1], B)),
    (lambda m, x: m.linalg.inv(x), (X,)),
    (lambda m, x: m.linalg.det(x), (X,)),
    (lambda m, x: tuple(m.linalg.slogdet(x)), (X,)),
    (lambda m, x: m.linalg.matrix_power(x, 0), (X,)),
    (lambda m, x: m.linalg.matrix_power(x, 5), (X,)),
    (lambda m, x: m.linalg.matrix_power(x, -2), (X,)),
    (lambda m, x: [m.linalg.vector_norm(x, axis=1, ord=p) for p in (0, 1, 2, 3, np.inf, -np.inf)], (X,)),
    (lambda m, x: m.linalg.vector_norm(x, keepdims=True), (X,)),
    (lambda m, x: [m.linalg.matrix_norm(x, ord=p) for p in ("fro", 1, -1, np.inf, -np.inf)], (X,)),
    (lambda m, x: m.linalg.norm(x), (X,)),
    (lambda m, x: [m.linalg.norm(x, p, axis=(0, 2), keepdims=True) for p in ("fro", 1, np.inf)], (X,)),
    (lambda m, x: m.linalg.norm(x, 3, axis=-2), (X,)),
    (lambda m, x: m.linalg.cross(x, x[::-1], axis=-1), (X[..., :3],)),
    (lambda m, x: (m.linalg.trace(x), m.linalg.diagonal(x), m.linalg.matrix_transpose(x)), (X,)),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_against_numpy(number: int) -> None:
    fn, arrays = CASES[number]
    wanted = np.asarray(fn(np, *arrays)) if not isinstance(fn(np, *arrays), tuple) else fn(np, *arrays)
    for got in (fn(gnp, *arrays), gc.jit(lambda *args: fn(gnp, *args))(*arrays)):
        for left, right in zip(got, wanted, strict=True) if isinstance(got, list | tuple) else [(got, wanted)]:
            np.testing.assert_allclose(np.asarray(left), right, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_solve_triangular_reads_one_triangle(lower: bool, trans: bool, unit: bool) -> None:
    matrix = RNG.normal(size=(70, 70)) * 0.05 + np.eye(70)
    right = RNG.normal(size=(70, 2))
    got = gc.jit(lambda a, b: gnp.linalg.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit))
    wanted = scipy.linalg.solve_triangular(matrix, right, lower=lower, trans=int(trans), unit_diagonal=unit)
    np.testing.assert_allclose(got(matrix, right), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 65, 130])
def test_sizes_around_panels_and_blocks(size: int) -> None:
    x = RNG.normal(size=(size, size))
    lower, upper, order = gc.jit(gnp.linalg.lu)(x)
    np.testing.assert_allclose(lower @ upper, x[order], atol=1e-11)
    permutation, expected, _ = scipy.linalg.lu(x)
    np.testing.assert_allclose(lower, expected, atol=1e-10)
    np.testing.assert_array_equal(np.eye(size)[order], permutation.T)
    positive = x @ x.T + np.eye(size)
    np.testing.assert_allclose(gc.jit(gnp.linalg.cholesky)(positive), np.linalg.cholesky(positive), atol=1e-10)


DIFFERENTIATED: list[Callable[[Any], Any]] = [
    lambda x: gnp.linalg.cholesky(x @ x.T + np.eye(3)),
    lambda x: gnp.linalg.solve(x, x[:, 0] * x[0]),
    lambda x: gnp.linalg.inv(x),
    lambda x: gnp.linalg.det(x),
    lambda x: gnp.linalg.slogdet(x)[1],
    lambda x: gnp.linalg.lu(x)[:2],
    lambda x: gnp.linalg.matrix_power(x, -2),
    lambda x: gnp.linalg.solve_triangular(x, x, unit_diagonal=True),
]


@pytest.mark.parametrize("number", range(len(DIFFERENTIATED)))
def test_second_derivatives(number: int) -> None:
    gc.gradcheck(DIFFERENTIATED[number], X[0, :3, :3] + 2 * np.eye(3), order=2, directions=1)


def test_gradient_of_the_logarithm_of_the_determinant_is_the_inverse() -> None:
    found = gc.jit(gc.grad(lambda x: gnp.linalg.slogdet(x)[1]))(X[0])
    np.testing.assert_allclose(found, np.linalg.inv(X[0]).T, rtol=1e-9)


def test_what_has_no_answer_is_nan_or_infinite() -> None:
    cholesky = gc.jit(gnp.linalg.cholesky)(np.stack([np.eye(2), -np.eye(2)]))
    np.testing.assert_array_equal(cholesky, [[[1, 0], [0, 1]], [[np.nan, 0], [np.nan, np.nan]]])
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    assert not np.isfinite(gc.jit(gnp.linalg.inv)(singular)).any()
    assert gc.jit(gnp.linalg.det)(singular) == 0
    sign, size = gc.jit(gnp.linalg.slogdet)(singular)
    assert (sign, size) == (0, -np.inf)


def test_bits_do_not_depend_on_threads() -> None:
    x = np.random.default_rng(1).normal(size=(6, 90, 90)).astype(np.float32)
    results = [gc.jit(gnp.linalg.inv, threads=threads)(x) for threads in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_vmap_is_the_op_on_more_matrices() -> None:
    got = gc.jit(gc.vmap(gnp.linalg.solve, in_axes=(None, 0)))(X[0], B)
    np.testing.assert_allclose(got, np.linalg.solve(X[0], B), rtol=1e-9)


def test_mistakes() -> None:
    with pytest.raises(ShapeError, match=r"det: needs square matrices in the last two dims, got shape \[2, 3\]"):
        gnp.linalg.det(np.ones((2, 3)))
    with pytest.raises(DTypeError, match="cholesky: bfloat16 is not accepted"):
        gnp.linalg.cholesky(gnp.ones((2, 2), "bfloat16"))
    with pytest.raises(ArgumentError, match="no norm 'what'"):
        gnp.linalg.matrix_norm(X, ord="what")
    with pytest.raises(ShapeError, match=r"solve: right sides \[4, 1\] do not fit matrices \[2, 5, 5\]"):
        gnp.linalg.solve(X, np.ones(4))
