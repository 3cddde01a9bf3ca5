"""Small training jobs for the acceptance tests, and how to tell whether two of them ended with the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from graphc import data, nn, optim, train

ROOT = Path(__file__).resolve().parents[2]


def arrays(samples: int = 96, features: int = 20, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A classification problem with some order in it."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples, features)).astype(np.float32)
    y = np.argmax(x[:, :classes] + 0.3 * rng.normal(size=(samples, classes)), axis=1)
    return x, y.astype(np.int64)


def network(seed: int = 0, features: int = 20, hidden: int = 32, classes: int = 5) -> nn.Sequential:
    nn.init.seed(seed)
    return nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, classes))


def job(
    model: nn.Module | None = None,
    optimizer: str | optim.Optimizer = "adam",
    order: str = "shuffle",
    backend: str = "cpu",
    threads: int | None = None,
    batch_size: int = 16,
    precision: str = "float32",
) -> train.Job:
    """The job all these tests train, unless they say otherwise."""
    return train.compile(
        model or network(),
        loss="cross_entropy",
        optimizer=optimizer,
        data=data.arrays(*arrays(), order=order),  # type: ignore[arg-type]
        batch_size=batch_size,
        seed=3,
        backend=backend,
        threads=threads,
        precision=precision,
    )


def state_sha256(of: train.Job) -> str:
    """A digest of all state: parameters, moments, step."""
    digest = hashlib.sha256()
    for name, array in sorted(_named(of.state).items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _named(tree: object, path: str = "") -> dict[str, np.ndarray]:
    if isinstance(tree, Mapping):
        return {k: v for name, child in tree.items() for k, v in _named(child, f"{path}.{name}").items()}
    if isinstance(tree, tuple | list):
        return {k: v for i, child in enumerate(tree) for k, v in _named(child, f"{path}.{i}").items()}
    return {path: np.asarray(tree)}


def python(*arguments: str | Path, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the sources of this checkout."""
    paths = [str(ROOT / part) for part in ("", "frontends", "backends")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *sys.path]), **environment}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=variables, text=True, capture_output=True, timeout=timeout
    )


def example(name: str, *arguments: str) -> dict[str, object]:
    """Run an example with --json and return its last line."""
    done = python(ROOT / "examples" / f"{name}.py", "--json", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return cast("dict[str, object]", json.loads(done.stdout.splitlines()[-1]))


def metrics(report: Mapping[str, object]) -> dict[str, float]:
    return cast("dict[str, float]", report["metrics"])


def largest_difference(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """Largest distance of any element, relative to the largest element of its array."""
    assert a.keys() == b.keys()
    return max(
        float(np.max(np.abs(a[n].astype(np.float64) - b[n].astype(np.float64))) / np.max(np.abs(b[n]))) for n in a
    )


def seeds(count: int) -> Sequence[int]:
    return range(count)
