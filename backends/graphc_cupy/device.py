"""The few things the backend asks of a GPU. `cupy_device` asks a real one; tests put other machines in its place.

Work is queued in one stream and done in order: every method that takes addresses returns before it is done, and arrays
of the host that it reads or writes must stay as they are until then. Between `begin_capture` and `end_capture` launches
and copies are noted down instead; what is noted is queued as a whole by `replay`. During a capture nothing else may be
asked for.
"""

from collections.abc import Mapping, Sequence
from typing import NewType, Protocol

import numpy as np

from graphc.runtime.device_arrays import DeviceArray
from graphc_cupy.products import Matmul

Function = NewType("Function", object)
Graph = NewType("Graph", object)
Event = NewType("Event", object)


class Device(Protocol):
    """One GPU, or something that behaves like one."""

    @property
    def number(self) -> int:
        """Which of the machine's it is."""
        ...

    @property
    def stream(self) -> int:
        """The stream, as other libraries name it."""
        ...

    @property
    def description(self) -> str:
        """Its name and size, for people."""
        ...

    def compile(self, source: str, functions: Sequence[str]) -> bytes:
        """The code of a source in which there are these functions, for this kind of device."""
        ...

    def load(self, code: bytes, shared_bytes: Mapping[str, int]) -> Mapping[str, Function]:
        """Functions by name, each with the shared memory it needs. Raises `BackendError` when the device refuses."""
        ...

    def assembly(self, source: str) -> str:
        """The code of a source as PTX."""
        ...

    def allocate(self, nbytes: int) -> int:
        """The address of fresh memory, aligned to 256 bytes or more. Raises `BackendError` when there is too little."""
        ...

    def release(self, address: int) -> None:
        """Give memory back."""
        ...

    def pinned(self, nbytes: int) -> np.ndarray:
        """Bytes of the host that `download` fills without staging them."""
        ...

    def launch(self, function: Function, blocks: int, threads: int, shared_bytes: int, words: Sequence[int]) -> None:
        """Run a function. Every argument is one word of 8 bytes: an address or an integer."""
        ...

    def upload(self, target: int, source: np.ndarray) -> None:
        """Host to device."""
        ...

    def download(self, target: np.ndarray, source: int) -> None:
        """Device to host."""
        ...

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Device to device."""
        ...

    def begin_capture(self) -> None:
        """From now on note down what this thread asks for. Other threads go on as before."""
        ...

    def end_capture(self) -> Graph:
        """What was noted down."""
        ...

    def replay(self, graph: Graph) -> None:
        """Queue what was noted down."""
        ...

    def record(self) -> Event:
        """A mark behind everything queued so far."""
        ...

    def seconds(self, first: Event, last: Event) -> float:
        """The time between two marks that have been reached."""
        ...

    def is_reached(self, event: Event) -> bool:
        """Whether everything before a mark is done. Does not wait."""
        ...

    def wait(self, event: Event) -> None:
        """Until everything before a mark is done."""
        ...

    def synchronize(self) -> None:
        """Until everything is done."""
        ...

    # ------------------------------------------------------------------------------------------- products by a library

    def product(self, matmul: Matmul, alignment: int) -> Function:
        """Prepare a product of matrices that begin at multiples of so many bytes. Raises `BackendError` when no library
        has it.
        """
        ...

    def multiply(self, product: Function, left: int, right: int, result: int) -> None:
        """Compute a product. May be captured."""
        ...

    # --------------------------------------------------------------------------------------- arrays of other libraries

    def holder(self, address: int) -> int | None:
        """The number of the GPU in whose memory an address lies; None for memory of the host."""
        ...

    def follow(self, stream: int | None) -> None:
        """What is queued from now on waits for what is queued in another stream now. None: the caller's stream."""
        ...

    def lead(self, stream: int | None) -> None:
        """What is queued in another stream from now on waits for everything queued here so far."""
        ...

    def fresh(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> tuple[int, object]:
        """An array for the caller, in memory of the caller's stream, and its address."""
        ...

    def gathered(self, array: DeviceArray) -> tuple[int, object]:
        """Queue copying an array with strides into fresh memory, in the order of C; its address, and what keeps it."""
        ...
