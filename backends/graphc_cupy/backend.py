"""The backend object the entry point names."""

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphc.core.digest import source_digest
from graphc.core.errors import BackendError, UnsupportedError
from graphc.plan.ir import Plan
from graphc.runtime.protocol import Executable, Target
from graphc_cupy import cublaslt, cupy_device, nvrtc
from graphc_cupy.code import Code
from graphc_cupy.executable import GpuExecutable
from graphc_cupy.products import Compute
from graphc_cupy.source import OPTIONS

if TYPE_CHECKING:
    from graphc.kernel.ir import Kernel
    from graphc.kernel.program import Scheduled

WARP_BITS = 32 * 32  # what a warp computes at once
ROW_THREADS = 16  # of a row of elements: a reduction has so many lanes


LIBRARY: dict[str, Compute] = {"library": "float32", "tf32": "tf32"}  # by precision


class GpuBackend:
    """CUDA through CuPy. `library`: what a library computes products in; None: our kernels do, exactly."""

    name = "gpu"
    consumes: Literal["plan"] = "plan"
    library: Compute | None = None

    def with_precision(self, precision: str) -> "GpuBackend":
        """This backend, with products by a library. Raises `UnsupportedError` for a precision that it does not have."""
        if precision not in LIBRARY:
            known = ", ".join(repr(name) for name in ("float32", *LIBRARY))
            raise UnsupportedError(f"precision={precision!r}: the gpu backend has {known}")
        found = copy(self)
        found.library = LIBRARY[precision]
        return found

    def target(self, device: int | None = None) -> Target:
        """The card found at run time. Raises `BackendError` when there is none."""
        card = _card(device)
        return Target(
            f"card {card.number}, {card.description}",
            WARP_BITS,
            card.processors,
            (card.cache_bytes,),
            (card.arch,),
            card.resident_threads // ROW_THREADS,
        )

    def schedule(self, kernel: "Kernel") -> "Scheduled":
        """Share loops out to blocks and threads; results keep every bit."""
        from graphc_cupy import recipes

        return recipes.schedule(kernel, self.library)

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        """Generate code and allocate memory."""
        _only_device(threads)
        return GpuExecutable(plan, _card(device), library=self.library)

    def fingerprint(self, threads: int | None = None, device: int | None = None) -> str | None:
        """The card, its driver, versions, the source of this package; None without source files."""
        _only_device(threads)
        card = _card(device)
        source = source_digest(Path(__file__).parent)
        if source is None:
            return None
        return " ".join([source, card.description, str(cupy_device.driver_version()), nvrtc.versions(), *OPTIONS])

    def save(self, executable: Executable) -> bytes:
        """The code of an executable of this backend."""
        assert isinstance(executable, GpuExecutable)
        return executable.code.to_bytes()

    def restore(
        self,
        saved: bytes,
        layout: Plan,
        plan: Callable[[], Plan],
        threads: int | None = None,
        device: int | None = None,
    ) -> Executable:
        """Load saved code and allocate memory."""
        _only_device(threads)
        return GpuExecutable(layout, _card(device), Code.from_bytes(saved), plan, self.library)

    def doctor(self) -> Sequence[tuple[str, bool | None, str]]:
        """What `graphc doctor` says about this backend. Without cuBLASLt everything works but `precision=`."""
        cards = [
            (f"card {number}", True, cupy_device.open_device(number).description)
            for number in range(cupy_device.count())
        ]
        return [
            _tried("NVRTC", nvrtc.version, False),
            _tried("cuBLASLt", cublaslt.find, None),
            *(cards or [("card", False, _missing())]),
        ]


def _tried(what: str, look: Callable[[], str], otherwise: bool | None) -> tuple[str, bool | None, str]:
    """A row of the doctor: what `look` finds, or what it raises."""
    try:
        return what, True, look()
    except BackendError as error:
        return what, otherwise, str(error)


def _only_device(threads: int | None) -> None:
    if threads is not None:
        raise BackendError("the gpu backend has no threads to choose the number of; leave out threads=")


def _card(number: int | None) -> cupy_device.CupyDevice:
    found = cupy_device.count()
    if not found:
        raise BackendError(f"the gpu backend cannot run here: {_missing()}")
    chosen = 0 if number is None else number
    if not 0 <= chosen < found:
        raise BackendError(f"device {chosen}: this machine has {found}, numbered from 0")
    return cupy_device.open_device(chosen)


def _missing() -> str:
    if not nvrtc.is_installed():
        return 'CuPy is not installed; pip install "graphc[gpu]"'
    return f"no CUDA card, or no driver for it that is new enough, was found ({cupy_device.why_none()})"
