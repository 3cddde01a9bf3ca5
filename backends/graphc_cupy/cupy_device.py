"""A real GPU through CuPy. The only file that calls it, but for the compiler (`nvrtc`).

CuPy's own kernels, memory pool and libraries are not used: memory is allocated once per program, and what runs in a
captured step is what the backend emitted. A step is captured in a stream of its own, so that what other threads queue
meanwhile is not noted down with it.
"""

import ctypes
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from graphc.core.errors import BackendError
from graphc.runtime.device_arrays import DeviceArray
from graphc_cupy import cublaslt, nvrtc
from graphc_cupy.device import Event, Function, Graph
from graphc_cupy.products import Matmul

MEMORY_OF_A_CARD, MANAGED_MEMORY = 2, 3  # of cudaMemoryType
DEFAULT_SHARED = 48 * 1024  # bytes of shared memory a function has without asking for more


class _CupyFunction(Protocol):
    """A `Function` as CuPy makes it. CuPy has no types; these say what is used of what its objects are kept as."""

    @property
    def ptr(self) -> int: ...


class _CupyGraph(Protocol):
    """A `Graph` as CuPy makes it."""

    def launch(self, stream: object) -> None: ...


class _CupyEvent(Protocol):
    """An `Event` as CuPy makes it."""

    @property
    def done(self) -> bool: ...

    def synchronize(self) -> None: ...


def count() -> int:
    """How many cards there are; 0 without a driver."""
    if not nvrtc.is_installed():
        return 0
    from cupy_backends.cuda.api import runtime

    try:
        return int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError:
        return 0


def why_none() -> str:
    """What CUDA says where `count` is 0 and CuPy is installed."""
    from cupy_backends.cuda.api import runtime

    try:
        return f"{runtime.getDeviceCount()} cards"
    except runtime.CUDARuntimeError as error:
        return str(error)


def driver_version() -> int:
    """The CUDA version of the driver, as 1000 * major + 10 * minor; 0 without one."""
    if not count():
        return 0
    from cupy_backends.cuda.api import runtime

    return int(runtime.driverGetVersion())


class CupyDevice:
    """Implements `graphc_cupy.device.Device` on card `number`."""

    def __init__(self, number: int) -> None:
        import cupy

        self._cupy: Any = cupy
        self.number = number
        self._card = cupy.cuda.Device(number)
        with self._card:
            self._card.use()
            self._stream = cupy.cuda.Stream(non_blocking=True)
        self._captures = threading.local()  # the stream in which this thread captures
        self._memory: dict[int, Any] = {}
        self._modules: list[Any] = []
        self._library: cublaslt.CublasLt | None = None
        self._workspace: Any = None
        properties = cupy.cuda.runtime.getDeviceProperties(number)
        self.name = properties["name"].decode()
        self.total_bytes = int(properties["totalGlobalMem"])
        self.processors = int(properties["multiProcessorCount"])
        self.resident_threads = int(properties["maxThreadsPerMultiProcessor"])
        self.cache_bytes = int(properties["l2CacheSize"])
        self.arch = f"sm_{self._card.compute_capability}"

    @property
    def stream(self) -> int:
        return int(self._stream.ptr)

    @property
    def _queue(self) -> Any:
        """The stream that takes what this thread asks for."""
        return getattr(self._captures, "stream", self._stream)

    @property
    def description(self) -> str:
        return f"{self.name}, {self.total_bytes / 2**30:.0f} GiB, {self.arch}"

    def compile(self, source: str, functions: Sequence[str]) -> bytes:
        return nvrtc.cubin(source, self.arch)

    def load(self, code: bytes, shared_bytes: Mapping[str, int]) -> Mapping[str, Function]:
        driver = self._cupy.cuda.driver
        with self._card:
            module = self._cupy.cuda.function.Module()
            try:
                module.load(code)
            except driver.CUDADriverError as error:
                raise BackendError(f"gpu backend: {self.description} does not load the code: {error}") from error
            self._modules.append(module)
            found: dict[str, Function] = {}
            for name, nbytes in shared_bytes.items():
                function = module.get_function(name)
                driver.funcGetAttribute(driver.CU_FUNC_ATTRIBUTE_NUM_REGS, function.ptr)  # loads it: not in a capture
                if nbytes > DEFAULT_SHARED:
                    driver.funcSetAttribute(
                        function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, nbytes
                    )
                found[name] = Function(function)
        return found

    def assembly(self, source: str) -> str:
        return nvrtc.ptx(source, self.arch)

    def allocate(self, nbytes: int) -> int:
        with self._card:
            free, _ = self._cupy.cuda.runtime.memGetInfo()
            if nbytes > free:
                raise BackendError(
                    f"gpu backend: {nbytes} bytes do not fit {self.description}, of which {free} are free"
                )
            memory = self._cupy.cuda.Memory(nbytes)
            self._cupy.cuda.runtime.memsetAsync(memory.ptr, 0, nbytes, self._stream.ptr)
        self._memory[int(memory.ptr)] = memory
        return int(memory.ptr)

    def release(self, address: int) -> None:
        del self._memory[address]

    def pinned(self, nbytes: int) -> np.ndarray:
        if not nbytes:
            return np.zeros(0, np.uint8)
        with self._card:
            memory = self._cupy.cuda.alloc_pinned_memory(nbytes)
        return np.frombuffer(memory, np.uint8, nbytes)

    def launch(self, function: Function, blocks: int, threads: int, shared_bytes: int, words: Sequence[int]) -> None:
        values = (ctypes.c_int64 * max(len(words), 1))(*words)
        start = ctypes.addressof(values)
        places = (ctypes.c_void_p * max(len(words), 1))(*(start + 8 * k for k in range(len(words))))
        driver, pointer = self._cupy.cuda.driver, cast(_CupyFunction, function).ptr
        shape = (blocks, 1, 1, threads, 1, 1, shared_bytes)
        with self._card:
            driver.launchKernel(pointer, *shape, self._queue.ptr, ctypes.addressof(places), 0)

    def upload(self, target: int, source: np.ndarray) -> None:
        self._move(target, source.ctypes.data, source.nbytes, "memcpyHostToDevice")

    def download(self, target: np.ndarray, source: int) -> None:
        self._move(target.ctypes.data, source, target.nbytes, "memcpyDeviceToHost")

    def copy(self, target: int, source: int, nbytes: int) -> None:
        self._move(target, source, nbytes, "memcpyDeviceToDevice")

    def _move(self, target: int, source: int, nbytes: int, kind: str) -> None:
        runtime = self._cupy.cuda.runtime
        with self._card:
            runtime.memcpyAsync(target, source, nbytes, getattr(runtime, kind), self._queue.ptr)

    def begin_capture(self) -> None:
        with self._card:
            stream = self._cupy.cuda.Stream(non_blocking=True)
            stream.begin_capture()
        self._captures.stream = stream

    def end_capture(self) -> Graph:
        stream = self._captures.stream
        del self._captures.stream
        with self._card:
            return Graph(stream.end_capture())

    def replay(self, graph: Graph) -> None:
        with self._card:
            cast(_CupyGraph, graph).launch(self._stream)

    def record(self) -> Event:
        with self._card:
            event = self._cupy.cuda.Event(block=True)
            event.record(self._stream)
        return Event(event)

    def seconds(self, first: Event, last: Event) -> float:
        return float(self._cupy.cuda.get_elapsed_time(first, last)) * 1e-3

    def is_reached(self, event: Event) -> bool:
        return bool(cast(_CupyEvent, event).done)

    def wait(self, event: Event) -> None:
        cast(_CupyEvent, event).synchronize()

    def synchronize(self) -> None:
        with self._card:
            self._stream.synchronize()

    # ------------------------------------------------------------------------------------------- products by a library

    def product(self, matmul: Matmul, alignment: int) -> Function:
        with self._card:
            if self._library is None:
                self._library = cublaslt.open_library()
                self._workspace = self._cupy.cuda.Memory(cublaslt.WORKSPACE)
            return Function(self._library.prepare(matmul, alignment))

    def multiply(self, product: Function, left: int, right: int, result: int) -> None:
        assert self._library is not None and isinstance(product, cublaslt.Prepared)
        with self._card:
            self._library.multiply(product, (left, right, result), int(self._workspace.ptr), int(self._queue.ptr))

    # --------------------------------------------------------------------------------------- arrays of other libraries

    def holder(self, address: int) -> int | None:
        found = self._cupy.cuda.runtime.pointerGetAttributes(address)
        return int(found.device) if found.type in (MEMORY_OF_A_CARD, MANAGED_MEMORY) else None

    def follow(self, stream: int | None) -> None:
        self._order(self._other(stream), self._stream)

    def lead(self, stream: int | None) -> None:
        self._order(self._stream, self._other(stream))

    def _other(self, stream: int | None) -> Any:
        """A stream of another library; None: the one that CuPy uses now."""
        if stream is None:
            return self._cupy.cuda.get_current_stream(self.number)
        return self._cupy.cuda.ExternalStream(stream, self.number)

    def _order(self, first: Any, then: Any) -> None:
        with self._card:
            event = self._cupy.cuda.Event(disable_timing=True)
            event.record(first)
            then.wait_event(event)

    def fresh(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, object]:
        with self._card:
            array = self._cupy.empty(shape, dtype)
        return int(array.data.ptr), array

    def gathered(self, array: DeviceArray) -> tuple[int, object]:
        cuda = self._cupy.cuda
        memory = cuda.UnownedMemory(array.address, array.nbytes, array.owner, self.number)
        with self._card, self._stream:
            pointer = cuda.MemoryPointer(memory, 0)
            view = self._cupy.ndarray(array.shape, array.dtype, memptr=pointer, strides=array.strides)
            copy = self._cupy.ascontiguousarray(view)
        return int(copy.data.ptr), copy


_open: "weakref.WeakValueDictionary[int, CupyDevice]" = weakref.WeakValueDictionary()


def open_device(number: int) -> CupyDevice:
    """The card of that number; programs share it while one of them is alive."""
    found = _open.get(number)
    if found is None:
        found = _open[number] = CupyDevice(number)
    return found
