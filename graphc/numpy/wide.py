"""Compositions on half types: computed in float32 and rounded once, as primitives are."""

from collections.abc import Callable

from graphc.core import dtypes
from graphc.tracing.array import elementwise
from graphc.tracing.bind import dtype_of, promoted, to_dtype
from graphc.tracing.context import Array, ArrayLike


def wide(name: str, formula: Callable[..., Array], *operands: ArrayLike) -> Array:
    """`formula` of the operands as floats of one dtype; of bfloat16 and float16 it sees float32."""
    arrays = promoted(name, elementwise.float_operands(*operands))
    kind = dtype_of(arrays[0])
    if not kind.is_float or kind.bits >= 32:
        return formula(*arrays)
    return to_dtype(formula(*(to_dtype(array, dtypes.float32) for array in arrays)), kind)
