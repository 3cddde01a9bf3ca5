"""Complex numbers: promotion, NumPy's results, JAX's convention for derivatives, text, calls, mistakes."""

from __future__ import annotations

import platform
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.errors import DTypeError, GradientError
from graphc.passes.complexes import Complexes

F = Callable[..., gnp.Array]


def draw(*shape: int, dtype: str = "complex64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng((*shape, seed))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


Z, W = draw(4, 5), draw(4, 5, seed=1)


def test_promotion() -> None:
    c64, c128 = dtypes.complex64, dtypes.complex128
    assert dtypes.promote(c64, dtypes.float32) is dtypes.promote(dtypes.bfloat16, c64) is c64
    assert dtypes.promote(c64, dtypes.float64) is dtypes.promote(c64, c128) is c128
    assert dtypes.of_python_scalar(1j, dtypes.float64) is c128
    assert gc.jit(lambda x: x * 2 + 1.5j)(Z).dtype == np.complex64
    assert gc.jit(lambda x: x + 1j)(np.ones(2, np.float16)).dtype == np.complex64
    for other in (dtypes.int32, dtypes.bool_):
        with pytest.raises(DTypeError, match="no promotion of complex64"):
            dtypes.promote(c64, other)
        with pytest.raises(DTypeError, match="no promotion of the Python complex 1j"):
            dtypes.of_python_scalar(1j, other)


FUNCTIONS: dict[str, tuple[F, Callable[..., object]]] = {
    "arithmetic": (lambda z, w: (z + w) * z / (w - 2j), lambda z, w: (z + w) * z / (w - 2j)),
    "powers": (lambda z, w: z**3 + z**-2 + z**0.5, lambda z, w: z**3 + z**-2 + z**0.5),
    "functions": (lambda z, w: gnp.exp(z) + gnp.log(w) * gnp.tanh(z), lambda z, w: np.exp(z) + np.log(w) * np.tanh(z)),
    "hyperbolic": (lambda z, w: gnp.sinh(z) + gnp.cosh(w), lambda z, w: np.sinh(z) + np.cosh(w)),
    "parts": (
        lambda z, w: z.real * w.imag + gnp.abs(z) + gnp.angle(w),
        lambda z, w: z.real * w.imag + abs(z) + np.angle(w),
    ),
    "conjugate": (lambda z, w: gnp.conj(z) * w.conj(), lambda z, w: np.conj(z) * w.conj()),
    "statistics": (lambda z, w: gnp.mean(z, axis=0) + gnp.std(w, axis=0), lambda z, w: z.mean(0) + w.std(0)),
    "products": (lambda z, w: z @ w.T + gnp.prod(z), lambda z, w: z @ w.T + z.prod()),
    "moved": (lambda z, w: gnp.stack([z.T, w[::-1].T])[:, 1:], lambda z, w: np.stack([z.T, w[::-1].T])[:, 1:]),
    "chosen": (lambda z, w: gnp.where(z == w, 1, z) + gnp.cumsum(w, axis=1), lambda z, w: z + np.cumsum(w, axis=1)),
    "casts": (
        lambda z, w: z.real.astype("complex64") * w.astype("complex128"),
        lambda z, w: z.real * w.astype(complex),
    ),
    "finite": (lambda z, w: gnp.isfinite(z) & ~gnp.isnan(w), lambda z, w: np.isfinite(z) & ~np.isnan(w)),
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_in_numpy(name: str, backend: str) -> None:
    ours, numpys = FUNCTIONS[name]
    wanted = np.asarray(numpys(Z, W))
    for found in (gc.jit(ours, backend=backend)(Z, W), ours(Z, W)):
        assert np.asarray(found).shape == wanted.shape
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=2e-5, atol=2e-5)


# ------------------------------------------------------------------------------------------------------ derivatives


def test_the_gradient_of_a_real_function_is_the_conjugate_of_the_direction_of_ascent() -> None:
    # f(a + ib) = df/da - i df/db, as jax.grad
    np.testing.assert_allclose(gc.grad(lambda z: gnp.sum(gnp.abs(z) ** 2))(Z), 2 * Z.conj(), rtol=1e-5)
    np.testing.assert_allclose(gc.grad(lambda z: gnp.sum(gnp.real(z)))(Z), np.ones_like(Z))
    np.testing.assert_allclose(gc.grad(lambda z: gnp.sum(gnp.imag(z)))(Z), np.full_like(Z, -1j))
    np.testing.assert_allclose(gc.grad(lambda z: gnp.sum(gnp.real(z * z * z)))(Z), 3 * Z * Z, rtol=1e-5)


def test_of_a_holomorphic_function_the_cotangent_is_multiplied_by_the_derivative() -> None:
    value, pull_back = gc.vjp(gnp.exp, Z)
    (found,) = pull_back(W)
    np.testing.assert_allclose(found, W * np.exp(Z), rtol=1e-5)
    _, moved = gc.jvp(gnp.exp, (Z,), (W,))
    np.testing.assert_allclose(moved, W * np.exp(Z), rtol=1e-5)
    np.testing.assert_allclose(value, np.exp(Z), rtol=1e-5)


def test_real_arguments_have_real_gradients() -> None:
    x = Z.real.copy()
    found = gc.grad(lambda a: gnp.sum(gnp.abs(gnp.exp(1j * a) + a)))(x)
    assert found.dtype == np.float32
    gc.gradcheck(lambda a: gnp.sum(gnp.abs(gnp.exp(1j * a) + a)), x, order=2)


def test_second_derivatives() -> None:
    def f(z: gnp.Array, w: gnp.Array) -> gnp.Array:
        return gnp.tanh(z @ w.T) * gnp.sum(gnp.sqrt(w) / z) + gnp.angle(z)[:, :4] + gnp.conj(z)[:, :4] ** 2.5

    gc.gradcheck(f, Z + 3, W + 3, order=2, directions=1)


def test_abs_at_0_has_the_derivative_0() -> None:
    np.testing.assert_array_equal(gc.grad(lambda z: gnp.sum(gnp.abs(z)))(np.zeros(3, np.complex64)), np.zeros(3))


def test_a_step_against_the_conjugate_descends() -> None:
    def loss(z: gnp.Array) -> gnp.Array:
        return gnp.sum(gnp.abs(z - (1 + 2j)) ** 2)

    z = Z
    for _ in range(60):
        z = z - 0.1 * gnp.conj(gc.grad(loss)(z))
    np.testing.assert_allclose(z, np.full_like(Z, 1 + 2j), atol=1e-3)


# ------------------------------------------------------------------------------------------------------ programs


def test_constants_in_text() -> None:
    values = np.array([1 + 2j, complex(-0.0, np.nan), complex(np.inf, -1e-40), 0.1j], np.complex64)
    for dtype in ("complex64", "complex128"):
        graph = gc.trace(lambda x: x + values, gc.spec((4,), dtype))
        assert gc.parse(str(graph)) == graph


def test_calls_are_taken_apart_and_put_together() -> None:
    square = gc.jit(lambda z: z * z)
    exe = gc.compile(lambda z: gnp.real(square(z) + square(z * 2)), Z)
    assert "complex(" not in exe.text("optimized")
    np.testing.assert_allclose(exe(Z), (5 * Z * Z).real, rtol=1e-5)


def test_the_pass_is_done_after_one_run() -> None:
    graph = gc.trace(
        lambda z, w: (z * w, gnp.abs(z), z @ w.T), gc.spec((4, 5), "complex64"), gc.spec((4, 5), "complex64")
    )
    once = Complexes().run(graph)
    assert Complexes().run(once) is once
    plain = gc.trace(lambda x: x + x, gc.spec((4,), "float32"))
    assert Complexes().run(plain) is plain


def test_arguments_and_results() -> None:
    exe = gc.compile(lambda z: z, gc.spec((4, 5), "complex64"))
    np.testing.assert_array_equal(exe(Z), Z)
    with pytest.raises(DTypeError, match="expected c64"):
        exe(Z.astype(np.complex128))
    with pytest.raises(DTypeError, match=r"expected f32\[\], got the complex number 1j"):
        gc.compile(lambda x: x, gc.spec((), "float32"))(1j)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: gnp.maximum(z, z), "max: complex64 is not accepted"),
        (lambda z: z < z, "lt: complex64 is not accepted"),
        (lambda z: gnp.max(z), "reduce_max: complex64 is not accepted"),
        (lambda z: gnp.argmax(z), "argmax: complex64 is not accepted, complex numbers have no order"),
        (lambda z: gnp.sort(z), "sort: complex64 is not accepted"),
        (lambda z: gnp.floor(z), "floor: complex64 is not accepted"),
        (lambda z: z.astype("float32"), r"cast: c64\[4,5\] is complex and float32 is not; take real"),
        (lambda z: z.astype("int8"), "cast: .* is complex and int8 is not"),
    ],
)
def test_what_complex_numbers_have_not_is_an_error_that_names_the_op(function: F, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        gc.jit(function)(Z)


def test_the_gradient_of_a_complex_result_is_an_error() -> None:
    with pytest.raises(GradientError, match=r"grad needs a real scalar, this function returns c64\[\]"):
        gc.grad(lambda z: gnp.sum(z))(Z)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86-64")
def test_bits_do_not_depend_on_the_processor_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(z: gnp.Array, w: gnp.Array) -> tuple[gnp.Array, ...]:
        return z * w, z / w, gnp.exp(z) + gnp.tanh(w), gnp.sum(z, axis=0), gnp.prod(w, axis=1), z @ w.T, gnp.abs(z)

    z, w = draw(67, 43), draw(67, 43, seed=1)
    found = []
    for cpu, threads in (("", 1), ("", 2), ("x86-64-v3", 1), ("x86-64", 1)):
        monkeypatch.setenv("GRAPHC_CPU", cpu)
        found.append([np.asarray(x).tobytes() for x in gc.compile(f, z, w, threads=threads)(z, w)])
    assert all(each == found[0] for each in found)


def test_the_imaginary_part_of_what_is_real_is_zero() -> None:
    """Also of infinity and NaN."""
    x = np.array([1.0, -np.inf, np.nan], np.float32)
    for imag in (gnp.imag, lambda x: x.imag):
        found = np.asarray(gc.jit(lambda x, imag=imag: imag(x))(x))
        assert found.dtype == x.dtype and not found.any()
    assert not np.any(gnp.imag(x))
