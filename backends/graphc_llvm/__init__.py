"""The CPU backend: plans become native code through LLVM. `backend` is what the entry point `cpu` names."""

from graphc_llvm.backend import CpuBackend

backend = CpuBackend()

__all__ = ["backend"]
