"""Import of ONNX models: `gc.load("model.onnx")` is a program with named inputs, outputs and parameters.

`table` says what a row of an op is, `ops` has the rows by family, `interpret` runs a model's nodes under a trace,
`model` is what users hold, and `backend` is the adapter that ONNX's own test runner takes.
"""

try:
    import onnx  # noqa: F401
except ImportError as error:
    raise ImportError("ONNX models are read by the package onnx: pip install 'graphc[onnx]'") from error

from graphc.api import adopt
from graphc_onnx.model import Model, from_proto, load
from graphc_onnx.proto import Port
from graphc_onnx.table import ModelError

adopt(__path__[0])  # what a model computes comes from the model's file

__all__ = ["Model", "ModelError", "Port", "from_proto", "load"]
