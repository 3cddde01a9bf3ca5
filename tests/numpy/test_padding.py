"""`pad` in every mode against NumPy, and its derivatives."""

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, DTypeError, ShapeError, TraceError, UnsupportedError

X = np.random.default_rng(0).standard_normal((3, 5)).round(2)
INTS = np.random.default_rng(1).integers(-20, 20, (3, 5))
MODES: dict[str, dict[str, object]] = {
    "constant": {"constant_values": ((1, 2), (3, 4))},
    "edge": {},
    "linear_ramp": {"end_values": ((7, -7), (1, 3))},
    "maximum": {"stat_length": 2},
    "minimum": {},
    "mean": {"stat_length": 3},
    "median": {},
    "reflect": {},
    "symmetric": {},
    "wrap": {},
}


@pytest.mark.parametrize("x", [X, INTS], ids=["floats", "integers"])
@pytest.mark.parametrize("widths", [((2, 1), (0, 3)), ((7, 9), (11, 4)), ((0, 0), (2, 2)), (0, 1), 2], ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_like_numpy(mode: str, widths: object, x: np.ndarray) -> None:
    want = np.pad(x, widths, mode, **MODES[mode])  # type: ignore[call-overload]
    got = gc.jit(lambda x: gnp.pad(x, widths, mode, **MODES[mode]))(x)  # type: ignore[arg-type]
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_odd(mode: str) -> None:
    want = np.pad(X, ((2, 1), (1, 3)), mode, reflect_type="odd")
    np.testing.assert_allclose(gc.jit(lambda x: gnp.pad(x, ((2, 1), (1, 3)), mode, reflect_type="odd"))(X), want)


def test_negative_widths_crop() -> None:
    got = gc.jit(lambda x: gnp.pad(x, ((-1, 2), (1, -2)), constant_values=9))(X)
    np.testing.assert_array_equal(got, np.pad(X[1:, :-2], ((0, 2), (1, 0)), constant_values=9))
    with pytest.raises(ShapeError, match="takes more than axis 0"):
        gnp.pad(X, ((-2, -2), (0, 0)))


def test_one_number_per_mistake() -> None:
    with pytest.raises(UnsupportedError, match="mode 'mirror' is not one of constant"):
        gnp.pad(X, 1, "mirror")
    with pytest.raises(ShapeError, match="widths for 3 dims"):
        gnp.pad(X, ((1, 1), (1, 1), (1, 1)))
    with pytest.raises(ArgumentError, match=r"pad: a width is an int, got 1\.5 .*test_padding\.py:\d+"):
        gnp.pad(X, (1, 1.5))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.5, 1.0, float("nan"), ((1, 0.5), (2, 3)), 1j])
@pytest.mark.parametrize("mode", ["constant", "linear_ramp"])
def test_values_are_not_truncated(mode: str, value: object) -> None:
    named = "constant_values" if mode == "constant" else "end_values"
    with pytest.raises(DTypeError, match=rf"pad: {named}: the Python .* does not become int32.*test_padding\.py:\d+"):
        gc.trace(lambda x: gnp.pad(x, 1, mode, **{named: value}), gc.spec((2, 3), "int32"))


def test_values_of_the_same_kind() -> None:
    flags = X > 0
    np.testing.assert_array_equal(gc.jit(lambda x: gnp.pad(x, 1))(flags), np.pad(flags, 1))
    np.testing.assert_array_equal(gc.jit(lambda x: gnp.pad(x, 1, constant_values=np.float64(2.5)))(X),
                                  np.pad(X, 1, constant_values=2.5))  # fmt: skip
    np.testing.assert_array_equal(
        gnp.pad(X, np.array(1), constant_values=np.array(2.5)), np.pad(X, 1, constant_values=2.5)
    )
    with pytest.raises(TraceError, match="pad: constant_values are Python numbers"):
        gc.trace(lambda x: gnp.pad(x, 1, constant_values=x[0, 0]), X)


@pytest.mark.parametrize("mode", [*MODES, "empty"])
def test_second_derivatives(mode: str) -> None:
    wide = 2 if mode not in ("reflect", "symmetric", "wrap") else 6
    gc.gradcheck(lambda x: gnp.pad(x, ((wide, 1), (1, 2)), mode) ** 2, X, order=2)
