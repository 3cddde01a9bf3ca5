"""Cumulative functions against NumPy, and derivatives of what is composed of them."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp

X = np.random.default_rng(0).standard_normal((3, 50))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("reverse", [False, True])
def test_like_numpy(axis: int, reverse: bool) -> None:
    def fn(x):
        given = {"axis": axis, "reverse": reverse}
        return (
            gnp.cumulative_sum(x, **given),
            gnp.cumulative_prod(x, **given),
            gnp.cummax(x, **given),
            gnp.cummin(x, **given),
            gnp.cumlogsumexp(x, **given),
        )

    ufuncs = (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp)
    flipped = np.flip(X, axis) if reverse else X
    for got, ufunc in zip(gc.jit(fn)(X), ufuncs, strict=True):
        want = ufunc.accumulate(flipped, axis=axis)
        np.testing.assert_allclose(got, np.flip(want, axis) if reverse else want, rtol=1e-12, atol=1e-300)


def test_exclusive_and_initial() -> None:
    sums = gc.jit(lambda x: gnp.cumulative_sum(x, 1, exclusive=True))(X)
    products = gc.jit(lambda x: gnp.cumulative_prod(x, 1, include_initial=True))(X)
    np.testing.assert_array_equal(sums[:, 0], 0)
    np.testing.assert_allclose(sums[:, 1:], np.cumsum(X, 1)[:, :-1], rtol=1e-12)
    np.testing.assert_array_equal(products[:, 0], 1)
    np.testing.assert_allclose(products[:, 1:], np.cumprod(X, 1), rtol=1e-12)
    backwards = gc.jit(lambda x: gnp.cummax(x, 1, reverse=True, exclusive=True))(X)
    assert (backwards[:, -1] == -np.inf).all()


def test_infinities_and_nan() -> None:
    x = np.array([-np.inf, -np.inf, 1.0, 1000.0, -np.inf, np.inf, 3.0, np.nan, 1.0], np.float32)
    got = gc.jit(gnp.cumlogsumexp)(x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, np.logaddexp.accumulate(x), rtol=1e-6)


def test_second_derivatives() -> None:
    def fn(x):
        rows = gnp.cumlogsumexp(x, 1) + gnp.cumulative_prod(x, 0) + gnp.cummax(x, 1, reverse=True)
        return rows, gnp.linear_recurrence(gnp.tanh(x), x, 1)

    gc.gradcheck(fn, X[:, :7], order=2)


def test_the_product_of_zeros_has_a_derivative() -> None:
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    grad = gc.grad(lambda x: gnp.sum(gnp.cumulative_prod(x)))(x)
    np.testing.assert_array_equal(grad, [1, 8, 0, 0, 0])


def test_windows() -> None:
    def fn(x, i, j, v):
        return gnp.dynamic_slice(x, (i, j), (2, 10)), gnp.dynamic_update_slice(x, v, (i, j))

    v = np.ones((2, 10))
    for i, j in ((0, 0), (1, 30), (-3, 100)):
        part, whole = gc.jit(fn)(X, np.int32(i), np.int32(j), v)
        a, b = min(max(i, 0), 1), min(max(j, 0), 40)
        np.testing.assert_array_equal(part, X[a : a + 2, b : b + 10])
        want = X.copy()
        want[a : a + 2, b : b + 10] = 1
        np.testing.assert_array_equal(whole, want)
