"""Which phases run as one job: those that touch no byte another one writes, in the order of the plan."""

from dataclasses import replace

import numpy as np
import pytest

from graphc.core.dtypes import float32
from graphc.kernel.ir import Binary, Buffer, Const, For, Kernel, Load, Param, Store, Var, index
from graphc.plan.ir import Block, Entry, Launch, Plan, Ref, Repeat, Slot
from graphc.plan.kernels import launches
from graphc_llvm.executable import CpuExecutable
from graphc_llvm.jobs import SHARE_NS, UNIT_NS, Batch, KernelFunction, Task, batches
from graphc_llvm.kernels import compile_kernel
from graphc_llvm.units_code import MAX_UNITS

N = 16
NBYTES = 4 * N
I = Var("i")


def copy_kernel(phases: int = 1, turns: int = 1) -> Kernel:
    """y = x + phases * turns, in so many phases, each of which reads what the one before wrote."""
    x, y, t = Buffer("x", float32, (N,)), Buffer("y", float32, (N,)), Var("t")

    def phase(number: int) -> For:
        more = Store(y, (I,), Binary("add", Load(y, (I,)), Const(1.0, float32)))
        first = Store(y, (I,), Load(x, (I,)))
        turn = For(t, index(turns), "serial", (more,))
        loop = For(I, index(N), "parallel", (turn,) if number else (first, turn))
        names = {"i": Var(f"i{number}"), "t": Var(f"t{number}")}
        return _renamed(loop, names)

    return Kernel(f"copy{phases}", (Param(x, "in"), Param(y, "out")), tuple(phase(k) for k in range(phases)))


def _renamed(loop: For, names: dict[str, Var]) -> For:
    from graphc.kernel.schedule.edit import Names
    from graphc.kernel.schedule.rewrite import Substitution

    kernel = Kernel("k", (), (loop,))
    inner = Substitution(Names(kernel), {name: var for name, var in names.items() if name == "i"}).block(loop.body)
    return replace(loop, var=names["i"], body=inner)


def at(segment: str, row: int, slot: int = 0, strides: tuple[int, ...] = ()) -> Ref:
    return Ref(segment, row * NBYTES, NBYTES, slot, strides)  # type: ignore[arg-type]


def grouped(*launches: Launch, counts: tuple[int, ...] = ()) -> list[Batch]:
    functions = {}
    for number, launch in enumerate(launches):
        compiled = compile_kernel(launch.kernel)
        names = tuple(f"p{number}_{k}" for k in range(len(compiled.phases)))
        functions[id(launch)] = KernelFunction(launch.kernel, f"k{number}", names, compiled)
    return batches(launches, functions, counts)


def sizes(found: list[Batch]) -> list[list[int]]:
    return [[len(job.tasks) for job in batch.jobs] for batch in found]


ONE = copy_kernel()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((at("input", 0), at("arena", 0)), (at("input", 0), at("arena", 1)), [[2]]),  # both read the same
        ((at("input", 0), at("arena", 0)), (at("arena", 0), at("arena", 1)), [[1], [1]]),  # reads what is written
        ((at("arena", 0), at("arena", 1)), (at("input", 0), at("arena", 0)), [[1], [1]]),  # writes what is read
        ((at("input", 0), at("arena", 0)), (at("input", 0), at("arena", 0)), [[1], [1]]),  # both write
        ((at("input", 0), at("output", 0, 0)), (at("input", 0), at("output", 0, 1)), [[2]]),
        ((at("input", 0), at("output", 0, 1)), (at("input", 0), at("output", 0, 1)), [[1], [1]]),
        ((at("state", 0), at("arena", 0)), (at("arena", 1), at("state", 1)), [[2]]),
        ((at("input", 0), Ref("arena", 60, NBYTES)), (at("input", 0), at("arena", 1)), [[1], [1]]),  # by four bytes
    ],
)
def test_two_launches(first: tuple[Ref, Ref], second: tuple[Ref, Ref], expected: list[list[int]]) -> None:
    assert sizes(grouped(Launch(ONE, first), Launch(ONE, second))) == expected


def test_strides_of_repeats_are_looked_at() -> None:
    def two(stride: int) -> list[Batch]:
        read = at("arena", 0, strides=(stride,))
        return grouped(Launch(ONE, (read, at("arena", 9))), Launch(ONE, (at("input", 0), at("arena", 1))), counts=(3,))

    assert sizes(two(0)) == [[2]]
    assert sizes(two(NBYTES)) == [[1], [1]]  # the second iteration reads what the second launch writes


def test_phases_of_neighbours_share_jobs_and_tables_of_addresses() -> None:
    two = copy_kernel(phases=2)
    found = grouped(
        Launch(ONE, (at("input", 0), at("arena", 0))),
        Launch(two, (at("input", 0), at("arena", 1))),
        Launch(two, (at("input", 0), at("arena", 2))),
        Launch(ONE, (at("arena", 2), at("arena", 3))),
    )
    # The second phase of the second launch needs its first; the third launch's first phase does not.
    assert sizes(found) == [[2, 2, 1], [1]]
    assert [batch.words for batch in found] == [6, 2]
    assert [task.args for task in found[0].jobs[1].tasks] == [2, 4]
    assert [task.opens for job in found[0].jobs for task in job.tasks] == [True, True, False, True, False]


def task(extent: int, ns: float) -> Task:
    return Task(Launch(ONE, ()), "f", 0, True, extent, ns, (), ())


def test_units_cover_the_iterations_and_are_worth_taking() -> None:
    for extent in (0, 1, 7, 1000, 10**7):
        for ns in (100.0, 1e4, 1e9):
            one = task(extent, ns)
            iterations = max(extent, 1)
            assert (one.units - 1) * one.grain < iterations <= one.units * one.grain
            assert one.units * 32 <= MAX_UNITS + 32 * 32
            assert one.units == 1 or one.grain * ns / iterations >= UNIT_NS / 2 or ns / iterations > UNIT_NS / 2


def test_small_jobs_stay_with_the_caller() -> None:
    from graphc_llvm.jobs import Job

    assert not Job([task(1000, SHARE_NS / 2)]).shared
    assert not Job([task(0, 1e9)]).shared
    assert Job([task(0, 1e5), task(0, 1e5)]).shared
    assert Job([task(1000, 1e5)]).shared


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("turns", [1, 3000])
def test_merged_launches_compute_the_same(threads: int, turns: int) -> None:
    """Independent copies with and without work worth sharing, and one that needs them, over several steps."""
    kernel = copy_kernel(phases=2, turns=turns)
    copies = [Launch(kernel, (at("input", k), at("arena", k))) for k in range(3)]
    last = [Launch(kernel, (at("arena", k), at("output", k))) for k in range(3)]
    block = Block((*copies, *last))
    entry = Entry("main", (Slot("x", float32, (3, N)),), (Slot("y", float32, (3, N)),), block, 3 * NBYTES, (), 0)
    exe = CpuExecutable(Plan((), 0, (), 0, {"main": entry}), threads)
    x = np.arange(3 * N, dtype=np.float32).reshape(3, N)
    for _ in range(10):
        (got,) = exe.call("main", [x])
        np.testing.assert_array_equal(got, x + 4 * turns)
    done, (rows,) = exe.run("main", [x], 0, 20)
    assert done == 20
    np.testing.assert_array_equal(rows, np.broadcast_to(x + 4 * turns, (20, 3, N)))


def test_merged_launches_inside_a_repeat() -> None:
    kernel = copy_kernel(turns=50)
    pair = (
        Launch(kernel, (at("input", 0, strides=(2 * NBYTES,)), at("output", 0, strides=(2 * NBYTES,)))),
        Launch(kernel, (at("input", 1, strides=(2 * NBYTES,)), at("output", 1, strides=(2 * NBYTES,)))),
    )
    block = Block((Repeat(4, Block(pair)),))
    assert len(list(launches(block))) == 2
    assert sizes(grouped(*pair, counts=(4,))) == [[2]]
    entry = Entry("main", (Slot("x", float32, (8, N)),), (Slot("y", float32, (8, N)),), block, 0, (), 0)
    x = np.arange(8 * N, dtype=np.float32).reshape(8, N)
    (got,) = CpuExecutable(Plan((), 0, (), 0, {"main": entry}), 2).call("main", [x])
    np.testing.assert_array_equal(got, x + 50)
