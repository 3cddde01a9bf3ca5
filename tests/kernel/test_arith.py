"""Scalar arithmetic of the loop IR against exact rational arithmetic and the rules in `graphc.kernel.ir`."""

from fractions import Fraction

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.kernel import arith


def _round32(exact: Fraction) -> np.float32:
    """Nearest float32, ties to even, by comparing with the neighbours of an approximation."""
    near = np.float32(float(exact))
    best = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(best, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.uint32)) & 1))


def test_fma32_rounds_once() -> None:
    rng = np.random.default_rng(0)
    a = (rng.standard_normal(4000) * 2.0 ** rng.integers(-60, 60, 4000)).astype(np.float32)
    b = (rng.standard_normal(4000) * 2.0 ** rng.integers(-80, 60, 4000)).astype(np.float32)
    c = (-a.astype(np.float64) * b * (1 + 2.0 ** -rng.integers(0, 60, 4000).astype(float))).astype(np.float32)
    c[::7] = np.float32(1e-45)
    with np.errstate(all="ignore"):
        got = arith.fma(a, b, c)
    want = [_round32(Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))) for x, y, z in zip(a, b, c)]
    np.testing.assert_array_equal(got, np.array(want, np.float32))


def test_fma32_where_float64_rounds_twice() -> None:
    # a * b is a hair less than half an ulp of c; added in float64 the hair is lost and the tie goes away from c
    a, b, c = np.float32(1 + 2**-18), np.float32(2**-24 * (1 - 2**-18)), np.float32(1 + 2**-23)
    assert np.float32(float(a) * float(b) + float(c)) != c
    assert arith.fma(np.asarray(a), np.asarray(b), np.asarray(c)) == c


def test_fma64_rounds_once() -> None:
    rng = np.random.default_rng(1)
    n = 3000
    a = rng.standard_normal(n) * 2.0 ** rng.integers(-560, 500, n)
    b = rng.standard_normal(n) * 2.0 ** rng.integers(-560, 500, n)
    with np.errstate(all="ignore"):
        c = -(a * b) * (1 + rng.choice([0.0, 1.0, -1.0], n) * 2.0 ** -rng.integers(0, 110, n).astype(float))
        c[::9] = 5e-324
        got = arith.fma(a, b, c)
    for x, y, z, g in zip(a, b, c, got):
        if not np.isfinite(z):
            assert not np.isfinite(g)
            continue
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        try:
            want = exact.numerator / exact.denominator
        except OverflowError:
            want = np.inf if exact > 0 else -np.inf
        assert g == want


def test_fma_special_values() -> None:
    inf, nan = np.inf, np.nan
    a = np.array([inf, 0.0, 1.0, nan, -0.0, 2.0])
    b = np.array([1.0, inf, 2.0, 1.0, 5.0, -1.0])
    c = np.array([-inf, 1.0, inf, 1.0, -0.0, 2.0])
    with np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            got = arith.fma(a.astype(dtype), b.astype(dtype), c.astype(dtype))
            np.testing.assert_array_equal(got, np.array([nan, nan, inf, nan, -0.0, 0.0], dtype))
            assert np.signbit(got[4]) and not np.signbit(got[5])


def test_integer_division_truncates() -> None:
    a = np.array([7, -7, 7, -7, 5, -(2**31)], np.int32)
    b = np.array([2, 2, -2, -2, 0, -1], np.int32)
    with np.errstate(all="ignore"):
        assert arith.binary("div", a, b).tolist() == [3, -3, -3, 3, 0, -(2**31)]
        assert arith.binary("rem", a, b).tolist() == [1, -1, 1, -1, 0, 0]
        u = arith.binary("div", np.array([2**64 - 1, 3], np.uint64), np.array([2, 0], np.uint64))
    assert u.tolist() == [2**63 - 1, 0]


def test_min_max_order_zeros_and_propagate_nan() -> None:
    a = np.array([0.0, -0.0, np.nan, 1.0, 2.0], np.float32)
    b = np.array([-0.0, 0.0, 1.0, np.nan, 3.0], np.float32)
    low, high = arith.binary("min", a, b), arith.binary("max", a, b)
    assert np.signbit(low[:2]).all() and not np.signbit(high[:2]).any()
    assert np.isnan(low[2:4]).all() and np.isnan(high[2:4]).all()
    assert (low[4], high[4]) == (2, 3)


@pytest.mark.parametrize("to", dtypes.INTEGERS, ids=str)
def test_float_to_integer_saturates(to: dtypes.DType) -> None:
    info = np.iinfo(to.numpy)
    for source in (np.float32, np.float64):
        x = np.array([1e30, -1e30, np.nan, 3.99, -0.99, np.inf, -np.inf], source)
        got = arith.cast(x, to).tolist()
        assert got == [info.max, info.min, 0, 3, 0, info.max, info.min]


def test_integer_casts_wrap() -> None:
    assert arith.cast(np.array([300, -1], np.int32), dtypes.uint8).tolist() == [44, 255]


def test_arg_combine_prefers_small_index_and_first_nan() -> None:
    best = (np.array([1.0, 2.0, np.nan, 1.0]), np.array([5, 5, 5, 5]))
    new = (np.array([1.0, 3.0, np.nan, np.nan]), np.array([3, 9, 7, 8]))
    value, index = arith.combine("argmax", best, new)
    np.testing.assert_array_equal(value, [1.0, 3.0, np.nan, np.nan])
    assert index.tolist() == [3, 9, 5, 8]
