"""Checkpoint files: safetensors, with a JSON description under the key "graphc" of its metadata.

Guaranteed: a file is written aside, flushed to the disk and renamed, so that whatever happens, `path` holds the old
checkpoint or the new one, whole. What is read was checked: format, length, and a checksum of every array. Nothing in a
file is executed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from graphc.api import CheckpointError
from graphc.optim.description import Json

FORMAT = 1
_KEY = "graphc"


@dataclass(frozen=True, slots=True)
class Contents:
    """The arrays of a checkpoint by name, and its description."""

    arrays: Mapping[str, np.ndarray]
    config: Mapping[str, Json]


def write(path: Path, arrays: Mapping[str, np.ndarray], config: Mapping[str, Json]) -> None:
    """Replace `path` by a checkpoint. On `CheckpointError` (full disk, no permission) the old file is still there."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    checksums: dict[str, Json] = {name: checksum(array) for name, array in plain.items()}
    head = json.dumps({"format": FORMAT, "config": dict(config), "checksums": checksums})
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(plain, aside, metadata={_KEY: head})
        _flush(aside)
        os.replace(aside, path)
        _flush(path.parent)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write checkpoint {path}: {error}; what was there before is unchanged") from error
    finally:
        aside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Make the operating system write a file or the entries of a folder to the disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(array: np.ndarray) -> int:
    """CRC-32 of the bytes of a contiguous array."""
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)


def read(path: Path) -> Contents:
    """The checkpoint at `path`; raises `CheckpointError` saying what is wrong with it."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            head = (file.metadata() or {}).get(_KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated, damaged or not a checkpoint: {error}") from error
    if head is None:
        raise CheckpointError(f"{path} is a safetensors file, but not a training checkpoint of graphc")
    config, checksums = _parse(path, head)
    damaged = [name for name, array in arrays.items() if checksums.get(name) != checksum(array)]
    if damaged or set(checksums) != set(arrays):
        raise CheckpointError(f"{path} is damaged: the checksum of {', '.join(damaged) or 'a missing array'} is wrong")
    return Contents(arrays, config)


def _parse(path: Path, head: str) -> tuple[dict[str, Json], dict[str, Json]]:
    try:
        content = json.loads(head)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: its description is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise CheckpointError(f"{path} is damaged: its description has no format version")
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} has format {content['format']}; this version of graphc reads format {FORMAT}")
    config, checksums = content.get("config"), content.get("checksums")
    if not isinstance(config, dict) or not isinstance(checksums, dict):
        raise CheckpointError(f"{path} is damaged: its description is incomplete")
    return config, checksums
