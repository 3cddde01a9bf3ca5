"""Reductions by group against loops over the groups."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
IDS = np.array([2, 0, 2, 5, 0, 0, 9, 2, 3, 3, -1, 5])
GROUPS = 6
NAMES = ("sum", "prod", "max", "min", "mean")


def by_loops(name: str, x: np.ndarray, ids: np.ndarray) -> np.ndarray:
    empty = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf, "mean": 0.0}[name]
    groups = [x[ids == group] for group in range(GROUPS)]
    return np.stack([getattr(rows, name)(0) if len(rows) else np.full(x.shape[1:], empty) for rows in groups])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ids", [IDS, np.sort(IDS)], ids=["unsorted", "sorted"])
def test_like_loops(name: str, ids: np.ndarray) -> None:
    got = gc.jit(lambda x, ids: getattr(gnp, f"segment_{name}")(x, ids, GROUPS))(X, ids)
    np.testing.assert_allclose(got, by_loops(name, X, ids), rtol=1e-13)


def test_softmax() -> None:
    ids = np.clip(IDS, 0, GROUPS - 1)
    got = gc.jit(lambda x, ids: gnp.segment_softmax(x, ids, GROUPS))(X, ids)
    for group in np.unique(ids):
        powers = np.exp(X[ids == group])
        np.testing.assert_allclose(got[ids == group], powers / powers.sum(0), rtol=1e-13)


def test_ids_of_several_dims() -> None:
    got = gc.jit(lambda x, ids: gnp.segment_sum(x, ids, GROUPS))(X.reshape(4, 3, 3), IDS.reshape(4, 3))
    np.testing.assert_allclose(got, by_loops("sum", X, IDS), rtol=1e-13)


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_second_derivatives(name: str) -> None:
    ids = np.clip(IDS, 0, GROUPS - 1)

    def fn(x):
        found = getattr(gnp, f"segment_{name}")(x, ids, GROUPS)
        return gnp.where(gnp.isfinite(found), found, 0.0) ** 2

    gc.gradcheck(fn, X, order=2)


def test_mistakes() -> None:
    with pytest.raises(DTypeError, match="segment_sum: segment_ids are integers"):
        gnp.segment_sum(X, X[:, 0], 3)
    with pytest.raises(ShapeError, match=r"segment_max: segment_ids \[5\] are not the first dims"):
        gnp.segment_max(X, IDS[:5], 3)
    with pytest.raises(ArgumentError, match=r"segment_mean: num_segments is an int, got <traced .*test_segments.py"):
        gc.jit(gnp.segment_mean)(X, IDS, 3)
    with pytest.raises(ArgumentError, match="segment_sum: num_segments is -1"):
        gnp.segment_sum(X, IDS, -1)
