"""Where another library has no such function, means something else, or is less exact. Everything else must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core import dtypes
from tests.samples import Sample

Arrays = tuple[np.ndarray, ...]

MISSING: dict[str, dict[str, str]] = {
    "numpy": {},
    "jax": {
        "random_bits": "XLA's Philox scrambles its key; tests/core has the known answers, NumPy's row is the paper's",
        "shuffle_index": "no peer has a keyed permutation; NumPy's row is the paper's",
    },
    "torch": {
        "random_bits": "its generators have a state, not a key",
        "shuffle_index": "no peer has a keyed permutation; NumPy's row is the paper's",
        "csr_dot": "its sparse tensors have no second derivatives; SciPy and JAX are compared",
    },
}

# Samples whose derivatives are not compared: (library, id), with the reason.
LEFT_OUT: dict[tuple[str, str], str] = {
    (
        "jax",
        f"reduce_{which}-empty",
    ): "the extreme of nothing does not move; JAX divides by how many elements are extreme"
    for which in ("max", "min")
}

# Units in the last place by which functions of the library itself err, besides those a sample allows.
ULP: dict[tuple[str, str], float] = {
    ("jax", "expm1"): 2,
    ("jax", "erf"): 2,
    ("jax", "erfc"): 12,
    ("jax", "exp"): 2,
    ("jax", "sigmoid"): 2,
    ("torch", "sqrt"): 1,
}


# Samples for which the library raises where we give an infinity or NaN, as its functions are for one matrix at a time.
RAISES: dict[str, frozenset[str]] = {
    "numpy": frozenset({"triangular_solve-singular"}),
    "jax": frozenset(),
    "torch": frozenset({"cholesky-not-positive", "lu-singular", "svd-not-finite"}),
}


@dataclass(frozen=True)
class Difference:
    """Elements of a result that are not compared. `where`: sample, the peer's result, ours -> which."""

    peers: tuple[str, ...]
    ops: tuple[str, ...]
    where: Callable[[Sample, np.ndarray, np.ndarray], Any]
    reason: str


def _nan_given(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    return np.isnan(dtypes.widened(sample.inputs[0]))


def _by_zero(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    return (sample.inputs[1] == 0) & (ours.dtype.kind in "iu")


def _not_inside(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    """Floats that are no integer of the target."""
    x = dtypes.widened(sample.inputs[0])
    if x.dtype.kind != "f" or ours.dtype.kind not in "iu":
        return np.zeros(ours.shape, bool)
    info = np.iinfo(ours.dtype)
    with np.errstate(all="ignore"):
        return ~((np.trunc(x) > float(info.min)) & (np.trunc(x) < float(info.max))) & (np.trunc(x) != 0)


def _not_finite(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    return ~np.isfinite(sample.inputs[0]) | ~np.isfinite(sample.inputs[1])


def _named(*names: str) -> Callable[..., Any]:
    return lambda sample, theirs, ours: np.full(ours.shape, sample.name in names)


def _zeros(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    if ours.dtype.kind == "c":
        return _zeros(sample, theirs.real, ours.real) | _zeros(sample, theirs.imag, ours.imag)
    return (theirs == 0) & (ours == 0)


def _tiny(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    """Subnormal numbers among what an elementwise op is given or gives."""
    found = np.zeros(ours.shape, bool)
    for x in (ours, theirs, *sample.inputs):
        if x.shape == ours.shape:
            found |= _subnormal(x)
    return found


def _tiny_given(sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> Any:
    """The whole result, if a subnormal number is among the operands."""
    return np.full(ours.shape, any(_subnormal(x).any() for x in sample.inputs))


def _subnormal(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "c":
        return _subnormal(x.real) | _subnormal(x.imag)
    kind = dtypes.dtype(x.dtype)
    if not kind.is_float:
        return np.zeros(x.shape, bool)
    # a half type is computed in float32, whose least normal number bfloat16 shares
    least = 2.0**-1022 if kind is dtypes.float64 else 2.0**-126
    wide = np.abs(x.astype(np.float64))
    return (wide > 0) & (wide < least)


_EXTREMES = (
    "max",
    "min",
    "cummax",
    "cummin",
    "reduce_max",
    "reduce_min",
    "reduce_window",
    "scatter_max",
    "scatter_min",
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference(("numpy", "torch", "jax"), _EXTREMES, _zeros, "either zero; ours is IEEE 754-2019: -0 is less than +0"),
    Difference(("torch", "jax"), ("sort",), _zeros, "zeros of both signs are equal there; we put -0 before +0"),
    Difference(("numpy", "jax"), ("sign",), _zeros, "ml_dtypes and JAX keep the sign of zero; ours is NumPy's, +0"),
    Difference(("torch",), ("neg",), _zeros, "its negation of complex numbers gives zeros of either sign"),
    Difference(("torch",), ("sigmoid",), _tiny, "it rounds 1 + exp(-x) first"),
    Difference(("torch",), ("erf",), _named("bf16-edges"), "its vector code for bfloat16 gives 0 for 1e-8 and below"),
    Difference(("jax",), ("*",), _tiny, "XLA's code for processors takes subnormal numbers for zero; NumPy does not"),
    Difference(("jax",), ("div", "rem"), _by_zero, "an integer divided by zero is -1 in XLA, 0 here"),
    Difference(("jax",), ("argsort", "arg_top_k"), _tiny_given, "zeros and subnormal numbers are equal in XLA"),
    Difference(("torch",), ("sign",), _nan_given, "PyTorch's sign of NaN is 0; ours is NaN, as NumPy's and JAX's"),
    Difference(("torch",), ("cast",), _not_inside, "C leaves open what is out of range; we saturate, as XLA does"),
    Difference(("torch",), ("add", "sub"), _not_finite, "PyTorch multiplies a complex operand by 1 + 0i first"),
    Difference(("torch", "jax"), ("qr", "eigh", "svd"), _named("not-finite"), "LAPACK decides; ours is NaN throughout"),
    Difference(("jax",), ("cholesky",), _named("not-positive"), "its NaN may be partial; ours is NaN throughout"),
)


def skipped(peer: str, sample: Sample, theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Which elements of a result are not compared."""
    found = np.zeros(ours.shape, bool)
    for row in DIFFERENCES:
        if peer in row.peers and (sample.op in row.ops or row.ops == ("*",)):
            where = np.asarray(row.where(sample, theirs, ours))
            found |= where if where.shape == found.shape else False
    return found
