"""Sorting functions against NumPy, at every length that changes the way, and their derivatives."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 50))


@pytest.mark.parametrize("length", [1, 255, 256, 257, 65536, 65537, 150001])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_lengths(length: int, dtype: str) -> None:
    x = (RNG.standard_normal(length) * 1000).astype(dtype)
    ordered, order = gc.jit(lambda x: (gnp.sort(x), gnp.argsort(x)))(x)
    np.testing.assert_array_equal(ordered, np.sort(x))
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))


def test_nan_and_equal_elements() -> None:
    x = np.array([np.nan, 2, -np.inf, 2, np.inf, -0.0, 0.0, 1, np.nan, 2], np.float32)
    order, backwards = gc.jit(lambda x: (gnp.argsort(x), gnp.argsort(x, descending=True)))(x)
    np.testing.assert_array_equal(order, np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(backwards, [0, 8, 4, 1, 3, 9, 7, 5, 6, 2])


def test_top_k_and_median() -> None:
    values, places = gc.jit(lambda x: gnp.top_k(x, 4, axis=0))(X.T)
    want = np.argsort(-X.T, axis=0, kind="stable")[:4]
    np.testing.assert_array_equal(places, want)
    np.testing.assert_array_equal(values, np.take_along_axis(X.T, want, 0))
    for axis in (None, 0, 1):
        for keepdims in (False, True):
            got = gc.jit(lambda x, axis=axis, keepdims=keepdims: gnp.median(x, axis, keepdims))(X)
            np.testing.assert_allclose(got, np.median(X, axis, keepdims=keepdims), rtol=1e-15)
    assert np.isnan(gc.jit(gnp.median)(np.array([1.0, np.nan, 2.0])))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 8, 1000])
def test_searchsorted(side: str, length: int) -> None:
    table = np.sort(np.round(RNG.standard_normal(length) * 20) / 10)
    if length > 7:
        table[-2:] = np.nan
    values = np.array([*np.round(RNG.standard_normal(40) * 20) / 10, -np.inf, np.inf, np.nan])
    got = gc.jit(lambda t, v: gnp.searchsorted(t, v, side=side))(table, values)
    np.testing.assert_array_equal(got, np.searchsorted(table, values, side=side))


def test_second_derivatives() -> None:
    def fn(x):
        ordered = gnp.sort(x, 1) * gnp.sort(x, 0, descending=True)
        return ordered**2, gnp.top_k(x, 3)[0] ** 3, gnp.median(x, 1)

    gc.gradcheck(fn, X[:, :9], order=2)


def test_mistakes() -> None:
    with pytest.raises(ShapeError, match="top_k: k is 51"):
        gnp.top_k(X, 51)
    with pytest.raises(
        ArgumentError, match=r"top_k: k is an int, got <traced .* gc.jit\(f, static=...\).*test_sorting.py"
    ):
        gc.jit(gnp.top_k)(X, 2)
    with pytest.raises(ArgumentError, match="searchsorted: side"):
        gnp.searchsorted(X[0], X, side="middle")
    with pytest.raises(ShapeError, match="searchsorted: takes a sorted vector"):
        gnp.searchsorted(X, X)
