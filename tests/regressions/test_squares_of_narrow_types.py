"""Squares of 16 x 16 elements of one or two bytes, transposed by calls: with 16 registers LLVM ended the process."""

import numpy as np
import pytest

import graphc as gc


@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int16"])
def test_squares_leave_registers_free(dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (67, 5)).astype("float32"), rng.integers(-9, 9, (31, 67))
    exe = gc.compile(lambda x, w: x.T @ w.astype("float32").T, gc.spec(x.shape, "float32"), gc.spec(w.shape, dtype))
    np.testing.assert_array_equal(exe(x, w.astype(gc.spec((), dtype).dtype.numpy)), x.T @ w.T)
