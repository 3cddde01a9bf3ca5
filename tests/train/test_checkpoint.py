"""Checkpoint files: what is written is read back; anything else is refused by name and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from graphc.api import CheckpointError
from graphc.train import checkpoint

ARRAYS = {
    "params.float32": np.arange(100, dtype=np.float32),
    "step": np.array(7),
    "empty": np.zeros((0, 3), np.float64),
    "key": np.array([1, 2], np.uint32),
}
CONFIG = {"batch_size": 32, "clip": None, "loss": "mse"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.ckpt"
    checkpoint.write(file, ARRAYS, CONFIG)
    return file


def holds_the_old(path: Path) -> bool:
    contents = checkpoint.read(path)
    return contents.config == CONFIG and all(np.array_equal(contents.arrays[n], a) for n, a in ARRAYS.items())


def test_what_is_written_is_read_back(path: Path) -> None:
    contents = checkpoint.read(path)
    assert contents.config == CONFIG
    assert set(contents.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (contents.arrays[name].dtype, contents.arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(contents.arrays[name], array)
    assert [file.name for file in path.parent.iterdir()] == ["run.ckpt"]


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    cuts = np.random.default_rng(0).integers(0, len(whole), 60)
    for cut in [0, 1, 7, 8, 9, len(whole) - 1, *cuts]:
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"run\.ckpt"):
            checkpoint.read(path)


def test_a_changed_byte_is_found(path: Path) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(bytes(changed))
        try:
            contents = checkpoint.read(path)
        except CheckpointError:
            continue
        # a name or a setting became another one: what the job compares, never the numbers
        assert all(not array.size or array.tobytes() in whole for array in contents.arrays.values())


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04K\x01.", bytes(range(7, 256, 3)), b"PK\x03\x04" + bytes(100)]
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "foreign"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="foreign"):
        checkpoint.read(file)


def test_safetensors_of_something_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"w": np.zeros(3)}, file)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        checkpoint.read(file)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no format version"),
        (json.dumps({"format": 99}), "format 99"),
        (json.dumps({"format": 1, "config": {}}), "incomplete"),
        (json.dumps({"format": 1, "config": {}, "checksums": {"w": 1}}), "checksum of w"),
        (json.dumps({"format": 1, "config": {}, "checksums": {}}), "checksum of w"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, head: str, message: str) -> None:
    file = tmp_path / "odd"
    save_file({"w": np.zeros(3)}, file, metadata={"graphc": head})
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint"):
            checkpoint.read(file)


def test_a_kill_before_the_rename_leaves_the_old_file(path: Path) -> None:
    script = (
        "import os, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from graphc.train import checkpoint\n"
        "checkpoint.os.replace = lambda *_: os._exit(9)\n"
        "checkpoint.write(Path(sys.argv[1]), {'step': np.array(8)}, {})\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert result.returncode == 9
    assert holds_the_old(path)
    assert len(list(path.parent.iterdir())) == 2, "the kill came after writing aside"


def test_a_full_disk_leaves_the_old_file(path: Path) -> None:
    resource = pytest.importorskip("resource")
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from graphc.train import checkpoint\n"
        "from graphc.api import CheckpointError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    checkpoint.write(Path(sys.argv[1]), {'w': np.zeros(10_000)}, {})\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
    )
    assert resource
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert "what was there before is unchanged" in result.stdout, result.stderr
    assert holds_the_old(path)
    assert [file.name for file in path.parent.iterdir()] == ["run.ckpt"]


def test_a_disk_that_fails_to_flush_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.write(path, {"step": np.array(8)}, {})
    monkeypatch.undo()
    assert holds_the_old(path)
