"""Data sets, standardisation and splitting."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from graphc import data
from graphc.api import ArgumentError, DataError


def test_arrays_are_not_copied() -> None:
    x, y = np.zeros((5, 3), np.float32), np.arange(5)
    dataset = data.arrays(x, y)
    assert dataset.size == 5
    assert dataset.leaves[0] is x
    assert dataset.leaves[1] is y
    assert dataset.nbytes == 60 + 40


def test_one_container_is_the_pytree_of_a_batch() -> None:
    dataset = data.arrays({"x": np.zeros((2, 3)), "y": np.zeros(2)})
    assert isinstance(dataset.tree, dict)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), "no arrays"),
        ((np.zeros((0, 3)), np.zeros(0)), "no samples"),
        ((np.zeros((3, 2)), np.zeros(4)), "array 0 has 3, array 1 has 4"),
        ((np.array(["a", "b"]),), "dtype <U1"),
        ((np.float32(1.0),), "scalar"),
        ((np.array([[1.0, np.nan], [np.inf, 0.0]]),), r"2 elements.*nan at \[0, 1\]"),
    ],
)
def test_data_that_cannot_be_used(arrays: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.arrays(*arrays)


class Tensor:
    """One that does not give its numbers away."""

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise RuntimeError("use detach()")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (Tensor(), r"array 1: Tensor cannot be read as an array of the host: use detach\(\)"),
        (np.ma.masked_array(np.ones(5), np.arange(5) > 2), r"array 1 is masked, .* fill it with \.filled"),
    ],
)
def test_arrays_that_would_be_read_wrongly(array: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.arrays(np.zeros((5, 3)), array)


def test_nan_can_be_allowed_or_reported() -> None:
    x = np.array([np.nan, 1.0])
    with pytest.warns(UserWarning, match="1 elements"):
        data.arrays(x, nonfinite="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.arrays(x, nonfinite="allow")
        data.arrays(np.full(4, 3e38, np.float32))  # the sum overflows, the values are finite
    with pytest.raises(ArgumentError, match="nonfinite"):
        data.arrays(x, nonfinite="drop")


def test_standardize_uses_the_statistics_of_the_training_set() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(200, 4)).astype(np.float32)
    x[:, 2] = 5
    scale = data.standardize(x)
    z = scale(x)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), [1, 1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(scale.inverse(z), x, rtol=1e-5, atol=1e-6)
    assert scale(np.full((1, 4), 5, np.uint8)).dtype == np.float32
    assert data.standardize(x, axis=None)(x).std() == pytest.approx(1)


def test_split_is_stratified_fixed_and_complete() -> None:
    y = np.repeat(np.arange(4), [40, 40, 10, 110])
    x = np.arange(200)
    (x_train, y_train), (x_test, y_test) = data.split(x, y, test=50, seed=1, stratify=True)
    assert sorted([*x_train, *x_test]) == x.tolist()
    assert np.abs(np.bincount(y_test) - np.array([40, 40, 10, 110]) / 4).max() <= 1
    np.testing.assert_array_equal(y[x_test], y_test)
    np.testing.assert_array_equal(y[x_train], y_train)
    again = data.split(x, y, test=0.25, seed=1, stratify=True)[1][0]
    np.testing.assert_array_equal(again, x_test)
    assert not np.array_equal(data.split(x, y, test=50, seed=2)[1][0], x_test)


def test_split_is_the_same_everywhere() -> None:
    assert data.split(np.arange(20), np.arange(20), test=5, seed=0)[1][0].tolist() == [0, 2, 9, 11, 17]


@pytest.mark.parametrize("test", [0, 8, 1.0, 0.0, True, "half"])
def test_split_refuses_a_share_that_makes_no_sense(test: object) -> None:
    with pytest.raises(ArgumentError, match="test="):
        data.split(np.arange(8), np.arange(8), test=test)
