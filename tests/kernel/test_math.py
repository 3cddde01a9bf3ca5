"""Accuracy of the math expansions over whole ranges, and the random bits against their NumPy meaning."""

import numpy as np
import pytest
from mpmath import mp, mpf

from graphc.core import counter_rng
from graphc.core.dtypes import float32, int32, uint32, uint64
from graphc.core.errors import UnsupportedError
from graphc.kernel.interpret import run
from graphc.kernel.ir import Buffer, Cast, Const, Expr, For, Kernel, Load, Param, Store, Var, index
from graphc.kernel.math import FUNCTIONS, Emitter, expand, philox, shuffle_index
from graphc.kernel.verify import verify
from tests.kernel import math_harness as harness

TRUTH32 = harness.TRUTH32


def test_every_function_has_a_truth() -> None:
    for name in set(FUNCTIONS) - {"pow"}:
        assert name in TRUTH32, f"add a row for {name} to TRUTH32 in tests/kernel/math_harness.py"
        assert name in TRUTH64, f"add a row for {name} to TRUTH64 in tests/kernel/test_math.py"


def _points32() -> np.ndarray:
    rng = np.random.default_rng(1)
    middle = rng.uniform(-20, 20, 1 << 16), rng.uniform(-2, 2, 1 << 16)
    return np.concatenate([harness.stratified32(0, 512), *(part.astype(np.float32) for part in middle)])


@pytest.mark.parametrize("name", TRUTH32)
def test_float32_is_within_two_ulp(name: str) -> None:
    x = _points32()
    with np.errstate(all="ignore"):
        error = harness.ulps32(harness.evaluate(name, x), TRUTH32[name](x.astype(np.float64)))
    worst = error.argmax()
    assert error[worst] <= 2, f"{name}({x[worst]!r}) is {error[worst]} ulp off"


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH32)
def test_float32_is_within_two_ulp_at_every_61st_number(name: str) -> None:
    worst, at = harness.sweep(name, TRUTH32[name], step=61)
    assert worst <= 2, f"{name}({at!r}) is {worst} ulp off"


TRUTH64 = {
    "exp": (mp.exp, -746, 710, 2),
    "exp2": (lambda x: mpf(2) ** x, -1076, 1025, 2),
    "expm1": (mp.expm1, -40, 710, 2),
    "log": (mp.log, 0, 3, 2),
    "log1p": (mp.log1p, -1, 3, 2),
    "sin": (mp.sin, -50, 50, 2),
    "cos": (mp.cos, -50, 50, 2),
    "atan": (mp.atan, -5, 5, 2),
    "tanh": (mp.tanh, -20, 20, 2),
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), -746, 50, 2),
    "erf": (mp.erf, -6, 6, 4),
    "erfc": (mp.erfc, -6, 27.3, 4),
}


def _points64(name: str, low: float, high: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    bits = np.arange(0, 2047, dtype=np.uint64) << np.uint64(52) | rng.integers(0, 1 << 52, 2047, dtype=np.uint64)
    every = bits.view(np.float64)
    if name == "log1p":
        every = np.concatenate([every, -every[every < 1]])
    elif name != "log":
        bound = np.inf if name in ("sin", "cos") else 800.0
        every = np.concatenate([every[every < bound], -every[every < bound]])
    return np.concatenate([rng.uniform(low, high, 1000), rng.uniform(max(low, -2), min(high, 2), 1000), every])


def _ulps64(got: float, truth: mpf) -> float:
    near = float(truth)
    if not np.isfinite(near) or not np.isfinite(got):
        return 0.0 if got == near else np.inf
    return float(abs(mpf(got) - truth) / mpf(float(np.spacing(min(abs(near), 1.7e308)))))


@pytest.mark.parametrize("name", TRUTH64)
def test_float64_error(name: str) -> None:
    function, low, high, allowed = TRUTH64[name]
    x = _points64(name, low, high)
    got = harness.evaluate(name, x)
    with mp.workprec(1300 if name in ("sin", "cos") else 120):
        error = [_ulps64(float(g), function(mpf(float(v)))) for g, v in zip(got, x)]
    worst = int(np.argmax(error))
    assert error[worst] <= allowed, f"{name}({x[worst]!r}) is {error[worst]} ulp off"


@pytest.mark.parametrize("name", TRUTH32)
def test_float64_special_values(name: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -5e-324, 1.0, -1.0, 800.0, -800.0])
    got = harness.evaluate(name, x)
    with np.errstate(all="ignore"):
        want = TRUTH32[name](x)
    np.testing.assert_allclose(got, want, rtol=4e-16)
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(want)]), np.signbit(want[~np.isnan(want)]))


SPECIAL = [0, 1, 2, 0.5, 3, 1.5, 1e-300, 5e-324, 1e300, 2.0**53 + 2, np.inf, np.nan, 3e38, 1e-45]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pow_special_values(dtype: type) -> None:
    with np.errstate(all="ignore"):
        values = np.array([*SPECIAL, *(-v for v in SPECIAL)]).astype(dtype)
        x, y = (a.ravel() for a in np.meshgrid(values, values))
        got, want = harness.evaluate("pow", x, y), np.power(x, y)
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == np.float32 else 1e-15)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


def test_pow_float32() -> None:
    rng = np.random.default_rng(0)
    middle = np.exp(rng.uniform(-5, 5, 1 << 15)).astype(np.float32)
    x = np.concatenate([np.abs(harness.stratified32(2, 64)), middle])
    y = np.concatenate([rng.uniform(-2, 2, 512 * 64), rng.uniform(-18, 18, 1 << 15)]).astype(np.float32)
    with np.errstate(all="ignore"):
        error = harness.ulps32(harness.evaluate("pow", x, y), np.power(x.astype(np.float64), y.astype(np.float64)))
    assert error.max() <= 0.51


def test_pow_float64() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [np.exp(rng.uniform(-1, 1, 800)), np.exp(rng.uniform(-700, 700, 800)), rng.uniform(0.999, 1.001, 400)]
    )
    y = rng.uniform(-1, 1, x.size) * 745 / np.abs(np.log(x))
    with mp.workprec(160):
        error = [
            _ulps64(float(g), mpf(float(a)) ** mpf(float(b))) for g, a, b in zip(harness.evaluate("pow", x, y), x, y)
        ]
    assert max(error) <= 2


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expansions_verify(name: str, dtype: str) -> None:
    verify(harness.kernel(name, dtype, 4, 2 if name == "pow" else 1))


def test_unknown_functions_and_dtypes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no function bessel"):
        expand("bessel", (Const(1.0, float32),), Emitter())
    with pytest.raises(UnsupportedError, match="exp of int32"):
        expand("exp", (Const(1, int32),), Emitter())


def test_philox_expansion_is_philox() -> None:
    count = 64
    rng = np.random.default_rng(3)
    counters = rng.integers(0, 1 << 32, (count, 4), dtype=np.uint32)
    counters[0], counters[1] = 0, 0xFFFFFFFF
    keys = rng.integers(0, 1 << 32, 2, dtype=np.uint32)
    i = Var("i")
    source, key, out = Buffer("c", uint64, (count, 2)), Buffer("k", uint32, (2,)), Buffer("o", uint32, (count, 4))
    emit = Emitter("p")
    halves = Load(source, (i, index(0))), Load(source, (i, index(1)))
    words = philox(*halves, Load(key, (index(0),)), Load(key, (index(1),)), emit)
    stores = tuple(Store(out, (i, index(w)), word) for w, word in enumerate(words))
    body = For(i, index(count), "parallel", (*emit.statements, *stores))
    kernel = Kernel("philox", (Param(source, "in"), Param(key, "in"), Param(out, "out")), (body,))
    verify(kernel)
    got = np.zeros((count, 4), np.uint32)
    run(kernel, [counters.view(np.uint64), keys, got])
    np.testing.assert_array_equal(got, counter_rng.philox4x32(counters, keys))


def test_shuffle_expansion_is_shuffle() -> None:
    n, rounds = 1000, 24
    keys = np.random.default_rng(4).integers(0, 1 << 32, (rounds, 2), dtype=np.uint32)
    i = Var("i")
    key, out = Buffer("k", uint32, (rounds, 2)), Buffer("o", uint32, (n,))
    emit = Emitter("s")
    pairs: list[tuple[Expr, Expr]] = [
        (Load(key, (index(r), index(0))), Load(key, (index(r), index(1)))) for r in range(rounds)
    ]
    value = shuffle_index(Cast(i, uint32), Const(n, uint32), pairs, emit)
    body = For(i, index(n), "parallel", (*emit.statements, Store(out, (i,), value)))
    kernel = Kernel("shuffle", (Param(key, "in"), Param(out, "out")), (body,))
    verify(kernel)
    got = np.zeros(n, np.uint32)
    run(kernel, [keys, got])
    np.testing.assert_array_equal(got, counter_rng.shuffle_index(np.arange(n), keys, n))
