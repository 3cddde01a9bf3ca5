"""Run where only the wheel is installed: imports every module of every package in it, then trains on every backend."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import distribution, entry_points

import numpy as np


def import_everything() -> int:
    """Imports all modules of the distribution; returns how many."""
    files = distribution("graphc").files or []
    packages = sorted({file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"})
    assert {"graphc", "graphc_onnx", "graphc_reference", "graphc_llvm", "graphc_cupy"} <= set(packages), packages
    assert any(str(file) == "graphc/py.typed" for file in files), "py.typed is not in the wheel"
    count = 0
    for package in packages:
        module = importlib.import_module(package)
        assert str(module.__file__).startswith(sys.prefix), f"{package} is {module.__file__}, not the wheel"
        for info in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not info.name.endswith(".__main__"):
                importlib.import_module(info.name)
                count += 1
    return count


def train_on(backend: str) -> None:
    """Fits a small classifier; the loss must fall."""
    from graphc import data, nn, optim, train

    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    job = train.compile(
        model,
        loss="cross_entropy",
        optimizer=optim.adamw(1e-2),
        data=data.arrays(x, y),
        batch_size=16,
        seed=0,
        backend=backend,
    )
    before = job.evaluate(x, y)["loss"]
    job.fit(epochs=3)
    after = job.evaluate(x, y)["loss"]
    assert after < before, f"{backend}: the loss did not fall, {before} to {after}"


def load_onnx() -> None:
    """Loads a model of one node by the name of its extension."""
    from onnx import TensorProto, helper, save

    import graphc as gc

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", ports[:1], ports[1:])
    save(helper.make_model(graph), "negative.onnx")
    assert gc.load("negative.onnx")(np.ones(2, np.float32)).tolist() == [-1.0, -1.0]


def gpu() -> str:
    """Trains where there is a card; elsewhere the error must say what is missing."""
    from graphc.core.errors import BackendError

    try:
        train_on("gpu")
    except BackendError as error:
        assert "the gpu backend cannot run here: CuPy is not installed" in str(error), error
        return str(error)
    return "trained"


if __name__ == "__main__":
    print(f"imported {import_everything()} modules")
    load_onnx()
    for backend in sorted(entry_points(group="graphc.backends").names):
        if backend == "gpu":
            print(f"gpu: {gpu()}")
            continue
        train_on(backend)
        print(f"trained on {backend}")
