"""A backend that graphc knows nothing about: found by its entry point, checked, and equal to the others to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.core.errors import BackendError
from graphc.runtime import discovery

HERE = Path(__file__).parent
Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a module with an entry point on the path, as an installer would."""

    def forget() -> None:
        discovery._found.cache_clear()
        discovery.find_backend.cache_clear()

    def put(name: str, source: str) -> None:
        (tmp_path / f"graphc_{name}.py").write_text(source, encoding="utf-8")
        metadata = tmp_path / f"graphc_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: graphc-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[graphc.backends]\n{name} = graphc_{name}:backend\n")
        monkeypatch.syspath_prepend(tmp_path)
        forget()

    yield put
    forget()


def test_an_external_backend_trains_to_the_same_bits(install: Install) -> None:
    install("loops", (HERE / "graphc_loops.py").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int32)

    def parameters(backend: str) -> list[np.ndarray]:
        nn.init.seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 2))
        job = train.compile(
            model,
            loss="cross_entropy",
            optimizer=optim.adamw(1e-2),
            data=data.arrays(x, y),
            batch_size=8,
            backend=backend,
        )
        job.fit(epochs=2)
        return [np.array(value) for value in model.state_dict().values()]

    for ours, theirs in zip(parameters("cpu"), parameters("loops"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(line.startswith("loops: ") for line in gc.devices())


def test_what_a_backend_lacks_is_named(install: Install) -> None:
    install("half", "class Half:\n    name, consumes = 'half', 'plan'\n\nbackend = Half()\n")
    with pytest.raises(BackendError, match=r"'half' lacks doctor, load, schedule, target of graphc\.runtime\.protocol"):
        gc.compile(gnp.tanh, gc.spec((2,)), backend="half")


def test_what_an_executable_lacks_is_named(install: Install) -> None:
    source = (HERE / "graphc_loops.py").read_text(encoding="utf-8").replace("return LoopsExecutable(plan)", "return 1")
    install("empty", source.replace('"loops"', '"empty"'))
    with pytest.raises(BackendError, match=r"'empty' loaded lacks call, run, .* of graphc\.runtime\.protocol"):
        gc.compile(gnp.tanh, gc.spec((2,)), backend="empty")
