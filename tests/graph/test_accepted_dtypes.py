"""Which dtypes each primitive takes: what is accepted has samples, which all backends are compared on; what is not is
an error that begins with the op's name.
"""

from __future__ import annotations

import pytest

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import DTypeError
from graphc.graph.ir import Op, TensorType
from graphc.graph.registry import all_ops
from tests.samples import Sample, samples_of

KINDS = ("elementwise", "reduction", "contraction", "movement", "index")
OPS = [op for op in all_ops() if op.kind in KINDS]


def sampled(op: Op) -> dict[DType, Sample]:
    """A sample by the dtype of its values: of select those chosen, of others the first operand."""
    return {dtypes.dtype(s.inputs[1 if op.name == "select" else 0].dtype): s for s in samples_of(op)}


def typical(op: Op) -> Sample:
    known = sampled(op)
    return known.get(dtypes.float32) or known.get(dtypes.float64) or next(iter(known.values()))


def of_dtype(op: Op, dtype: DType) -> list[TensorType]:
    """The operand types of a sample with another dtype in place of that of its values."""
    sample = typical(op)
    values = dtypes.dtype(sample.inputs[1 if op.name == "select" else 0].dtype)
    types = [TensorType(x.shape, dtypes.dtype(x.dtype)) for x in sample.inputs]
    return [t.with_dtype(dtype) if t.dtype is values else t for t in types]


# Moving integers is the same for all of them, so their samples are of some: by the width and the sign.
MOVES = ("movement", "index")


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_what_is_accepted_is_sampled_and_what_is_not_is_an_error_that_names_the_op(op: Op) -> None:
    accepted: list[DType] = []
    for dtype in dtypes.EVERY:
        try:
            op.infer(tuple(of_dtype(op, dtype)), typical(op).attrs)
        except DTypeError as error:
            assert str(error).startswith(f"{op.name}: "), str(error)
        else:
            accepted.append(dtype)
    kinds = {(d.kind, d.bits if d.is_inexact and not d.is_half else 0) for d in accepted}
    found = {(d.kind, d.bits if d.is_inexact and not d.is_half else 0) for d in sampled(op)}
    if op.kind == "elementwise" and op.name != "bitcast":
        assert set(accepted) == set(sampled(op)), "add rows to tests/samples, or do not accept it"
    elif op.kind not in MOVES and op.name != "bitcast":
        assert {k for k in kinds if k[0] not in ("int", "uint", "bool")} <= found, "add rows to tests/samples"


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_order_is_of_real_numbers(op: Op) -> None:
    """What needs an order takes no complex numbers."""
    ordered = {"lt", "le", "gt", "ge", "max", "min", "reduce_max", "reduce_min", "argmax", "argmin", "sign", "rem"}
    if op.name in ordered | {"floor", "ceil", "trunc", "round", "scatter_min", "scatter_max"}:
        assert not {d for d in sampled(op) if d.is_complex}
        with pytest.raises(DTypeError, match=f"{op.name}: "):
            op.infer(tuple(of_dtype(op, dtypes.complex64)), typical(op).attrs)
