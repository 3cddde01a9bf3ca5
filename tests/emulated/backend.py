"""The gpu backend on an emulated device, found under the name "emulated"."""

from __future__ import annotations

from graphc.core.errors import BackendError
from graphc.plan.ir import Plan
from graphc.runtime.protocol import Executable, Target
from graphc_cupy.backend import GpuBackend
from graphc_cupy.executable import GpuExecutable
from tests.emulated.device import EmulatedDevice


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
        return GpuExecutable(plan, self.device)

    def doctor(self) -> list[tuple[str, bool, str]]:
        return [("emulated", True, "threads of the processor")]


backend = EmulatedBackend()
