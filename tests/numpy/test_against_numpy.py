"""Every function of graphc.numpy that has a namesake in NumPy gives NumPy's values, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.numpy as gnp
from tests.evaluate import check

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4)).astype(np.float32)
B = RNG.normal(size=(3, 4)).astype(np.float32)
ROW = RNG.normal(size=(4,)).astype(np.float32)
POSITIVE = np.abs(A) + np.float32(0.1)
CUBE = RNG.normal(size=(2, 3, 4)).astype(np.float64)
INTS = RNG.integers(-9, 9, size=(3, 4))
MORE_INTS = RNG.integers(-4, 4, size=(3, 4))
BITS = RNG.integers(0, 255, size=(5,), dtype=np.uint8)
FLAGS = RNG.random((3, 4)) < 0.5
SMALL = np.array([0, 1, -1, 2, -2, 3, -7, 127, -128], np.int8)
TINY = np.array([0.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38], np.float32)
ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.5, -2.5], np.float32)
FINITE = np.array([0.0, -0.0, np.nan, 1.5, -2.5], np.float32)

UNARY = {
    "negative": [A, INTS, BITS],
    "abs": [A, INTS, ODD],
    "sign": [A, INTS, ODD],
    "square": [A, INTS],
    "reciprocal": [POSITIVE],
    "sqrt": [POSITIVE, ODD],
    "exp": [A, ODD],
    "exp2": [A, ODD],
    "expm1": [A, ODD],
    "log": [POSITIVE, ODD],
    "log1p": [POSITIVE, ODD],
    "log2": [POSITIVE, ODD],
    "log10": [POSITIVE, ODD],
    "sin": [A],
    "cos": [A],
    "tan": [A],
    "arctan": [A, A * 30, ODD],
    "sinh": [A, A * 30, A * 1e-3, ODD],
    "cosh": [A, A * 30, ODD],
    "tanh": [A, ODD],
    "arcsin": [A / 4, ODD],
    "arccos": [A / 4, ODD],
    "arcsinh": [A, A * 1e-4, A * 1e20, CUBE, ODD],
    "arccosh": [A + 3, CUBE * 1e200, ODD],
    "arctanh": [A / 4, ODD],
    "signbit": [A, ODD, CUBE],
    "floor": [A, INTS, ODD],
    "ceil": [A, ODD],
    "trunc": [A, ODD],
    "rint": [A, ODD],
    "deg2rad": [A],
    "rad2deg": [A],
    "isnan": [ODD, INTS],
    "isinf": [ODD, INTS],
    "isfinite": [ODD, INTS],
    "nan_to_num": [ODD, INTS],
    "bitwise_invert": [BITS, FLAGS, INTS],
    "logical_not": [FLAGS, INTS],
    "sum": [A, INTS, FLAGS, BITS, CUBE],
    "prod": [A, MORE_INTS, BITS],
    "mean": [A, CUBE],
    "var": [A, CUBE],
    "std": [A, CUBE],
    "max": [A, INTS],
    "min": [A, INTS],
    "ptp": [A],
    "any": [FLAGS, INTS],
    "all": [FLAGS, INTS],
    "argmax": [A, INTS, FLAGS],
    "argmin": [A, INTS],
    "count_nonzero": [INTS, FLAGS],
    "ravel": [A, CUBE],
    "transpose": [A, CUBE, ROW],
    "matrix_transpose": [A, CUBE],
    "squeeze": [A[:, None], CUBE],
    "flip": [A, CUBE],
    "vstack": [A, CUBE],
    "hstack": [A, CUBE],
    "concatenate": [A, CUBE],
    "diag": [ROW, A],
    "trace": [A],
    "tril": [A, CUBE],
    "triu": [A, CUBE],
    "cumsum": [A, INTS, ROW],
    "cumprod": [A, ROW],
    "diff": [A, INTS],
    "atleast_1d": [A, A[0, 0]],
    "atleast_2d": [A, ROW],
    "zeros_like": [A, INTS],
    "ones_like": [A, FLAGS],
    "copy": [A],
}


@pytest.mark.parametrize(("name", "x"), [(name, x) for name, xs in UNARY.items() for x in xs])
def test_unary(name: str, x: np.ndarray) -> None:
    check(getattr(gnp, name), getattr(np, name), x)


BINARY = {
    "add": [(A, B), (A, ROW), (INTS, MORE_INTS), (BITS, BITS), (A, CUBE)],
    "subtract": [(A, ROW), (INTS, MORE_INTS)],
    "multiply": [(A, ROW), (INTS, MORE_INTS), (A, CUBE)],
    "divide": [(A, B), (A, ODD[:4])],
    "floor_divide": [(A, B), (INTS, np.abs(MORE_INTS) + 1), (INTS, MORE_INTS), (FINITE[:, None], FINITE), (BITS, BITS)],
    "remainder": [(A, B), (INTS, MORE_INTS), (ODD[:, None], ODD), (BITS, BITS)],
    "fmod": [(A, B), (INTS, MORE_INTS)],
    "arctan2": [(A, B), (A, ROW), (CUBE * 1e200, CUBE[::-1]), (ODD[:, None], ODD)],
    "copysign": [(A, B), (ODD[:, None], ODD)],
    "nextafter": [(A, B), (CUBE, CUBE[0] * 0), (ODD[:, None], ODD), (TINY[:, None], TINY)],
    "hypot": [(A, B), (ODD[:, None], ODD)],
    "power": [(POSITIVE, B), (INTS, np.abs(MORE_INTS)), (BITS, BITS), (SMALL[:, None], np.arange(128, dtype=np.int8))],
    "maximum": [(A, B), (INTS, MORE_INTS), (ODD[:, None], ODD)],
    "minimum": [(A, B), (INTS, MORE_INTS), (ODD[:, None], ODD)],
    "equal": [(INTS, MORE_INTS), (ODD[:, None], ODD)],
    "not_equal": [(INTS, MORE_INTS), (ODD[:, None], ODD)],
    "less": [(A, B)],
    "less_equal": [(A, A)],
    "greater": [(A, B)],
    "greater_equal": [(A, A)],
    "bitwise_and": [(INTS, MORE_INTS), (FLAGS, ~FLAGS)],
    "bitwise_or": [(INTS, MORE_INTS)],
    "bitwise_xor": [(INTS, MORE_INTS)],
    "left_shift": [(INTS, np.abs(MORE_INTS))],
    "right_shift": [(INTS, np.abs(MORE_INTS))],
    "logical_and": [(FLAGS, ~FLAGS), (INTS, FLAGS)],
    "logical_or": [(FLAGS, INTS)],
    "logical_xor": [(FLAGS, INTS)],
    "logaddexp": [(A, B), (A * 1e3, B * 1e3), (ODD[:, None], ODD)],
    "isclose": [(A, B), (ODD[:, None], ODD)],
    "matmul": [
        (A, B.T.copy()),
        (ROW, ROW),
        (A, ROW),
        (CUBE, CUBE.transpose(0, 2, 1)),
        (ROW[:3], CUBE),
        (CUBE, CUBE[0].T),
    ],
    "dot": [(ROW, ROW), (A, ROW), (CUBE, CUBE[0].T), (A, B.T.copy())],
    "vecdot": [(A, B), (A, ROW)],
    "inner": [(ROW, ROW), (A, B)],
    "outer": [(ROW, ROW)],
}


@pytest.mark.parametrize(("name", "pair"), [(name, pair) for name, pairs in BINARY.items() for pair in pairs])
def test_binary(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    def reference(x: np.ndarray, y: np.ndarray) -> object:
        return getattr(np, name)(x, y)

    check(getattr(gnp, name), reference, *pair)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reduction_axes(name: str, axis: object, keepdims: bool) -> None:
    check(
        lambda x: getattr(gnp, name)(x, axis=axis, keepdims=keepdims),
        lambda x: getattr(np, name)(x, axis=axis, keepdims=keepdims),
        CUBE,
    )


def test_variance_is_two_pass() -> None:
    x = (np.arange(1000, dtype=np.float32) % 7) + np.float32(1e4)
    check(lambda v: gnp.var(v, correction=1), lambda v: np.var(v.astype(np.float64), ddof=1).astype(np.float32), x)


OTHERS: list[tuple[Callable[..., object], tuple[np.ndarray, ...]]] = [
    (lambda m, x: m.sum(x, axis=1, dtype="float64"), (A,)),
    (lambda m, x: m.argmax(x, axis=1, keepdims=True), (A,)),
    (lambda m, x: m.argmin(x, keepdims=True), (A,)),
    (lambda m, x: m.clip(x, -0.5, 0.5), (A,)),
    (lambda m, x: m.clip(x, None, 0.5), (A,)),
    (lambda m, x: m.round(x, 2), (CUBE,)),
    (lambda m, x: m.round(x * 100, -1), (CUBE,)),
    (lambda m, c, x, y: m.where(c, x, y), (FLAGS, A, ROW)),
    (lambda m, x: m.where(x > 0, x, 0.0), (A,)),
    (lambda m, x: m.reshape(x, (2, -1)), (A,)),
    (lambda m, x: m.transpose(x, (2, 0, 1)), (CUBE,)),
    (lambda m, x: m.permute_dims(x, (1, 2, 0)), (CUBE,)),
    (lambda m, x: m.swapaxes(x, 0, -1), (CUBE,)),
    (lambda m, x: m.moveaxis(x, (0, 1), (-1, 0)), (CUBE,)),
    (lambda m, x: m.moveaxis(x, 2, 0), (CUBE,)),
    (lambda m, x: m.moveaxis(x, (0, 1), (1, 0)), (CUBE,)),
    (lambda m, x: m.expand_dims(x, (0, -1)), (A,)),
    (lambda m, x: m.broadcast_to(x, (5, 3, 4)), (A,)),
    (lambda m, x, y: m.concatenate([x, y], axis=1), (A, B)),
    (lambda m, x, y: m.concatenate([x, y], axis=None), (A, ROW)),
    (lambda m, x, y: m.stack([x, y], axis=-1), (A, B)),
    (lambda m, x: m.split(x, 2, axis=1), (A,)),
    (lambda m, x: m.split(x, [1, 3], axis=1), (A,)),
    (lambda m, x: m.flip(x, 1), (A,)),
    (lambda m, x: m.roll(x, 5), (A,)),
    (lambda m, x: m.roll(x, (1, -2), axis=(0, 1)), (A,)),
    (lambda m, x: m.repeat(x, 3, axis=1), (A,)),
    (lambda m, x: m.repeat(x, 2), (A,)),
    (lambda m, x: m.repeat(x, np.array([2, 0, 3]), axis=0), (A,)),
    (lambda m, x: m.diff(x, prepend=np.float32(1), append=np.zeros((3, 2), np.float32)), (A,)),
    (lambda m, x: m.diff(x, axis=0), (FLAGS,)),
    (lambda m, x, v: m.searchsorted(x, v, side="right", sorter=np.argsort(ROW)), (ROW, A)),
    (lambda m, x: m.astype(x, "int32") + m.asarray(3, dtype="int32", copy=True), (A,)),
    (lambda m, x: m.reshape(x, (4, 3), copy=True), (A,)),
    (lambda m, x: m.tile(x, (2, 1, 3)), (A,)),
    (lambda m, x: m.tile(x, 2), (CUBE,)),
    (lambda m, x: m.pad(x, 1), (A,)),
    (lambda m, x, n: m.roll(x, n, 1), (A, np.array(5))),
    (lambda m, x, n: m.roll(x, n), (A, np.array(-3))),
    (lambda m, x: m.repeat(x, [2, 0, 1], axis=0), (A,)),
    (lambda m, x: m.repeat(x, [3], axis=1), (A,)),
    (lambda m, x: m.pad(x, ((1, 2), (0, 3)), constant_values=7), (A,)),
    (lambda m, x: m.pad(x, ((1, 2), (0, 3)), mode="edge"), (A,)),
    (lambda m, x: m.pad(x, ((1, 2), (0, 3)), mode="reflect"), (A,)),
    (lambda m, x: m.pad(x, ((3, 2), (0, 4)), mode="symmetric"), (A,)),
    (lambda m, x: m.pad(x, (2, 1), mode="wrap"), (A,)),
    (lambda m, x, i: m.take(x, i, axis=1), (A, np.array([[0, -1], [2, 2]]))),
    (lambda m, x, i: m.take(x, i), (A, np.array([0, 11, -12]))),
    (lambda m, x: m.take(x, np.array([5, -3, 1]), axis=0, mode="clip"), (A,)),
    (lambda m, x, i: m.take_along_axis(x, i, axis=1), (A, np.array([[0], [3], [-1]]))),
    (lambda m, x, i: m.take_along_axis(x, i, axis=0), (CUBE, np.zeros((1, 3, 4), np.int64))),
    (lambda m, x: m.tril(x, -1), (A,)),
    (lambda m, x: m.triu(x, 1), (CUBE,)),
    (lambda m, x: m.diag(x, -2), (ROW,)),
    (lambda m, x: m.diag(x, 1), (A,)),
    (lambda m, x: m.trace(x, offset=1), (A,)),
    (lambda m, x: m.cumsum(x, axis=0), (CUBE,)),
    (lambda m, x: m.cumprod(x, axis=1), (MORE_INTS,)),
    (lambda m, x: m.diff(x, n=2, axis=0), (A,)),
    (lambda m, x: m.average(x, axis=0), (A,)),
    (lambda m, x: m.nan_to_num(x, nan=1.0, posinf=2.0, neginf=-3.0), (ODD,)),
    (lambda m, x, y: m.tensordot(x, y, axes=([0, 2], [0, 2])), (CUBE, CUBE)),
    (lambda m, x, y: m.tensordot(x, y, axes=0), (ROW, ROW)),
    (lambda m, x: m.full_like(x, 3), (A,)),
    (lambda m, x: x + m.eye(3, 4, 1, dtype="float32"), (A,)),
    (lambda m, x: x + m.tri(3, 4, dtype="float32"), (A,)),
    (lambda m, x: x + m.arange(4), (INTS,)),
    (lambda m, x: x + m.arange(3, -5, -2), (INTS,)),
    (lambda m, x: m.arange(0.5, 2.5, 0.5) + x, (CUBE,)),
    (lambda m, x: m.linspace(0, 1, 4) * x, (CUBE,)),
    (lambda m, x, y: m.meshgrid(x, y), (ROW, ROW[:2])),
    (lambda m, x, y: m.broadcast_arrays(x, y), (A, ROW)),
    (lambda m, x: x.astype(np.float64).sum() + x.mean(axis=0).T, (A,)),
    (lambda m, x: x.var(axis=1, ddof=1, keepdims=True) - x.std(), (CUBE,)),
]


@pytest.mark.parametrize("position", range(len(OTHERS)))
def test_same_code_on_both_modules(position: int) -> None:
    function, args = OTHERS[position]
    check(lambda *xs: function(gnp, *xs), lambda *xs: function(np, *xs), *args)


SUBSCRIPTS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ij,jk", ((2, 3), (3, 4))),
    ("bij,bjk->bik", ((5, 2, 3), (5, 3, 4))),
    ("bij,bkj->bik", ((5, 2, 3), (5, 4, 3))),
    ("ij->ji", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("ii", ((3, 3),)),
    ("ii->i", ((3, 3),)),
    ("iij->ij", ((3, 3, 2),)),
    ("i,j->ij", ((2,), (3,))),
    ("ij,ij->i", ((2, 3), (2, 3))),
    ("ij,ij->ij", ((2, 3), (2, 3))),
    ("ij,kj->k", ((2, 3), (4, 3))),
    ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5))),
    ("a,ab,abc->c", ((2,), (2, 3), (2, 3, 4))),
    ("...ij,...jk->...ik", ((5, 2, 3), (3, 4))),
    ("...i->...", ((2, 3, 4),)),
    ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5))),
    ("...i,...i", ((1, 3), (2, 3))),
]


@pytest.mark.parametrize(("subscripts", "shapes"), SUBSCRIPTS)
def test_einsum(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    operands = [np.random.default_rng(1).normal(size=shape) for shape in shapes]
    check(lambda *xs: gnp.einsum(subscripts, *xs), lambda *xs: np.einsum(subscripts, *xs), *operands)


def test_logsumexp_neither_overflows_nor_makes_nan() -> None:
    x = np.array([[1e3, 1e3], [-np.inf, -np.inf], [-1e4, 2.0]], np.float32)

    def reference(v: np.ndarray) -> np.ndarray:
        return np.logaddexp.reduce(v, axis=1)

    check(lambda v: gnp.logsumexp(v, axis=1), reference, x)


def test_every_public_function_has_an_example() -> None:
    plain = [getattr(gnp, name) for name in gnp.__all__ if callable(getattr(gnp, name))]
    functions = [f for f in plain if f.__module__.startswith("graphc.numpy")]
    assert len(functions) > 140
    assert [f.__name__ for f in functions if ">>>" not in (f.__doc__ or "")] == []
