"""LLVM's code generator without llvmlite's lock, so that several modules are compiled at once.

llvmlite lets one thread at a time into LLVM, which protects what modules share: their context. Here every module has a
context of its own and every thread a generator of its own; then LLVM itself needs no lock. Generating code is nearly
all of the time; everything else goes through llvmlite as usual.
"""

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from graphc.core.errors import BackendError
from graphc_llvm import host

_FUNCTION = "LLVMPY_TargetMachineEmitToMemory"
_own = threading.local()


def machine(target: host.Host, plain: bool) -> llvm.TargetMachine:
    """The generator of this thread."""
    known: dict[tuple[host.Host, bool], llvm.TargetMachine] = _own.__dict__.setdefault("machines", {})
    if (target, plain) not in known:
        known[target, plain] = host.new_machine(target, plain)
    return known[target, plain]


def emit_object(generator: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """Object code of a module that has a context of its own, by a generator of this thread."""
    emit = _emit()
    if emit is None:
        return bytes(generator.emit_object(module))
    with ffi.OutputString() as error:
        buffer = emit(generator, module, 1, error)
        if not buffer:
            raise BackendError(f"cpu backend: LLVM generates no code: {error}")
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


@cache
def _emit() -> Callable[..., Any] | None:
    """The function llvmlite calls under its lock; None when this llvmlite does it in another way."""
    try:
        wrapped = getattr(ffi.lib, _FUNCTION)
        function = ctypes.CDLL(ffi.lib._name, handle=ffi.lib._handle)[_FUNCTION]
        function.argtypes, function.restype = wrapped.argtypes, wrapped.restype
    except (AttributeError, OSError, TypeError):
        return None
    return function
