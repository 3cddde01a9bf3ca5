"""The gpu backend on an emulated device, found under the name "emulated"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graphc_cupy
from graphc.core.digest import source_digest
from graphc.core.errors import BackendError
from graphc.plan.ir import Plan
from graphc.runtime.protocol import Executable, Target
from graphc_cupy.backend import GpuBackend
from graphc_cupy.code import Code
from graphc_cupy.executable import GpuExecutable
from tests.emulated.device import EmulatedDevice

ROOT = Path(graphc_cupy.__file__).parent


class EmulatedBackend(GpuBackend):
    """Everything but the card is what the gpu backend uses."""

    name = "emulated"

    def __init__(self, order: int = 2) -> None:
        self.device = EmulatedDevice(order)

    def target(self, device: int | None = None) -> Target:
        return Target("emulated", 1024, 1, ())

    def load(self, plan: Plan, threads: int | None = None, device: int | None = None) -> Executable:
        if device not in (None, 0):
            raise BackendError(f"device {device}: this machine has 1, numbered from 0")
        return GpuExecutable(plan, self.device, library=self.library)

    def fingerprint(self, threads: int | None = None, device: int | None = None) -> str | None:
        return f"emulated {source_digest(ROOT)} {source_digest(Path(__file__).parent)}"

    def restore(
        self,
        saved: bytes,
        layout: Plan,
        plan: Callable[[], Plan],
        threads: int | None = None,
        device: int | None = None,
    ) -> Executable:
        return GpuExecutable(layout, self.device, Code.from_bytes(saved), plan, self.library)

    def doctor(self) -> list[tuple[str, bool, str]]:
        return [("emulated", True, "threads of the processor")]


backend = EmulatedBackend()
