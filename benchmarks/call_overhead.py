"""What a call of a compiled function costs when there is next to nothing to compute: one is added to four floats.

    python -m benchmarks.call_overhead --json

One record per system and way of calling: `numpy` takes and returns NumPy arrays, `own` the system's own.
"""

import sys

import numpy as np

from benchmarks import report
from benchmarks.measure import System, interleave, prepare_all, running
from benchmarks.serve import Case, Prepare, Request, repeated, serve

MODULE = "benchmarks.call_overhead"
SYSTEMS = [
    System("graphc", MODULE, "graphc"),
    System("numpy", MODULE, "numpy"),
    System("torch-eager", MODULE, "torch-eager", ("torch",)),
    System("torch-compile", MODULE, "torch-compile", ("torch",)),
    System("jax", MODULE, "jax", ("jax", "jaxlib")),
]
# How each system can be called. graphc's and NumPy's arrays are NumPy's.
WAYS = {
    "graphc": ("numpy", "numpy jit"),
    "numpy": ("numpy",),
    "torch-eager": ("numpy", "own"),
    "torch-compile": ("numpy", "own"),
    "jax": ("numpy", "own"),
}
BLOCK_SECONDS = 0.1


def main() -> None:
    """Read the command line, measure, report."""
    parser = report.parser("call_overhead", __doc__.splitlines()[0])
    parser.add_argument("--peers", type=report.names, default=[s.name for s in SYSTEMS[1:]], help="beside graphc")
    options = parser.parse_args()
    unknown = set(options.peers) - {system.name for system in SYSTEMS}
    if unknown:
        parser.error(f"--peers: unknown {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    systems = [system for system in SYSTEMS if system.name in ("graphc", *options.peers)]
    output = report.Output("call_overhead", options)
    with running(systems, 1) as workers:
        for worker in workers:
            for way in WAYS[worker.name]:
                prepare_all([worker], way)
        samples = interleave(workers, report.timing(options, BLOCK_SECONDS))
    output.add(
        [
            {
                "system": system,
                "arrays": way,
                "us_per_call": found.median * 1e6,
                "us_lowest": min(found.seconds) * 1e6,
                "us_highest": max(found.seconds) * 1e6,
            }
            for (system, way), found in samples.items()
        ]
    )


X = np.zeros(4, np.float32)


def plus_one(x):
    """The function."""
    return x + 1


def checked(call) -> Case:
    """A case of this call, whose result is looked at once."""
    assert np.array_equal(np.asarray(call()), X + 1)
    return Case(repeated(call), {})


def graphc_calls(threads: int) -> Prepare:
    """`gc.compile` for one signature, and `gc.jit`, which finds the signature at each call."""
    import graphc as gc

    def prepare(case: Request) -> Case:
        call = gc.compile(plus_one, X, threads=threads) if case["name"] == "numpy" else gc.jit(plus_one)
        return checked(lambda: call(X))

    return prepare


def numpy_calls(threads: int) -> Prepare:
    """NumPy: the least a call from Python can cost."""
    return lambda case: checked(lambda: plus_one(X))


def torch_calls(compiled: bool):
    """PyTorch with or without torch.compile."""

    def load(threads: int) -> Prepare:
        import torch

        torch.set_num_threads(threads)
        call = torch.compile(plus_one) if compiled else plus_one
        own = torch.from_numpy(X)

        def prepare(case: Request) -> Case:
            if case["name"] == "own":
                return checked(lambda: call(own))
            return checked(lambda: call(torch.from_numpy(X)).numpy())

        return prepare

    return load


def jax_calls(threads: int) -> Prepare:
    """JAX: jitted."""
    import jax

    call = jax.jit(plus_one)
    own = jax.numpy.asarray(X)

    def prepare(case: Request) -> Case:
        if case["name"] == "own":
            return checked(lambda: call(own).block_until_ready())
        return checked(lambda: np.asarray(call(X)))

    return prepare


if __name__ == "__main__":
    if "--worker" in sys.argv:
        serve(
            {
                "graphc": graphc_calls,
                "numpy": numpy_calls,
                "torch-eager": torch_calls(False),
                "torch-compile": torch_calls(True),
                "jax": jax_calls,
            }
        )
    else:
        main()
