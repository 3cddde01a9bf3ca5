"""Functions of complex numbers: special values and branch cuts as in C99 and the array API standard, accuracy over the
whole range, derivatives as JAX has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.numpy

gc: Any = graphc  # results are arrays
gnp: Any = graphc.numpy

INF, NAN = float("inf"), float("nan")
PARTS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, INF, -INF, NAN]
EXPONENTIAL = ["exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh"]
FUNCTIONS = [*EXPONENTIAL, "log", "log1p", "log2", "log10", "sqrt", "abs"]
INVERSE = {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}
ALL = [*FUNCTIONS, *INVERSE]
PRECISION = {"complex64": 3e-6, "complex128": 2e-14}


def grid(parts: list[float], dtype: str) -> np.ndarray:
    """All pairs."""
    found = np.empty((len(parts), len(parts)), dtype)
    found.real, found.imag = np.array(parts)[:, None], np.array(parts)
    return found.ravel()


def in_numpy(name: str, z: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray((INVERSE[name] if name in INVERSE else getattr(np, name))(z.astype(np.complex128)))


def same(got: np.ndarray, want: np.ndarray, tolerance: float) -> np.ndarray:
    """Where numbers are close; those without a neighbour must be equal, zeros in sign too."""
    with np.errstate(all="ignore"):
        close = np.abs(got - want) <= tolerance * np.maximum(1, np.abs(want))
    exact = (got == want) & ((np.signbit(got) == np.signbit(want)) | (want != 0))
    return np.asarray(np.where(np.isnan(want), np.isnan(got), np.where(np.isfinite(want) & (want != 0), close, exact)))


# Where no standard says what sign zeros and infinities have; NumPy's expm1 does not know C99's special values.
FREE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sin": lambda z: ~np.isfinite(z.real) & np.isinf(z.imag),
    "cos": lambda z: ~np.isfinite(z),
    "cosh": lambda z: ~np.isfinite(z),
    "tan": lambda z: ~np.isfinite(z),
    "tanh": lambda z: ~np.isfinite(z),
    "sinh": lambda z: np.isinf(z.real) & ~np.isfinite(z.imag),
    "exp": lambda z: np.isinf(z.real) & ~np.isfinite(z.imag),
}


@pytest.mark.parametrize("dtype", PRECISION)
def test_special_values_and_branch_cuts(dtype: str) -> None:
    z = grid(PARTS, dtype)
    names = [name for name in ALL if name != "expm1"]
    found = gc.jit(lambda z: [getattr(gnp, name)(z) for name in names])(z)
    for name, got in zip(names, found, strict=True):
        want, precision = in_numpy(name, z), PRECISION[dtype]
        for part in ("real", "imag"):
            here, there = (np.asarray(getattr(x, part), np.float64) for x in (np.asarray(got), want))
            # what is zero for NumPy in exact arithmetic may be a rounding error here, and the other way round
            with np.errstate(all="ignore"):
                fine = same(here, there, precision) | (np.isfinite(z) & (np.abs(here - there) < precision))
            if name in FREE:
                fine |= FREE[name](z) & same(np.abs(here), np.abs(there), precision)
            assert fine.all(), (name, part, z[~fine], here[~fine], there[~fine])


EXPM1 = [  # the array API standard: of a and b, the result; None is NaN
    (0.0, 0.0, 0.0, 0.0),
    (-0.0, 0.0, 0.0, 0.0),
    (1.0, INF, None, None),
    (1.0, NAN, None, None),
    (INF, 0.0, INF, 0.0),
    (-INF, 2.0, -1.0, -0.0 + 0.0),
    (INF, 2.0, -INF, INF),
    (-INF, INF, -1.0, 0.0),
    (INF, INF, INF, None),
    (-INF, NAN, -1.0, 0.0),
    (INF, NAN, INF, None),
    (NAN, 0.0, None, 0.0),
    (NAN, 1.0, None, None),
    (NAN, NAN, None, None),
]


@pytest.mark.parametrize("dtype", PRECISION)
def test_expm1_of_special_values(dtype: str) -> None:
    z = np.array([complex(a, b) for a, b, _, _ in EXPM1], dtype)
    found = np.asarray(gc.jit(gnp.expm1)(z))
    for got, (_, _, real, imag) in zip(found, EXPM1, strict=True):
        for part, want in ((got.real, real), (got.imag, imag)):
            assert np.isnan(part) if want is None else part == want, (got, real, imag)


def spread(dtype: str, count: int = 400) -> np.ndarray:
    """Numbers of all sizes, some near the points where functions are hardest: around 1, i, 0 and the unit circle."""
    rng = np.random.default_rng(5)
    reach = 100 if dtype == "complex64" else 400

    def sizes(low: float, high: float) -> np.ndarray:
        return np.asarray(np.exp2(rng.uniform(low, high, count)) * rng.choice([-1, 1], count))

    angle = rng.uniform(0, 7, count)
    pairs = [
        (sizes(-3, 3), sizes(-3, 3)),
        (sizes(-reach, reach), sizes(-reach, reach)),
        (sizes(-3, 3), sizes(-reach, 3)),
        (sizes(-reach, 3), sizes(-3, 3)),
        (rng.choice([1, -1], count) + sizes(-20, -2), sizes(-20, -2)),
        (sizes(-20, -2), rng.choice([1, -1], count) + sizes(-20, -2)),
        (np.cos(angle), np.sin(angle)),
    ]
    return np.concatenate([a + 1j * b for a, b in pairs]).astype(dtype)


@pytest.mark.parametrize("name", ALL)
def test_precision(name: str) -> None:
    """To some units in the last place of the number, of complex64 against float64."""
    z = spread("complex64")
    want, got = in_numpy(name, z), np.asarray(gc.jit(getattr(gnp, name))(z)).astype(np.complex128)
    usable = np.isfinite(want) & (np.abs(want) < 1e38) & (np.abs(want) > 1e-37)
    if name in EXPONENTIAL:
        usable &= (np.abs(z.real) < 1e3) & (np.abs(z.imag) < 1e3)  # NumPy's reduction of angles, and overflow
    if name in ("expm1", "log1p"):
        usable &= np.abs(z) > 1e-6  # where NumPy's cancel
    assert usable.sum() > 1000
    error = np.abs(got[usable] - want[usable]) / np.abs(want[usable])
    assert error.max() < 4 * 2.0**-23, (z[usable][error.argmax()], error.max() * 2**23)


def test_sizes_near_the_limits() -> None:
    big, tiny = 3e38, 1.4e-45
    z = np.array([complex(big, big), complex(tiny, 0), complex(-tiny, tiny), complex(0, big), complex(-big, 1)], "c8")
    roots, logs, angles = gc.jit(lambda z: (gnp.sqrt(z), gnp.log(z), gnp.asinh(z)))(z)
    for got, want in ((roots, np.sqrt), (logs, np.log), (angles, np.arcsinh)):
        np.testing.assert_allclose(got, want(z.astype(np.complex128)), rtol=1e-6)
    close = np.array([complex(89.5, 1.5707), complex(90, -1.5708)], np.complex64)  # e^90 is too large for float32
    for name in ("exp", "sinh", "cosh", "expm1"):
        np.testing.assert_allclose(gc.jit(getattr(gnp, name))(close).real, in_numpy(name, close).real, rtol=2e-4)


# ------------------------------------------------------------------------------------------------------ derivatives

SMOOTH = np.array([0.3 + 0.7j, -1.2 + 0.4j, 0.8 - 1.5j, -0.6 - 0.9j, 2.5 + 0.1j])
SIDES = np.array([complex(2, 0.0), complex(2, -0.0), complex(-2, 0.0), complex(-2, -0.0), complex(0.5, 0.0), 0.5j, -3j])


def derivative(name: str, z: np.ndarray) -> np.ndarray:
    """By hand."""
    minus, plus = np.empty_like(z), np.empty_like(z)  # 1 - z and 1 + z with the signs of zeros
    minus.real, minus.imag, plus.real, plus.imag = 1 - z.real, -z.imag, 1 + z.real, z.imag
    with np.errstate(all="ignore"):
        known: dict[str, Callable[[], np.ndarray]] = {
            "exp": lambda: np.exp(z),
            "expm1": lambda: np.exp(z),
            "log": lambda: 1 / z,
            "log1p": lambda: 1 / (1 + z),
            "log2": lambda: 1 / (z * np.log(2)),
            "log10": lambda: 1 / (z * np.log(10)),
            "sqrt": lambda: 0.5 / np.sqrt(z),
            "sin": lambda: np.cos(z),
            "cos": lambda: -np.sin(z),
            "tan": lambda: 1 / np.cos(z) ** 2,
            "sinh": lambda: np.cosh(z),
            "cosh": lambda: np.sinh(z),
            "tanh": lambda: 1 / np.cosh(z) ** 2,
            "asin": lambda: 1 / (np.sqrt(minus) * np.sqrt(plus)),
            "acos": lambda: -1 / (np.sqrt(minus) * np.sqrt(plus)),
            "atan": lambda: 1 / (1 + z * z),
            "asinh": lambda: 1 / (np.sqrt(1 + 1j * z) * np.sqrt(1 - 1j * z)),
            "acosh": lambda: 1 / (np.sqrt(-minus) * np.sqrt(plus)),
            "atanh": lambda: 1 / (1 - z * z),
        }
        return known[name]()


HOLOMORPHIC = [name for name in ALL if name != "abs"]


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_derivatives_of_both_modes_are_multiplications_with_the_derivative(name: str) -> None:
    z = SMOOTH if name in ("asinh", "atan") else np.concatenate([SMOOTH, SIDES])  # their cuts are elsewhere
    t = np.exp(1j * np.arange(len(z)))
    want = derivative(name, z) * t
    function = getattr(gnp, name)
    _, forward = gc.jvp(function, (z,), (t,))
    np.testing.assert_allclose(forward, want, rtol=1e-12, atol=1e-12)
    _, pull_back = gc.vjp(function, z)
    np.testing.assert_allclose(pull_back(t)[0], want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["acosh", "atan"])
def test_second_derivatives(name: str) -> None:
    function = getattr(gnp, name)
    gc.gradcheck(lambda z: gnp.sum(gnp.real(function(z) * (1 + 2j))), SMOOTH, order=2, directions=1)


def test_sign() -> None:
    z = np.array([3 + 4j, -2, 0, -1j, 1e-30j], np.complex64)
    np.testing.assert_allclose(gc.jit(gnp.sign)(z), [0.6 + 0.8j, -1, 0, -1j, 1j], rtol=1e-6)
    zeros = gc.jit(gnp.sign)(grid([0.0, -0.0], "complex64"))
    assert not np.signbit(zeros.real).any() and not np.signbit(zeros.imag).any()
    gc.gradcheck(lambda z: gnp.sum(gnp.real(gnp.sign(z) * (1 + 2j))), SMOOTH, order=2, directions=1)


def test_derivatives_as_in_jax() -> None:
    jax = pytest.importorskip("jax")
    jnp = pytest.importorskip("jax.numpy")

    def loss(n: Any, z: Any) -> Any:
        parts = n.tanh(z) * n.sinh(z) + n.log(z) ** 3 + n.cumprod(z) + n.sign(z) * n.abs(z)
        return n.sum(n.real(parts * n.conj(z))) + n.var(z) + n.abs(n.mean(z))

    z = SMOOTH.astype(np.complex64)
    want = jax.grad(lambda z: loss(jnp, z))(z)
    np.testing.assert_allclose(gc.grad(lambda z: loss(gnp, z))(z), want, rtol=1e-4)


@pytest.mark.parametrize("name", ["acosh", "expm1"])
def test_examples_of_a_batch_have_the_bits_they_have_alone(name: str) -> None:
    z = spread("complex64", 2).reshape(7, 2)
    function = gc.jit(getattr(gnp, name))
    whole = np.asarray(gc.jit(gc.vmap(getattr(gnp, name)))(z))
    assert whole.tobytes() == b"".join(np.asarray(function(row)).tobytes() for row in z)


# --------------------------------------------------------------------------------------------------- along an axis


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(3, 1), (1, 290)])
def test_cumulative_products(shape: tuple[int, int], reverse: bool) -> None:
    rng = np.random.default_rng(shape)
    z = np.exp(rng.uniform(-0.1, 0.1, shape) + 1j * rng.uniform(0, 7, shape)).astype(np.complex64)
    step = -1 if reverse else 1
    want = np.cumprod(z.astype(np.complex128)[:, ::step], axis=1)[:, ::step]
    got = gc.jit(lambda z: gnp.cumulative_prod(z, axis=1, reverse=reverse))(z)
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_recurrences() -> None:
    a, b = SMOOTH * 0.5, SMOOTH[::-1].copy()
    a[0] = complex(NAN, INF)  # is not looked at
    want = [b[0]]
    for factor, term in zip(a[1:], b[1:], strict=True):
        want.append(factor * want[-1] + term)
    np.testing.assert_allclose(gc.jit(gnp.linear_recurrence)(a, b), want, rtol=1e-12)
