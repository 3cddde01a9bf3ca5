"""Generated CUDA compiled for this machine's processor: the very same text, after a header that stands in for CUDA.

Nothing is run here that NVRTC, where it is installed, does not compile for cards: so every kernel that a test generates
and runs is compiled for two families of them, whatever the test is about.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from graphc_cupy import nvrtc
from graphc_cupy.source import OPTIONS

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-w")
CARDS = ("sm_80", "sm_90")
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
    """A shared library with a `run_NAME` for each kernel of the source, which cards can run as well."""
    if nvrtc.is_installed() and not sanitize:  # the sanitizer keeps NVRTC from finding its own libraries
        compile_for_cards(source, names)
    flags = (*FLAGS, *(ASAN if sanitize else ()))
    text = "\n".join(['#include "cuda_host.h"', source, *(f"EMULATED({name})" for name in names)])
    return _built(f"{text}\n// {_runtime(flags)}", flags, (str(_runtime(flags)),), ".so")


def compile_for_cards(source: str, names: Sequence[str]) -> None:
    """Fails unless NVRTC makes code of each kernel for each family of cards. What is known is not done again."""
    digest = hashlib.sha256("\n".join((source, nvrtc.version(), *OPTIONS, *CARDS)).encode()).hexdigest()[:32]
    known = folder() / f"{digest}.cards"
    if known.exists():
        return
    for arch in CARDS:
        code = nvrtc.compiled(source, arch)
        missing = [name for name in names if f".text.{name}\0".encode() not in code]
        assert not missing, f"{arch}: no code for {missing}"
    known.touch()


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
    own = f"{digest}.{os.getpid()}.{threading.get_ident()}"
    source, made = folder() / f"{own}.cpp", folder() / f"{own}{suffix}"
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
