"""The figures that are promised, in one table: what is measured, where, and the bound.

In: records of all benchmarks. Out: per gate the measured figures with their places. The bounds hold for a machine with
two AVX-512 cores; on others they say how far away it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.report import Record

OURS = "graphc"
SQUARE = ("256x256x256", "512x512x512", "1024x768x768", "2048x384x1536")
LAYERS = ("64x512x784", "128x512x784", "128x512x512")
LARGE = SQUARE[1:]
ALL = ("nn", "nt", "tn", "tt")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number and what it was measured of."""

    where: str
    value: float


Measure = Callable[[Sequence[Record]], Iterator[Figure]]


@dataclass(frozen=True, slots=True)
class Gate:
    """A bound on all figures of a measure."""

    what: str
    bound: Literal["at most", "at least", "below"]
    limit: float
    measure: Measure

    def worst(self, figures: Sequence[Figure]) -> Figure:
        """The one that is furthest on the wrong side."""
        pick = min if self.bound == "at least" else max
        return pick(figures, key=lambda figure: figure.value)

    def holds(self, figure: Figure) -> bool:
        """Whether a figure is within the bound."""
        if self.bound == "at least":
            return figure.value >= self.limit
        return figure.value < self.limit if self.bound == "below" else figure.value <= self.limit


def _text(record: Record, key: str) -> str:
    return str(record.get(key))


def _number(record: Record, key: str) -> float | None:
    value = record.get(key)
    return float(value) if isinstance(value, int | float) else None


def products(
    field: str,
    shapes: Sequence[str] = (),
    transpositions: Sequence[str] = ALL,
    threads: int | None = None,
    dtype: str = "float32",
) -> Measure:
    """A field of our matrix products; no shapes are all there are."""

    def measure(records: Sequence[Record]) -> Iterator[Figure]:
        for record in records:
            found = _number(record, field)
            if (
                (record["benchmark"], record.get("system")) == ("contraction", OURS)
                and record["dtype"] == dtype
                and (not shapes or record["shape"] in shapes)
                and record["transposition"] in transpositions
                and threads in (None, record["threads"])
                and found is not None
            ):
                where = f"{_text(record, 'shape')} {_text(record, 'transposition')}"
                yield Figure(f"{where}, {_text(record, 'threads')} threads", found)

    return measure


def steps(field: str, workloads: Sequence[str] = ()) -> Measure:
    """A field of our training steps, on as many threads as were measured most."""

    def measure(records: Sequence[Record]) -> Iterator[Figure]:
        ours = [r for r in records if (r["benchmark"], r.get("system")) == ("train_step", OURS)]
        most = max((int(_text(record, "threads")) for record in ours), default=0)
        for record in ours:
            found = _number(record, field)
            if (not workloads or record["workload"] in workloads) and record["threads"] == most and found is not None:
                yield Figure(_text(record, "workload"), found)

    return measure


def first_steps(field: str) -> Measure:
    """Our time to the first step over that of JAX without compiled code on disk."""

    def measure(records: Sequence[Record]) -> Iterator[Figure]:
        starts = [r for r in records if r["benchmark"] == "train_step"]
        for record in starts:
            if record["system"] != OURS:
                continue
            same = [r for r in starts if all(r[key] == record[key] for key in ("workload", "threads"))]
            jax = next((_number(r, "first_step_s") for r in same if r["system"] == "jax"), None)
            own = _number(record, field)
            if jax and own is not None:
                where = f"{_text(record, 'workload')}, {_text(record, 'threads')} threads"
                yield Figure(f"{where}: {own:.3g} s, JAX {jax:.3g} s", own / jax)

    return measure


def imports(records: Sequence[Record]) -> Iterator[Figure]:
    """Seconds of `import graphc`."""
    for record in records:
        if (record["benchmark"], record.get("kind"), record.get("system")) == ("compile_time", "import", OURS):
            yield Figure("import graphc", float(_text(record, "seconds")))


def growth(records: Sequence[Record]) -> Iterator[Figure]:
    """Of the largest graph of each family, the slope of log time against log nodes, with nothing on disk."""
    largest: dict[str, Record] = {}
    for record in records:
        if (record["benchmark"], record.get("kind")) == ("compile_time", "nodes"):
            known = largest.get(_text(record, "family"))
            if known is None or int(_text(record, "nodes")) > int(_text(known, "nodes")):
                largest[_text(record, "family")] = record
    for family, record in largest.items():
        found = _number(record, "exponent_cold")
        if found is not None:
            yield Figure(f"{family}, {_text(record, 'nodes')} nodes", found)


def lengths(records: Sequence[Record]) -> Iterator[Figure]:
    """Time to compile the longest scan over that of the shortest, with nothing on disk."""
    scans = [r for r in records if (r["benchmark"], r.get("kind")) == ("compile_time", "length")]
    scans.sort(key=lambda record: int(_text(record, "length")))
    if len(scans) > 1:
        first, last = (float(_text(record, "cold_s")) for record in (scans[0], scans[-1]))
        yield Figure(f"{_text(scans[-1], 'length')} iterations over {_text(scans[0], 'length')}", last / first)


def iterations(records: Sequence[Record]) -> Iterator[Figure]:
    """Microseconds of an iteration of a scan that does next to nothing, where there are enough of them."""
    for record in records:
        long = (record["benchmark"], record.get("kind")) == ("compile_time", "length")
        if long and int(_text(record, "length")) >= 1000:
            yield Figure(f"{_text(record, 'length')} iterations", float(_text(record, "iteration_us")))


def calls(records: Sequence[Record]) -> Iterator[Figure]:
    """Microseconds of a compiled call with NumPy arrays in and out."""
    for record in records:
        if (record["benchmark"], record.get("system"), record.get("arrays")) == ("call_overhead", OURS, "numpy"):
            yield Figure("four floats", float(_text(record, "us_per_call")))


def fraction(shapes: Sequence[str], transpositions: Sequence[str], threads: int) -> Measure:
    """Of the peak of multiply-adds."""
    return products("fraction_of_peak", shapes, transpositions, threads)


bfloat16_to_float32 = products("ratio_to_float32", LARGE, dtype="bfloat16")

GATES: tuple[Gate, ...] = (
    Gate("matmul nn, nt: fraction of peak, 1 thread", "at least", 0.90, fraction(SQUARE, ("nn", "nt"), 1)),
    Gate("matmul nn, nt: fraction of peak, 2 threads", "at least", 0.86, fraction(SQUARE, ("nn", "nt"), 2)),
    Gate("matmul tn, tt: fraction of peak, 1 thread", "at least", 0.85, fraction(SQUARE, ("tn", "tt"), 1)),
    Gate("matmul tn, tt: fraction of peak, 2 threads", "at least", 0.78, fraction(SQUARE, ("tn", "tt"), 2)),
    Gate("layers of 64 to 128 rows: fraction, 2 threads", "at least", 0.72, fraction(LAYERS, ALL, 2)),
    Gate("matmul: time over the best peer's", "below", 1.0, products("ratio_to_best_peer")),
    Gate("matmul bfloat16: time over our float32's", "at most", 1 / 1.6, bfloat16_to_float32),
    Gate("mlp_mnist: step time over the best peer's", "at most", 0.72, steps("ratio_to_best_peer", ("mlp_mnist",))),
    Gate("mlp_tiny: step time over the best peer's", "at most", 0.33, steps("ratio_to_best_peer", ("mlp_tiny",))),
    Gate("mlp_mnist: roofline fraction of the step", "at least", 0.65, steps("roofline_fraction", ("mlp_mnist",))),
    Gate("first step, cold: time over JAX's cold", "at most", 1.0, first_steps("first_step_s")),
    Gate("first step, warm: time over JAX's cold", "at most", 1 / 3, first_steps("warm_first_step_s")),
    Gate("import graphc, seconds", "at most", 0.25, imports),
    Gate("arena over its lower bound", "at most", 1.1, steps("arena_to_lower_bound")),
    Gate("step beside a busy process over idle", "at most", 2.2, steps("busy_slowdown")),
    Gate("compiled call, microseconds", "at most", 3.0, calls),
    Gate("compile time against nodes, exponent", "at most", 1.15, growth),
    Gate("compile time against the length of a scan", "at most", 1.25, lengths),
    Gate("iteration of a scan, microseconds", "at most", 0.5, iterations),
)  # fmt: skip
