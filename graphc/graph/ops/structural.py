"""Ops that hold a region: `call` (a function) and `fusion` (what becomes one kernel)."""

import numpy as np

from graphc.core.errors import DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Attrs, Graph, TensorType
from graphc.graph.registry import register


@dataclass(frozen=True, slots=True)
class CallAttrs(Attrs):
    """The function; its captures are explicit operands."""

    graph: Graph


@dataclass(frozen=True, slots=True)
class FusionAttrs(Attrs):
    """What becomes one kernel, and why these nodes are together: map, reduction, contraction, copy, ..."""

    graph: Graph
    kind: str


def _infer(name: str, types: tuple[TensorType, ...], graph: Graph) -> tuple[TensorType, ...]:
    if len(types) != len(graph.inputs):
        raise ShapeError(f"{name}: {graph.name} takes {len(graph.inputs)} operands, got {len(types)}")
    for got, value in zip(types, graph.inputs, strict=True):
        if got != value.type:
            raise DTypeError(f"{name}: {graph.name} takes {value.type}, got {got}")
    return graph.output_types


def _infer_call(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, CallAttrs)
    return _infer("call", types, attrs.graph)


def _infer_fusion(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, FusionAttrs)
    return _infer("fusion", types, attrs.graph)


def _run(attrs: CallAttrs | FusionAttrs, *args: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(interpret(attrs.graph, args))


call = register("call", "structural", _infer_call, _run, CallAttrs)
fusion = register("fusion", "structural", _infer_fusion, _run, FusionAttrs)
