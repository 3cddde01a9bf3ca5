"""The array surface of a traced value: operators, methods, indexing, updates, NumPy's protocols."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc.core.errors import ArgumentError, DTypeError, ShapeError, TraceError, UnsupportedError
from graphc.tracing import Tracer, spec, trace
from tests.evaluate import check, through_graph

X = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
M = X[:, :, 0].copy()
N = np.random.default_rng(1).integers(-9, 9, size=(4, 5))

OPERATORS: list[Callable[..., object]] = [
    lambda x, y: x + y - x * y / (y * y + 1),
    lambda x, y: 1 + x - 2 * y,
    lambda x, y: 3 - x / 2,
    lambda x, y: 1 / (x * x + 1),
    lambda x, y: -x + abs(y) + (+x),
    lambda x, y: x // y + x % y,
    lambda x, y: 2 // x + 2 % x,
    lambda x, y: 2.0 ** (x * 0.1),
    lambda x, y: (x < y) & (x <= 0.5) | ~(x > y) ^ (x >= y),
    lambda x, y: (x == y) | (x != 0.0),
    lambda x, y: x @ y.T,
    lambda x, y: list(x),
    lambda x, y: np.float32(2) * x + np.ones(5, np.float32) * y,
    lambda x, y: np.ones((4, 5), np.float32) - x,
    lambda x, y: np.ones((3, 4), np.float32) @ x,
]


@pytest.mark.parametrize("position", range(len(OPERATORS)))
def test_operators(position: int) -> None:
    function = OPERATORS[position]
    check(function, function, M, M[::-1].copy() + np.float32(0.3), rtol=1e-5, atol=1e-5)


def test_integer_operators() -> None:
    def function(x: object, y: object) -> object:
        return x // 3, x % 3, x // -3, x % -3, x & 5, x | 2, x ^ y, x << 2, x >> 1, ~x, x // y  # type: ignore[operator]

    positive = np.abs(N) + 1
    check(function, function, N, positive)


METHODS: list[Callable[..., object]] = [
    lambda x: x.sum(axis=0) + x.mean(0) + x.max(axis=0) - x.min(0),
    lambda x: x.reshape(2, -1).reshape((5, 24)).T,
    lambda x: x.ravel()[:3] * x.flatten()[3:6],
    lambda x: x.transpose(2, 0, 1).swapaxes(0, 1),
    lambda x: x.mT.sum() if hasattr(x, "mT") else x.swapaxes(-1, -2).sum(),
    lambda x: x.clip(-1, 1).round(1),
    lambda x: x.argmax(axis=1) + x.argmin(axis=1),
    lambda x: (x > 0).any(axis=0) == (x > 0).all(axis=0),
    lambda x: x.astype("int32").astype(np.float64),
    lambda x: x[:1].squeeze(0).repeat(2, axis=0),
    lambda x: x.prod(axis=2) + x.take([0, 1], axis=2).sum(-1),
    lambda x: x[0].dot(x[1].T),
    lambda x: np.asarray([x.ndim, x.size, x.nbytes, x.itemsize, len(x), *x.shape]),
]


@pytest.mark.parametrize("position", range(len(METHODS)))
def test_methods(position: int) -> None:
    function = METHODS[position]
    check(function, function, X)


I = np.array([2, 0, -1])
J = np.array([[1], [3]])
INDICES: list[object] = [
    0,
    -1,
    (1, 2, 3),
    (slice(1, 3), slice(None, None, 2)),
    slice(None, None, -1),
    (slice(3, 0, -2), slice(-1, 1, -1)),
    (Ellipsis, 1),
    (0, Ellipsis, slice(2)),
    (None, 1, None, slice(2), None),
    Ellipsis,
    (),
    slice(3, 1),
    I,
    [0, 1, 1],
    (slice(None), I),
    (slice(1, 3), I, 2),
    (0, I),
    (I, 0),
    (I, slice(None), 1),
    (0, slice(None), I),
    (I, J),
    (I, slice(1, 4), J),
    (None, I, None),
    (None, I, slice(1, 4), J),
    (slice(None), I, None, J),
    (slice(None), I, None, slice(2)),
    (J, I, np.array(1)),
    np.int64(2),
    np.array(2),
    np.zeros((0,), np.int64),
    (slice(None), slice(None, None, -1), I),
]


@pytest.mark.parametrize("position", range(len(INDICES)))
def test_indexing(position: int) -> None:
    index = INDICES[position]
    check(lambda x: x[index], lambda x: x[index], X)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_indexing_with_traced_integers(dtype: str) -> None:
    rows, columns = np.array([[0, 3], [2, 1]], dtype), np.array([1, 4], dtype)

    def function(x: object, i: object, j: object) -> object:
        return x[i], x[:, j], x[i, j], x[1, j], x[i, :, j], x[j[0]]  # type: ignore[index]

    check(function, function, X, rows, columns)


def test_traced_indices_outside_take_the_nearest_element() -> None:
    (got,) = through_graph(lambda x, i: x[i], M, np.array([9, -1, -9]))
    np.testing.assert_array_equal(got, M[[3, 3, 0]])
    (got,) = through_graph(lambda x, i: x[i, i], M, np.array([9, -9]))
    np.testing.assert_array_equal(got, M[[3, 0], [4, 0]])


UPDATES: list[object] = [
    0,
    (1, 2),
    (slice(1, 3), slice(2)),
    (slice(None), 1),
    (slice(None, None, 2), slice(1, None, 3)),
    (slice(None, None, -1), slice(0, 2)),
    (slice(3, None, -2), 2),
    (Ellipsis, None, slice(1, 4)),
    slice(2, 2),
    Ellipsis,
]


@pytest.mark.parametrize("position", range(len(UPDATES)))
def test_updates(position: int) -> None:
    index = UPDATES[position]
    values = np.random.default_rng(2).normal(size=M[index].shape).astype(np.float32)  # type: ignore[index]

    def reference(x: np.ndarray, v: np.ndarray) -> object:
        placed, added, scaled = x.copy(), x.copy(), x.copy()
        placed[index] = v  # type: ignore[index]
        added[index] += v  # type: ignore[index]
        scaled[index] *= 2  # type: ignore[index]
        return placed, added, scaled

    def function(x: Tracer, v: Tracer) -> object:
        return x.at[index].set(v), x.at[index].add(v), x.at[index].multiply(2)

    expected = reference(M, values)
    for want, got in zip(expected, through_graph(function, M, values), strict=True):  # type: ignore[call-overload]
        np.testing.assert_array_equal(got, want)


def test_updates_at_traced_positions() -> None:
    def function(x: Tracer, i: Tracer, many: Tracer, v: Tracer) -> object:
        return x.at[i].set(7), x.at[:, i].add(v), x.at[many].add(1.0), x.at[:, many].add(2)

    i, many, v = np.array(2), np.array([1, 3, 1]), np.arange(4, dtype=np.float32)
    row, column, rows, columns = M.copy(), M.copy(), M.copy(), M.copy()
    row[2] = 7
    column[:, 2] += v
    np.add.at(rows, many, 1.0)
    np.add.at(columns, (slice(None), many), 2)
    for want, got in zip((row, column, rows, columns), through_graph(function, M, i, many, v), strict=True):
        np.testing.assert_array_equal(got, want)


SCATTERED: list[tuple[object, ...]] = [
    (np.array([0, 3, 3, -1]),),
    (np.array([[0, 1], [2, 3]]), slice(None)),
    (slice(1, 3), np.array([2, 0])),
    (slice(None, None, -2), np.array([2, 0, 2])),
    (np.array([0, 1]), np.array([2, 3])),
    (2, np.array([1, 3, 1])),
    (np.array([[0], [2]]), np.array([1, 3])),
    (np.array([1, 2]), None),
]


@pytest.mark.parametrize("position", range(len(SCATTERED)))
def test_updates_at_arrays(position: int) -> None:
    index = SCATTERED[position]
    values = np.random.default_rng(3).normal(size=M[index].shape).astype(np.float32)  # type: ignore[index]

    def function(x: Tracer, v: Tracer) -> object:
        at = x.at[index]
        return at.set(v), at.add(v), at.multiply(v), at.min(v), at.max(v)

    wanted = [M.copy() for _ in range(5)]
    wanted[0][index] = values  # type: ignore[index]
    for array, ufunc in zip(wanted[1:], (np.add, np.multiply, np.minimum, np.maximum), strict=True):
        ufunc.at(array, index, values)
    for want, got in zip(wanted, through_graph(function, M, values), strict=True):  # type: ignore[call-overload]
        np.testing.assert_array_equal(got, want)


def test_updates_by_masks() -> None:
    rows, elements = np.arange(len(M)) % 2 == 0, M > 0

    def function(x: Tracer, rows: Tracer, elements: Tracer, v: Tracer) -> object:
        return x.at[rows].set(v), x.at[elements].set(0), x.at[elements].multiply(3), x.at[rows].max(1.0)

    v = np.arange(M.shape[1], dtype=np.float32)
    wanted = [M.copy() for _ in range(4)]
    wanted[0][rows] = v
    wanted[1][elements] = 0
    wanted[2][elements] *= 3
    wanted[3][rows] = np.maximum(M[rows], 1)
    for want, got in zip(wanted, through_graph(function, M, rows, elements, v), strict=True):  # type: ignore[call-overload]
        np.testing.assert_array_equal(got, want)


def test_updates_outside_change_nothing() -> None:
    def function(x: Tracer, i: Tracer, j: Tracer) -> object:
        return x.at[i].set(9.0), x.at[i, j].add(1.0), x.at[j[0]].set(0.0)

    i, j = np.array([100, 0, -100]), np.array([50, 1, 1])
    wanted = [M.copy() for _ in range(3)]
    wanted[0][0] = 9
    wanted[1][0, 1] += 1
    for want, got in zip(wanted, through_graph(function, M, i, j), strict=True):  # type: ignore[call-overload]
        np.testing.assert_array_equal(got, want)


def test_update_errors() -> None:
    with pytest.raises(ShapeError, match=r"at\[\.\.\.\]\.set: .*\[3\].*\[2\]"):
        trace(lambda x: x.at[np.array([0, 1])].set(np.ones(3, np.float32)), [spec((3,))])
    with pytest.raises(ShapeError, match=r"at\[\.\.\.\]\.set: a mask of shape \[2\]"):
        trace(lambda x: x.at[np.array([True, False])].set(1.0), [spec((3,))])
    with pytest.raises(ShapeError, match=r"at\[\.\.\.\]\.set: .*\[2\] .*\[3\]"):
        trace(lambda x: x.at[:].set(np.ones(2, np.float32)), [spec((3,))])
    with pytest.raises(AttributeError, match=r"has no 'divide'; there are get, set, .*test_tracer\.py:\d+"):
        trace(lambda x: x.at[0].divide(2.0), [spec((3,))])


AT: list[object] = [0, slice(1, 3), slice(None, None, 2), np.array([0, 2]), np.array([True, False, True])]


@pytest.mark.parametrize("index", AT, ids=str)
@pytest.mark.parametrize(("value", "kind"), [(1.5, "float 1.5"), (1.0, "float 1.0"), (1j, "complex")])
@pytest.mark.parametrize("change", ["set", "add", "multiply", "min", "max"])
def test_updates_do_not_truncate(index: object, value: complex, kind: str, change: str) -> None:
    def function(x: Tracer) -> object:
        return getattr(x.at[index], change)(value)

    message = rf"at\[\.\.\.\]\.{change}: the Python {kind}.* does not become int32.*cast first.*test_tracer\.py:\d+"
    with pytest.raises(DTypeError, match=message):
        trace(function, [spec((3,), "int32")])


def test_what_updates_take() -> None:
    def function(x: Tracer, i: Tracer) -> object:
        with pytest.raises(DTypeError, match="an array of float64 does not become int32"):
            x.at[i].add(np.ones(3))
        wide = x.astype("float32").at[0].add(1.5).at[1].set(True).at[2].set(np.float64(2.5))
        flags = (x > 0).at[0].set(1)
        with pytest.raises(DTypeError, match="the Python int 2 does not become bool"):
            flags.at[0].set(2)
        return x.at[i].set(np.array(7, np.int64)), wide, flags

    got = through_graph(function, np.array([5, 6, 7], np.int32), np.array(1))
    for result, wanted in zip(got, ([5, 7, 7], [6.5, 1, 2.5], [True, True, True]), strict=True):  # type: ignore[call-overload]
        assert np.asarray(result).tolist() == wanted


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (slice(None, None, 0), ArgumentError, "index: the step of a slice is 0"),
        (slice(0.5, None), TraceError, r"index: the bounds and the step of a slice are ints, got 0\.5"),
        (slice(None, None, 1.0), TraceError, r"index: the bounds and the step of a slice are ints, got 1\.0"),
    ],
    ids=str,
)
def test_slices_that_are_none(index: slice, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*test_tracer\.py:\d+"):
        trace(lambda x: x[index], [spec((3,))])
    with pytest.raises(error, match=message):
        trace(lambda x: x.at[index].set(1.0), [spec((3,))])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.linalg.inv, r"np\.linalg\.inv does not take traced values; use graphc\.numpy\.linalg\.inv"),
        (np.linalg.norm, r"use graphc\.numpy\.linalg\.norm"),
        (np.fft.fft, r"np\.fft\.fft does not take traced values; use graphc\.numpy\.fft\.fft"),
        (np.linalg.eig, r"np\.linalg\.eig has no counterpart in graphc\.numpy\.linalg; close: gnp\.linalg\.eigh"),
        (np.i0, r"np\.i0 has no counterpart in graphc\.numpy for traced values"),
    ],
)
def test_functions_of_numpys_submodules_name_what_to_call(function: Callable[..., object], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message + r".*test_tracer\.py:\d+"):
        trace(lambda x: function(x), [spec((3, 3))])


PROTOCOLS: list[Callable[..., object]] = [
    lambda x: np.tanh(x) + np.exp(-np.abs(x)),
    lambda x: np.sum(x, axis=0) / np.mean(x) + np.var(x, axis=0, ddof=1),
    lambda x: np.concatenate([x, np.zeros_like(x)], axis=1),
    lambda x: np.where(x > 0, x, np.float32(0)),
    lambda x: np.stack([x, x]).reshape(-1),
    lambda x: np.matmul(x, np.transpose(x)),
    lambda x: np.einsum("ij,kj->ik", x, x),
    lambda x: np.add.reduce(x) + np.maximum.reduce(x, axis=0),
    lambda x: np.true_divide(x, 2) + np.amax(x, axis=1, keepdims=True),
    lambda x: np.clip(x, -0.5, 0.5) + np.split(x, 2)[0].sum(),
    lambda x: np.array([np.shape(x), (np.ndim(x), np.size(x))]),
    lambda x: np.round(x, 1) + np.square(x),
]


@pytest.mark.parametrize("position", range(len(PROTOCOLS)))
def test_numpy_functions_on_traced_values(position: int) -> None:
    function = PROTOCOLS[position]
    expected = function(M)
    (got,) = through_graph(function, M)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert got.dtype == np.asarray(expected).dtype


def test_numpy_functions_that_are_missing() -> None:
    with pytest.raises(UnsupportedError, match=r"np\.nanmean has no counterpart .*test_tracer\.py:\d+"):
        trace(lambda x: np.nanmean(x), [spec((3,))])
    with pytest.raises(UnsupportedError, match=r"np\.sum on a traced value: .*'where'"):
        trace(lambda x: np.sum(x, where=x > 0), [spec((3,))])
    with pytest.raises(UnsupportedError, match=r"np\.add\.accumulate"):
        trace(lambda x: np.add.accumulate(x), [spec((3,))])
    with pytest.raises(TraceError, match="out= writes into an array"):
        trace(lambda x: np.add(x, 1, out=np.zeros(3, np.float32)), [spec((3,))])


def test_array_namespace() -> None:
    def function(x: Tracer) -> object:
        return x.__array_namespace__().tanh(x)

    assert [node.op.name for node in trace(function, [spec((3,))]).graph.nodes] == ["tanh"]
