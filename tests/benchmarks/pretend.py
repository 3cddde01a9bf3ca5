"""Workers that stand for some with a card: graphc on the processor, and one whose losses are others."""

from __future__ import annotations

import os

from benchmarks import workloads
from benchmarks.serve import Case, Prepare, Request, serve


def ours(threads: int) -> Prepare:
    prepare = workloads.load(threads)

    def on_the_processor(case: Request) -> Case:
        assert case["backend"] == "gpu"
        return prepare({**case, "backend": "cpu"})

    return on_the_processor


def peer(threads: int) -> Prepare:
    assert os.environ["JAX_PLATFORMS"] == "cuda"
    return ours(threads)


def wrong(threads: int) -> Prepare:
    prepare = ours(threads)

    def other(case: Request) -> Case:
        found = prepare(case)
        losses = [loss * 1.001 for loss in found.facts["losses"]]  # type: ignore[attr-defined]
        return Case(found.run, {**found.facts, "losses": losses})

    return other


if __name__ == "__main__":
    serve({"graphc": ours, "peer": peer, "wrong": wrong})
