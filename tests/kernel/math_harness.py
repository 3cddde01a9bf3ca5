"""Run an expansion over arrays with the interpreter, and measure errors in units in the last place.

`python -m tests.kernel.math_harness exp` checks a float32 function at all 2**32 arguments; that takes a quarter of an
hour.
"""

import sys
from collections.abc import Callable

import numpy as np
import scipy.special

from graphc.core.dtypes import dtype
from graphc.kernel.interpret import run
from graphc.kernel.ir import Buffer, For, Kernel, Load, Param, Store, Var, index
from graphc.kernel.math import Emitter, expand


def kernel(name: str, element: str, count: int, arity: int) -> Kernel:
    """A parallel loop that applies function `name` to `count` elements."""
    i = Var("i")
    inputs = [Buffer(f"x{k}", dtype(element), (count,)) for k in range(arity)]
    out = Buffer("y", dtype(element), (count,))
    emit = Emitter("t")
    value = expand(name, tuple(Load(b, (i,)) for b in inputs), emit)
    body = (*emit.statements, Store(out, (i,), value))
    params = (*(Param(b, "in") for b in inputs), Param(out, "out"))
    return Kernel(name, params, (For(i, index(count), "parallel", body),))


def evaluate(name: str, *args: np.ndarray) -> np.ndarray:
    """The function over one-dimensional arrays of one dtype."""
    out = np.empty_like(args[0])
    run(kernel(name, args[0].dtype.name, args[0].size, len(args)), [*args, out])
    return out


def ulps32(got: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance of float32 results from a float64 truth in ulps of float32; infinity where a special value is wrong."""
    with np.errstate(all="ignore"):
        near = truth.astype(np.float32)
        spacing = np.spacing(np.minimum(np.abs(near), np.float32(3e38))).astype(np.float64)
        error = np.abs(got.astype(np.float64) - truth) / spacing
    special = ~np.isfinite(near) | ~np.isfinite(got) | (truth == 0)
    same = (got == near) & (np.signbit(got) == np.signbit(near)) | np.isnan(got) & np.isnan(near)
    return np.where(special, np.where(same, 0.0, np.inf), error)


def stratified32(seed: int, per_exponent: int) -> np.ndarray:
    """Every sign and exponent of float32, denormals and NaN too, with random mantissas and the first and last."""
    rng = np.random.default_rng(seed)
    mantissa = rng.integers(0, 1 << 23, (512, per_exponent), dtype=np.uint32)
    mantissa[:, :3] = [0, 1, (1 << 23) - 1]
    high = np.arange(512, dtype=np.uint32)[:, None] << np.uint32(23)
    return (high | mantissa).ravel().view(np.float32)


Truth = Callable[..., np.ndarray]
TRUTH32: dict[str, Truth] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
}


def sweep(name: str, truth: Truth, step: int) -> tuple[float, float]:
    """The largest error over every `step`-th float32, and where it is."""
    worst, at = 0.0, 0.0
    chunk = step << 20
    for first in range(0, 1 << 32, chunk):
        numbers = np.arange(first, min(first + chunk, 1 << 32), step, dtype=np.uint64)
        x = numbers.astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            error = ulps32(evaluate(name, x), truth(x.astype(np.float64)))
        if error.max() > worst:
            worst, at = float(error.max()), float(x[error.argmax()])
    return worst, at


if __name__ == "__main__":
    for function in sys.argv[1:] or TRUTH32:
        print(function, *sweep(function, TRUTH32[function], 1))
