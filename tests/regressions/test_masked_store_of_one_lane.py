"""A vector narrowed to 16 or 8 bits and stored under a mask of one lane must not touch the element after it."""

import numpy as np
import pytest

from graphc.kernel.text import parse_kernel
from tests.backends.llvm_kernels import run_interpreted, run_native


@pytest.mark.parametrize("dtype", ["i16", "u8", "bf16"])
def test_the_next_element_stays(dtype: str) -> None:
    source = "f32" if dtype == "bf16" else "i64" if dtype == "u8" else "i32"
    kernel = parse_kernel(
        f"""
kernel narrow(
  in x: {source}[16],
  out y: {dtype}[2, 16],
):
  vector j in 0..16:
    y[0, j] = {dtype}(x[j])
    y[1, j] = {dtype}(x[j])
  vector l in 0..16:
    if l < 1:
      y[0, l] = {dtype}(x[l])
"""
    )
    x = np.arange(1, 17).astype({"f32": np.float32, "i64": np.int64, "i32": np.int32}[source])
    for run in (run_native, run_interpreted):
        (got,) = run(kernel, [x])
        assert got.astype(np.int64).tolist() == [list(range(1, 17))] * 2
