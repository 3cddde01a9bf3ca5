"""CUDA source to machine code with NVRTC, which needs no card and no driver."""

import importlib.util
from typing import Any

from graphc.core.errors import BackendError
from graphc.runtime.cache import ObjectCache
from graphc_cupy.source import OPTIONS, QUIET


def cubin(source: str, arch: str) -> bytes:
    """Machine code for an architecture ("sm_90"), or what was kept of an earlier time."""
    store = ObjectCache.default()
    key = ObjectCache.key("cubin", arch, " ".join(OPTIONS), version(), source)
    found = store.get(key)
    if found is None:
        found = compiled(source, arch)
        store.put(key, found)
    return found


def compiled(source: str, arch: str) -> bytes:
    """Machine code for an architecture, made now."""
    return _compiled(source, f"-arch={arch}", "getCUBIN")


def ptx(source: str, arch: str) -> str:
    """The assembly that is the same for a family of cards."""
    return _compiled(source, f"-arch=compute_{arch.removeprefix('sm_')}", "getPTX").decode()


def version() -> str:
    """Of the compiler."""
    major, minor = _library().getVersion()
    return f"{major}.{minor}"


def versions() -> str:
    """Of the compiler and of CuPy, in one line."""
    return f"NVRTC {version()} CuPy {importlib.import_module('cupy').__version__}"


def is_installed() -> bool:
    """Whether CuPy, which finds the compiler, is there."""
    return importlib.util.find_spec("cupy") is not None


def _library() -> Any:
    if not is_installed():
        raise BackendError('the gpu backend needs CuPy and NVRTC: pip install "graphc[gpu]"')
    try:
        from cupy.cuda import nvrtc  # here, because it takes long and few programs need it

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        raise BackendError(f'the gpu backend cannot use NVRTC: {error}; pip install "graphc[gpu]"') from error
    return nvrtc


def _compiled(source: str, arch: str, result: str) -> bytes:
    nvrtc = _library()
    program = nvrtc.createProgram(source, "graphc.cu", (), ())
    try:
        nvrtc.compileProgram(program, (arch, *OPTIONS, *QUIET))
        made = getattr(nvrtc, result)(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise BackendError(f"gpu backend: NVRTC cannot compile a kernel ({error})\n{log}") from error
    finally:
        nvrtc.destroyProgram(program)
    if result == "getPTX":
        return made.encode() if isinstance(made, str) else bytes(made)
    return bytes(made) + b"\0"  # CuPy drops the last byte, which tools that read the file miss
