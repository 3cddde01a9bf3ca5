"""What lies on the device already and cannot have changed is not copied there again; every change is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc import data, train
from graphc.core.digest import is_lasting
from tests.acceptance.jobs import arrays, job, network, state_sha256
from tests.emulated.backend import EmulatedBackend
from tests.emulated.kernels import needs_compiler

SIZE = 5


def lasting(value: float) -> np.ndarray:
    array = np.full(SIZE, value, np.float32)
    array.flags.writeable = False
    return array


def adding() -> gc.Program:
    return gc.program(
        {"x": np.zeros(SIZE, np.float32)},
        {"go": lambda state, batch, step: ({"x": state["x"] + batch}, state["x"])},  # type: ignore[index]
        inputs={"go": gc.spec((SIZE,), "float32")},
        backend="emulated",
    )


def uploads(emulated: EmulatedBackend, program: gc.Program, batch: np.ndarray) -> int:
    """How much is copied to the device by a run of one step."""
    emulated.device.log.clear()
    program.run("go", batch, n=1)
    return emulated.device.log.count("upload")


@needs_compiler
@pytest.mark.parametrize("of", [lambda array: array, lambda array: array[:]])
def test_what_cannot_change_is_copied_once(emulated: EmulatedBackend, of: Callable[[np.ndarray], np.ndarray]) -> None:
    program, batch = adding(), of(lasting(2))
    program.run("go", batch, n=1)
    assert uploads(emulated, program, batch) == 1  # the number of the step
    program.call("go", batch)
    np.testing.assert_array_equal(program.state["x"], np.full(SIZE, 6))  # type: ignore[index]


@needs_compiler
def test_another_array_is_copied(emulated: EmulatedBackend) -> None:
    program, one, two, changing = adding(), lasting(1), lasting(2), np.full(SIZE, 4, np.float32)
    for batch in (one, two, one, changing, one):
        assert uploads(emulated, program, batch) >= 2
    np.testing.assert_array_equal(program.state["x"], np.full(SIZE, 1 + 2 + 1 + 4 + 1))  # type: ignore[index]


@needs_compiler
def test_a_new_array_where_an_old_one_was_is_copied(emulated: EmulatedBackend) -> None:
    program = adding()
    for value in range(4):
        program.run("go", lasting(value), n=1)
    np.testing.assert_array_equal(program.state["x"], np.full(SIZE, 6))  # type: ignore[index]


@needs_compiler
def test_changes_are_seen_also_behind_a_view_that_is_read_only(emulated: EmulatedBackend) -> None:
    program, changing = adding(), np.ones(SIZE, np.float32)
    view = changing[:]
    view.flags.writeable = False
    for value, batch in ((1, changing), (10, changing), (100, view), (1000, view)):
        changing[:] = value
        program.run("go", batch, n=1)
    np.testing.assert_array_equal(program.state["x"], np.full(SIZE, 1111))  # type: ignore[index]


@needs_compiler
def test_the_data_of_a_job_is_copied_once(emulated: EmulatedBackend) -> None:
    x, y = arrays()
    x.flags.writeable = y.flags.writeable = False
    ours = train.compile(
        network(),
        loss="cross_entropy",
        optimizer="adam",
        data=data.arrays(x, y),
        batch_size=16,
        seed=3,
        backend="emulated",
    )
    theirs = job()
    uploaded: list[int] = []
    for first in (0, 3, 6):
        emulated.device.log.clear()
        ours.run("train", first, 3)
        uploaded.append(emulated.device.log.count("upload"))
        theirs.run("train", first, 3)
    assert uploaded[1] == uploaded[2] <= uploaded[0] - 2
    assert state_sha256(ours) == state_sha256(theirs)


def test_what_cannot_change() -> None:
    array = lasting(1)
    assert is_lasting(array) and is_lasting(array[1:]) and is_lasting(np.frombuffer(b"1234", np.int32))
    changing = np.ones(3)
    view = changing[:]
    view.flags.writeable = False
    assert not is_lasting(changing) and not is_lasting(view)
    memory = np.frombuffer(bytearray(8), np.int32)
    memory.flags.writeable = False
    assert not is_lasting(memory)
