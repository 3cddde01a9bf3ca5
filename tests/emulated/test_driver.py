"""The driving code on a device that keeps a card's rules: what is queued when, and results that are the CPU's."""

from __future__ import annotations

import gc as collector
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, MemoryBudgetError
from graphc.plan.ir import Plan
from graphc.runtime.protocol import Progress
from graphc_cupy.executable import GpuExecutable
from graphc_cupy.memory import EntryMemory
from graphc_cupy.steps import Steps
from tests.acceptance.jobs import job, state_sha256
from tests.emulated.backend import EmulatedBackend
from tests.emulated.device import EmulatedDevice, Misuse
from tests.emulated.kernels import needs_compiler

pytestmark = needs_compiler

N = 5


def counter(state: object, batch: object, step: object) -> tuple[object, object]:
    """State that depends on every step, and an output of each."""
    new = state["x"] * 0.5 + batch + gnp.sum(state["x"]) * 1e-3 + step  # type: ignore[index, operator]
    return {"x": new}, new * 2  # type: ignore[operator]


def program(backend: str) -> gc.Program:
    return gc.program(
        {"x": np.zeros(N, np.float32)},
        {"go": lambda s, b, t: counter(s, b, t.astype("float32"))},
        inputs={"go": gc.spec((N,), "float32")},
        backend=backend,
    )


BATCH = np.linspace(-1, 1, N, dtype=np.float32)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_has_the_bits_of_the_cpu(emulated: EmulatedBackend, optimizer: str) -> None:
    digests = []
    for backend in ("cpu", "emulated"):
        each = job(optimizer=optimizer, backend=backend)
        each.fit(epochs=17)  # 102 steps
        digests.append(state_sha256(each))
    assert digests[0] == digests[1]


def test_a_step_is_captured_once(emulated: EmulatedBackend) -> None:
    ours = program("emulated")
    ours.run("go", BATCH, n=40)
    first = emulated.device.log.count("begin_capture")
    assert 1 <= first <= 2
    launches = emulated.device.log.count("launch")
    ours.run("go", BATCH, first=40, n=400)
    assert emulated.device.log.count("begin_capture") <= 2
    assert emulated.device.log.count("launch") == launches == 0  # everything is replayed
    assert emulated.device.log.count("allocate") == 2  # the plan, and what crosses the border of the entry


def test_the_memory_report_counts_what_the_device_gave(emulated: EmulatedBackend) -> None:
    ours = program("emulated")
    ours.run("go", BATCH, n=40)
    report = ours.memory("go")
    border = report.input_bytes + report.output_bytes  # the caller's own arrays
    assert report.scratch_bytes > border
    executable = ours._executable
    assert isinstance(executable, GpuExecutable)
    assert sum(len(emulated.device._blocks[block]) for block in executable._blocks) == report.peak_bytes - border
    with pytest.raises(MemoryBudgetError, match="scratch"):
        gc.compile(lambda x: x * 2, BATCH, backend="emulated", memory=2 * BATCH.nbytes)


def test_runs_and_calls_agree_with_the_cpu(emulated: EmulatedBackend) -> None:
    ours, theirs = program("emulated"), program("cpu")
    for first, n in ((0, 1), (1, 7), (8, 0), (8, 300), (308, 3)):
        (done, got), (also, want) = (each.run("go", BATCH, first=first, n=n) for each in (ours, theirs))
        assert done == also == n
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(ours.call("go", BATCH, step=n), theirs.call("go", BATCH, step=n))
    np.testing.assert_array_equal(ours.state["x"], theirs.state["x"])


def test_state_is_seen_and_taken(emulated: EmulatedBackend) -> None:
    ours, theirs = program("emulated"), program("cpu")
    mine, cpus = ours.state["x"], theirs.state["x"]  # held while steps run
    for step in range(3):
        for each in (ours, theirs):
            each.call("go", BATCH, step=step)
        np.testing.assert_array_equal(mine, cpus)
        mine += step
        cpus += step
    del mine, cpus
    for each in (ours, theirs):
        each.state = {"x": np.full(N, 3, np.float32)}
        each.run("go", BATCH, n=2)
    np.testing.assert_array_equal(ours.state["x"], theirs.state["x"])


def test_nobody_looks_nothing_is_copied(emulated: EmulatedBackend) -> None:
    ours = program("emulated")
    ours.run("go", BATCH, n=1)
    emulated.device.log.clear()
    ours.call("go", BATCH)
    assert emulated.device.log.count("upload") == 2  # the batch, and the number of the step
    assert emulated.device.log.count("download") == 1


def test_the_host_is_ahead_of_what_it_waits_for(emulated: EmulatedBackend) -> None:
    """Metrics are read back while later steps are queued already."""
    program("emulated").run("go", BATCH, n=300)
    log = [what for what in emulated.device.log if what in ("replay", "record", "wait")]
    waits = [k for k, what in enumerate(log) if what == "wait"]
    assert len(waits) > 3
    for number, at in enumerate(waits[:-1]):
        assert log[:at].count("record") == number + 2  # one more half is on its way


def test_a_poll_sees_the_state_of_its_step_and_stops(
    emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphc_cupy.executable.POLL_SECONDS", 0.0)
    ours, theirs = program("emulated"), program("cpu")
    seen: list[int] = []

    def poll(progress: Progress, outputs: Sequence[np.ndarray]) -> bool:
        reference = program("cpu")
        reference.run("go", BATCH, n=progress.done)
        np.testing.assert_array_equal(ours.state["x"], reference.state["x"])
        seen.append(progress.done)
        ours.call("go", BATCH * 0, step=0)  # a poll may call entries; this one changes the state and the inputs
        ours.state = {"x": reference.state["x"]}
        return len(seen) == 4

    done, outputs = ours.run("go", BATCH, n=100_000, poll=poll)
    assert done == seen[-1] < 20_000
    _, wanted = theirs.run("go", BATCH, n=done)
    np.testing.assert_array_equal(outputs[:done], wanted)
    assert not outputs[done:].any()


USES: dict[str, Callable[[gc.Program], object]] = {
    "call": lambda p: p.call("go", BATCH, step=0),
    "run": lambda p: p.run("go", BATCH, n=40),
    "profile": lambda p: p.profile("go", BATCH, repeats=3, advance=True),
}


@pytest.mark.parametrize("where", ["upload", "replay", "record", "download", "wait", "synchronize"])
@pytest.mark.parametrize("use", USES)
def test_ctrl_c_leaves_the_state_whole(
    emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch, use: str, where: str
) -> None:
    """Views that are held show the state of the device, and what is written to them counts."""
    ours, theirs = program("emulated"), program("cpu")
    mine = ours.state["x"]
    passed = [theirs.state["x"].copy()]
    for step in range(41):
        theirs.call("go", BATCH, step=step)
        passed.append(theirs.state["x"].copy())
    device, method = emulated.device, getattr(EmulatedDevice, where)

    def interrupted(*given: object) -> object:
        result = method(device, *given)
        if interrupts:
            interrupts.pop()
            raise KeyboardInterrupt
        return result

    interrupts = [1]
    monkeypatch.setattr(device, where, interrupted)
    try:
        USES[use](ours)
    except KeyboardInterrupt:
        assert not interrupts
    np.testing.assert_array_equal(mine, ours.state["x"])
    assert any(np.array_equal(mine, state) for state in passed)
    for each in (ours, theirs):
        each.state = {"x": np.full(N, 3, np.float32)}
    assert mine[0] == 3
    np.testing.assert_array_equal(ours.call("go", BATCH, step=9), theirs.call("go", BATCH, step=9))
    np.testing.assert_array_equal(mine, theirs.state["x"])


@pytest.mark.parametrize("use", ["call", "run"])
def test_after_ctrl_c_nothing_is_read_into_memory_that_goes(
    emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    ours = program("emulated")
    USES[use](ours)

    def interrupted(target: np.ndarray, source: int) -> None:
        EmulatedDevice.download(emulated.device, target, source)
        raise KeyboardInterrupt

    monkeypatch.setattr(emulated.device, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        USES[use](ours)
    assert not emulated.device._own._queue


def test_a_write_to_the_state_outlives_ctrl_c(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = program("emulated"), program("cpu")
    for each in (ours, theirs):
        each.call("go", BATCH, step=0)
        each.state = {"x": np.full(N, 3, np.float32)}

    def interrupted(target: int, source: np.ndarray) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(emulated.device, "upload", interrupted)
        ours.call("go", BATCH, step=1)
    np.testing.assert_array_equal(ours.call("go", BATCH, step=1), theirs.call("go", BATCH, step=1))


def test_an_error_in_a_poll_leaves_the_state_whole(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc_cupy.executable.POLL_SECONDS", 0.0)
    ours, theirs = program("emulated"), program("cpu")
    mine, seen = ours.state["x"], []

    def poll(progress: Progress, outputs: Sequence[np.ndarray]) -> bool:
        seen.append(progress.done)
        raise ValueError("in the poll")

    with pytest.raises(ValueError, match="in the poll"):
        ours.run("go", BATCH, n=10_000, poll=poll)
    theirs.run("go", BATCH, n=seen[0])
    np.testing.assert_array_equal(mine, theirs.state["x"])
    np.testing.assert_array_equal(ours.run("go", BATCH, n=5)[1], theirs.run("go", BATCH, n=5)[1])


def test_memory_is_given_back(emulated: EmulatedBackend) -> None:
    ours = program("emulated")
    ours.run("go", BATCH, n=2)
    held = len(emulated.device._blocks)
    del ours
    collector.collect()
    assert len(emulated.device._blocks) == held - 2


def test_other_threads_go_on_while_a_step_is_captured(
    emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they ask for is done, and is no part of what is captured."""
    ours, theirs, cpus = program("emulated"), program("emulated"), program("cpu")
    step = Steps._step
    seen: list[object] = []

    def interrupted(self: Steps, memory: EntryMemory) -> None:
        step(self, memory)
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=lambda: seen.append(theirs.call("go", BATCH, step=len(seen))))
            other.start()
            other.join()

    monkeypatch.setattr(Steps, "_step", interrupted)
    done, got = ours.run("go", BATCH, n=400)
    wanted = cpus.run("go", BATCH, n=400)[1]
    np.testing.assert_array_equal(got, wanted)
    assert done == 400
    assert len(seen) >= 2
    np.testing.assert_array_equal(seen, wanted[: len(seen)])
    np.testing.assert_array_equal(ours.state["x"], cpus.state["x"])


def test_a_handler_of_signals_is_told_that_it_comes_in_between(
    emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = program("emulated"), program("cpu")
    wait = EmulatedDevice.synchronize

    def interrupted(self: EmulatedDevice) -> None:
        monkeypatch.setattr(EmulatedDevice, "synchronize", wait)
        with pytest.raises(ArgumentError, match="a signal handler calls a program in the middle of a call of it"):
            ours.call("go", BATCH * 2)
        np.testing.assert_array_equal(program("emulated").call("go", BATCH), program("cpu").call("go", BATCH))
        wait(self)

    ours.call("go", BATCH)
    theirs.call("go", BATCH)
    monkeypatch.setattr(EmulatedDevice, "synchronize", interrupted)
    np.testing.assert_array_equal(ours.call("go", BATCH), theirs.call("go", BATCH))
    np.testing.assert_array_equal(ours.call("go", BATCH), theirs.call("go", BATCH))


def test_arguments_are_checked(emulated: EmulatedBackend) -> None:
    exe = gc.compile(gnp.tanh, gc.spec((3,)), backend="emulated")
    with pytest.raises(ArgumentError, match="must not be negative"):
        exe._executable.run("main", [np.zeros(3, np.float32)], 0, -1)
    with pytest.raises(ArgumentError, match=r"no entry 'other'"):
        exe._executable.call("other", [])


# ---------------------------------------------------------------------------------------------------- planted mistakes


def test_an_allocation_during_capture_is_found(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Steps._step

    def allocates(self: Steps, memory: EntryMemory) -> None:
        self.device.allocate(64)
        step(self, memory)

    monkeypatch.setattr(Steps, "_step", allocates)
    with pytest.raises(Misuse, match="allocate while a step is captured"):
        program("emulated").run("go", BATCH, n=1)


def test_a_wait_during_capture_is_found(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steps, "_count", lambda self: self.device.synchronize())
    with pytest.raises(Misuse, match="synchronize while a step is captured"):
        program("emulated").run("go", BATCH, n=1)


def test_reading_before_waiting_is_found(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = program("emulated"), program("cpu")
    monkeypatch.setattr(EmulatedDevice, "wait", lambda self, event: None)
    (_, got), (_, want) = (each.run("go", BATCH, n=20) for each in (ours, theirs))
    assert not np.array_equal(got, want)


def test_memory_given_back_too_early_is_found(emulated: EmulatedBackend) -> None:
    ours = program("emulated")
    ours.call("go", BATCH)
    executable = ours._executable
    assert isinstance(executable, GpuExecutable)
    emulated.device.release(executable._entries["go"].memory.block)
    with pytest.raises(Misuse, match="are not allocated"):
        ours.call("go", BATCH)
    executable._blocks.clear()  # nothing to give back


def test_a_plan_without_kernels_runs(emulated: EmulatedBackend) -> None:
    exe = gc.compile(lambda x: (x, gnp.zeros((2, 0))), gc.spec((3,), "float32"), backend="emulated")
    same, empty = exe(np.arange(3, dtype=np.float32))  # type: ignore[misc]
    np.testing.assert_array_equal(same, np.arange(3))
    assert empty.shape == (2, 0)
    assert isinstance(exe.plan if hasattr(exe, "plan") else Plan((), 0, (), 0, {}), Plan)


def test_kernels_are_timed(emulated: EmulatedBackend) -> None:
    ours, theirs = program("emulated"), program("cpu")
    executable = ours._executable
    assert isinstance(executable, GpuExecutable)
    found = executable.profile("go", [BATCH], 0, 3)
    theirs.run("go", BATCH, n=3)
    np.testing.assert_array_equal(ours.state["x"], theirs.state["x"])
    assert found.seconds.shape == found.calls.shape == (len(found.rows), 3)
    assert (found.seconds > 0).all()
    assert [type(row[0]).__name__ for row in found.rows].count("Launch") >= 1
