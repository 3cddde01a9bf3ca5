"""A device without a card: kernels run on this machine's processor, from the very text that a card would get.

It keeps the rules that a card has and that programs break unseen: work is queued, and done only when somebody waits for
it, so that a host that does not wait sees old bytes; fresh memory is full of odd bytes; and everything asked for is
checked (`Misuse`): addresses must lie in memory that is allocated now, nothing but launches and copies may happen while
a step is captured, and nothing may be waited for then.
"""

from __future__ import annotations

import bisect
import ctypes
import json
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from graphc.runtime.device_arrays import DeviceArray
from graphc_cupy.device import Event, Function, Graph
from graphc_cupy.products import Matmul, Matrix
from tests.emulated.toolchain import RUN, build

ALIGNMENT = 256
_turn = threading.RLock()  # of a thread: others may queue work and wait too
MOST_SHARED = 99 * 1024  # bytes of a block: what the smallest cards of compute capability 8 have
Work = Callable[[], None]


class Misuse(AssertionError):
    """A device was asked for something that a real one would not do, or not do right."""


@dataclass
class _Mark:
    position: int
    time: float = 0.0


class EmulatedDevice:
    """Implements `graphc_cupy.device.Device`. `order` is the order of threads: see `kernels.ORDERS`."""

    def __init__(self, order: int = 0) -> None:
        self.order = order
        self.log: list[str] = []  # what was asked for, without arguments
        self.description = "emulated"
        self.number = 0
        self.stream = 7  # as others name it
        self.caller = Stream()  # that of the caller
        self.others: dict[int, Stream] = {}  # those of other libraries, by name
        self._blocks: dict[int, np.ndarray] = {}
        self._starts: list[int] = []
        self._gone: list[np.ndarray] = []
        self._own = Stream()
        self._captures = threading.local()  # what this thread captures
        self._pinned: list[np.ndarray] = []

    # ------------------------------------------------------------------------------------------------------ compiling

    def compile(self, source: str, functions: Sequence[str]) -> bytes:
        self._outside("compile")
        texts = {name: _function(source, name) for name in functions}
        together = {name: "__sync" in text or "__shfl" in text for name, text in texts.items()}
        return json.dumps(together).encode() + b"\n" + build(source, list(functions)).read_bytes()

    def load(self, code: bytes, shared_bytes: Mapping[str, int]) -> Mapping[str, Function]:
        self._outside("load")
        header, _, binary = code.partition(b"\n")
        together = json.loads(header)
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            file.write(binary)
            file.flush()
            library = ctypes.CDLL(file.name)
        return {name: Function((RUN((f"run_{name}", library)), together[name], name, count())) for name in shared_bytes}

    def assembly(self, source: str) -> str:
        return ""

    # --------------------------------------------------------------------------------------------------------- memory

    def allocate(self, nbytes: int) -> int:
        self._outside("allocate")
        block = np.full(nbytes + ALIGNMENT, 0xA5, np.uint8)
        start = -(-block.ctypes.data // ALIGNMENT) * ALIGNMENT
        with _turn:
            self._blocks[start] = block[start - block.ctypes.data :][:nbytes]
            bisect.insort(self._starts, start)
        return start

    def release(self, address: int) -> None:
        self._outside("release")
        self._own.drain()
        with _turn:
            if address not in self._blocks:
                raise Misuse(f"release of {address:#x}, which is not allocated")
            del self._blocks[address]
            self._starts.remove(address)

    def pinned(self, nbytes: int) -> np.ndarray:
        self._outside("pinned")
        self._pinned.append(np.full(nbytes, 0xA5, np.uint8))
        return self._pinned[-1]

    def bytes_at(self, address: int, nbytes: int) -> np.ndarray:
        """Allocated memory. Raises `Misuse` when it is not."""
        with _turn:
            start, end = self._block_around(address)
            if not start or address + nbytes > end:
                raise Misuse(f"{nbytes} bytes at {address:#x} are not allocated")
            return self._blocks[start][address - start : address - start + nbytes]

    def _block_around(self, address: int) -> tuple[int, int]:
        """Start and end of the last block that begins at or before an address; zeros where there is none."""
        position = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[position] if position >= 0 else 0
        return start, start + self._blocks[start].nbytes if start else 0

    # -------------------------------------------------------------------------------------------------------- queueing

    def launch(self, function: Function, blocks: int, threads: int, shared_bytes: int, words: Sequence[int]) -> None:
        run, together, name, seeds = function  # type: ignore[misc]
        if not 0 < blocks < 1 << 31 or not 0 < threads <= 1024 or not 0 <= shared_bytes <= MOST_SHARED:
            raise Misuse(f"{name}: a launch of {blocks} blocks of {threads} threads, {shared_bytes} bytes shared")
        for word in words:
            if word > 1 << 32:
                self.bytes_at(word, 1)
        values = (ctypes.c_int64 * max(len(words), 1))(*words)
        starts = range(ctypes.addressof(values), ctypes.addressof(values) + ctypes.sizeof(values), 8)
        argv = (ctypes.c_void_p * len(starts))(*starts)
        argv.values = values  # which it points to

        def work() -> None:
            problem = run(argv, blocks, threads, shared_bytes, self.order, next(seeds), together)
            if problem is not None:
                raise Misuse(f"{name}: {problem.decode()}")

        self._put("launch", work)

    def upload(self, target: int, source: np.ndarray) -> None:
        self._outside("upload", is_queued=True)
        place = self.bytes_at(target, source.nbytes)
        self._put("upload", lambda: _assign(place, source))

    def download(self, target: np.ndarray, source: int) -> None:
        self._outside("download", is_queued=True)
        place = self.bytes_at(source, target.nbytes)
        self._put("download", lambda: _assign(target, place))

    def copy(self, target: int, source: int, nbytes: int) -> None:
        to, of = self.bytes_at(target, nbytes), self.bytes_at(source, nbytes)
        self._put("copy", lambda: _assign(to, of))

    def begin_capture(self) -> None:
        self._outside("begin_capture")
        self._captures.work = []

    def end_capture(self) -> Graph:
        captured = self._capture
        if captured is None:
            raise Misuse("end_capture without begin_capture")
        self.log.append("end_capture")
        del self._captures.work
        return Graph(captured)

    def replay(self, graph: Graph) -> None:
        self._outside("replay")
        with _turn:
            for work in graph:  # type: ignore[attr-defined]
                self._own.put(work)

    def record(self) -> Event:
        self._outside("record")
        with _turn:
            mark = _Mark(self._own.position + 1)
            self._own.put(lambda: setattr(mark, "time", time.perf_counter()))
        return Event(mark)

    def seconds(self, first: Event, last: Event) -> float:
        assert isinstance(first, _Mark)
        assert isinstance(last, _Mark)
        if not first.time or not last.time:
            raise Misuse("the time between marks that have not been reached")
        return last.time - first.time

    def is_reached(self, event: Event) -> bool:
        self._outside("is_reached")
        assert isinstance(event, _Mark)
        return self._own.finished >= event.position

    def wait(self, event: Event) -> None:
        self._outside("wait")
        assert isinstance(event, _Mark)
        self._own.drain(event.position)

    def synchronize(self) -> None:
        self._outside("synchronize")
        self._own.drain()

    # ------------------------------------------------------------------------------------------- products by a library

    def product(self, matmul: Matmul, alignment: int) -> Function:
        self._outside("product")
        for matrix in (matmul.left, matmul.right, matmul.result):
            if matrix.leading < matrix.rows or min(matrix.rows, matrix.columns, matmul.count) < 1:
                raise Misuse(f"a library refuses {matrix}")
        shapes = [self._shape(matrix) for matrix in (matmul.left, matmul.right, matmul.result)]
        (m, k), (depth, n), result = shapes
        if result != (m, n) or not k == depth == matmul.depth or matmul.left.dtype is not matmul.right.dtype:
            raise Misuse(f"the factors {shapes} of {matmul.depth} terms do not fit")
        return Function((matmul, alignment))

    def multiply(self, product: Function, left: int, right: int, result: int) -> None:
        matmul, alignment = product  # type: ignore[misc]
        if any(address % alignment for address in (left, right, result)):
            raise Misuse(f"a product was prepared for matrices at multiples of {alignment}")
        a, b, c = (
            self._matrices(matrix, address, matmul.count)
            for matrix, address in ((matmul.left, left), (matmul.right, right), (matmul.result, result))
        )
        self._put("multiply", lambda: _multiply(a, b, c, matmul.compute))

    def _shape(self, matrix: Matrix) -> tuple[int, int]:
        return (matrix.columns, matrix.rows) if matrix.is_transposed else (matrix.rows, matrix.columns)

    def _matrices(self, matrix: Matrix, address: int, count: int) -> np.ndarray:
        """A view of matrices as they are multiplied: [count, rows, columns]."""
        last = matrix.rows - 1 + (matrix.columns - 1) * matrix.leading + (count - 1) * matrix.batch
        content = self.bytes_at(address, (last + 1) * matrix.dtype.itemsize).view(matrix.dtype.numpy)
        size = matrix.dtype.itemsize
        strides = (matrix.batch * size, size, matrix.leading * size)
        found = np.lib.stride_tricks.as_strided(content, (count, matrix.rows, matrix.columns), strides)
        return found.transpose(0, 2, 1) if matrix.is_transposed else found

    # --------------------------------------------------------------------------------------- arrays of other libraries

    def holder(self, address: int) -> int | None:
        self._outside("holder")
        _, end = self._block_around(address)
        return 0 if address < end else None

    def follow(self, stream: int | None) -> None:
        self._outside("follow")
        other = self.caller if stream is None else self.others[stream]
        position = other.position
        self._own.put(lambda: other.drain(position))

    def lead(self, stream: int | None) -> None:
        self._outside("lead")
        position = self._own.position
        (self.caller if stream is None else self.others[stream]).put(lambda: self._own.drain(position))

    def fresh(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, object]:
        found = Resident(self, shape, dtype)
        return found.address, found

    def gathered(self, array: DeviceArray) -> tuple[int, object]:
        found = Resident(self, array.shape, array.dtype)
        last = sum((n - 1) * s for n, s in zip(array.shape, array.strides or ()))
        content = self.bytes_at(array.address, last + array.dtype.itemsize)
        strided = np.lib.stride_tricks.as_strided(content.view(array.dtype), array.shape, array.strides)
        target = self.bytes_at(found.address, found.nbytes)
        self._put("gather", lambda: _assign(target, np.ascontiguousarray(strided).reshape(-1).view(np.uint8)))
        return found.address, found

    def forget(self, address: int) -> None:
        """Memory of an array of another library that nobody refers to is somebody else's at once."""
        block = self._blocks.pop(address)
        block[:] = 0x5A
        self._gone.append(block)  # what reads it all the same reads that
        self._starts.remove(address)

    # --------------------------------------------------------------------------------------------------------- details

    @property
    def _capture(self) -> list[Work] | None:
        """What was noted down so far, while this thread captures."""
        return getattr(self._captures, "work", None)

    def _outside(self, what: str, is_queued: bool = False) -> None:
        if self._capture is not None:
            raise Misuse(f"{what} while a step is captured")
        if not is_queued:
            self.log.append(what)

    def _put(self, what: str, work: Work) -> None:
        if self._capture is not None:
            self._capture.append(work)
        else:
            self.log.append(what)
            self._own.put(work)


class Stream:
    """Work that is done, in order, when it is waited for: the program's own, or somebody else's on the device."""

    def __init__(self) -> None:
        self.finished = 0  # how much of everything ever queued is done
        self._queue: list[Work] = []

    @property
    def position(self) -> int:
        return self.finished + len(self._queue)

    def put(self, work: Work) -> None:
        with _turn:
            self._queue.append(work)

    def drain(self, position: int | None = None) -> None:
        with _turn:
            while self._queue and (position is None or self.finished < position):
                work = self._queue.pop(0)
                self.finished += 1
                work()


class Resident:
    """An array of some library in the memory of the emulated device. `stream`: the name of its owner's, if it tells."""

    def __init__(
        self, device: EmulatedDevice, shape: tuple[int, ...], dtype: object, stream: int | None = None
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)  # type: ignore[call-overload]
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self.address = device.allocate(max(self.nbytes, 1))
        self._end = weakref.finalize(self, device.forget, self.address)
        self._device, self._stream = device, stream
        self.strides: tuple[int, ...] | None = None

    def content(self) -> np.ndarray:
        """Its elements as they are now: whoever looks has waited."""
        return self._device.bytes_at(self.address, self.nbytes).view(self.dtype).reshape(self.shape)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": self.strides,
            "version": 3,
            "stream": self._stream,
        }


def _assign(target: np.ndarray, source: np.ndarray) -> None:
    target[:] = source


def _function(source: str, name: str) -> str:
    """The text of one function."""
    start = source.index(f" {name}(")
    return source[start : source.index("\n}\n", start)]


def _multiply(left: np.ndarray, right: np.ndarray, result: np.ndarray, compute: str) -> None:
    """As a library might: in another order than ours, and operands rounded when it is told to."""
    factors = [factor.astype(np.float32) for factor in (left, right)]
    if compute == "tf32":  # 10 bits behind the point
        factors = [((f.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32) for f in factors]
    a, b = (factor.astype(np.float64) for factor in factors)
    result[...] = a @ b
