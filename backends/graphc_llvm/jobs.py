"""What runs as one: neighbouring phases of neighbouring launches that do not depend on each other become one job.

In: launches in order, each a list of phases. Out: batches of launches, each a list of jobs whose phases touch no byte
that another one of the job writes; phases keep their order otherwise. A job that is worth less than a second thread
costs is run by the caller, one phase after the other. Bits do not change: a phase is the same function over the same
iterations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field

from graphc.core.records import dataclass
from graphc.kernel.ir import Kernel
from graphc.plan.ir import Launch, Ref
from graphc.plan.verify import overlap
from graphc_llvm.kernels import Compiled
from graphc_llvm.units_code import MAX_UNITS

SHARE_NS = 5_000.0  # work of a job worth handing out: waking nobody, a job costs 0.2 us and the last unit's wait
UNIT_NS = 3_000.0  # work of the smallest piece a thread takes
MOST_PHASES = 32  # of one job


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """One distinct kernel of a module: the name of its launcher, and those of its phases."""

    kernel: Kernel
    name: str
    phases: tuple[str, ...]
    compiled: Compiled


@dataclass(frozen=True, slots=True)
class Task:
    """One phase of one launch. `args`: where the launch's addresses begin, in words of the batch's table."""

    launch: Launch
    function: str
    args: int
    opens: bool  # whether it is the first phase of its launch
    extent: int
    ns: float  # of all of it
    reads: tuple[Ref, ...]
    writes: tuple[Ref, ...]

    @property
    def grain(self) -> int:
        """Iterations of one unit."""
        extent = max(self.extent, 1)
        return max(int(extent * min(UNIT_NS / max(self.ns, UNIT_NS), 1.0)), extent * MOST_PHASES // MAX_UNITS, 1)

    @property
    def units(self) -> int:
        return -(-max(self.extent, 1) // self.grain)


@dataclass(slots=True)
class Job:
    """Tasks that may run at the same time."""

    tasks: list[Task] = field(default_factory=list)

    @property
    def ns(self) -> float:
        return sum(task.ns for task in self.tasks)

    @property
    def shared(self) -> bool:
        """Whether it is handed out to threads."""
        return self.ns >= SHARE_NS and sum(task.units for task in self.tasks) > 1


@dataclass(slots=True)
class Batch:
    """Launches whose phases share jobs; everything of a batch is finished before the next one begins."""

    launches: list[Launch] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    words: int = 0  # of the table of addresses


def batches(launches: Sequence[Launch], functions: Mapping[int, KernelFunction], counts: Sequence[int]) -> list[Batch]:
    """The launches in order. `functions`: by identity of a launch; `counts`: of the enclosing `Repeat`s."""
    result: list[Batch] = []
    for launch in launches:
        refs = (*launch.args, *launch.scratch)
        base = result[-1].words if result else 0
        function = functions[id(launch)]
        tasks = _tasks(launch, refs, function, base)
        if not tasks:
            continue
        if not result or not _fits(result[-1].jobs[-1], tasks[0], counts):
            result.append(Batch())
            tasks = _tasks(launch, refs, function, 0)
        batch = result[-1]
        batch.launches.append(launch)
        batch.words += len(refs)
        for task in tasks:
            if not batch.jobs or not _fits(batch.jobs[-1], task, counts):
                batch.jobs.append(Job())
            batch.jobs[-1].tasks.append(task)
    return result


def _tasks(launch: Launch, refs: Sequence[Ref], function: KernelFunction, base: int) -> list[Task]:
    return [
        Task(
            launch,
            name,
            base,
            number == 0,
            phase.extent,
            phase.ns * max(phase.extent, 1),
            tuple(refs[k] for k in sorted(phase.reads)),
            tuple(refs[k] for k in sorted(phase.writes)),
        )
        for number, (name, phase) in enumerate(zip(function.phases, function.compiled.phases, strict=True))
    ]


def _fits(job: Job, task: Task, counts: Sequence[int]) -> bool:
    """Whether the task may run while the job's others do."""
    return len(job.tasks) < MOST_PHASES and not any(_depend(other, task, counts) for other in job.tasks)


def _depend(first: Task, second: Task, counts: Sequence[int]) -> bool:
    return any(
        overlap(a, b, counts)
        for writes, touched in ((first.writes, (*second.reads, *second.writes)), (second.writes, first.reads))
        for a in writes
        for b in touched
    )
