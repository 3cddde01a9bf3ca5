"""What a sample is, the graph of samples, and whether a result agrees with one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

import graphc.graph.ops  # noqa: F401  registers the primitives
from graphc.core import dtypes
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import NO_ATTRS, Attrs, Graph, TensorType, Value
from graphc.graph.registry import lookup


@dataclass(frozen=True)
class Sample:
    """One application. `differentiate`: operands checked against finite differences (float64 samples only)."""

    op: str
    name: str
    inputs: tuple[np.ndarray, ...]
    attrs: Attrs = NO_ATTRS
    ulp: float = 0
    rtol: float = 0  # relative to the largest magnitude of the result: sums and products of many terms
    differentiate: tuple[int, ...] = field(default=())

    @property
    def id(self) -> str:
        return f"{self.op}-{self.name}"


def graph_of(*samples: Sample) -> Graph:
    """One graph that applies each sample's op to inputs of its types; inputs and outputs in order of the samples."""
    builder = GraphBuilder(samples[0].op)
    outputs: list[Value] = []
    for sample in samples:
        operands = [builder.input(TensorType(x.shape, dtypes.dtype(x.dtype))) for x in sample.inputs]
        outputs += builder.add(lookup(sample.op), operands, sample.attrs)
    return builder.build(outputs)


def ulp_distance(got: np.ndarray, want: np.ndarray) -> float:
    """Largest distance in units in the last place; NaN matches NaN, and infinities must match exactly."""
    if got.size == 0:
        return 0.0
    if got.dtype.kind == "c":
        return max(ulp_distance(got.real.copy(), want.real.copy()), ulp_distance(got.imag.copy(), want.imag.copy()))
    if not dtypes.holds_floats(got):
        return 0.0 if np.array_equal(got, want) else np.inf
    integer = np.dtype(f"i{got.dtype.itemsize}")
    keys = []
    for array in (got, want):
        bits = np.ascontiguousarray(array).reshape(array.shape).view(integer).astype(object)
        keys.append(np.where(bits >= 0, bits, np.iinfo(integer).min - bits))
    distance = np.abs(keys[0] - keys[1])
    nan = np.isnan(got) & np.isnan(want)
    odd = np.isnan(got) != np.isnan(want)
    return float(np.max(np.where(nan, 0, np.where(odd, np.inf, distance))))


def assert_matches(sample: Sample, got: np.ndarray, want: np.ndarray) -> None:
    """`got` agrees with the meaning within the sample's bounds."""
    assert got.shape == want.shape, sample.id
    assert got.dtype == want.dtype, sample.id
    if sample.rtol and got.size:
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        scale = max(float(np.max(np.abs(want.astype(wide)))), 1e-30)
        error = float(np.max(np.abs(got.astype(wide) - want.astype(wide)))) / scale
        assert error <= sample.rtol, f"{sample.id}: relative error {error}"
        return
    distance = ulp_distance(got, want)
    assert distance <= sample.ulp, f"{sample.id}: {distance} ulp\n got {got}\nwant {want}"


def all_pass(check: Callable[[Sample], None], samples: Iterable[Sample]) -> None:
    """`check` on every sample; all that fail are told together, after the first lines of what they say."""
    told: list[str] = []
    first: Exception | None = None
    for sample in samples:
        try:
            check(sample)
        except Exception as error:
            told.append(f"{sample.id}: {type(error).__name__}: {str(error)[:300]}")
            first = first or error
    if told:
        raise AssertionError(f"{len(told)} samples fail:\n" + "\n".join(told)) from first
