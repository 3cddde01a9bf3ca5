"""The timed version of an entry: which rows it has, what it counts, and that it computes the same."""

import numpy as np
import pytest

from graphc.core.errors import ArgumentError
from graphc.plan.ir import Block, Branch, Copy, Launch, Plan, Ref, Repeat
from graphc.runtime.protocol import Profiler
from graphc_llvm.executable import CpuExecutable
from tests.backends.test_llvm_driver import SCALE, N, expected, kernel_spin, plan

SPIN = Launch(kernel_spin(2000), (Ref("arena", 128, 4),))
HALF = Ref("state", 64, 4)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_and_advances_what_a_run_does(threads: int) -> None:
    timed, plain = CpuExecutable(plan(SPIN), threads), CpuExecutable(plan(SPIN), threads)
    assert isinstance(timed, Profiler)
    assert timed.threads == threads
    timed.profile("train", [SCALE], 2, 4)
    timed.profile("train", [SCALE], 6, 1)
    plain.run("train", [SCALE], 2, 5)
    assert np.array_equal(timed.state()[0], plain.state()[0])
    assert np.array_equal(timed.state()[0], expected(2, 5, np.zeros(N, np.float32))[-1])
    assert np.array_equal(timed.run("train", [SCALE], 7, 3)[1][0], plain.run("train", [SCALE], 7, 3)[1][0])


def test_rows_are_the_instructions_in_order_and_count_what_runs() -> None:
    copy = Copy(HALF, Ref("arena", 64, 4))
    extra = (Repeat(3, Block((SPIN,))), copy, Branch(Ref("step", 0, 4), (Block((copy, copy)), Block((SPIN,)))))
    given: Plan = plan(*extra)
    found = CpuExecutable(given, 1).profile("train", [SCALE], 0, 4)
    launch = given.entries["train"].block.instructions[-1]
    assert found.rows == ((SPIN,), (copy,), (copy,), (copy,), (SPIN,), (launch,))
    assert found.calls.shape == found.seconds.shape == (6, 4)
    assert found.calls[0].tolist() == [3] * 4
    assert found.calls[2].tolist() == [1, 0, 0, 0]
    assert found.calls[4].tolist() == [0, 1, 1, 1]  # the step decides
    assert found.calls[-1].tolist() == [1] * 4
    assert np.all(found.seconds >= 0)
    assert np.all(found.seconds[found.calls == 0] == 0)
    assert np.all(found.seconds[0] > 0)


def test_no_steps_and_unknown_entries() -> None:
    exe = CpuExecutable(plan(), 1)
    assert exe.profile("train", [SCALE], 0, 0).calls.shape == (1, 0)
    with pytest.raises(ArgumentError, match="no entry 'evaluate'"):
        exe.profile("evaluate", [], 0, 1)
