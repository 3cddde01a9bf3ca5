"""Ops in terms of other ops: what ONNX's schemas say of those that have no row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import onnx
from onnx import FunctionProto, NodeProto, TypeProto

from graphc_onnx.table import Data


class _Schema(Protocol):
    """What ONNX's schemas have and its type hints lack."""

    has_function: bool
    has_context_dependent_function: bool
    function_body: FunctionProto
    context_dependent_function_opset_versions: Sequence[int]
    attributes: Mapping[str, onnx.defs.OpSchema.Attribute]

    def get_context_dependent_function_with_opset_version(
        self, opset: int, node: bytes, types: Sequence[bytes]
    ) -> bytes: ...


def definition(node: NodeProto, operands: Sequence[Data], domain: str, opset: int) -> FunctionProto | None:
    """What ONNX says the op means in terms of others, for these operands."""
    try:
        schema = cast(_Schema, onnx.defs.get_schema(node.op_type, opset, domain))
    except onnx.defs.SchemaError:
        return None
    function = FunctionProto()
    if schema.has_function:
        function.CopyFrom(schema.function_body)
    elif schema.has_context_dependent_function:
        types = [_type_of(operand).SerializeToString() for operand in operands]
        version = max(v for v in schema.context_dependent_function_opset_versions if v <= opset)
        plain = NodeProto()
        plain.CopyFrom(node)
        del plain.input[len(operands) :]
        text = schema.get_context_dependent_function_with_opset_version(version, plain.SerializeToString(), types)
        function.ParseFromString(text)
    else:
        return None
    defaults = (attribute.default_value for attribute in schema.attributes.values())
    function.attribute_proto.extend(default for default in defaults if default.name)
    return function


def _type_of(operand: Data) -> TypeProto:
    if operand is None:
        return TypeProto()
    if isinstance(operand, list):
        item = _type_of(operand[0]) if operand else TypeProto()
        return onnx.helper.make_sequence_type_proto(item)
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(operand.dtype))
    return onnx.helper.make_tensor_type_proto(code, operand.shape)
