"""Math functions as expansions in the loop IR itself, so that every backend computes the same bits.

`expand(name, args, emit)` writes a function of float32 or float64 arguments as straight-line code (no branches, no
tables) through `emit` and returns its value. All special values are those of C99; denormals are right on both sides.
`philox` and `shuffle_index` are the random bits of `graphc.core.counter_rng`.

Largest error found, in units in the last place (float32: 10 million points, every exponent; float64: 7000):

| function | float32 | float64 |
|----------|---------|---------|
| exp      | 1.04    | 0.91    |
| exp2     | 0.82    | 0.78    |
| expm1    | 1.55    | 1.68    |
| log      | 0.82    | 0.75    |
| log1p    | 1.45    | 0.73    |
| sin      | 1.48    | 0.72    |
| cos      | 1.48    | 0.69    |
| atan     | 0.84    | 0.74    |
| tanh     | 1.04    | 0.87    |
| sigmoid  | 1.44    | 1.23    |
| erf      | 1.14    | 0.87    |
| erfc     | 1.20    | 2.02    |
| pow      | 0.50    | 1.03    |
"""

from collections.abc import Callable

from graphc.core.errors import UnsupportedError
from graphc.kernel.ir import Expr
from graphc.kernel.math.arctangent import atan
from graphc.kernel.math.error_function import erf, erfc
from graphc.kernel.math.exponential import exp, exp2, expm1, sigmoid, tanh
from graphc.kernel.math.logarithm import log, log1p
from graphc.kernel.math.power import power
from graphc.kernel.math.random import philox, shuffle_index, swap_or_not
from graphc.kernel.math.scalar import Emit, Emitter, Scalar
from graphc.kernel.math.trigonometry import cos, sin

__all__ = ["FUNCTIONS", "Emit", "Emitter", "Scalar", "expand", "philox", "shuffle_index", "swap_or_not"]

_UNARY: dict[str, Callable[[Scalar], Scalar]] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sin": sin,
    "cos": cos,
    "atan": atan,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "erf": erf,
    "erfc": erfc,
}
_BINARY: dict[str, Callable[[Scalar, Scalar], Scalar]] = {"pow": power}
FUNCTIONS: tuple[str, ...] = (*_UNARY, *_BINARY)


def expand(name: str, args: tuple[Expr, ...], emit: Emit) -> Expr:
    """The value of function `name`, its steps named through `emit`.

    Raises `UnsupportedError` for an unknown name, a wrong number of arguments or a dtype other than float32, float64.
    """
    scalars = tuple(Scalar(emit(arg), emit) for arg in args)
    if len({arg.dtype for arg in args}) > 1 or not all(arg.dtype.is_float for arg in args):
        raise UnsupportedError(f"{name} of {', '.join(str(arg.dtype) for arg in args)}")
    if name in _UNARY and len(scalars) == 1:
        return _UNARY[name](scalars[0]).expr
    if name in _BINARY and len(scalars) == 2:
        return _BINARY[name](scalars[0], scalars[1]).expr
    raise UnsupportedError(f"no function {name} of {len(args)} argument(s); known: {', '.join(FUNCTIONS)}")
