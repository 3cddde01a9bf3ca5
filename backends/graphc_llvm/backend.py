"""The backend object the entry point names."""

import platform
from typing import Literal

import llvmlite
import llvmlite.binding as llvm

from graphc.core import config
from graphc.core.errors import BackendError, GraphcError
from graphc.kernel.ir import Kernel
from graphc.plan.ir import Plan
from graphc.runtime.cache import ObjectCache
from graphc.runtime.protocol import Executable, Target
from graphc_llvm import codegen, host, recipes
from graphc_llvm.executable import CpuExecutable
from graphc_llvm.pool import default_threads


class CpuBackend:
    """Native code for this machine's processor."""

    name = "cpu"
    consumes: Literal["plan"] = "plan"

    def target(self, device: int | None = None) -> Target:
        """The host, or the processor `GRAPHC_CPU` asks for."""
        _only_device(device)
        return host.target()

    def schedule(self, kernel: Kernel) -> Kernel:
        """Tile, vectorise and share out; results keep every bit."""
        return recipes.schedule(kernel)

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        """Generate code (or find it on disk) and allocate memory."""
        _only_device(device)
        return CpuExecutable(plan, threads)

    def doctor(self) -> list[tuple[str, bool, str]]:
        """What `graphc doctor` says about this backend."""
        found = host.host()
        version = ".".join(map(str, llvm.llvm_version_info))
        system = platform.system()
        return [
            ("llvmlite", llvm.llvm_version_info[0] >= 22, f"{llvmlite.__version__}, LLVM {version}"),
            ("processor", True, f"{found.cpu}, {found.vector_bits}-bit vectors, {config.available_cores()} cores"),
            ("threads", True, f"{default_threads()} (GRAPHC_THREADS)"),
            ("system", system == "Linux", f"{system} {platform.machine()}" + _as_far_as(system)),
            _try_code(),
            ("object cache", True, str(ObjectCache.default().folder or "off")),
        ]


def _as_far_as(system: str) -> str:
    return "" if system == "Linux" else ": works as far as it goes; only Linux is tested"


def _only_device(device: int | None) -> None:
    if device not in (None, 0):
        raise BackendError(f"the cpu backend has one device, number 0, not {device}")


def _try_code() -> tuple[str, bool, str]:
    try:
        codegen.runtime()
    except GraphcError as error:
        return ("native code", False, str(error))
    return ("native code", True, "generated, linked and callable")
