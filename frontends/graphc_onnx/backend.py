"""The adapter for ONNX's own test runner: `onnx.backend.test.BackendTest(GraphcBackend)`.

The module has the functions of the class too, as ONNX's convention for backends is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, helper
from onnx.backend.base import Backend, BackendRep
from onnx.defs import onnx_opset_version

from graphc.api import UnsupportedError
from graphc_onnx.model import Model, from_proto
from graphc_onnx.table import Data


class GraphcRep(BackendRep):
    """A prepared model."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, inputs: Sequence[Data], **kwargs: object) -> tuple[Data, ...]:
        """All outputs, in order."""
        if kwargs:
            raise UnsupportedError(f"run: unknown options {', '.join(sorted(kwargs))}")
        result = self.model(*inputs)
        return result if isinstance(result, tuple) else (result,)


class GraphcBackend(Backend):
    """Runs ONNX models with graphc on the processor; `target` is the name of graphc's backend."""

    target: str | None = None

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: object) -> GraphcRep:
        """The model, which is compiled when it first runs."""
        if not cls.supports_device(device):
            raise UnsupportedError(f"prepare: device {device!r}; only CPU is supported")
        return GraphcRep(from_proto(model, backend=cls.target))

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Sequence[Data],
        device: str = "CPU",
        outputs_info: Sequence[tuple[object, tuple[int, ...]]] | None = None,
        **kwargs: object,
    ) -> tuple[Data, ...]:
        """One node alone, of opset `opset_version` (default: the newest)."""
        version = kwargs.pop("opset_version", onnx_opset_version())
        if kwargs or not isinstance(version, int):
            raise UnsupportedError(f"run_node: unknown options {', '.join(sorted(kwargs))}")
        names = [name for name in node.input if name]
        takes = [_described(name, data) for name, data in zip(names, inputs, strict=True)]
        gives = [ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], node.op_type, takes, gives)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Only the processor."""
        return device.partition(":")[0] == "CPU"


def _described(name: str, data: Data) -> ValueInfoProto:
    array = np.asarray(data)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def backend_on(target: str) -> type[GraphcBackend]:
    """The adapter that runs models on the graphc backend of that name."""
    return type(f"GraphcBackend_{target}", (GraphcBackend,), {"target": target})


prepare = GraphcBackend.prepare
run_model = GraphcBackend.run_model
run_node = GraphcBackend.run_node
supports_device = GraphcBackend.supports_device
is_compatible = GraphcBackend.is_compatible
