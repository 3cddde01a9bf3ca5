"""What the machine can do: the kernels of `graphc.runtime.peaks` as a worker, in the same rounds as all."""

from collections.abc import Sequence

from benchmarks.measure import Samples, System, Worker
from benchmarks.serve import Case, Prepare, Request, serve
from graphc.core.dtypes import dtype
from graphc.runtime import peaks
from graphc.runtime.discovery import find_backend
from graphc.runtime.protocol import Backend

PEAK = System("peak", "benchmarks.peak", "peak")


def load(threads: int) -> Prepare:
    """Nothing but graphc is needed, and it is imported with this module."""

    def prepare(case: Request) -> Case:
        backend = find_backend("cpu")
        assert isinstance(backend, Backend)
        machine = peaks.Machine(backend, threads)
        if "nbytes" in case:
            probe = peaks.stream_probe(machine, int(str(case["nbytes"])))
        else:
            probe = peaks.fma_probe(machine, dtype(str(case["dtype"])))
        return Case(probe.repeat, {"amount": probe.amount})

    return prepare


def prepare_peaks(worker: Worker, working_set: Sequence[int] = (), dtypes: Sequence[str] = ("float32",)) -> None:
    """Make ready the multiply-adds of these dtypes, and a stream for each of these working sets."""
    for name in dtypes:
        worker.prepare(fma_name(name), dtype=name)
    for nbytes in working_set:
        worker.prepare(stream_name(nbytes), nbytes=nbytes)


def fma_name(dtype: str = "float32") -> str:
    """The case of a dtype."""
    return f"{peaks.FMA} {dtype}"


def stream_name(nbytes: int) -> str:
    """The case of a working set."""
    return f"{peaks.STREAM} {nbytes}"


def rate(worker: Worker, samples: dict[tuple[str, str], Samples], name: str) -> float:
    """Flops or bytes per second of a case: of the fastest round, because a peak is what nothing is above."""
    return float(str(worker.cases[name]["amount"])) / min(samples[worker.name, name].seconds)


if __name__ == "__main__":
    serve({"peak": load})
