"""The CUDA backend: loop IR to CUDA C, and the training loop as captured graphs."""

from graphc_cupy.backend import GpuBackend

backend = GpuBackend()
