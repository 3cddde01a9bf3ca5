"""Pairs of bfloat16 in the loop IR: what they mean, how they are read, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.core.errors import VerifyError
from graphc.kernel import arith
from graphc.kernel.ir import Binary, Buffer, DotPair, Kernel, Load, Param, Store, index
from graphc.kernel.text import parse_kernel, print_kernel
from graphc.kernel.verify import verify
from tests.backends.llvm_kernels import run_interpreted, run_native
from tests.bfloat16.values import BF16, normal, same


def _pair_kernel(lanes: int) -> Kernel:
    text = "\n".join(
        [
            "kernel pairs(",
            f"  in a: u32[{lanes}],",
            f"  in b: u32[{lanes}],",
            f"  in c: f32[{lanes}],",
            f"  out out: f32[{lanes}],",
            "):",
            f"  vector i in 0..{lanes}:",
            "    out[i] = dot_pair(a[i], b[i], c[i])",
        ]
    )
    return parse_kernel(text)


def _pair(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.astype(BF16)).view(np.uint32).reshape(-1)


@pytest.mark.parametrize("lanes", [1, 4, 16, 32])
def test_dot_pair_means_two_multiply_adds(lanes: int) -> None:
    kernel = _pair_kernel(lanes)
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, lanes, 2)).astype(BF16)
    c = rng.standard_normal(lanes).astype(np.float32)
    a, b = x.astype(np.float32), y.astype(np.float32)
    want = arith.fma(a[:, 0], b[:, 0], arith.fma(a[:, 1], b[:, 1], c))
    (out,) = run_native(kernel, [_pair(x), _pair(y), c])
    same(out, want)


_VIEW = """
kernel view(
  in x: bf16[3, 8],
  out y: u32[3, 4],
):
  parallel i in 0..3:
    vector j in 0..4:
      y[i, j] = x:u32[i, j]
"""


def test_pairs_are_read_at_once() -> None:
    kernel = parse_kernel(_VIEW)
    verify(kernel)
    assert parse_kernel(print_kernel(kernel)) == kernel
    x = normal(3, 8)
    for run_kernel in (run_native, run_interpreted):
        (got,) = run_kernel(kernel, [x])
        same(got, np.ascontiguousarray(x).view(np.uint32))


def test_gathers_of_pairs_beside_gathers_of_integers() -> None:
    """Pairs are aligned like bfloat16, integers of the same width like themselves; the intrinsic is declared once."""
    kernel = parse_kernel("""
kernel gathers(
  in x: bf16[16, 8],
  in z: u32[16, 4],
  out y: u32[2, 16],
):
  vector i in 0..16:
    y[0, i] = x:u32[i, 2]
    y[1, i] = z[i, 3]
""")
    x, z = normal(16, 8), np.arange(64, dtype=np.uint32).reshape(16, 4)
    for run_kernel in (run_native, run_interpreted):
        (got,) = run_kernel(kernel, [x, z])
        same(got, np.stack([np.ascontiguousarray(x).view(np.uint32)[:, 2], z[:, 3]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_VIEW.replace("bf16[3, 8]", "bf16[3, 7]").replace("0..4", "0..3"), "no .* parameter of pairs"),
        (_VIEW.replace("bf16[3, 8]", "u16[3, 8]"), "no .* parameter of pairs"),
        (_VIEW.replace("in x", "inout x"), "no .* parameter of pairs"),
        (_VIEW.replace("x:u32[i, j]", "x:u32[i, j + 1]"), "out of bounds"),
    ],
    ids=["odd", "dtype", "written", "bounds"],
)
def test_pairs_are_read_of_what_is_only_read(text: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_kernel(text))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: Binary("add", x, x), "add of bfloat16; cast to float32"),
        (lambda x: DotPair(x, x, x), "dot_pair of bfloat16"),
    ],
    ids=["arithmetic", "pairs"],
)
def test_nothing_is_computed_in_bfloat16(value: Callable[[Load], object], message: str) -> None:
    x, y = Buffer("x", dtypes.bfloat16, (1,)), Buffer("y", dtypes.bfloat16, (1,))
    body = (Store(y, (index(0),), value(Load(x, (index(0),)))),)  # type: ignore[arg-type]
    with pytest.raises(VerifyError, match=message):
        verify(Kernel("k", (Param(x, "in"), Param(y, "out")), body))
