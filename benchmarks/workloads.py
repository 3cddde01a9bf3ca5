"""The training problems as programs of graphc, on its public API, and the worker that runs them."""

import time

from benchmarks.problems import COMPARED_STEPS, PROBLEMS, Problem
from benchmarks.serve import Case, Prepare, Request, serve


def load(threads: int) -> Prepare:
    """Import graphc."""
    import graphc.nn as nn
    import graphc.train as train
    from graphc import data, optim

    def model_of(problem: Problem) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs in zip(problem.sizes, problem.sizes[1:]):
            layers += [nn.ReLU()] if layers else []
            layers.append(nn.Linear(inputs, outputs))
        model = nn.Sequential(*layers)
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        for layer, (weight, bias) in zip(linear, problem.parameters(), strict=True):
            layer.load_state_dict({"weight": weight, "bias": bias})
        return model

    def loss(model, batch, key):
        # A function, because for a loss by name `train.compile` compiles evaluation and prediction too: peers do not.
        x, y = batch
        return nn.functional.cross_entropy(model(x), y)

    def prepare(case: Request) -> Case:
        problem = PROBLEMS[str(case["workload"])]
        model = model_of(problem)
        dataset = data.arrays(*problem.data(), order="sequential")  # one batch, in its order: the same in every step
        backend = str(case.get("backend", "cpu"))
        optimizer = optim.sgd(0.01, momentum=0.9) if problem.optimizer == "sgd" else optim.adam(1e-3)
        start = time.perf_counter()
        job = train.compile(
            model,
            loss=loss,
            optimizer=optimizer,
            data=dataset,
            batch_size=problem.batch,
            backend=backend,
            threads=threads if backend == "cpu" else None,
        )
        _, first = job.run("train", 0, 1)
        first_step = time.perf_counter() - start
        _, more = job.run("train", 1, COMPARED_STEPS - 1)
        done = COMPARED_STEPS

        def run(steps: int) -> None:
            nonlocal done
            job.run("train", done, steps)
            done += steps

        cost = job.cost
        return Case(
            run,
            {
                "first_step_s": first_step,
                "losses": [float(value) for values in (first, more) for value in values["loss"]],
                "planned_peak_bytes": job.memory.peak_bytes,
                "lower_bound_ratio": job.memory.arena_bytes / max(job.memory.lower_bound_bytes, 1),
                "flops": cost.flops,
                "bytes": cost.bytes,
                "kernels": [(kernel.flops, kernel.bytes) for kernel in cost.kernels],
                "stages": stage_seconds(job.program.timings),
            },
        )

    return prepare


def stage_seconds(timings) -> dict[str, float]:
    """Seconds per stage of a compilation; the passes inside a stage are left out."""
    total: dict[str, float] = {}
    for timing in timings:
        if not timing.stage.startswith(" "):
            total[timing.stage] = total.get(timing.stage, 0.0) + timing.seconds
    return total


if __name__ == "__main__":
    serve({"graphc": load})
