"""gc.program: entries over one state, native runs, signatures added later, stopping."""

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import ArgumentError, MemoryBudgetError, ShapeError, TraceError
from graphc.runtime.discovery import find_backend


def add(state, x, step):
    total = state["total"] + x.sum()
    return {"total": total, "steps": step + 1}, {"seen": state["total"], "step": step}


def show(state, _, step):
    return state, state["total"] * 2


def program(backend="cpu", **options):
    state = {"total": np.float32(0), "steps": np.int64(0)}
    return gc.program(state, {"add": add, "show": show}, backend=backend, **options)


ONES = np.ones(3, np.float32)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_run_stacks_outputs_and_advances_the_state(backend):
    p = program(backend)
    done, out = p.run("add", ONES, first=5, n=4)
    assert done == 4
    assert out["seen"].tolist() == [0, 3, 6, 9]
    assert out["step"].tolist() == [5, 6, 7, 8]
    assert float(p.state["total"]) == 12
    assert int(p.state["steps"]) == 9
    assert p.call("show") == 24


def test_a_new_signature_compiles_and_keeps_the_state():
    p = program()
    p.run("add", ONES, n=2)
    p.run("add", np.ones((2, 2), np.float32), n=1)
    assert float(p.state["total"]) == 10
    assert p.entry_names() == ["add", "add.1"]


def test_runs_can_be_split_anywhere():
    whole, parts = program(), program()
    whole.run("add", ONES, n=7)
    for first in range(7):
        parts.run("add", ONES, first=first, n=1)
    assert whole.state == parts.state


def test_state_can_be_assigned_before_and_after_compiling():
    p = program()
    p.state = {"total": np.float32(5), "steps": np.int64(1)}
    assert p.call("show") == 10
    p.state = {"total": np.float32(7), "steps": np.int64(1)}
    assert p.call("show") == 14
    with pytest.raises(ArgumentError, match="expected a pytree"):
        p.state = {"total": np.float32(1)}
    with pytest.raises(ShapeError, match=r"state\.total"):
        p.state = {"total": np.ones(2, np.float32), "steps": np.int64(1)}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_poll_stops_after_the_current_step(backend):
    p = program(backend)
    done, _ = p.run("add", ONES, n=10_000_000 if backend == "cpu" else 100_000, poll=lambda progress, out: True)
    assert done > 0
    assert float(p.state["steps"]) == done


def test_zero_steps_change_nothing():
    p = program()
    done, out = p.run("add", ONES, n=0)
    assert done == 0
    assert out["seen"].shape == (0,)
    assert float(p.state["total"]) == 0


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("number", [2.5, "a", True, None, 2**63, -(2**63) - 1])
def test_steps_are_whole_numbers(backend, number):
    p = program(backend)
    with pytest.raises(ArgumentError, match=f"call: step={number!r} must be a whole number that fits int64"):
        p.call("add", ONES, number)
    with pytest.raises(ArgumentError, match="run: first="):
        p.run("add", ONES, first=number, n=1)
    with pytest.raises(ArgumentError, match="run: n="):
        p.run("add", ONES, n=number)
    assert p.run("add", ONES, first=np.int64(3), n=np.int32(2))[1]["step"].tolist() == [3, 4]


def test_swapped_state_is_not_clobbered():
    p = gc.program(
        {"a": np.arange(4.0), "b": np.arange(4.0) * 10},
        {"swap": lambda s, _, step: ({"a": s["b"], "b": s["a"] + 1}, s["a"])},
    )
    p.run("swap", n=2)
    np.testing.assert_array_equal(p.state["a"], np.arange(4.0) + 1)
    np.testing.assert_array_equal(p.state["b"], np.arange(4.0) * 10 + 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (lambda s, x, step: s, r"must return \(new state, outputs\)"),
        (lambda s, x, step: ({"total": s["total"]}, 0), "the new state is"),
        (lambda s, x, step: ({"total": x, "steps": s["steps"]}, 0), r"new state\.total is f32\[3\]"),
    ],
)
def test_entries_that_do_not_fit_the_state(entry, message):
    p = gc.program({"total": np.float32(0), "steps": np.int64(0)}, {"f": entry})
    with pytest.raises(TraceError, match=message):
        p.call("f", ONES)


def test_unknown_entries_and_reports_before_compiling():
    p = program()
    with pytest.raises(ArgumentError, match="entries: add, show"):
        p.call("ad", ONES)
    with pytest.raises(ArgumentError, match="nothing is compiled yet"):
        p.memory()
    with pytest.raises(ArgumentError, match="at least one entry"):
        gc.program({}, {})


def test_memory_is_known_before_the_first_step():
    p = program()
    p.prepare({"add": ONES, "show": ()})
    assert p.memory("add").state_bytes >= 12
    assert "add" in str(p.cost("add"))


def test_poll_may_call_entries_of_the_same_program():
    """Results of the run go on to the run's own arrays, not to those of the call in between."""
    calls = []

    def peek(state, x, step):
        return state, (x - 7, state["total"])

    p = gc.program({"total": np.float32(0)}, {"add": count, "peek": peek}, {"add": (), "peek": ONES})

    def poll(progress, outputs):
        calls.append(p.call("peek", ONES * 100))
        return len(calls) == 3

    done, seen = p.run("add", n=2**24, poll=poll)
    assert len(calls) == 3
    assert all(np.array_equal(first, ONES * 93) for first, _ in calls)
    assert np.array_equal(seen[:done], np.arange(done, dtype=np.float32))
    assert not seen[done:].any()
    assert float(p.state["total"]) == done


def count(state, _, step):
    return {"total": state["total"] + 1}, state["total"]


def test_a_new_signature_during_a_run_is_an_error():
    """Compiling moves the state; the run would go on with the old one."""
    p = gc.program({"total": np.float32(0)}, {"add": count, "show": show}, {"add": ()})
    with pytest.raises(ArgumentError, match="'show' has a new batch signature while a run is under way"):
        p.run("add", n=2**24, poll=lambda progress, outputs: p.call("show") is None)
    assert p.call("show") == 2 * p.state["total"]


def test_the_arrays_given_as_state_are_not_the_state():
    given = np.zeros(3, np.float32)
    p = gc.program({"w": given}, {"step": lambda s, _, step: ({"w": s["w"] + 1}, s["w"])})
    p.state = {"w": ONES}
    assert np.array_equal(given, np.zeros(3))
    given[:] = 9
    assert np.array_equal(p.call("step"), ONES)


def test_a_signature_that_does_not_compile_leaves_the_program_as_it_was():
    p = gc.program({"total": np.float32(0), "steps": np.int64(0)}, {"add": add}, {"add": ONES}, memory=2**13)
    p.call("add", ONES)
    for _ in range(2):
        with pytest.raises(MemoryBudgetError):
            p.call("add", np.ones(2**24, np.float32))
    p.call("add", ONES)
    assert p.entry_names() == ["add"]
    assert float(p.state["total"]) == 6


def test_signatures_are_told_apart_from_entries_named_alike():
    entries = {"a": lambda s, x, step: (s, x.sum()), "a.1": lambda s, x, step: (s, x.sum() * 100)}
    p = gc.program(np.float32(0), entries, {"a.1": ONES})
    assert [p.call(name, np.ones(n, np.float32)) for name in entries for n in (3, 4, 5)] == [3, 4, 5, 300, 400, 500]


def test_a_run_inside_a_run_is_an_error():
    """Two runs would take turns on one state: each would see steps that are not its own."""
    p = gc.program({"total": np.float32(0)}, {"add": count}, {"add": ()})
    with pytest.raises(ArgumentError, match="running already"):
        p.run("add", n=2**24, poll=lambda progress, outputs: p.run("add", n=1) is None)
    assert p.run("add", n=2)[0] == 2


def test_programs_functions_and_jits_print_what_they_are():
    p = gc.program({"total": np.float32(0)}, {"add": count}, {"add": ()})
    assert repr(p) == "<program of add over 1 arrays>"
    exe = gc.compile(lambda x, w: (x @ w, w), gc.spec((2, 3)), gc.spec((3, 4)))
    assert (
        repr(exe)
        == f"<compiled <lambda>(x: f32[2,3], w: f32[3,4]) -> (f32[2,4], f32[3,4]) for {find_backend('cpu').name}>"
    )
    assert repr(gc.jit(count)) == "<jit count, compiled for 0 signatures>"
    with pytest.raises(ArgumentError, match=r"for arguments \(\*, \*\), called with \(\{a: \*\}, \*, b=\(\*,\)\)"):
        exe({"a": 1.0}, 1.0, b=(1.0,))


def test_timings_tell_the_tracing_of_each_entry_first():
    p = gc.program(
        {"total": np.float32(0), "steps": np.int64(0)}, {"add": add, "show": show}, {"add": ONES, "show": ()}
    )
    assert [(t.stage, t.detail) for t in p.timings[:2]] == [("trace", "add"), ("trace", "show")]
    assert all(t.seconds > 0 for t in p.timings[:2])
    assert p.timings[-1].stage == "emit"
