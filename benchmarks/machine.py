"""What a measurement was taken on: processor, cores, versions, flags. Goes into every record."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "llvmlite", "torch", "jax", "jaxlib", "optax", "cupy-cuda13x", "nvidia-cuda-nvrtc")
# Flags that slow a compilation down or write files: no measurement is taken with them.
IGNORED_FLAGS = ("GRAPHC_VERIFY", "GRAPHC_TIME", "GRAPHC_DUMP", "GRAPHC_THREADS", "GRAPHC_BACKEND")


def facts() -> dict[str, object]:
    """Everything that may explain a number."""
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "cores": available_cores(),
        "vector_extensions": vector_extensions(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := package_version(name))},
        "commit": commit(),
        "flags": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("GRAPHC_") and name not in (*IGNORED_FLAGS, "GRAPHC_CACHE")
        },
        "load_average": round(os.getloadavg()[0], 2),
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def card() -> dict[str, object]:
    """The GPU that measurements are taken on. Raises `graphc.core.errors.BackendError` when there is none."""
    from graphc_cupy import backend, cupy_device

    return {"card": backend.target().name, "driver": cupy_device.driver_version()}


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name as the system has it."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def vector_extensions() -> list[str]:
    """Which of the vector instruction sets that matter here the processor has."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [name for name in ("avx2", "fma", "avx512f", "avx512_bf16", "asimd", "sve") if name in flags]


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def package_version(name: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """The commit that is checked out, with a + when files differ from it; empty outside of a repository."""
    described = _git("rev-parse", "--short", "HEAD")
    return described + ("+" if described and _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: Sequence[str] | str) -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *map(str, arguments)], capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        return ""
