"""Compositions on half types: computed in float32 and rounded once, as primitives are."""

from collections.abc import Callable

from graphc.core import dtypes
from graphc.core.errors import DTypeError
from graphc.tracing.array import elementwise
from graphc.tracing.bind import dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike, with_line


def wide(name: str, formula: Callable[..., Array], *operands: ArrayLike, complex_too: bool = False) -> Array:
    """`formula` of the operands as floats of one dtype; of bfloat16 and float16 it sees float32. Else `DTypeError`."""
    arrays = promoted(name, elementwise.float_operands(*operands))
    kind = dtype_of(arrays[0])
    if not (kind.is_float or (complex_too and kind.is_complex)):
        raise DTypeError(with_line(f"{name}: takes floats{' and complex numbers' if complex_too else ''}, got {kind}"))
    if kind.bits >= 32:
        return formula(*arrays)
    return to_dtype(formula(*(to_dtype(array, dtypes.float32) for array in arrays)), kind)
