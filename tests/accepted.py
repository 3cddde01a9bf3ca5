"""Which dtypes each primitive takes, asked of its type rule: a sample of the op with another dtype in the place of that
of its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError
from graphc.graph.ir import Attrs, Op, TensorType
from tests.samples import Sample, samples_of


def value_at(op: Op) -> int:
    """The operand whose dtype is that of the op's values: of select those chosen, of others the first."""
    return 1 if op.name == "select" else 0


@cache
def typical(op: Op) -> Sample:
    """A sample of values that most ops take."""
    found = samples_of(op)
    known = {dtypes.dtype(s.inputs[value_at(op)].dtype): s for s in found if s.inputs}
    return known.get(dtypes.float32) or known.get(dtypes.float64) or next(iter(known.values()), found[0])


def with_dtype(op: Op, dtype: DType) -> tuple[TensorType, ...]:
    """The operand types of the typical sample with another dtype in place of that of its values."""
    sample = typical(op)
    types = [TensorType(x.shape, dtypes.dtype(x.dtype)) for x in sample.inputs]
    values = types[value_at(op)].dtype if types else None
    return tuple(t.with_dtype(dtype) if t.dtype is values else t for t in types)


def _variants(attrs: Attrs, dtype: DType, has_operands: bool) -> Iterator[Attrs]:
    """The attributes; where they name a dtype, or hold the elements of an op without operands, also with others."""
    yield from [attrs] if has_operands else []
    for field in fields(attrs):
        found = getattr(attrs, field.name)
        if isinstance(found, np.ndarray) and not has_operands:
            yield replace(attrs, **{field.name: np.ones(found.shape, dtype.numpy)})
        elif isinstance(found, DType):
            others: Sequence[DType] = dtypes.EVERY if has_operands else (dtype,)
            yield from (replace(attrs, **{field.name: each}) for each in others)


@cache
def results(op: Op, dtype: DType) -> tuple[TensorType, ...] | None:
    """What the op makes of values of a dtype; None when its type rule does not take them.

    An op that holds graphs takes what these take.
    """
    types = with_dtype(op, dtype)
    if op.kind == "structural":
        return types
    for attrs in _variants(typical(op).attrs, dtype, bool(types)):
        try:
            return op.infer(types, attrs)
        except DTypeError:
            continue
    return None


@cache
def accepted(op: Op) -> frozenset[DType]:
    """The dtypes of values that the op takes; of an op without operands, those it makes."""
    return frozenset(dtype for dtype in dtypes.EVERY if results(op, dtype) is not None)
