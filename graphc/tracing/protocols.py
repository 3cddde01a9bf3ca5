"""NumPy's protocols on traced values: `np.tanh(x)`, `np.sum(x)`, `np.concatenate([x, y])` mean their graphc namesakes.

The functions live in `graphc.numpy`, which sits above this layer; it is found by name at the first call, as a plug-in
is.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType

import numpy as np

from graphc.core.errors import TraceError, UnsupportedError
from graphc.tracing.context import with_line

LIBRARY = "graphc.numpy"

# ufuncs and functions whose name in NumPy is not the one graphc.numpy gives them
_ALIASES: Mapping[str, str] = {
    "true_divide": "divide",
    "fabs": "abs",
    "amax": "max",
    "amin": "min",
    "round_": "round",
    "around": "round",
    "fmod": "fmod",
    "rint": "rint",
}

# attributes of NumPy's arrays and PyTorch's tensors that need other words
_INSTEAD: Mapping[str, str] = {
    "detach": "gc.stop_gradient(x) is the constant of the same value",
    "requires_grad_": "gc.grad differentiates by arguments",
    "backward": "gc.grad(f) gives the gradient of a function",
    "grad": "gc.grad(f) gives the gradient of a function",
    "unsqueeze": "write gnp.expand_dims(x, axis)",
    "permute": "write x.transpose(...)",
    "contiguous": "leave it out",
    "to": "leave it out, or write x.astype(dtype)",
    "cpu": "leave it out",
    "cuda": "leave it out",
    "float": "write x.astype('float32')",
    "double": "write x.astype('float64')",
    "long": "write x.astype('int64')",
    "dim": "write x.ndim",
    "numel": "write x.size",
    "fill": "write gnp.full_like(x, value)",
}

# `np.add.reduce(x)` and so on
_REDUCTIONS: Mapping[str, str] = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}


_PARTS = ("linalg", "fft")  # submodules of NumPy that graphc.numpy has too


def library() -> ModuleType:
    """The array namespace: `graphc.numpy`."""
    return importlib.import_module(LIBRARY)


def function_named(name: str) -> Callable[..., object]:
    """The function of `graphc.numpy` that NumPy calls `name`; `UnsupportedError` with close matches otherwise."""
    module = library()
    public = [n for n in module.__all__ if callable(getattr(module, n))]
    wanted = _ALIASES.get(name, name)
    if wanted in public:
        return getattr(module, wanted)  # type: ignore[no-any-return]
    close = difflib.get_close_matches(wanted, public, n=3)
    hint = f"; close: {', '.join('gnp.' + n for n in close)}" if close else ""
    raise UnsupportedError(with_line(f"np.{name} has no counterpart in graphc.numpy for traced values{hint}"))


def array_function(function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """The meaning of a function of NumPy with a traced operand; those of its submodules name what to call instead."""
    name = function.__name__
    _, _, part = (getattr(function, "__module__", None) or "").partition("numpy.")
    namespace = getattr(library(), part, None) if part in _PARTS else None
    if namespace is None:
        return call(name, args, kwargs)
    if name in namespace.__all__:
        raise UnsupportedError(
            with_line(f"np.{part}.{name} does not take traced values; use graphc.numpy.{part}.{name}")
        )
    close = difflib.get_close_matches(name, namespace.__all__, n=3)
    hint = f"; close: {', '.join(f'gnp.{part}.{n}' for n in close)}" if close else ""
    raise UnsupportedError(with_line(f"np.{part}.{name} has no counterpart in graphc.numpy.{part}{hint}"))


def instead_of(name: str) -> str:
    """What to write for an attribute that arrays or tensors elsewhere have and traced values do not."""
    if name in _INSTEAD:
        return f": {_INSTEAD[name]}"
    return f": write gnp.{name}(x)" if name in library().__all__ else ""


def call(name: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """Call the namesake of a NumPy function; arguments it does not have are an error that names them."""
    if kwargs.get("out") is not None:
        raise TraceError(
            with_line(f"np.{name}: out= writes into an array, which a traced value is not; use the returned value")
        )
    function = function_named(name)
    given = {key: value for key, value in kwargs.items() if not (key == "out" or value is np._NoValue)}
    try:
        inspect.signature(function).bind(*args, **given)
    except TypeError as error:
        raise UnsupportedError(with_line(f"np.{name} on a traced value: {error}; see help(gnp.{name})")) from None
    return function(*args, **given)


def array_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[object, ...], kwargs: Mapping[str, object]) -> object:
    """The meaning of a ufunc call or `ufunc.reduce` with a traced operand."""
    if method == "__call__":
        return call(ufunc.__name__, inputs, kwargs)
    if method == "reduce" and ufunc.__name__ in _REDUCTIONS:
        options = {"axis": 0, **kwargs}
        return call(_REDUCTIONS[ufunc.__name__], inputs, options)
    raise UnsupportedError(with_line(f"np.{ufunc.__name__}.{method} is not available on traced values"))
