"""Every way to sort has the op's result: the interpreter's on short rows, with the limits between the ways lowered."""

import numpy as np
import pytest

from graphc.core import dtypes
from graphc.graph.ops import sorting as sorting_ops
from graphc.graph.ops.sorting import SortAttrs, TopAttrs
from graphc.kernel import interpret
from graphc.kernel.ir import For, Kernel
from graphc.kernel.lower import lower_graph, networks, selection, sorting
from graphc.kernel.verify import verify
from graphc.passes.partition import partition
from tests.samples import Sample, graph_of

RNG = np.random.default_rng(0)
WAYS: dict[str, dict[str, int]] = {
    "ranks": {},
    "digits": {"RANKED": 0, "BITS": 4},
    "network": {"MANY_ROWS": 1, "KEY_BITS": 8},
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


def test_a_network_sorts_every_length() -> None:
    """By the 0-1 principle: a network that sorts zeros and ones sorts everything."""
    for n in (1, 2, 5, 16, 17, 33, 100, 129, 200, 513, 777, 1300, 4096):
        extent = networks.padded(n)
        found = RNG.integers(0, 2, (64, extent)) * (RNG.random((64, 1)) < 0.9)
        found[:, n:] = 1
        for step, looked_at in networks.passes(n):
            whole, rest = divmod(looked_at, step.size)
            for block in range(whole + (rest > 0)):
                part = step if block < whole else step.cut(rest)
                for i in range(part.count):
                    for pair in part.pairs:
                        a, b = (block * part.size + start + sign * i for start, sign in (part.places[r] for r in pair))
                        assert a < b < extent
                        found[:, a], found[:, b] = np.minimum(found[:, a], found[:, b]), found[:, [a, b]].max(1)
        assert (np.diff(found, axis=1) >= 0).all(), n


TOPS = [
    ("float32", (100,), 0, 5, True),
    ("float32", (3, 300), 1, 20, True),
    ("float64", (300, 2), 0, 3, False),
    ("bfloat16", (150,), 0, 17, True),
    ("uint8", (2, 90), 1, 3, False),
    ("int64", (80,), 0, 16, True),
    ("float32", (20,), 0, 7, True),
]


@pytest.mark.parametrize("parts", [False, True])
def test_selection(parts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first k are those of a sort, equal ones in order; rows in parts, and parts of what these leave."""
    monkeypatch.setattr(selection, "SMALLEST", 2 if parts else 1000)
    for kind, shape, axis, k, largest in TOPS:
        given = sample_of("argsort", kind, shape, axis, largest)
        sample = Sample("arg_top_k", given.name, given.inputs, TopAttrs(axis, k, largest))
        kernel = kernel_of(sample)
        verify(kernel)
        assert (sum(isinstance(s, For) for s in kernel.body) > 1) == (parts and shape[axis] >= 4 * 16)
        (want,) = sorting_ops.arg_top_k.meaning(sample.attrs, *sample.inputs)
        got = np.zeros(want.shape, want.dtype)
        interpret.run(kernel, [np.ascontiguousarray(sample.inputs[0]), got])
        np.testing.assert_array_equal(got, want, err_msg=str((kind, shape, k)))
