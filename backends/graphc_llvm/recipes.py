"""Schedules."""

from graphc.kernel.ir import Kernel


def schedule(kernel: Kernel) -> Kernel:
    return kernel
