"""Every way to sort has the op's result: the interpreter's on short rows, with the limits between the ways lowered."""

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.ops.sorting import SortAttrs
from graphc.kernel import interpret
from graphc.kernel.ir import Kernel
from graphc.kernel.lower import lower_graph, sorting
from graphc.kernel.verify import verify
from graphc.passes.partition import partition
from tests.samples import Sample, graph_of

RNG = np.random.default_rng(0)
WAYS: dict[str, dict[str, int]] = {
    "ranks": {},
    "digits": {"RANKED": 0, "BITS": 4},
    "parts": {"RANKED": 0, "PART": 16, "BITS": 4},
}
CASES = [
    (op, kind, shape, axis, descending)
    for op in ("sort", "argsort")
    for kind, shape, axis, descending in (
        ("float32", (50,), 0, False),
        ("float32", (3, 41), 1, True),
        ("float64", (37, 2), 0, False),
        ("bfloat16", (40,), 0, False),
        ("int16", (2, 33), 1, False),
        ("uint8", (64,), 0, True),
        ("bool", (40,), 0, False),
    )
]


def sample_of(op: str, kind: str, shape: tuple[int, ...], axis: int, descending: bool) -> Sample:
    values = np.round(RNG.standard_normal(shape) * 4)
    values.reshape(-1)[:3] = (0.0, -0.0, 0.0)
    x = values.astype(dtypes.dtype(kind).numpy) if kind != "uint8" else np.abs(values).astype("uint8")
    if x.dtype.kind == "f":
        x.reshape(-1)[5:8] = (np.nan, -np.inf, np.inf)
    return Sample(op, f"{kind}{shape}", (x,), SortAttrs(axis, descending))


def kernel_of(sample: Sample) -> Kernel:
    (call,) = lower_graph(partition(graph_of(sample)), name="main").calls
    return call.kernel


@pytest.mark.parametrize("way", WAYS)
def test_ways(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WAYS[way].items():
        monkeypatch.setattr(sorting, name, value)
    for case in CASES:
        sample = sample_of(*case)
        kernel = kernel_of(sample)
        verify(kernel)
        (node,) = graph_of(sample).nodes
        (want,) = node.op.meaning(sample.attrs, *sample.inputs)
        got = np.zeros(want.shape, want.dtype)
        interpret.run(kernel, [np.ascontiguousarray(sample.inputs[0]), got])
        np.testing.assert_array_equal(got.astype(np.float64), want.astype(np.float64), err_msg=str(case))
        if got.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(want[want == 0]))
