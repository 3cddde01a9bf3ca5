"""From ONNX's protocol buffers to NumPy: files, tensors, attributes, types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, TypeProto, ValueInfoProto

from graphc_onnx.table import ModelError

DOMAINS = {"ai.onnx": ""}  # two names for one


def domain_of(name: str) -> str:
    """The domain under its short name."""
    return DOMAINS.get(name, name)


def read(path: Path) -> onnx.ModelProto:
    """The model in a file, with the tensors that lie beside it. Raises `ModelError`."""
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    try:
        model = onnx.load(path)
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: not an ONNX model, or a truncated one: {error}") from error
    if not model.HasField("graph"):
        raise ModelError(f"{path}: not an ONNX model, or a truncated one: it has no graph")
    return model


def tensor(proto: TensorProto, place: str) -> np.ndarray:
    """The array of a tensor; a scalar is 0-d. Raises `ModelError` naming the place."""
    try:
        array: np.ndarray = np.asarray(onnx.numpy_helper.to_array(proto))
    except (TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{place}: tensor {proto.name!r} cannot be read: {error}") from error
    return array


def dtype_name(code: int) -> str:
    """The name of a tensor's element type, as NumPy and ml_dtypes spell it."""
    if code in (TensorProto.STRING, TensorProto.UNDEFINED):
        return str(TensorProto.DataType.Name(code)).lower()
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code)).name)
    except KeyError:
        raise ModelError(f"unknown element type {code}") from None


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model. A dim is an int, a name, or None where the model does not say."""

    name: str
    kind: str  # "tensor", "sequence" or "optional"
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ", ".join("?" if d is None else str(d) for d in self.shape)
        text = f"{self.dtype}[{dims}]"
        return f"{self.name}: {text if self.kind == 'tensor' else f'{self.kind} of {text}'}"


def port(info: ValueInfoProto) -> Port:
    """Name and type of an input or output."""
    kind, type = "tensor", info.type
    while (which := type.WhichOneof("value")) in ("sequence_type", "optional_type"):
        kind = which.removesuffix("_type") if kind == "tensor" else kind
        type = getattr(type, which).elem_type
    return Port(info.name, kind, dtype_name(type.tensor_type.elem_type), _shape(type))


def _shape(type: TypeProto) -> tuple[int | str | None, ...] | None:
    if not type.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in type.tensor_type.shape.dim
    )


def attribute(proto: AttributeProto, place: str) -> object:
    """The value of an attribute: numbers, strings, tuples of them, arrays; graphs stay protocol buffers."""
    match proto.type:
        case AttributeProto.INT:
            return int(proto.i)
        case AttributeProto.FLOAT:
            return float(proto.f)
        case AttributeProto.STRING:
            return proto.s.decode("utf-8", "surrogateescape")
        case AttributeProto.INTS:
            return tuple(int(i) for i in proto.ints)
        case AttributeProto.FLOATS:
            return tuple(float(f) for f in proto.floats)
        case AttributeProto.STRINGS:
            return tuple(s.decode("utf-8", "surrogateescape") for s in proto.strings)
        case AttributeProto.TENSOR:
            return tensor(proto.t, place)
        case AttributeProto.TENSORS:
            return tuple(tensor(t, place) for t in proto.tensors)
        case AttributeProto.GRAPH:
            return proto.g
        case AttributeProto.TYPE_PROTO:
            return proto.tp
    kind = AttributeProto.AttributeType.Name(proto.type)
    raise ModelError(f"{place}: attribute {proto.name!r} of type {kind} is not supported")
