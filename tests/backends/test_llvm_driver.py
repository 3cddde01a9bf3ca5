"""The native loop over steps, its threads, and how it stops."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from graphc.core.dtypes import float32, int32, int64
from graphc.core.errors import ArgumentError, BackendError
from graphc.kernel.ir import Binary, Buffer, Cast, Const, For, Kernel, Load, Param, Stmt, Store, Var, index
from graphc.plan.ir import Block, Branch, Copy, Entry, Instruction, Launch, Plan, Ref, Repeat, Slot, StateSlot
from graphc.runtime.protocol import Progress
from graphc_llvm import backend, host
from graphc_llvm.executable import CpuExecutable
from graphc_llvm.jobs import SHARE_NS
from graphc_llvm.kernels import compile_kernel
from graphc_llvm.pool_code import FIELDS

N = 40
I = Var("i")
STEP = Ref("step", 0, 8)
STATE = Ref("state", 64, 4 * N)


def over(*body: Stmt, extent: int = N) -> tuple[Stmt, ...]:
    return (For(I, index(extent), "parallel", body),)


def kernel_add_step() -> Kernel:
    """new = old + scale * step; also a copy of it"""
    old, scale, step = Buffer("old", float32, (N,)), Buffer("scale", float32, (N,)), Buffer("step", int64, (1,))
    copy = Buffer("copy", float32, (N,))
    value = Binary("mul", Load(scale, (I,)), Cast(Load(step, (index(0),)), float32))
    body = over(
        Store(old, (I,), Binary("add", Load(old, (I,)), value)),
        Store(copy, (I,), Load(old, (I,))),
    )
    params = (Param(old, "inout"), Param(scale, "in"), Param(step, "in"), Param(copy, "out"))
    return Kernel("add_step", params, body)


def kernel_spin(turns: int) -> Kernel:
    """Work for about `turns` nanoseconds, so that steps take time."""
    x, t = Buffer("x", float32, (1,)), Var("t")
    more = Binary("add", Binary("mul", Load(x, (index(0),)), Const(0.5, float32)), Const(1.0, float32))
    return Kernel("spin", (Param(x, "inout"),), (For(t, index(turns), "serial", (Store(x, (index(0),), more),)),))


def busy() -> Instruction:
    """Sixteen chunks of about 20 microseconds each, so that the workers have something to do."""
    x, t, r = Buffer("x", float32, (16,)), Var("t"), Var("r")
    more = Binary("add", Binary("mul", Load(x, (r,)), Const(0.5, float32)), Const(1.0, float32))
    turns = For(t, index(20_000), "serial", (Store(x, (r,), more),))
    kernel = Kernel("busy", (Param(x, "inout"),), (For(r, index(16), "parallel", (turns,)),))
    assert all(phase.extent * phase.ns > SHARE_NS for phase in compile_kernel(kernel).phases)
    return Launch(kernel, (Ref("arena", 0, 64),))


def plan(*extra: Instruction) -> Plan:
    """state += scale * step, returned as the output; `extra` instructions run before."""
    launch = Launch(
        backend.schedule(kernel_add_step()).kernel, (STATE, Ref("input", 0, 4 * N, 0), STEP, Ref("output", 0, 4 * N, 0))
    )
    vector = Slot("scale", float32, (N,))
    entry = Entry("train", (vector,), (Slot("state", float32, (N,)),), Block((*extra, launch)), 256, (), 0)
    return Plan((StateSlot(Slot("w", float32, (N,)), 64),), 64 + 4 * N, (), 0, {"train": entry})


def slow_plan(turns: int) -> Plan:
    return plan(Launch(kernel_spin(turns), (Ref("arena", 128, 4),)))


SCALE = np.linspace(0, 1, N, dtype=np.float32)


def expected(first: int, n: int, start: np.ndarray) -> np.ndarray:
    rows, now = [], start.copy()
    for step in range(first, first + n):
        now = now + SCALE * np.float32(step)
        rows.append(now)
    return np.stack(rows)


@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_stacked_and_state_persists(threads: int) -> None:
    exe = CpuExecutable(plan(), threads)
    (state,) = exe.state()
    state[:] = 1.0
    done, (out,) = exe.run("train", [SCALE], 3, 5)
    assert done == 5 and out.shape == (5, N)
    assert np.array_equal(out, expected(3, 5, np.ones(N, np.float32)))
    assert np.array_equal(state, out[-1])
    (again,) = exe.call("train", [SCALE], 8)
    assert again.shape == (N,) and np.array_equal(again, expected(8, 1, out[-1])[0])
    assert exe.run("train", [SCALE], 0, 0)[0] == 0


def test_poll_sees_progress_and_stops_between_steps() -> None:
    exe = CpuExecutable(slow_plan(3_000_000), 1)
    seen: list[tuple[Progress, float]] = []

    def poll(progress: Progress, outputs: Sequence[np.ndarray]) -> bool:
        seen.append((progress, float(outputs[0][progress.done - 1, -1])))
        return len(seen) == 2

    begin = time.perf_counter()
    done, (out,) = exe.run("train", [SCALE], 1, 100_000, poll)
    assert time.perf_counter() - begin < 5
    assert 0 < done < 100_000 and done == seen[-1][0].done
    assert seen[0][0].done < seen[1][0].done
    assert np.array_equal(out[:done], expected(1, done, np.zeros(N, np.float32)))
    assert np.array_equal(exe.state()[0], out[done - 1])


def test_ctrl_c_finishes_the_step_and_leaves_the_state_whole() -> None:
    exe = CpuExecutable(slow_plan(1_000_000), 2)
    timer = threading.Timer(0.15, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        exe.run("train", [SCALE], 1, 10_000_000)
    timer.join()
    (state,) = exe.state()
    steps = round((np.sqrt(8 * float(state[-1]) + 1) - 1) / 2)  # scale[-1] is 1, so state[-1] is 1 + 2 + .. + steps
    assert steps > 0 and np.array_equal(state, expected(1, steps, np.zeros(N, np.float32))[-1])
    done, _ = exe.run("train", [SCALE], 1, 2)
    assert done == 2


def test_a_run_of_many_steps_calls_no_python() -> None:
    exe = CpuExecutable(plan(), 2)
    calls: list[str] = []

    def profile(frame: object, event: str, arg: object) -> None:
        calls.append(event)

    sys.setprofile(profile)
    try:
        exe.run("train", [SCALE], 0, 1)
        few = len(calls)
        calls.clear()
        exe.run("train", [SCALE], 0, 1000)
        many = len(calls)
    finally:
        sys.setprofile(None)
    assert many <= few + 40  # a slow machine may look up from the loop a few times, never once per step


def test_repeat_moves_addresses_and_copy_moves_bytes() -> None:
    row = Buffer("row", float32, (4,))
    out = Buffer("out", float32, (4,))
    twice = Binary("add", Load(row, (I,)), Load(row, (I,)))
    double = Kernel("double", (Param(row, "in"), Param(out, "out")), over(Store(out, (I,), twice), extent=4))
    launch = Launch(double, (Ref("input", 0, 16, 0, (32, 16)), Ref("arena", 0, 16, 0, (48, 16))))
    inner = Repeat(2, Block((launch,)))
    # The arena rows are 48 bytes apart; the third 16 bytes of each are never written and stay zero.
    copy = Copy(Ref("arena", 0, 144), Ref("output", 0, 144))
    entry = Entry(
        "main",
        (Slot("x", float32, (3, 2, 4)),),
        (Slot("y", float32, (3, 3, 4)),),
        Block((Repeat(3, Block((inner,))), copy)),
        144,
        (),
        0,
    )
    x = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    (got,) = CpuExecutable(Plan((), 0, (), 0, {"main": entry}), 1).call("main", [x])
    assert np.array_equal(got[:, :2], 2 * x) and not got[:, 2].any()


def test_branch_and_constants() -> None:
    values = np.array([1.0, 2.0], np.float32)
    out = Ref("output", 0, 8)
    blocks = (Block((Copy(Ref("constants", 0, 8), out),)), Block((Copy(Ref("constants", 64, 8), out),)))
    branch = Branch(Ref("input", 0, 4, 0), blocks)
    entry = Entry("main", (Slot("index", int32, ()),), (Slot("y", float32, (2,)),), Block((branch,)), 0, (), 0)
    exe = CpuExecutable(Plan((), 0, ((0, values), (64, values * 10)), 128, {"main": entry}), 1)
    for number, factor in ((1, 10), (0, 1), (-3, 1), (7, 10)):  # the nearest block there is
        assert np.array_equal(exe.call("main", [np.array(number, np.int32)])[0], values * factor)


def test_many_callers_at_once_get_their_own_results() -> None:
    exes = [CpuExecutable(plan(busy()), 3) for _ in range(3)]
    results: list[np.ndarray | None] = [None] * 3

    def work(number: int) -> None:
        results[number] = exes[number].run("train", [SCALE], number, 40)[1][0]

    callers = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for number in range(3):
        assert np.array_equal(results[number], expected(number, 40, np.zeros(N, np.float32)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_its_own_workers() -> None:
    exe = CpuExecutable(plan(busy()), 2)
    exe.run("train", [SCALE], 0, 10)
    pool = exe._pool._block
    owner = pool[FIELDS["owner"] : FIELDS["owner"] + 4].view(np.int32)
    owner[0] = exe._context["busy"] = 1  # as a thread that runs something just now would leave them
    child = os.fork()
    if child == 0:
        status = 1
        try:
            (out,) = exe.run("train", [SCALE], 10, 50)[1]
            status = 0 if np.array_equal(out[-1], exe.state()[0]) and np.isfinite(out).all() else 2
        finally:
            os._exit(status)
    owner[0] = exe._context["busy"] = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def test_workers_end_with_the_last_program() -> None:
    before = {t for t in threading.enumerate() if t.name.startswith("graphc-")}
    exe = CpuExecutable(plan(busy()), 7)
    exe.run("train", [SCALE], 0, 3)
    started = {t for t in threading.enumerate() if t.name.startswith("graphc-")} - before
    assert len(started) == 6
    del exe
    assert not any(t.is_alive() for t in started)


def test_wrong_arguments_are_named() -> None:
    exe = CpuExecutable(plan(), 1)
    with pytest.raises(BackendError, match="scale"):
        exe.call("train", [SCALE.astype(np.float64)])
    with pytest.raises(BackendError, match="contiguous"):
        exe.call("train", [np.zeros(2 * N, np.float32)[::2]])
    with pytest.raises(ArgumentError, match="takes 1 inputs"):
        exe.call("train", [])
    with pytest.raises(ArgumentError, match="no entry 'evaluate'"):
        exe.call("evaluate", [])
    with pytest.raises(ArgumentError, match="threads"):
        CpuExecutable(plan(), 0)


def test_texts_name_the_kernel_and_its_lines() -> None:
    y = Buffer("y", float32, (64,))
    body = over(Store(y, (I,), Const(1.0, float32)), extent=64)
    kernel = Kernel("named", (Param(y, "out", "train.py:12"),), body)
    block = Block((Launch(kernel, (Ref("output", 0, 256),)),))
    entry = Entry("main", (), (Slot("y", float32, (64,)),), block, 0, (), 0)
    exe = CpuExecutable(Plan((), 0, (), 0, {"main": entry}), 1)
    texts = exe.texts()
    (llvm,), (asm,) = texts["llvm"], texts["asm"]
    lines = llvm.text.split("\n")
    marked = [lines[number - 1] for number, source in llvm.lines.items() if source == "train.py:12"]
    assert llvm.kernel == "named" and marked and any("store" in line for line in lines)
    assert "ret" in asm.text and asm.kernel == "named"


def test_doctor_and_target() -> None:
    assert all(ok for _, ok, _ in backend.doctor() if sys.platform == "linux")
    target = backend.target()
    assert target.vector_bits in (128, 256, 512) and target.cores >= 1 and target.cache_bytes


@pytest.mark.parametrize(
    ("known", "sizes"),
    [
        ({}, (32 << 10, 1 << 20)),
        ({1: "48K"}, (48 << 10, 1 << 20)),
        ({1: "48K", 2: "2048K", 3: "32M"}, (48 << 10, 2 << 20, 32 << 20)),
    ],
)
def test_schedules_know_two_caches_at_least(
    known: dict[int, str], sizes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual machine may tell of one, or of none."""
    for level, size in known.items():
        for kind, place in (("Data", tmp_path / f"index{level}"), ("Instruction", tmp_path / f"index{level}i")):
            place.mkdir()
            for name, text in (("level", str(level)), ("type", kind), ("size", size if kind == "Data" else "1K")):
                (place / name).write_text(text + "\n")
    monkeypatch.setattr(host, "_CACHES", tmp_path)
    assert host._caches.__wrapped__() == sizes


def test_another_cpu_computes_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.backends.llvm_kernels import run_native, same_bits
    from tests.backends.test_llvm_schedule import inputs_of, matmul, rows

    if backend.target().vector_bits < 256 or "x86" not in backend.target().name:
        pytest.skip("the host is no x86-64-v3")
    for kernel in (matmul(33, 50, 40, "nt"), rows(20, 100)):
        given = inputs_of(kernel)
        (here,) = run_native(backend.schedule(kernel), given)
        with monkeypatch.context() as patch:
            patch.setenv("GRAPHC_CPU", "x86-64-v3")
            (there,) = run_native(backend.schedule(kernel), given)
        assert same_bits(here, there)


@pytest.mark.parametrize("name", ["x86-64-v9", "apple-m1"])
def test_a_cpu_this_machine_cannot_stand_in_for_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GRAPHC_CPU", name)
    with pytest.raises(BackendError, match=f"GRAPHC_CPU={name}: not known here"):
        backend.target()


def test_a_cpu_with_more_than_the_host_is_an_error() -> None:
    weak = host.Host("x86_64-unknown-linux-gnu", "old", "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+sahf,+avx,-avx2")
    assert host._pretended("x86-64-v2", weak).cpu == "x86-64-v2"
    with pytest.raises(BackendError, match=r"x86-64-v3: this machine \(old\) lacks avx2, bmi"):
        host._pretended("x86-64-v3", weak)
