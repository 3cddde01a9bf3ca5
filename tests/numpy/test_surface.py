"""What is particular to graphc.numpy: dtype rules, creation while tracing, errors."""

from __future__ import annotations

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, GraphcError, ShapeError, UnsupportedError
from graphc.tracing import spec, trace
from tests.evaluate import check

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def result_dtype(function: object, *specs: object) -> str:
    graph = trace(function, specs).graph  # type: ignore[arg-type]
    return graph.outputs[0].dtype.name


def test_python_numbers_take_the_dtype_of_the_array() -> None:
    assert result_dtype(lambda x: x * 2.5 + 1, spec((3,), "float32")) == "float32"
    assert result_dtype(lambda x: 2 - x, spec((3,), "uint8")) == "uint8"
    assert result_dtype(lambda x: gnp.where(x > 0, x, 0), spec((3,), "float64")) == "float64"


def test_arrays_promote_by_the_array_api() -> None:
    assert result_dtype(lambda x: x + np.ones(3), spec((3,), "float32")) == "float64"
    assert result_dtype(lambda x: x + np.float64(1), spec((3,), "float32")) == "float64"
    assert result_dtype(lambda x: x + np.ones(3, np.int8), spec((3,), "int32")) == "int32"
    assert result_dtype(lambda x: x + np.ones(3, np.uint8), spec((3,), "int8")) == "int16"


def test_mixing_kinds_is_an_error_with_the_line() -> None:
    for other in (np.ones(3, np.int32), np.ones(3, bool)):
        with pytest.raises(DTypeError, match=r"no promotion of float32 with .*test_surface\.py:\d+"):
            trace(lambda x, other=other: x + other, [spec((3,))])
    with pytest.raises(DTypeError, match=r"Python float 0\.5 with int32"):
        trace(lambda x: x * 0.5, [spec((3,), "int32")])
    with pytest.raises(ArgumentError, match="300 does not fit uint8"):
        trace(lambda x: x + 300, [spec((3,), "uint8")])


INT = spec((2, 3), "int32")
FLOAT = spec((2, 3))


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (lambda x: gnp.full_like(x, 1.5), INT, r"full_like: the Python float 1\.5 does not become int32"),
        (lambda x: gnp.diff(x, prepend=0.5), INT, r"diff: the Python float 0\.5 does not become int32"),
        (
            lambda x: gnp.dynamic_update_slice(x, [[0.5]], [0, 0]),
            INT,
            "dynamic_update_slice: an array of float32 does not become int32",
        ),
        (lambda x: gnp.clip(x, 0.5, 2.5), INT, r"clip: no promotion of the Python float 0\.5 with int32"),
        (lambda x: gnp.where(x > 0, x, 0.5), INT, r"where: no promotion of the Python float 0\.5 with int32"),
        (lambda x: gnp.arange(0, 1.5, 0.5, dtype="int32"), INT, r"arange: step=0\.5 is no int32"),
        (lambda x: gnp.arange(0.5, 3, dtype="int32"), INT, r"arange: start=0\.5 is no int32"),
    ],
)
def test_nothing_is_truncated_silently(function: object, given: object, message: str) -> None:
    with pytest.raises(DTypeError, match=message + r".*test_surface\.py:\d+"):
        trace(function, [given])  # type: ignore[arg-type]


def test_a_dtype_that_is_asked_for_casts_as_in_numpy() -> None:
    assert gnp.full((2,), 1.5, "int32").tolist() == [1, 1]
    assert gnp.full_like(np.zeros(2, np.int32), 1.5, dtype="float32").tolist() == [1.5, 1.5]
    assert gnp.linspace(-1, 1, 5, dtype="int32").tolist() == np.linspace(-1, 1, 5, dtype=np.int32).tolist()
    assert gnp.arange(0.0, 2.5, 1.0, dtype="int32").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: gnp.zeros((2, -1)), "full: the extents of a shape are not negative, got .2, -1."),
        (lambda x: gnp.zeros(2.5), r"full: a shape is Python ints, .*got 2\.5"),
        (lambda x: gnp.eye(2.5), r"eye: a shape is Python ints, .*got 2\.5"),
        (lambda x: gnp.eye(2, k=0.5), r"eye: k is an int, got 0\.5"),
        (lambda x: gnp.tri(2.5), r"tri: a shape is Python ints, .*got 2\.5"),
        (lambda x: gnp.linspace(0, 1, 2.5), r"linspace: num is an int of at least 0, got 2\.5"),
        (lambda x: gnp.linspace(0, 1, -2), "linspace: num is an int of at least 0, got -2"),
        (lambda x: gnp.arange(0, float("inf")), "arange: start, stop and step are finite"),
        (lambda x: gnp.tril(x, 0.5), r"tril: k is an int, got 0\.5"),
        (lambda x: gnp.triu(x, 0.5), r"triu: k is an int, got 0\.5"),
        (lambda x: gnp.diag(x, 0.5), r"diag: k is an int, got 0\.5"),
        (lambda x: gnp.trace(x, 0.5), r"diagonal: offset is an int, got 0\.5"),
        (lambda x: gnp.diff(x, 1.5), r"diff: n is an int of at least 0, got 1\.5"),
        (lambda x: gnp.var(x, ddof="a"), r"var: correction \(ddof\) is a number, got 'a'"),
        (lambda x: gnp.broadcast_to(x, (-1, 2, 3)), "broadcast_to: .*not negative"),
        (lambda x: gnp.tile(x, 1.5), r"tile: a shape is Python ints, .*got 1\.5"),
        (lambda x: gnp.repeat(x, -1), "repeat: repeats is an int of at least 0, got -1"),
        (lambda x: gnp.roll(x, 1.5), r"roll: shift is an int, got 1\.5"),
        (lambda x: gnp.roll(x, (1, 2), 0), "roll: 2 shifts for 1 axes"),
        (lambda x: gnp.split(x, 2.0), r"split: parts is an int, got 2\.0"),
        (lambda x: gnp.split(x, [0.5]), r"split: parts is an int, got 0\.5"),
        (lambda x: gnp.moveaxis(x, 0, 1.5), r"moveaxis: an axis is an int, got 1\.5"),
        (lambda x: gnp.concatenate(5), "concatenate: takes a list or tuple of arrays, got 5"),
        (lambda x: gnp.stack(5), "stack: takes a list or tuple of arrays, got 5"),
        (lambda x: gnp.tensordot(x, x, 1.5), r"tensordot: axes is an int of at least 0, got 1\.5"),
        (lambda x: gnp.tensordot(x, x, (0, 1, 2)), "tensordot: axes is an int, or one list for each array"),
        (lambda x: gnp.einsum(5, x), "einsum: takes subscripts first, as 'ij,jk->ik', got 5"),
        (lambda x: gnp.top_k(x, 2.0), r"top_k: k is an int, got 2\.0"),
        (lambda x: gnp.top_k(x, x[0, 0]), r"top_k: k is an int, got <traced.*static="),
        (lambda x: gnp.linalg.matrix_power(x[:, :2], 1.5), r"matrix_power: n is an int, got 1\.5"),
        (lambda x: gnp.linalg.norm(x, axis=0.5), r"norm: an axis is an int, got 0\.5"),
        (lambda x: gnp.fft.fft(x, n=4.0), r"fft: n is an int, got 4\.0"),
        (lambda x: gnp.fft.irfft(x, n=4.0), r"irfft: n is an int, got 4\.0"),
        (lambda x: gnp.fft.fft2(x, s=(4.0, 4)), r"fft2: n is an int, got 4\.0"),
        (lambda x: gnp.fft.fft2(x, s=4), "fft2: 1 lengths for 2 axes"),
        (lambda x: gnp.fft.fftn(x, axes=0.5), r"fftn: an axis is an int, got 0\.5"),
        (lambda x: gnp.fft.fftfreq(4.0), r"fftfreq: n is an int of at least 1, got 4\.0"),
        (lambda x: gnp.fft.rfftfreq(0), "rfftfreq: n is an int of at least 1, got 0"),
        (lambda x: gnp.exp(x) + gnp.zeros_like(x).at[0].add(1j), "at.*the Python complex 1j does not become float32"),
    ],
)
def test_mistakes_in_numbers_name_the_function_and_the_line(function: object, message: str) -> None:
    with pytest.raises(GraphcError, match=message + r".*\(test_surface\.py:\d+\)$"):
        trace(function, [FLOAT])  # type: ignore[arg-type]


def test_a_python_number_that_a_dtype_cannot_hold() -> None:
    with pytest.raises(ArgumentError, match="the Python number nan does not fit int32"):
        gnp.full((2,), float("nan"), "int32")
    with pytest.raises(ArgumentError, match="the Python number 1j does not fit float32"):
        gnp.asarray(1j, "float32")


def test_whole_division_gives_float32() -> None:
    assert result_dtype(lambda x: x / 2, spec((3,), "int64")) == "float32"
    assert result_dtype(lambda x: gnp.mean(x), spec((3,), "int64")) == "float32"


def test_small_powers_are_multiplications() -> None:
    def ops_of(exponent: object) -> list[str]:
        nodes = trace(lambda x: x**exponent, [spec((3,))]).graph.nodes
        return [node.op.name for node in nodes]

    assert ops_of(2) == ["mul"]
    assert ops_of(5.0) == ["mul", "mul", "mul"]
    assert ops_of(0.5) == ["sqrt"]
    assert "pow" not in ops_of(-3)
    assert "pow" in ops_of(2.5)
    check(lambda x: (x**0, x**7, x**-2, x**2.5), lambda x: (x**0, x**7, x**-2, x**2.5), X + 1, rtol=1e-5)
    check(lambda x: x**13, lambda x: x**13, np.arange(-3, 4))
    with pytest.raises(DTypeError, match="to the power of -1"):
        trace(lambda x: x**-1, [spec((3,), "int32")])


def test_arrays_made_while_tracing_are_not_stored_in_the_program() -> None:
    graph = trace(
        lambda x: x + gnp.zeros((1000, 1000)) + gnp.eye(1000) + gnp.arange(1000.0), [spec((1000, 1000))]
    ).graph
    stored = [node.attrs.value.size for node in graph.nodes if node.op.name == "constant"]  # type: ignore[attr-defined]
    assert max(stored) == 1


def test_a_small_constant_is_broadcast_by_the_program() -> None:
    graph = trace(lambda x: x * np.float32(2), [spec((1000,))]).graph
    assert [node.op.name for node in graph.nodes] == ["constant", "broadcast", "mul"]


def test_eager_results_are_numpy_arrays() -> None:
    assert type(gnp.tanh(X)) is np.ndarray
    assert gnp.zeros((2, 3)).flags.writeable
    assert gnp.asarray([1, 2]).dtype == np.int64
    assert gnp.asarray([1.5]).dtype == np.float32
    assert gnp.asarray(np.ones(2)).dtype == np.float64
    assert gnp.asarray([np.float64(1.5)]).dtype == np.float64


def test_dtypes_compare_with_numpy() -> None:
    assert gnp.float32 == np.float32
    assert np.dtype("float32") == gnp.float32
    assert gnp.float32 == "float32"
    assert gnp.float32 != np.float64
    assert gnp.float32 != None  # noqa: E711
    assert np.zeros(2, gnp.int8).dtype == np.int8  # type: ignore[call-overload]
    assert len({gnp.float32, dtypes.float32}) == 1
    for other in ("no: dtype, (", "1,", ("a", 1, 2, 3), [("x", 3)], {"names": 1}, 7, object(), np.ones(2)):
        assert gnp.float32 != other, other


def test_unknown_names_suggest_close_ones() -> None:
    with pytest.raises(AttributeError, match=r"close: .*tensordot"):
        _ = gnp.tensordt
    with pytest.raises(UnsupportedError, match=r"no cumulative_trapezoid|no nanmean"):
        _ = gnp.nanmean
    assert not hasattr(gnp, "nanmean")


def test_shape_errors_name_the_operation_and_the_shapes() -> None:
    cases = [
        (lambda x: x @ np.ones((4, 2), np.float32), r"matmul: inner sizes differ, f32\[2,3\] @ f32\[4,2\]"),
        (lambda x: x + np.ones(4, np.float32), r"add: shapes \[2, 3\] and \[4\] do not broadcast"),
        (lambda x: gnp.sum(x, axis=2), "sum: axis 2 is outside an array of rank 2"),
        (lambda x: gnp.reshape(x, (4, -1)), r"reshape: \[2, 3\] does not fit \[4, -1\]"),
        (lambda x: gnp.concatenate([x, x[:, :2]]), "concatenate: shapes differ outside axis 0"),
        (lambda x: gnp.max(x[:0], axis=0), "max: no largest or smallest element"),
        (lambda x: gnp.squeeze(x, 0), "squeeze: axes"),
        (lambda x: gnp.einsum("ij,jk->ik", x, x), "einsum: 'ij,jk->ik': 'j' is both 3 and 2"),
        (lambda x: x[3], "index: 3 is outside axis 0"),
        (lambda x: x[0, 0, 0], "index: 3 indices for an array of rank 2"),
        (lambda x: gnp.pad(x[:0], 3, mode="reflect"), "pad: reflect"),
    ]
    for function, message in cases:
        with pytest.raises(ShapeError, match=message + r".*\(test_surface\.py:\d+\)"):
            trace(function, [spec((2, 3))])


def test_cumulative_sum_needs_an_axis() -> None:
    with pytest.raises(ShapeError, match="needs an axis"):
        gnp.cumulative_sum(X)
