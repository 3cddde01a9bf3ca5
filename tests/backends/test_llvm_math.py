"""Math functions in vector lanes have the bits of the interpreter, over random bit patterns and ordinary numbers."""

import numpy as np
import pytest

from graphc.core.dtypes import DType, float32, float64
from graphc.kernel.ir import Buffer, Const, Expr, For, Kernel, Load, Param, Store, Var, index
from graphc.kernel.math import FUNCTIONS, expand
from graphc.kernel.math.scalar import Emitter
from graphc_llvm import recipes
from tests.backends.llvm_kernels import run_interpreted, run_native, same_bits

N = 1027


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_functions(dtype: DType) -> None:
    rng = np.random.default_rng(11)
    given = rng.integers(0, 1 << dtype.bits, N, dtype=f"u{dtype.itemsize}").view(dtype.numpy)
    given[::2] = 3 * rng.standard_normal(len(given[::2]))
    for name in FUNCTIONS:
        x, y, i = Buffer("x", dtype, (N,)), Buffer("y", dtype, (N,)), Var("i")
        emit = Emitter()
        args: tuple[Expr, ...] = (Load(x, (i,)), Const(1.7, dtype))
        value = expand(name, args[: 2 if name == "pow" else 1], emit)
        body = (For(i, index(N), "parallel", (*emit.statements, Store(y, (i,), value))),)
        kernel = Kernel(name, (Param(x, "in"), Param(y, "out")), body)
        (got,), (wanted,) = run_native(recipes.schedule(kernel), [given]), run_interpreted(kernel, [given])
        assert same_bits(got, wanted), f"{name}: {given[got != wanted][:4]}"
