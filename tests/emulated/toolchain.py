"""Generated CUDA compiled for this machine's processor: the very same text, after a header that stands in for CUDA."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
ASAN = ("-fsanitize=address", "-g", "-fno-omit-frame-pointer")


@functools.cache
def compiler() -> str | None:
    """The C++ compiler, if there is one."""
    return shutil.which("g++") or shutil.which("clang++")


@functools.cache
def sanitizer() -> str | None:
    """The library of the address sanitizer, which has to be loaded before anything else."""
    cxx = compiler()
    if cxx is None:
        return None
    found = subprocess.run([cxx, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    return found if Path(found).is_absolute() and Path(found).exists() else None


def folder() -> Path:
    """Where compiled code is kept between runs."""
    path = Path(tempfile.gettempdir()) / f"graphc-emulated-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def build(source: str, names: Sequence[str], sanitize: bool = False) -> Path:
    """A shared library with a `run_NAME` for each kernel of the source."""
    flags = (*FLAGS, *(ASAN if sanitize else ()))
    text = "\n".join(['#include "cuda_host.h"', source, *(f"EMULATED({name})" for name in names)])
    return _built(f"{text}\n// {_runtime(flags)}", flags, (str(_runtime(flags)),), ".so")


@functools.cache
def _runtime(flags: tuple[str, ...]) -> Path:
    text = (HERE / "cuda_host.cpp").read_text(encoding="utf-8")
    header = (HERE / "cuda_host.h").read_text(encoding="utf-8")
    digest = hashlib.sha256(header.encode()).hexdigest()
    return _built(f"{text}\n// {digest}\n", (*flags, "-O2"), (), ".o")


def _built(text: str, flags: tuple[str, ...], objects: tuple[str, ...], suffix: str) -> Path:
    cxx = compiler()
    assert cxx is not None
    digest = hashlib.sha256("\n".join((text, cxx, *flags)).encode()).hexdigest()[:32]
    target = folder() / f"{digest}{suffix}"
    if target.exists():
        return target
    source = folder() / f"{digest}.{os.getpid()}.cpp"
    made = folder() / f"{digest}.{os.getpid()}{suffix}"
    source.write_text(text, encoding="utf-8")
    link = ("-shared",) if suffix == ".so" else ("-c",)
    command = [cxx, *flags, *link, f"-I{HERE}", str(source), *objects, "-o", str(made)]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise AssertionError(f"{found.stderr[:4000]}\n{text}")
    source.unlink()
    made.rename(target)
    return target


RUN = ctypes.CFUNCTYPE(
    ctypes.c_char_p,
    *(ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint, ctypes.c_int),
)
