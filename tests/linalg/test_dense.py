"""gnp.linalg against NumPy and SciPy, its derivatives, and what is done where there is no answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphc
import graphc.numpy as gnp
from graphc.core import lapack
from graphc.core.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    GradientError,
    ShapeError,
    UnsupportedError,
    VerifyError,
)
from graphc.graph.ops import linalg as linalg_ops
from graphc.graph.ops.linalg import BY_LIBRARY
from graphc.kernel.lower import lower_graph
from graphc.kernel.program import KernelCall
from graphc.kernel.text import parse_kernel, print_kernel
from graphc.kernel.verify import verify
from graphc.passes.partition import partition
from graphc.tracing import bind
from graphc_cupy.recipes import schedule
from tests.conftest import ROOT
from tests.samples import SAMPLES, graph_of

gc: Any = graphc  # results are arrays
RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 5, 5))
POSITIVE = X @ np.swapaxes(X, -1, -2) + np.eye(5)
B = RNG.normal(size=(2, 5, 3))
V = RNG.normal(size=5)

CASES: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
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

TALL = RNG.normal(size=(2, 6, 4))
CASES += [
    (lambda m, x: m.linalg.qr(x), (TALL,)),
    (lambda m, x: m.linalg.qr(x, mode="complete"), (TALL,)),
    (lambda m, x: m.linalg.qr(x), (np.swapaxes(TALL, 1, 2),)),
    (lambda m, x: m.linalg.svd(x).S, (TALL,)),
    (lambda m, x: m.linalg.svd(x)[0][..., 4:] @ np.zeros((2, 2)), (TALL,)),
    (lambda m, x: m.linalg.eigh(x)[0], (POSITIVE,)),
    (lambda m, x: m.linalg.eigvalsh(x), (POSITIVE,)),
    (lambda m, x: m.linalg.matrix_rank(x), (np.stack([np.ones((3, 2)), np.eye(3)[:, :2], np.zeros((3, 2))]),)),
    (lambda m, x: m.linalg.pinv(x), (TALL,)),
    (lambda m, x: m.linalg.pinv(x), (np.ones((2, 3)),)),
    (lambda m, x: [m.linalg.matrix_norm(x, ord=p) for p in (2, -2, "nuc")], (TALL,)),
    (lambda m, x: m.linalg.matrix_norm(x, ord=2, keepdims=True), (TALL,)),
    (lambda m, x: m.linalg.cond(x), (TALL,)),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_against_numpy(number: int) -> None:
    fn, arrays = CASES[number]
    wanted = np.asarray(fn(np, *arrays)) if not isinstance(fn(np, *arrays), tuple) else fn(np, *arrays)
    for got in (fn(gnp, *arrays), gc.jit(lambda *args: fn(gnp, *args))(*arrays)):
        for left, right in zip(got, wanted, strict=True) if isinstance(got, list | tuple) else [(got, wanted)]:
            np.testing.assert_allclose(np.asarray(left), right, rtol=1e-9, atol=1e-10)


Z = X + 1j * RNG.normal(size=X.shape)
ZB = B + 1j * RNG.normal(size=B.shape)
HERMITIAN = Z @ np.swapaxes(Z.conj(), -1, -2)
COMPLEX: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
    (lambda m, z, b: m.linalg.solve(z, b), (Z, ZB)),
    (lambda m, z, b: m.linalg.solve(z, b), (Z[0], ZB[0, :, 0])),
    (lambda m, z, b: m.linalg.solve(z, b), (X, ZB)),
    (lambda m, z: m.linalg.inv(z), (Z,)),
    (lambda m, z: m.linalg.matrix_power(z, -3), (Z,)),
    (lambda m, z: m.linalg.pinv(z), (Z[:, :3],)),
    (lambda m, z: m.linalg.pinv(z), (np.outer(Z[0, 0], Z[0, 1]),)),
    (lambda m, z: m.linalg.svdvals(z), (Z[:, :, :2],)),
    (lambda m, z: m.linalg.cond(z), (Z,)),
    (lambda m, z: m.linalg.matrix_rank(z), (np.stack([np.outer(Z[0, 0], Z[0, 1]), Z[0]]),)),
    (lambda m, z: m.linalg.eigvalsh(z), (HERMITIAN,)),
    (lambda m, z: [m.linalg.matrix_norm(z, ord=p) for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)], (Z,)),
    (lambda m, z: [m.linalg.vector_norm(z, axis=1, ord=p) for p in (0, 1, 2, 3, np.inf, -np.inf)], (Z,)),
    (lambda m, z: [m.linalg.norm(z), m.linalg.vecdot(z, z[::-1]), m.linalg.cross(z[..., :3], z[..., 2:])], (Z,)),
]


@pytest.mark.parametrize("number", range(len(COMPLEX)))
def test_complex_matrices_against_numpy(number: int) -> None:
    fn, arrays = COMPLEX[number]
    wanted = fn(np, *arrays)
    for got in (fn(gnp, *arrays), gc.jit(lambda *args: fn(gnp, *args))(*arrays)):
        for left, right in zip(got, wanted, strict=True) if isinstance(got, list | tuple) else [(got, wanted)]:
            np.testing.assert_allclose(np.asarray(left), right, rtol=1e-9, atol=1e-10)


def test_derivatives_of_complex_solutions() -> None:
    gc.gradcheck(lambda z, b: gnp.sum(gnp.real(gnp.linalg.solve(z, b))), Z[0, :3, :3] + 3, ZB[0, :3], order=2)
    gc.gradcheck(lambda z: gnp.sum(gnp.linalg.svdvals(z) ** 2), Z[0, :2, :3])


@pytest.mark.parametrize("name", ["cholesky", "lu", "det", "slogdet", "qr", "svd", "eigh"])
def test_what_is_of_real_matrices_says_so(name: str) -> None:
    with pytest.raises(DTypeError, match=f"{name}: complex128 is not accepted, only float32, float64; .*test_dense"):
        gc.jit(getattr(gnp.linalg, name))(HERMITIAN)


@pytest.mark.parametrize("x", [np.eye(3), np.eye(4)[:, :2], 2 * np.eye(3)[:2], Z[0, :3, :2], Z[0, :2, :3]])
def test_pseudo_inverses_have_derivatives_where_singular_values_are_equal(x: np.ndarray) -> None:
    """As those of complex matrices are: each is there twice in the real matrix."""
    gc.gradcheck(gnp.linalg.pinv, x)


def test_derivatives_of_a_pseudo_inverse_that_leaves_out_singular_values() -> None:
    x = np.array([[4.0, 1.0, 0.0, 0.2], [1.0, 0.5, 0.3, 0.1]])
    assert gnp.linalg.matrix_rank(x, rtol=0.3) == 1
    gc.gradcheck(lambda x: gnp.linalg.pinv(x, rtol=0.3), x, order=2)
    gc.gradcheck(lambda x: gnp.linalg.pinv(x, rtol=0.3), np.swapaxes(x, 0, 1), order=2)


@pytest.mark.parametrize("name", ["det", "inv", "svdvals", "eigvalsh", "pinv", "matrix_rank", "cond"])
def test_half_types_are_refused_by_name(name: str) -> None:
    with pytest.raises(DTypeError, match=f"{name}: float16 is not accepted, only float32, float64.*test_dense"):
        gc.jit(getattr(gnp.linalg, name))(np.eye(2, dtype=np.float16))


def test_the_order_of_many_products() -> None:
    arrays = [RNG.normal(size=shape) for shape in ((7, 2), (2, 40), (40, 3), (3, 9))]
    for given in (arrays, [arrays[0][0], *arrays[1:]], [*arrays, V[:4].repeat(3)[:9]]):
        got = gc.jit(lambda *a: gnp.linalg.multi_dot(a))(*given)
        np.testing.assert_allclose(got, np.linalg.multi_dot(given), rtol=1e-12)
    shapes = [str(node.result.type.shape) for node in gc.trace(lambda *a: gnp.linalg.multi_dot(a), *arrays).nodes]
    assert shapes == ["(2, 3)", "(2, 9)", "(7, 9)"]
    with pytest.raises(ShapeError, match="multi_dot: needs two or more"):
        gnp.linalg.multi_dot([V])


def test_results_have_names() -> None:
    found = gnp.linalg.slogdet(X)
    np.testing.assert_allclose(found.sign * np.exp(found.logabsdet), np.linalg.det(X))


def cofactors(x: np.ndarray) -> np.ndarray:
    size = len(x)
    found = np.empty_like(x)
    for i, j in np.ndindex(size, size):
        minor = np.delete(np.delete(x, i, 0), j, 1)
        found[i, j] = (-1) ** (i + j) * (np.linalg.det(minor) if size > 1 else 1)
    return found


SINGULAR = [
    np.array([[1.0, 2.0], [2.0, 4.0]]),
    np.array([[0.0, 2.0], [0.0, 4.0]]),
    np.array([[0.0, 0.0], [3.0, 4.0]]),
    np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 5.0, 2.0]]),
    np.array([[2.0, 2.0, 3.0], [4.0, 4.0, 6.0], [1.0, 1.0, 7.0]]),
    np.zeros((3, 3)),
    np.zeros((1, 1)),
    np.diag([0.0, 2.0, 5.0]),
]


@pytest.mark.parametrize("number", range(len(SINGULAR)))
def test_the_derivative_of_a_determinant_that_is_zero(number: int) -> None:
    x = SINGULAR[number]
    np.testing.assert_allclose(gc.jit(gc.grad(gnp.linalg.det))(x), cofactors(x), atol=1e-12)


def test_the_derivative_of_a_determinant() -> None:
    np.testing.assert_allclose(gc.jit(gc.grad(gnp.linalg.det))(X[0]), cofactors(X[0]), rtol=1e-9)
    both = gc.jit(gc.vmap(gc.grad(gnp.linalg.det)))(np.stack([X[0], np.zeros((5, 5))]))
    np.testing.assert_allclose(both, [cofactors(X[0]), np.zeros((5, 5))], rtol=1e-9)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_solve_triangular_reads_one_triangle(lower: bool, trans: bool, unit: bool) -> None:
    matrix = RNG.normal(size=(70, 70)) * 0.05 + np.eye(70)
    right = RNG.normal(size=(70, 2))
    got = gc.jit(lambda a, b: gnp.linalg.solve_triangular(a, b, lower=lower, trans=trans, unit_diagonal=unit))
    wanted = scipy.linalg.solve_triangular(matrix, right, lower=lower, trans=int(trans), unit_diagonal=unit)
    np.testing.assert_allclose(got(matrix, right), wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [1, 33, 64, 130, 193, 330])
def test_sizes_around_panels_and_blocks(size: int) -> None:
    x = RNG.normal(size=(size, size))
    lower, upper, order = gc.jit(gnp.linalg.lu)(x)
    np.testing.assert_allclose(lower @ upper, x[order], atol=1e-11)
    permutation, expected, _ = scipy.linalg.lu(x)
    np.testing.assert_allclose(lower, expected, atol=1e-10)
    np.testing.assert_array_equal(np.eye(size)[order], permutation.T)
    positive = x @ x.T + np.eye(size)
    np.testing.assert_allclose(gc.jit(gnp.linalg.cholesky)(positive), np.linalg.cholesky(positive), atol=1e-10)
    right = RNG.normal(size=size)
    np.testing.assert_allclose(gc.jit(gnp.linalg.solve)(x, right), np.linalg.solve(x, right), rtol=1e-7, atol=1e-9)


def test_large_matrices_are_factored_in_blocks() -> None:
    x = np.random.default_rng(3).normal(size=(2, 260, 260))
    positive = x @ np.swapaxes(x, 1, 2) + np.eye(260)
    exe = gc.compile(gnp.linalg.cholesky, positive)
    assert exe.text("optimized").count("= cholesky(") == 2
    np.testing.assert_allclose(exe(positive), np.linalg.cholesky(positive), atol=1e-10)
    pivots = gc.compile(lambda x: [part.astype("float64") for part in bind(linalg_ops.lu, x)], x)
    assert pivots.text("optimized").count("= lu(") == 5
    for got, (packed, rows) in zip(zip(*pivots(x)[:2], strict=True), map(scipy.linalg.lu_factor, x), strict=True):
        np.testing.assert_allclose(got[0], packed, atol=1e-9)
        np.testing.assert_array_equal(got[1], rows)


@pytest.mark.parametrize("place", [3, 250])
def test_large_matrices_that_are_not_positive_definite_are_nan(place: int) -> None:
    good = np.eye(300) * 2
    bad = good.copy()
    bad[place, place] = -1
    found = gc.jit(gnp.linalg.cholesky)(np.stack([good, bad]))
    np.testing.assert_allclose(found[0], np.eye(300) * 2**0.5)
    np.testing.assert_array_equal(np.isnan(found[1]), np.tri(300, dtype=bool))
    assert (found[1][~np.tri(300, dtype=bool)] == 0).all()


def test_columns_of_tall_matrices_are_eliminated() -> None:
    x = RNG.normal(size=(2, 70, 40))
    packed, pivots, order = gc.jit(lambda x: list(bind(linalg_ops.lu, x)))(x)
    for given, factor, rows, moved in zip(x, packed, pivots, order, strict=True):
        lower, upper = np.tril(factor, -1) + np.eye(70, 40), np.triu(factor[:40])
        np.testing.assert_allclose(lower @ upper, given[moved], atol=1e-12)
        np.testing.assert_array_equal(rows, scipy.linalg.lu_factor(given)[1])
    assert [part.shape for part in bind(linalg_ops.lu, x)] == [(2, 70, 40), (2, 40), (2, 70)]
    with pytest.raises(ShapeError, match="lu: needs square matrices, or more rows than columns"):
        bind(linalg_ops.lu, np.swapaxes(x, 1, 2))
    with pytest.raises(GradientError, match="lu: only of square matrices"):
        gc.grad(lambda x: gnp.sum(bind(linalg_ops.lu, x)[0]))(x)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (60, 60)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("full", [True, False])
def test_factors_give_the_matrix_back(shape: tuple[int, int], dtype: str, full: bool) -> None:
    x = RNG.normal(size=(2, *shape)).astype(dtype)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    u, s, vh = gc.jit(lambda x: gnp.linalg.svd(x, full_matrices=full))(x)
    inner = min(shape)
    np.testing.assert_allclose((u[..., :inner] * s[:, None]) @ vh[:, :inner], x, atol=tolerance * shape[0])
    np.testing.assert_allclose(s, np.linalg.svd(x)[1], rtol=1e-3 if dtype == "float32" else 1e-9)
    q, r = gc.jit(lambda x: gnp.linalg.qr(x, mode="complete" if full else "reduced"))(x)
    np.testing.assert_allclose(q @ r, x, atol=tolerance * shape[0])
    np.testing.assert_array_equal(r, np.triu(r))
    for columns in (u, np.swapaxes(vh, 1, 2), q):
        unit = np.broadcast_to(np.eye(columns.shape[2]), (2, *columns.shape[2:] * 2))
        np.testing.assert_allclose(np.swapaxes(columns, 1, 2) @ columns, unit, atol=tolerance * shape[0])
    if shape[0] == shape[1]:
        symmetric = x + np.swapaxes(x, 1, 2)
        values, vectors = gc.jit(gnp.linalg.eigh)(symmetric)
        again = (vectors * values[:, None]) @ np.swapaxes(vectors, 1, 2)
        np.testing.assert_allclose(again, symmetric, atol=tolerance * shape[0])


def test_the_first_element_that_is_not_small_is_positive() -> None:
    x = RNG.normal(size=(6, 6))
    for vectors in (gc.jit(gnp.linalg.eigh)(x + x.T).eigenvectors, gc.jit(gnp.linalg.svd)(x).U):
        for vector in vectors.T:
            assert next(e for e in vector if abs(e) > 0.437 / 6**0.5) > 0


def test_least_squares() -> None:
    a, b = TALL[0], RNG.normal(size=6)
    np.testing.assert_allclose(gc.jit(gnp.linalg.lstsq)(a, b), np.linalg.lstsq(a, b, rcond=None)[0], rtol=1e-9)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.linalg.cython_lapack", None)
    lapack.address.cache_clear()
    with pytest.raises(BackendError, match=r"pip install \"graphc\[linalg\]\""):
        gc.compile(gnp.linalg.eigh, gc.spec((3, 3), "float64"))
    lapack.address.cache_clear()


@pytest.mark.parametrize("op", [op.name for op in BY_LIBRARY])
def test_the_gpu_names_what_it_cannot_do(op: str) -> None:
    graph = partition(graph_of(next(s for s in SAMPLES if s.op == op)))
    (call,) = lower_graph(graph, name="main").calls
    assert isinstance(call, KernelCall)
    with pytest.raises(UnsupportedError, match=rf"{op}: s\w+ of LAPACK runs on the cpu backend only"):
        schedule(call.kernel)
    assert f"`{op}`" in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_calls_of_a_library_are_text_and_verified() -> None:
    text = """kernel k(
  out y: f64[2],
):
  parallel i in 0..2:
    alloc worker a: f64[3]
    alloc worker n: i32[1]
    call dsyevd(a, n)
    y[i] = a[0]
"""
    kernel = parse_kernel(text)
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel
    assert "call dsyevd(a, n)" in print_kernel(kernel)
    shared = text.replace("call dsyevd(a, n)", "call dsyevd(a, y)")
    with pytest.raises(VerifyError, match="call dsyevd: y is no scratch of its own"):
        verify(parse_kernel(shared))
    with pytest.raises(VerifyError, match="a is no scratch of its own"):
        verify(parse_kernel(text.replace("parallel", "vector")))


DIFFERENTIATED: list[Callable[[Any], Any]] = [
    lambda x: gnp.linalg.solve(x, x[:, 0] * x[0]),
    lambda x: gnp.linalg.det(x),
    lambda x: gnp.linalg.slogdet(x)[1],
    lambda x: gnp.linalg.pinv(x[:2]),
    lambda x: gnp.linalg.matrix_norm(x, ord="nuc"),
]


@pytest.mark.parametrize("number", range(len(DIFFERENTIATED)))
def test_second_derivatives(number: int) -> None:
    gc.gradcheck(DIFFERENTIATED[number], X[0, :3, :3] + 2 * np.eye(3), order=2, directions=1)


def test_values_have_a_derivative_where_vectors_have_none() -> None:
    got = gc.jit(gc.grad(lambda x: gnp.sum(gnp.linalg.eigvalsh(x) ** 2)))(np.eye(3))
    np.testing.assert_allclose(got, 2 * np.eye(3), atol=1e-12)


def test_what_lapack_cannot_do_is_nan() -> None:
    broken = np.stack([np.diag([1.0, np.nan]), np.eye(2), np.diag([np.inf, 1.0])])
    for fn in (gnp.linalg.qr, gnp.linalg.svd, gnp.linalg.eigh):
        for part in gc.jit(fn)(broken):
            assert np.isnan(part[[0, 2]]).all()
            assert np.isfinite(part[1]).all()


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
    large = x[0].repeat(3, 0).repeat(3, 1) + np.eye(270, dtype=np.float32)
    for given in (x, large):
        results = [gc.jit(gnp.linalg.inv, threads=threads)(given) for threads in (1, 2, 3)]
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
