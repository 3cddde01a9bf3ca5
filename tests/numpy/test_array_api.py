"""Questions the array API standard lets one ask, and what a static program cannot hold."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError
from graphc.tracing import spec, trace
from tests.evaluate import through_graph


def test_kinds_of_dtypes() -> None:
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")
    for dtype in dtypes.EVERY:
        if dtype.name in ("bfloat16", "float16"):  # NumPy's question knows them not, or not as floats
            assert gnp.isdtype(dtype, "real floating") and gnp.isdtype(dtype, "numeric")
            continue
        for kind in kinds:
            assert gnp.isdtype(dtype, kind) == np.isdtype(dtype.numpy, kind), (dtype, kind)
        assert gnp.isdtype(dtype.name, (gnp.bool, dtype, "complex floating"))
    with pytest.raises(ArgumentError, match="isdtype: 'whole' is neither"):
        gnp.isdtype("int8", "whole")


def test_casts_that_promotion_makes() -> None:
    assert gnp.can_cast("uint8", "int16") and not gnp.can_cast("int16", "uint8")
    assert not gnp.can_cast("bool", "int8") and not gnp.can_cast("int8", "float64")
    assert gnp.can_cast(np.ones(2, np.float32), gnp.float64)
    assert trace(lambda x: x * int(gnp.can_cast(x, "float64")), [spec((2,))]).graph.outputs[0].dtype is dtypes.float32


def test_the_namespace_describes_itself() -> None:
    info = gnp.__array_namespace_info__()
    assert info.devices() == [info.default_device()]
    assert info.dtypes(kind="real floating") == {"float32": gnp.float32, "float64": gnp.float64}
    assert set(info.dtypes(kind=("bool", "unsigned integer"))) == {"bool", "uint8", "uint16", "uint32", "uint64"}
    assert info.default_dtypes()["real floating"] == gnp.asarray(1.0).dtype
    assert info.default_dtypes()["complex floating"] == gnp.asarray(1j).dtype
    assert set(info.dtypes(kind="complex floating")) == {"complex64", "complex128"}
    assert gnp.finfo("complex64").max == gnp.finfo("float32").max
    assert info.default_dtypes()["integral"] == gnp.asarray(1).dtype
    assert info.default_dtypes()["indexing"] == gnp.argmax(np.ones(2)).dtype
    for call in (lambda: gnp.zeros(2, device="gpu"), lambda: info.dtypes(device="gpu"), lambda: gnp.eye(2, device=0)):
        with pytest.raises(ArgumentError, match="device="):
            call()


@pytest.mark.parametrize("dtype", dtypes.FLOATS)
def test_limits_of_floats(dtype: dtypes.DType) -> None:
    found, known = gnp.finfo(dtype), dtypes.finfo(dtype)
    for name in ("eps", "max", "min", "smallest_normal", "tiny", "smallest_subnormal"):
        assert type(getattr(found, name)) is float
        assert getattr(found, name) == float(getattr(known, name)), name
    assert (found.bits, found.dtype) == (dtype.bits, dtype.numpy)
    with pytest.raises(DTypeError, match="finfo: int8 is not a float dtype"):
        gnp.finfo("int8")


def test_copies() -> None:
    x = np.ones((2, 3), np.float32)
    assert gnp.asarray(x) is x and gnp.asarray(x, copy=False) is x and gnp.astype(x, "float32", copy=False) is x
    for copied in (gnp.asarray(x, copy=True), gnp.astype(x, "float32"), gnp.reshape(x, (3, 2), copy=True)):
        assert not np.shares_memory(copied, x)
    with pytest.raises(ArgumentError, match="copy=False"):
        gnp.asarray([1.0], copy=False)
    assert np.shares_memory(gnp.from_dlpack(x), x)


@pytest.mark.parametrize("name", ["nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"])
def test_what_has_no_static_shape_says_what_to_use(name: str) -> None:
    with pytest.raises(
        UnsupportedError, match=rf"{name}: the shape of the result depends on data.*use .*test_array_api"
    ):
        trace(getattr(gnp, name), [spec((3,))])


def test_repeats_must_be_known() -> None:
    with pytest.raises(ShapeError, match="repeat: the numbers must be known"):
        trace(gnp.repeat, [spec((3,)), spec((3,), "int64")])
    with pytest.raises(ShapeError, match="one for each of 3 elements"):
        gnp.repeat(np.ones(3), [1, 2])


def test_integers_to_negative_powers() -> None:
    x = np.array([0, 1, -1, -1, 2, -5], np.int32)
    y = np.array([-1, -2, -2, -3, -1, -9], np.int32)
    want = np.trunc(np.where(x == 0, 0.0, np.power(np.where(x == 0, 1.0, x), y))).astype(np.int32)
    for got in (gnp.power(x, y), *through_graph(gnp.power, x, y)):
        np.testing.assert_array_equal(got, want)


def test_floor_divide_at_infinities_is_the_quotient() -> None:
    """As the standard has it; NumPy gives NaN and -1."""
    x, y = np.array([[np.inf, 2, -2, 2, -2, np.inf], [2, np.inf, np.inf, -np.inf, -np.inf, -np.inf]], np.float32)
    for got in (gnp.floor_divide(x, y), *through_graph(gnp.floor_divide, x, y)):
        np.testing.assert_array_equal(got, [np.inf, 0, -0.0, -0.0, 0, np.nan])
        np.testing.assert_array_equal(np.signbit(got)[:5], [False, False, True, True, False])


def test_signs_need_floats() -> None:
    for call in (gnp.signbit, lambda x: gnp.copysign(x, x), lambda x: gnp.nextafter(x, x)):
        with pytest.raises(DTypeError, match="takes floats, got int64"):
            call(np.ones(2, np.int64))


HALF = np.array([0.1, -0.2, 0.3, 0.7, -0.9, 0.55], np.float32)


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "atanh", "sinh", "cosh", "tan", "log2", "log10"])
def test_compositions_on_half_types_round_once(name: str) -> None:
    function = getattr(gnp, name)
    x = np.abs(HALF).astype(dtypes.bfloat16.numpy)
    (got,) = through_graph(function, x)
    assert got.dtype == x.dtype
    assert got.tobytes() == np.asarray(function(x.astype(np.float32))).astype(x.dtype).tobytes()


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "atanh", "sinh", "cosh", "tan"])
def test_derivatives_of_compositions(name: str) -> None:
    gc.gradcheck(lambda x: gnp.sum(getattr(gnp, name)(x) ** 2), HALF.astype(np.float64), order=2)


def test_derivatives_of_angles_and_signs() -> None:
    y = np.array([0.5, -0.5, 1.0, -3.0, 2.0, 0.25, 0.0, -2.0])
    x = np.array([1.0, 2.0, -1.0, 0.5, 0.0, -3.0, 1.5, -2.0])  # on an axis and on a diagonal too
    gc.gradcheck(lambda y, x: gnp.sum(gnp.atan2(y, x)), y, x)
    gc.gradcheck(lambda y: gnp.sum(gnp.atan2(y, 2.0) + gnp.atan2(1, y)), y)
    gc.gradcheck(lambda x: gnp.sum(gnp.copysign(x, -1.0)), x[:4])
    gc.gradcheck(lambda x: gnp.sum(gnp.acosh(x + 4.5)), x)
    assert gc.grad(lambda x: gnp.sum(gnp.nextafter(x, 9.0)))(x).tolist() == [0.0] * 8
    assert gc.grad(lambda x: gnp.sum(gnp.asinh(x) + gnp.atanh(x) + gnp.sinh(x)))(np.zeros(2)).tolist() == [3.0, 3.0]
