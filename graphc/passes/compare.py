"""Do two graphs compute the same numbers? Used by `verify="full"` to name the pass that changed them."""

import numpy as np

from graphc.core.dtypes import holds_floats
from graphc.core.errors import VerifyError
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Graph, TensorType

_RTOL = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 1e-5, "float64": 1e-12}
_TINY = {"bfloat16": 1.2e-38, "float16": 6.1e-5, "float32": 1.2e-38, "float64": 2.3e-308}


def example_inputs(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    """Seeded inputs of the graph's types: floats in [-1, 1], integers in [0, 3), random bools."""
    rng = np.random.default_rng(seed)
    return [_example(rng, type) for type in graph.input_types]


def _example(rng: "np.random.Generator", type: TensorType) -> np.ndarray:
    if type.dtype.is_float:
        return np.asarray(rng.uniform(-1, 1, type.shape)).astype(type.dtype.numpy)
    high = 2 if type.dtype.is_bool else 3
    return np.asarray(rng.integers(0, high, type.shape)).astype(type.dtype.numpy)


def check_same_numbers(name: str, before: Graph, after: Graph) -> None:
    """Raise `VerifyError` naming `name` when the graphs differ by more than rounding on example inputs.

    Elements that are NaN or infinite before may become finite: a stabilising pass does that. The reverse is an error.
    """
    arguments = example_inputs(before)
    pairs = zip(interpret(before, arguments), interpret(after, arguments), strict=True)
    for position, (old, new) in enumerate(pairs):
        if not holds_floats(old):
            if not np.array_equal(old, new):
                raise VerifyError(f"pass {name} changed output {position} of {before.name}")
            continue
        name_of_dtype = old.dtype.name
        old, new = old.astype(np.float64), new.astype(np.float64)
        finite = np.isfinite(old)
        scale = float(np.max(np.abs(old), where=finite, initial=0.0)) + _TINY[name_of_dtype]
        with np.errstate(invalid="ignore"):
            error = np.where(finite, np.abs(new - old), 0) / scale
        worst = float(np.max(error, initial=0.0))
        if not worst <= _RTOL[name_of_dtype]:
            raise VerifyError(
                f"pass {name} changed output {position} of {before.name} by {worst:.1e} of its largest magnitude"
            )
