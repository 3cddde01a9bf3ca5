"""Threads of the machine and threads of the caller: many at once, nested, forked, interrupted, at exit."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError
from tests.acceptance import jobs

RNG = np.random.default_rng(0)


def square(n: int) -> np.ndarray:
    return (RNG.standard_normal((n, n)) / np.sqrt(n)).astype(np.float32)


def branches(x: np.ndarray, w: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Products and sums that do not depend on each other, of very different sizes."""
    a, b, c = x @ w, w @ v, v @ x
    return gnp.tanh(a).sum(0), b.max(1), c[:3], (x * v).sum(), gnp.exp(w - w.max(1, keepdims=True)).sum(1)


def all_at_once(work: list[Callable[[], None]]) -> None:
    """Run each on a thread of its own; raises what one of them raised."""
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a caller hangs"
    if failures:
        raise failures[0]


# ------------------------------------------------------------------------------------------------------------- bits


@pytest.mark.cpu
@pytest.mark.parametrize("n", [5, 64, 257])
def test_merged_jobs_have_the_same_bits_on_any_number_of_threads(n: int) -> None:
    arrays = [square(n) for _ in range(3)]
    found = []
    for threads in (1, 2, 3, 4):
        call = gc.compile(branches, *arrays, threads=threads)
        results = [np.concatenate([np.ravel(part) for part in call(*arrays)]) for _ in range(5)]
        assert all(np.array_equal(results[0], other) for other in results)
        found.append(results[0].tobytes())
    assert len(set(found)) == 1


# ---------------------------------------------------------------------------------------------------- many callers


@pytest.mark.cpu
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_different_programs_called_at_once(threads: int) -> None:
    sizes = (3, 40, 130, 300)
    given = [square(n) for n in sizes]
    calls = [gc.compile(lambda x: gnp.tanh(x @ x) @ x, x, threads=threads) for x in given]
    wanted = [call(x) for call, x in zip(calls, given)]

    def work(k: int) -> None:
        for _ in range(30):
            np.testing.assert_array_equal(calls[k](given[k]), wanted[k])

    all_at_once([lambda k=k: work(k) for k in range(len(sizes))])  # type: ignore[misc]


@pytest.mark.cpu
@pytest.mark.parametrize("own_arenas", [True, False])
def test_one_program_called_at_once(own_arenas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not own_arenas:
        monkeypatch.setattr("graphc_llvm.executable.SMALL_BYTES", -1)
    call = gc.compile(lambda x: gnp.tanh(x @ x) @ x, gc.spec((150, 150)), threads=2)
    given = [square(150) for _ in range(6)]
    wanted = [call(x) for x in given]

    def work(k: int) -> None:
        for _ in range(40):
            np.testing.assert_array_equal(call(given[k]), wanted[k])

    all_at_once([lambda k=k: work(k) for k in range(len(given))])  # type: ignore[misc]


def test_jitted_functions_called_at_once() -> None:
    f = gc.jit(lambda x: (x * 2 + 1).sum())

    def work(k: int) -> None:
        for n in (1, 7, 30):
            x = np.full(n, k, np.float32)
            assert f(x) == n * (2 * k + 1)

    for _ in range(10):
        all_at_once([lambda k=k: work(k) for k in range(6)])  # type: ignore[misc]
    assert f.cache_info().size == 3


def counter(**options: object) -> gc.Program:
    def add(state: dict[str, np.ndarray], x: np.ndarray, step: np.ndarray) -> tuple[object, object]:
        total = state["total"] + x @ x
        return {"total": total, "calls": state["calls"] + 1}, total.sum()

    state = {"total": np.zeros((40, 40)), "calls": np.int64(0)}
    return gc.program(state, {"add": add}, {"add": np.zeros((40, 40))}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_of_a_program_with_state_take_turns(threads: int) -> None:
    p = counter(threads=threads)
    eye = np.eye(40)

    def work() -> None:
        for _ in range(200):
            p.call("add", eye)

    all_at_once([work] * 5)
    state = cast(dict[str, np.ndarray], p.state)
    assert state["calls"] == 1000
    np.testing.assert_array_equal(state["total"], 1000 * eye)


def test_a_call_gets_its_turn_while_a_run_goes_on() -> None:
    p = counter(threads=2)
    eye = np.eye(40)
    called = threading.Event()

    def interrupt() -> None:
        p.call("add", eye)
        called.set()

    other = threading.Thread(target=interrupt)

    def poll(progress: object, outputs: object) -> bool:
        if not other.ident:
            other.start()
        return called.is_set()

    done, _ = p.run("add", eye, n=10**8, poll=poll)
    other.join()
    assert done < 10**8
    assert cast(dict[str, np.ndarray], p.state)["calls"] == done + 1


# ------------------------------------------------------------------------------------------------------------ nested


def test_poll_runs_other_programs_and_this_one() -> None:
    p, q = counter(threads=2), counter(threads=2)
    eye = np.eye(40)
    call = gc.jit(lambda x: x @ x, threads=2)
    seen = []

    def poll(progress: object, outputs: object) -> bool:
        q.run("add", eye, n=3)
        p.call("add", eye)
        seen.append(np.array_equal(call(eye), eye))
        return len(seen) == 3

    done, _ = p.run("add", eye, n=10**8, poll=poll)
    assert seen == [True] * 3
    assert cast(dict[str, np.ndarray], q.state)["calls"] == 9
    assert cast(dict[str, np.ndarray], p.state)["calls"] == done + 3


def test_callbacks_of_training_call_compiled_functions() -> None:
    norm = gc.jit(lambda w: gnp.sqrt((w * w).sum()))
    seen = []

    def watch(event: object) -> None:
        seen.append(float(norm(np.ones((9, 16), np.float32))))
        seen.append(float(watched.evaluate(*jobs.arrays())["loss"]))

    plain, watched = jobs.job(threads=2), jobs.job(threads=2)
    plain.fit(epochs=3, progress=False)
    watched.fit(epochs=3, progress=False, callbacks=[watch])
    assert seen[0] == 12 and len(seen) == 6
    assert jobs.state_sha256(plain) == jobs.state_sha256(watched)


# -------------------------------------------------------------------------------------------------------------- fork


FORK = """
import os, sys, threading, warnings
import numpy as np
import graphc as gc, graphc.numpy as gnp
warnings.simplefilter("ignore")
x = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
call = gc.compile(lambda x: gnp.tanh(x @ x) @ x, x, threads=2)
p = gc.program(np.float32(0), {"add": lambda s, x, step: (s + (x @ x).sum(), s)}, {"add": x}, threads=2)
wanted = call(x)
p.call("add", x)
after_one = np.array(p.state)
stop = False
def busy():
    while not stop:
        call(x); other.call("add", x)
other = gc.program(np.float32(0), {"add": lambda s, x, step: (s + (x @ x).sum(), s)}, {"add": x}, threads=2)
threads = [threading.Thread(target=busy) for _ in range(2)]
for t in threads: t.start()
codes = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        ok = all(np.array_equal(call(x), wanted) for _ in range(5))
        ok = ok and p.run("add", x, n=3)[1][0] == after_one
        other.call("add", x)
        ok = ok and np.array_equal(gc.compile(lambda x: x @ x, x, threads=2)(x), x @ x) is not None
        os._exit(0 if ok else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
for t in threads: t.join()
assert codes == [0] * 8, codes
assert np.array_equal(call(x), wanted) and np.array_equal(p.state, after_one)
print("fine")
"""


@pytest.mark.cpu
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_compute_while_the_parent_does() -> None:
    done = jobs.python("-c", FORK, timeout=120)
    assert done.stdout.strip() == "fine", done.stderr[-3000:]


# ----------------------------------------------------------------------------------------------------------- signals


def long_call(threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Seconds of work in one call."""

    def deep(x: np.ndarray) -> np.ndarray:
        y = x
        for _ in range(40):
            y = gnp.tanh(y @ x)
        return y

    return cast(Callable[[np.ndarray], np.ndarray], gc.compile(deep, gc.spec((2048, 2048)), threads=threads))


class Enough(Exception):
    pass


@pytest.fixture
def ticks() -> Iterator[list[Callable[[], None]]]:
    """What to do at the next ticks of a timer of the process; the main thread does it, in the handler of a signal."""
    todo: list[Callable[[], None]] = []

    def tick(number: int, frame: object) -> None:
        if todo:
            todo.pop(0)()

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    yield todo
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def raise_enough() -> None:
    raise Enough


@pytest.mark.cpu
@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_call_runs_handlers_and_gives_up_when_one_raises(threads: int, ticks: list[Callable[[], None]]) -> None:
    call = long_call(threads)
    x = np.eye(2048, dtype=np.float32)
    seen: list[int] = []
    # A handler that only ran once the call is over would run once, for all ticks: the others would find no call to end.
    ticks += [*[lambda: seen.append(1)] * 2, raise_enough]
    with pytest.raises(Enough):
        call(x)
    assert len(seen) == 2
    small = gc.compile(lambda x: x @ x, gc.spec((64, 64)), threads=threads)
    np.testing.assert_array_equal(small(np.eye(64, dtype=np.float32)), np.eye(64))


@pytest.mark.cpu
def test_a_call_that_was_given_up_can_be_made_again(ticks: list[Callable[[], None]]) -> None:
    def deep(x: np.ndarray) -> np.ndarray:
        y = x
        for _ in range(25):
            y = gnp.tanh(y @ x)
        return y

    call = gc.compile(deep, gc.spec((1024, 1024)), threads=2)
    x = square(1024)
    wanted = call(x)
    for _ in range(4):
        ticks.append(raise_enough)
        with contextlib.suppress(Enough):
            np.testing.assert_array_equal(call(x), wanted)
        ticks.clear()
        np.testing.assert_array_equal(call(x), wanted)


@pytest.mark.cpu
def test_a_handler_may_call_the_program_it_interrupts(ticks: list[Callable[[], None]]) -> None:
    call = long_call(2)
    x = np.eye(2048, dtype=np.float32)
    small, given = gc.compile(lambda x: x @ x, gc.spec((300, 300)), threads=2), square(300)
    wanted = small(given)
    nested: list[bool] = []

    def both() -> None:
        nested.append(np.array_equal(small(given), wanted))
        ticks.append(raise_enough)
        with pytest.raises(Enough):
            call(x)  # on memory of its own
        nested.append(True)
        ticks.append(raise_enough)

    ticks.append(both)
    with pytest.raises(Enough):
        call(x)
    assert nested == [True, True]


CTRL_C = """
import os, signal, threading
import numpy as np
import graphc as gc, graphc.numpy as gnp
def deep(x):
    y = x
    for _ in range(200):
        y = gnp.tanh(y @ x)
    return y
call = gc.compile(deep, gc.spec((2048, 2048)), threads=2)
x = np.eye(2048, dtype=np.float32)
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    call(x)
except KeyboardInterrupt:
    print("interrupted")
eye = np.eye(64, dtype=np.float32)
p = gc.program(np.float32(0), {"add": lambda s, x, step: (s + (x @ x).sum() / 64, s)}, {"add": eye})
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    p.run("add", eye, n=10**7)
except KeyboardInterrupt:
    print("stopped", 0 < p.state < 10**7, float(p.state) == int(p.state))
"""


@pytest.mark.cpu
def test_ctrl_c_ends_a_long_call_and_a_long_run() -> None:
    done = jobs.python("-c", CTRL_C, timeout=120)
    assert done.stdout.split("\n")[:2] == ["interrupted", "stopped True True"], done.stderr[-3000:]


# -------------------------------------------------------------------------------------------------------------- exit


@pytest.mark.cpu
@pytest.mark.parametrize(
    "ending",
    [
        "",  # workers sleep
        "threading.Thread(target=lambda: [call(x) for _ in range(10**6)], daemon=True).start(); time.sleep(0.2)",
        "threading.Thread(target=lambda: [long(y) for _ in range(100)], daemon=True).start(); time.sleep(0.3)",
        "threading.Thread(target=lambda: p.run('add', x, n=10**9), daemon=True).start(); time.sleep(0.2)",
        "threading.Thread(target=lambda: [call(x) for _ in range(20)]).start()",
        "del call, p; import gc as collector; collector.collect()",
        "import atexit; atexit.register(lambda: print(call(x).shape))",
        "raise SystemExit(0)",
    ],
)
def test_the_interpreter_exits(ending: str) -> None:
    script = f"""
import threading, time
import numpy as np
import graphc as gc, graphc.numpy as gnp
x = np.ones((200, 200), np.float32)
call = gc.compile(lambda x: gnp.tanh(x @ x) @ x, x, threads=2)
call(x)
p = gc.program(np.float32(0), {{"add": lambda s, x, step: (s + (x @ x).sum(), s)}}, {{"add": x}}, threads=2)
p.call("add", x)
y = np.ones((1024, 1024), np.float32)
def deep(y):
    z = y
    for _ in range(30):
        z = gnp.tanh(z @ y)
    return z
long = gc.compile(deep, y, threads=2)
{ending}
"""
    done = jobs.python("-c", script, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]


def test_runs_of_one_program_from_two_threads_are_an_error() -> None:
    p = counter(threads=2)
    eye = np.eye(40)
    errors: list[Exception] = []

    def run() -> None:
        try:
            p.run("add", eye, n=1)
        except ArgumentError as error:
            errors.append(error)

    other = threading.Thread(target=run)

    def poll(progress: object, outputs: object) -> bool:
        other.start()
        other.join()
        return True

    p.run("add", eye, n=10**8, poll=poll)
    assert "running already" in str(errors[0])
