"""The training problems in PyTorch: eager, and with torch.compile around the loss and the optimiser's step."""

import time

from benchmarks.problems import COMPARED_STEPS, PROBLEMS, Problem
from benchmarks.serve import Case, Loader, Prepare, Request, serve


def loader(compiled: bool) -> Loader:
    """PyTorch with or without torch.compile."""

    def load(threads: int) -> Prepare:
        import torch
        from torch import nn

        torch.set_num_threads(threads)

        def model_of(problem: Problem) -> nn.Sequential:
            layers: list[nn.Module] = []
            for (inputs, outputs), (weight, bias) in zip(
                zip(problem.sizes, problem.sizes[1:]), problem.parameters(), strict=True
            ):
                layers += [nn.ReLU()] if layers else []
                layer = nn.Linear(inputs, outputs)
                layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
                layers.append(layer)
            return nn.Sequential(*layers)

        def prepare(case: Request) -> Case:
            problem = PROBLEMS[str(case["workload"])]
            device = "cuda" if case.get("backend") == "gpu" else "cpu"
            model = model_of(problem).to(device)
            x, y = (torch.from_numpy(array).to(device) for array in problem.data())
            optimizer = (
                torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
                if problem.optimizer == "sgd"
                else torch.optim.Adam(model.parameters(), 1e-3)
            )

            def loss_of(x, y):
                return nn.functional.cross_entropy(model(x), y)

            start = time.perf_counter()
            forward = torch.compile(loss_of) if compiled else loss_of
            update = torch.compile(optimizer.step) if compiled else optimizer.step

            def step():
                optimizer.zero_grad()
                loss = forward(x, y)
                loss.backward()
                update()
                return loss

            losses = [float(step().detach())]
            first_step = time.perf_counter() - start
            losses += [float(step().detach()) for _ in range(COMPARED_STEPS - 1)]

            def run(steps: int) -> None:
                for _ in range(steps):
                    step()
                if device == "cuda":
                    torch.cuda.synchronize()

            return Case(run, {"first_step_s": first_step, "losses": losses})

        return prepare

    return load


if __name__ == "__main__":
    serve({"eager": loader(False), "compile": loader(True)})
