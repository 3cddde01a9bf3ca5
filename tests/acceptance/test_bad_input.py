"""Bad input gives a clear error (for the cache: a warning and a way on), and nothing that was there is lost."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import data, nn, optim, train
from graphc.core.errors import ArgumentError, BackendError, CheckpointError, DataError, DTypeError, ShapeError
from tests.acceptance import jobs

HERE = Path(__file__).name


def line_of(marker: str) -> int:
    """The line of this file that ends in `# marker`."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.endswith(f"# {marker}"))


# -------------------------------------------------------------------------------------------------- shapes and dtypes


def product(x, w):
    return x @ w  # the product


def joined(x, w):
    return gnp.concatenate([x, w], axis=0)  # the concatenation


def masked(x, w):
    return x & w  # the mask


@pytest.mark.parametrize(
    ("fn", "error", "place"),
    [(product, ShapeError, "the product"), (joined, ShapeError, "the concatenation"), (masked, DTypeError, "the mask")],
)
def test_wrong_types_name_the_line(fn: Callable[..., object], error: type[Exception], place: str) -> None:
    other = gc.spec((100, 10)) if fn is not masked else gc.spec((64, 784))
    with pytest.raises(error, match=rf"{HERE}:{line_of(place)}\b"):
        gc.trace(fn, gc.spec((64, 784)), other)


def test_wrong_types_inside_a_model_name_the_line() -> None:
    model = nn.Sequential(nn.Linear(20, 8), nn.Linear(9, 5))
    with pytest.raises(ShapeError, match=r"\[16, ?8\].* 9 "):
        jobs.job(model)


def test_wrong_arrays_for_a_compiled_function() -> None:
    exe = gc.compile(lambda x: x + 1.0, gc.spec((3,), "float32"))
    with pytest.raises(ShapeError, match="4"):
        exe(np.zeros(4, np.float32))
    with pytest.raises(DTypeError, match=r"got f64\[3\]"):
        exe(np.zeros(3, np.float64))


# ------------------------------------------------------------------------------------------------------------ training


def compiled(**changes: object) -> train.Job:
    x, y = jobs.arrays()
    given: dict[str, object] = {
        "loss": "cross_entropy",
        "optimizer": "adam",
        "data": data.arrays(x, y),
        "batch_size": 16,
        **changes,
    }
    return train.compile(jobs.network(), **given)  # type: ignore[arg-type]


def labels(*values: int) -> data.Dataset:
    x, y = jobs.arrays()
    y[: len(values)] = values
    return data.arrays(x, y)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.sgd(math.nan), ArgumentError, "lr=nan"),
        (lambda: optim.adam(math.inf), ArgumentError, "lr=inf"),
        (lambda: optim.adamw(1e-3, weight_decay=-1.0), ArgumentError, "weight_decay=-1"),
        (lambda: data.arrays(np.zeros((0, 3)), np.zeros(0)), DataError, "no samples"),
        (lambda: data.arrays(np.zeros((4, 3)), np.zeros(5)), DataError, "4.*5"),
        (lambda: data.arrays(np.full((4, 3), np.nan)), DataError, "NaN"),
        (lambda: compiled(data=labels(5)), DataError, "5"),
        (lambda: compiled(data=labels(0, 0, -1)), DataError, "-1"),
        (lambda: compiled(batch_size=97), ArgumentError, "97.*96"),
        (lambda: compiled(batch_size=0), ArgumentError, "batch_size=0"),
        (lambda: compiled(backend="tpu"), BackendError, "tpu.*cpu.*reference"),
        (lambda: compiled(optimizer="adm"), ArgumentError, "adm.*adam"),
        (lambda: compiled(loss="crossentropy"), ArgumentError, "crossentropy.*cross_entropy"),
        (lambda: compiled(threads=0), ArgumentError, "threads"),
        (lambda: compiled(memory="1KB"), MemoryError, "bytes"),
    ],
)
def test_training_refuses(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make()


def test_evaluation_refuses_what_does_not_fit() -> None:
    job, (x, y) = compiled(), jobs.arrays()
    with pytest.raises(DataError, match="21"):
        job.evaluate(np.zeros((4, 21), np.float32), y[:4])
    with pytest.raises(DataError, match="7"):
        job.evaluate(x[:4], np.full(4, 7))


# --------------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[train.Job, Path]:
    job = jobs.job()
    job.fit(steps=3, progress=False)
    path = tmp_path_factory.mktemp("checkpoint") / "state"
    job.save(path)
    return job, path


@pytest.fixture
def saved(trained: tuple[train.Job, Path], tmp_path: Path) -> tuple[train.Job, Path]:
    """A job and a checkpoint of it that a test may spoil."""
    path = tmp_path / "state"
    path.write_bytes(trained[1].read_bytes())
    return trained[0], path


def resume(path: Path) -> train.Job:
    return train.resume(path, jobs.network(), data=data.arrays(*jobs.arrays()))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_a_truncated_checkpoint_is_refused(saved: tuple[train.Job, Path], share: float) -> None:
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=str(saved[1])):
        resume(saved[1])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 0.8, 0.99])
def test_a_damaged_checkpoint_is_refused(saved: tuple[train.Job, Path], share: float) -> None:
    content = bytearray(saved[1].read_bytes())
    content[int(share * len(content))] ^= 0x20
    saved[1].write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=str(saved[1])):
        resume(saved[1])


def test_foreign_files_are_refused(saved: tuple[train.Job, Path], tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "text").write_text("hello")
    for name in ("other.safetensors", "text", "missing"):
        with pytest.raises(CheckpointError, match=name):
            resume(tmp_path / name)
    with pytest.raises(CheckpointError, match="fit"):
        train.resume(saved[1], jobs.network(hidden=33), data=data.arrays(*jobs.arrays()))
    x, y = jobs.arrays()
    with pytest.raises(CheckpointError, match="data"):
        train.resume(saved[1], jobs.network(), data=data.arrays(x + 1, y))


def test_a_refused_checkpoint_leaves_the_job_as_it_is(saved: tuple[train.Job, Path]) -> None:
    job, path = saved
    before = jobs.state_sha256(job)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError):
        job.load(path)
    assert jobs.state_sha256(job) == before
    job.fit(steps=1, progress=False)


KILLED = """
import os, signal, sys
from graphc.train import checkpoint
from tests.acceptance import jobs
path, moment = sys.argv[1:]
job = jobs.job()
job.fit(steps=3, progress=False)
job.save(path)
print(jobs.state_sha256(job), flush=True)
job.fit(steps=4, progress=False)
def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "writing":
    whole = checkpoint.save_file
    def half(tensors, file, metadata):
        whole(tensors, file, metadata=metadata)
        os.truncate(file, os.path.getsize(file) // 2)
        die()
    checkpoint.save_file = half
elif moment == "written":
    os.fsync = die
else:
    os.replace = die
job.save(path)
"""


@pytest.mark.parametrize("moment", ["writing", "written", "renaming"])
def test_killed_in_the_middle_of_a_checkpoint(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "state"
    done = jobs.python("-c", KILLED, path, moment)
    assert done.returncode == -9, done.stderr[-2000:]
    job = resume(path)
    assert job.step == 3
    assert jobs.state_sha256(job) == done.stdout.split()[-1]
    job.save(path)  # what the killed process left behind is in nobody's way
    assert resume(path).step == 3


# ------------------------------------------------------------------------------------------------ full disk, bad cache


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here; the limit on the file size is tested instead")
    yield folder
    subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    x, y = jobs.arrays()
    model = jobs.network(hidden=400)  # 3 * 42 kB of state: one checkpoint fits, not two
    job = train.compile(model, loss="cross_entropy", optimizer="adam", data=data.arrays(x, y), batch_size=16)
    job.save(small_disk / "state")
    before = (small_disk / "state").read_bytes()
    job.fit(steps=2, progress=False)
    digest = jobs.state_sha256(job)
    with pytest.raises(CheckpointError, match="state"):
        job.save(small_disk / "state")
    assert (small_disk / "state").read_bytes() == before
    assert os.listdir(small_disk) == ["state"]  # no half file takes up what is left
    assert jobs.state_sha256(job) == digest
    job.fit(steps=1, progress=False)


LIMITED = """
import json, os, resource, sys
from graphc.core.errors import CheckpointError
from tests.acceptance import jobs
path = sys.argv[1]
job = jobs.job()
job.save(path)
before = open(path, "rb").read()
job.fit(steps=3, progress=False)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    job.save(path)
    message = ""
except CheckpointError as error:
    message = str(error)
same = open(path, "rb").read() == before
job.fit(steps=1, progress=False)
print(json.dumps([message, same, os.listdir(os.path.dirname(path)), job.step]))
"""


def test_a_file_that_cannot_grow_loses_nothing(tmp_path: Path) -> None:
    done = jobs.python("-c", LIMITED, tmp_path / "state")
    assert done.returncode == 0, done.stderr[-2000:]
    message, same, files, step = json.loads(done.stdout.splitlines()[-1])
    assert "cannot write" in message
    assert same
    assert files == ["state"]
    assert step == 4


CACHE = """
import json
import warnings
import numpy as np
import graphc as gc
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    for n in (3, 4):
        print(gc.compile(lambda x: x * 2.0, gc.spec((n,), "float32"))(np.ones(n, np.float32)).sum())
print(json.dumps([str(one.message) for one in found]))
"""


def test_an_unusable_cache_warns_once_and_goes_on(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(1024)):
            continue
    for place in (tmp_path / "file" / "cache", Path("/proc/nowhere"), small_disk):
        done = jobs.python("-c", CACHE, GRAPHC_CACHE=str(place))
        assert done.returncode == 0, done.stderr[-2000:]
        first, second, messages = done.stdout.splitlines()[-3:]
        assert (first, second) == ("6.0", "8.0")
        (message,) = json.loads(messages)
        assert str(place) in message


def test_a_damaged_cache_is_compiled_again(tmp_path: Path) -> None:
    first = jobs.python("-c", CACHE, GRAPHC_CACHE=str(tmp_path))
    objects = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert objects
    for path in objects:
        path.write_bytes(path.read_bytes()[:-7])
    again = jobs.python("-c", CACHE, GRAPHC_CACHE=str(tmp_path))
    assert again.stdout.splitlines()[:2] == first.stdout.splitlines()[:2] == ["6.0", "8.0"]
    assert "damaged" in again.stdout
