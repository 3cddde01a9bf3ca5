"""The backend object the entry point names."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import llvmlite
import llvmlite.binding as llvm

from graphc.core import config
from graphc.core.digest import source_digest
from graphc.core.errors import BackendError, GraphcError
from graphc.core.records import dataclass
from graphc.plan.ir import Plan
from graphc.runtime.cache import ObjectCache
from graphc.runtime.protocol import Executable, Target
from graphc_llvm import codegen, host
from graphc_llvm.code import Code
from graphc_llvm.executable import CpuExecutable
from graphc_llvm.pool import default_threads

if TYPE_CHECKING:  # a program from the cache has no kernels
    from graphc.kernel.ir import Kernel
    from graphc.kernel.program import Scheduled
    from graphc_llvm.program import Ahead


class CpuBackend:
    """Native code for this machine's processor."""

    name = "cpu"
    consumes: Literal["plan"] = "plan"

    def target(self, device: int | None = None) -> Target:
        """The host, or the processor `GRAPHC_CPU` asks for."""
        _only_device(device)
        return host.target()

    def schedule(self, kernel: "Kernel") -> "Scheduled":
        """Tile, vectorise and share out; results keep every bit."""
        from graphc_llvm import recipes  # a program from the cache runs without it

        return recipes.schedule(kernel)

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        """Generate code (or find it on disk) and allocate memory."""
        _only_device(device)
        return CpuExecutable(plan, threads)

    def begin(self) -> "CpuLoader":
        """Compile kernels as they come, before the plan is known."""
        from graphc_llvm.program import Ahead

        codegen.begin_runtime()
        return CpuLoader(Ahead(codegen.Begun(host.host())))

    def fingerprint(self, threads: int | None = None, device: int | None = None) -> str | None:
        """Versions, processor, threads and cores, the source of this package; None without source files."""
        _only_device(device)
        source = source_digest(Path(__file__).parent)
        if source is None:
            return None
        found = host.host()
        counts = (str(default_threads() if threads is None else threads), str(config.available_cores()))
        return " ".join([source, found.triple, found.cpu, found.features, *counts, *codegen.versions()])

    def save(self, executable: Executable) -> bytes:
        """The code of an executable of this backend."""
        assert isinstance(executable, CpuExecutable)
        return executable.code.to_bytes()

    def restore(
        self,
        saved: bytes,
        layout: Plan,
        plan: Callable[[], Plan],
        threads: int | None = None,
        device: int | None = None,
    ) -> Executable:
        """Link saved code and allocate memory."""
        _only_device(device)
        return CpuExecutable(layout, threads, Code.from_bytes(saved), plan)

    def doctor(self) -> list[tuple[str, bool, str]]:
        """What `graphc doctor` says about this backend."""
        found = host.host()
        version = ".".join(map(str, llvm.llvm_version_info))
        system = platform.system()
        return [
            ("llvmlite", llvm.llvm_version_info[0] >= 22, f"{llvmlite.__version__}, LLVM {version}"),
            ("processor", True, f"{found.cpu}, {found.vector_bits}-bit vectors, {config.available_cores()} cores"),
            ("threads", True, _threads_shown()),
            ("system", system == "Linux", f"{system} {platform.machine()}" + _as_far_as(system)),
            _try_code(),
            ("object cache", True, str(ObjectCache.default().folder or "off")),
        ]


@dataclass(frozen=True, slots=True)
class CpuLoader:
    """A program whose kernels are known one after the other."""

    ahead: "Ahead"

    def add(self, kernel: "Kernel") -> None:
        """Write its text, and begin to compile it."""
        self.ahead.add(kernel)

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        """Generate the rest of the code and allocate memory."""
        _only_device(device)
        return CpuExecutable(plan, threads, ahead=self.ahead)


def _threads_shown() -> str:
    chosen = " (GRAPHC_THREADS)" if config.get_int("GRAPHC_THREADS") else ""
    return f"{default_threads()}{chosen}"


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
