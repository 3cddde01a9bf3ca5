"""graphc: a graph-based autodiff compiler for training.

    import graphc as gc
    import graphc.numpy as gnp
    from graphc import nn, optim, data, train

Everything is imported on first use (PEP 562), so `import graphc` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_SUBMODULES = ("data", "nn", "numpy", "optim", "random", "sparse", "train")
__all__ = [
    "ArgumentError",
    "BackendError",
    "BoundError",
    "CheckpointError",
    "CompiledFunction",
    "CopyWarning",
    "DTypeError",
    "DataError",
    "GradientError",
    "Graph",
    "GraphcError",
    "IndexRangeError",
    "LeakedTracerError",
    "MemoryBudgetError",
    "NonFiniteError",
    "ParseError",
    "Program",
    "SanitizeError",
    "ShapeError",
    "Spec",
    "TraceError",
    "UnsupportedError",
    "VerifyError",
    "__version__",
    "checkpoint",
    "checkpoint_policies",
    "compile",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "data",
    "devices",
    "fori_loop",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jit",
    "jvp",
    "linearize",
    "load",
    "nn",
    "numpy",
    "optim",
    "parse",
    "program",
    "pytree",
    "random",
    "scan",
    "sparse",
    "spec",
    "stop_gradient",
    "switch",
    "trace",
    "train",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]

if TYPE_CHECKING:
    from graphc.api import (
        ArgumentError,
        BackendError,
        BoundError,
        CheckpointError,
        CompiledFunction,
        CopyWarning,
        DataError,
        DTypeError,
        GradientError,
        Graph,
        GraphcError,
        IndexRangeError,
        LeakedTracerError,
        MemoryBudgetError,
        NonFiniteError,
        ParseError,
        Program,
        SanitizeError,
        ShapeError,
        Spec,
        TraceError,
        UnsupportedError,
        VerifyError,
        checkpoint,
        checkpoint_policies,
        compile,
        cond,
        custom_jvp,
        custom_vjp,
        devices,
        fori_loop,
        grad,
        gradcheck,
        hessian,
        hvp,
        jacobian,
        jit,
        jvp,
        linearize,
        load,
        parse,
        program,
        pytree,
        scan,
        spec,
        stop_gradient,
        switch,
        trace,
        value_and_grad,
        vjp,
        vmap,
        while_loop,
    )


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"graphc.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")
    value: object = getattr(importlib.import_module("graphc.api"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
