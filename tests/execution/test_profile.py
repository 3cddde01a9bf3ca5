"""Profiles: rows, counts, work, sources and limits. Nothing here depends on how fast anything is."""

from __future__ import annotations

import json

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.api import ArgumentError, ShapeError, UnsupportedError
from graphc.execution.profile import SORT_KEYS, KernelProfile
from graphc.execution.profiling import made_up, merge
from graphc.graph.ir import TensorType
from graphc.plan.ir import Launch

X = np.ones((64, 32), np.float32)


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """The limits of the machine are measured into a folder of the tests' own, quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHC_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("graphc.runtime.peaks.MOST_ROUNDS", 1)
        yield


def test_rows_are_the_kernels_with_their_work_and_lines():
    def f(x):
        y = gnp.exp(x @ x.T)
        return y.sum(), y.max()

    exe = gc.compile(f, X)
    report = exe.profile(X, repeats=3)
    launches = [i for i in exe.compilation.plan.entries["f"].block.instructions if isinstance(i, Launch)]
    assert sorted(row.kernel for row in report) == sorted({launch.kernel.name for launch in launches})
    assert sum(row.calls for row in report) == len(launches)
    assert report.steps == 3
    costs = exe.cost.kernels
    assert report.flops == sum(row.flops for row in report) == sum(row.flops for row in costs)
    assert report.bytes == sum(row.bytes for row in costs)
    assert {line for row in report for line in row.sources} == {line for row in costs for line in row.sources}
    assert [row.seconds for row in report] == sorted((row.seconds for row in report), reverse=True)
    assert all(row.share == pytest.approx(row.seconds / report.step_seconds) for row in report)
    assert report.step_seconds == pytest.approx(report.kernels_seconds + report.between_seconds)


def test_fractions_are_of_the_limits():
    report = gc.compile(lambda x: gnp.exp(x @ x.T), X).profile(X, repeats=2)
    peak, bandwidth = report.peaks.flops_per_second["float32"], report.peaks.bytes_per_second
    for row in report:
        assert row.least_seconds == pytest.approx(max(row.flops / peak, row.bytes / bandwidth))
        assert row.roofline * row.seconds == pytest.approx(row.least_seconds)
        assert row.gflops * row.seconds == pytest.approx(row.flops / 1e9)
        assert row.gbytes * row.seconds == pytest.approx(row.bytes / 1e9)
    assert report.roofline == pytest.approx(sum(row.least_seconds for row in report) / report.step_seconds)


def test_float64_kernels_have_a_peak_of_their_own():
    report = gc.compile(lambda x: x @ x.T, X.astype(np.float64)).profile(repeats=1)
    rates = report.peaks.flops_per_second
    assert set(rates) == {"float32", "float64"}
    row = max(report, key=lambda row: row.flops)
    assert row.least_seconds == pytest.approx(
        max(row.flops / rates["float64"], row.bytes / report.peaks.bytes_per_second)
    )


def test_equal_kernels_keep_their_own_lines():
    w = np.eye(32, dtype=np.float32)

    def f(x):
        y = gnp.tanh(x @ w)
        return gnp.tanh(y @ w)

    rows = gc.compile(f, X).profile(X, repeats=1).sorted("order").rows
    first = f.__code__.co_firstlineno
    lines = [line for row in rows if row.flops for line in row.sources]
    assert [int(line.rpartition(":")[2]) - first for line in lines] == [1, 2]


def test_a_kernel_called_in_several_places_is_one_row():
    two = KernelProfile("k", 3, 1.0, 2e-6, 0.2, 10, 20, 1e-6, ("a.py:1",))
    other = KernelProfile("other", 4, 1.0, 1e-6, 0.1, 1, 2, 1e-7, ())
    more = KernelProfile("k", 5, 0.5, 1e-6, 0.1, 5, 10, 5e-7, ("a.py:1", "a.py:2"))
    merged, same = merge([two, other, more])
    assert same == other
    assert (merged.position, merged.calls, merged.flops, merged.bytes) == (3, 1.5, 15, 30)
    assert merged.seconds == pytest.approx(3e-6)
    assert merged.roofline == pytest.approx(0.5)
    assert merged.sources == ("a.py:1", "a.py:2")


def test_texts_orders_and_json():
    exe = gc.compile(lambda x: (gnp.exp(x @ x.T).sum(axis=0), (x * 2).sum()), X)
    report = exe.profile(X, repeats=2)
    lines = str(report).splitlines()
    assert lines[0].startswith("<lambda>: ") and "limits" in lines[1] and lines[2].split()[0] == "kernel"
    assert len(lines) == 3 + len(report) + 2
    assert "test_profile.py" in lines[3]
    top = report.text(1).splitlines()
    assert len(top) == 3 + 1 + (len(report) > 1) + 2
    for key in SORT_KEYS:
        assert sorted(r.kernel for r in report.sorted(key)) == sorted(r.kernel for r in report)
    positions = [row.position for row in report.sorted("order")]
    assert positions == sorted(positions)
    assert [r.flops for r in report.sorted("flops")] == sorted((r.flops for r in report), reverse=True)
    with pytest.raises(ArgumentError, match="use time, calls"):
        report.sorted("speed")
    found = json.loads(json.dumps(report.to_dict()))
    assert [row["kernel"] for row in found["kernels"]] == [row.kernel for row in report]
    assert found["roofline"] == report.roofline


def counter():
    return gc.program(
        {"n": np.zeros(3, np.float32)},
        {"add": lambda s, x, step: ({"n": s["n"] + x * gnp.astype(step, "float32")}, s["n"].sum())},
        {"add": np.ones(3, np.float32)},
    )


def test_the_state_stays_unless_it_is_to_advance():
    p = counter()
    p.call("add", np.ones(3, np.float32), step=5)
    before = np.array(p.state["n"])
    p.profile("add", np.ones(3, np.float32), first=2, repeats=9)
    p.profile("add", repeats=1)
    np.testing.assert_array_equal(p.state["n"], before)
    p.profile("add", np.ones(3, np.float32), first=2, repeats=1, advance=True)
    assert np.all(p.state["n"] > before)


def test_mistakes():
    p = counter()
    with pytest.raises(ArgumentError, match="no compiled entry 'sub'"):
        p.profile("sub")
    with pytest.raises(ArgumentError, match="repeats must be at least 1"):
        p.profile("add", repeats=0)
    exe = gc.compile(lambda x: x + 1, X)
    with pytest.raises(ShapeError):
        exe.profile(X[:3])
    with pytest.raises(ArgumentError, match="called with"):
        exe.profile(X, X)
    with pytest.raises(UnsupportedError, match="reference backend does not time kernels"):
        gc.compile(lambda x: x + 1, X, backend="reference").profile(X)
    with pytest.raises(ArgumentError, match="running already"):
        p.run("add", np.ones(3, np.float32), n=10**7, poll=lambda progress, out: p.profile("add") is not None)


@pytest.mark.parametrize("remainder", ["drop", "smaller", "wrap"])
def test_a_job_is_the_same_after_its_profile(remainder):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 6)).astype(np.float32), rng.integers(0, 3, 40)

    def job():
        nn.init.seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        return train.compile(
            model,
            loss="cross_entropy",
            optimizer=optim.adam(1e-2),
            data=data.arrays(x, y),
            batch_size=16,
            remainder=remainder,
        )

    profiled, plain = job(), job()
    for each in (profiled, plain):
        each.fit(steps=2, progress=False)
    report = profiled.profile(repeats=5)
    assert report.entry == "train"
    assert report.steps == 5
    assert sum(row.flops for row in report) == sum(row.flops for row in profiled.cost.kernels)
    for each in (profiled, plain):
        each.fit(steps=4, progress=False)
    assert profiled.step == plain.step
    np.testing.assert_array_equal(profiled.model[0].weight, plain.model[0].weight)


def test_made_up_inputs_have_the_types():
    arrays = made_up([TensorType((2, 3), gc.spec((), d).dtype) for d in ("float32", "int64", "bool", "float64")])
    assert [str(a.dtype) for a in arrays] == ["float32", "int64", "bool", "float64"]
    assert set(np.unique(arrays[1])) <= {0, 1}
