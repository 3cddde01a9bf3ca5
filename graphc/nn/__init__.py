"""Neural network layers: modules, activations, losses and initial values.

Names, defaults, layouts and initial distributions follow PyTorch, whose state dicts load by name; where a layer
differs, its docstring says so.
"""

from graphc.nn import functional, init
from graphc.nn.binding import bind, buffers_after, functional_call, last_output
from graphc.nn.layers import Dropout, Flatten, Identity, LayerNorm, Linear, Sequential
from graphc.nn.module import (
    Buffer,
    Module,
    Parameter,
    all_leaves,
    canonical_names,
    leaves,
    named_leaves,
)
from graphc.nn.modules import (
    GELU,
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    LeakyReLU,
    LogSoftmax,
    MSELoss,
    NLLLoss,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)

__all__ = [
    "GELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Buffer",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "all_leaves",
    "bind",
    "buffers_after",
    "canonical_names",
    "functional",
    "functional_call",
    "init",
    "last_output",
    "leaves",
    "named_leaves",
]
