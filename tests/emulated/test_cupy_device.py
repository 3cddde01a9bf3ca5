"""How a card is asked through CuPy: with a module in its place that notes the calls."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from unittest.mock import MagicMock

import numpy as np
import pytest

from graphc.core.errors import BackendError
from graphc.runtime.device_arrays import DeviceArray
from graphc_cupy import nvrtc
from graphc_cupy.cupy_device import CupyDevice
from graphc_cupy.device import Event, Function

ADDRESS = 0x7F00_0000_0000


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[MagicMock]:
    """Stands for CuPy on a machine with one card."""
    module = MagicMock()
    properties = {"name": b"A card", "totalGlobalMem": 80 << 30, "multiProcessorCount": 132, "l2CacheSize": 50 << 20}
    properties["maxThreadsPerMultiProcessor"] = 2048  # type: ignore[assignment]
    module.cuda.runtime.getDeviceProperties.return_value = properties
    module.cuda.Device.return_value.compute_capability = "90"
    module.cuda.runtime.memGetInfo.return_value = (1 << 30, 80 << 30)
    module.cuda.Memory.return_value.ptr = ADDRESS
    module.cuda.alloc_pinned_memory.side_effect = bytearray
    module.cuda.get_elapsed_time.return_value = 2.0
    module.cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(nvrtc, "cubin", lambda source, arch: f"{arch} {source}".encode())
    yield module


def test_memory(cupy: MagicMock) -> None:
    device = CupyDevice(0)
    assert device.description == "A card, 80 GiB, sm_90"
    assert device.allocate(1000) == ADDRESS
    assert device.pinned(10).shape == (10,)
    assert device.pinned(0).shape == (0,)
    with pytest.raises(BackendError, match=r"do not fit A card, 80 GiB, sm_90, of which 1073741824 are free"):
        device.allocate(2 << 30)
    device.release(ADDRESS)
    with pytest.raises(KeyError):
        device.release(ADDRESS)  # nothing is left to give back


def test_functions_are_loaded_before_a_capture(cupy: MagicMock) -> None:
    found = CupyDevice(0).load(b"code", {"small": 16, "large": 60_000})
    module = cupy.cuda.function.Module.return_value
    module.load.assert_called_once_with(b"code")
    assert set(found) == {"small", "large"}
    assert cupy.cuda.driver.funcGetAttribute.call_count == 2
    cupy.cuda.driver.funcSetAttribute.assert_called_once_with(module.get_function.return_value.ptr, 8, 60_000)


def test_code_that_the_driver_refuses(cupy: MagicMock) -> None:
    cupy.cuda.driver.CUDADriverError = RuntimeError
    cupy.cuda.function.Module.return_value.load.side_effect = RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU")
    with pytest.raises(BackendError, match="A card, 80 GiB, sm_90 does not load the code: CUDA_ERROR_NO_BINARY"):
        CupyDevice(0).load(b"code", {"small": 16})


def test_a_launch_hands_over_words(cupy: MagicMock) -> None:
    seen: list[tuple[object, ...]] = []

    def launch(function: int, *rest: int) -> None:
        *shape, _, parameters, extra = rest
        words = (ctypes.c_void_p * 2).from_address(parameters)
        seen.append((function, shape, extra, [ctypes.c_int64.from_address(word or 0).value for word in words]))

    cupy.cuda.driver.launchKernel.side_effect = launch
    CupyDevice(0).launch(Function(MagicMock(ptr=5)), 3, 64, 128, [ADDRESS, -7])
    assert seen == [(5, [3, 1, 1, 64, 1, 1, 128], 0, [ADDRESS, -7])]


def test_everything_is_queued_in_one_stream(cupy: MagicMock) -> None:
    device = CupyDevice(0)
    stream = cupy.cuda.Stream.return_value
    host = np.zeros(4, np.uint8)
    device.upload(ADDRESS, host)
    device.download(host, ADDRESS)
    device.copy(ADDRESS, ADDRESS + 256, 4)
    runtime, here = cupy.cuda.runtime, host.ctypes.data
    assert [call.args for call in runtime.memcpyAsync.call_args_list] == [
        (ADDRESS, here, 4, runtime.memcpyHostToDevice, stream.ptr),
        (here, ADDRESS, 4, runtime.memcpyDeviceToHost, stream.ptr),
        (ADDRESS, ADDRESS + 256, 4, runtime.memcpyDeviceToDevice, stream.ptr),
    ]
    device.begin_capture()
    graph = device.end_capture()
    device.replay(graph)
    stream.end_capture.return_value.launch.assert_called_once_with(stream)
    event = device.record()
    cupy.cuda.Event.return_value.record.assert_called_once_with(stream)
    device.wait(event)
    assert device.seconds(event, event) == pytest.approx(0.002)
    device.synchronize()
    stream.synchronize.assert_called_once_with()


def test_a_capture_notes_down_what_its_own_thread_asks_for(cupy: MagicMock) -> None:
    streams = [MagicMock(ptr=number) for number in (1, 2)]
    cupy.cuda.Stream.side_effect = streams
    used: list[int] = []
    cupy.cuda.driver.launchKernel.side_effect = lambda *arguments: used.append(arguments[8])
    device = CupyDevice(0)

    def launch() -> None:
        device.launch(Function(MagicMock(ptr=5)), 1, 32, 0, [ADDRESS])

    launch()
    device.begin_capture()
    launch()
    other = threading.Thread(target=launch)
    other.start()
    other.join()
    graph = device.end_capture()
    launch()
    assert used == [1, 2, 1, 1]
    assert graph is streams[1].end_capture.return_value
    device.replay(graph)
    streams[1].end_capture.return_value.launch.assert_called_once_with(streams[0])


def test_work_is_ordered_with_other_streams(cupy: MagicMock) -> None:
    device = CupyDevice(0)
    ours, event = cupy.cuda.Stream.return_value, cupy.cuda.Event.return_value
    caller, other = cupy.cuda.get_current_stream.return_value, cupy.cuda.ExternalStream.return_value
    device.follow(None)
    event.record.assert_called_once_with(caller)
    ours.wait_event.assert_called_once_with(event)
    device.lead(5)
    cupy.cuda.ExternalStream.assert_called_once_with(5, 0)
    event.record.assert_called_with(ours)
    other.wait_event.assert_called_once_with(event)
    event.done = False
    assert not device.is_reached(Event(event))
    ours.synchronize.assert_not_called()


def test_arrays_of_others(cupy: MagicMock) -> None:
    device = CupyDevice(0)
    attributes = cupy.cuda.runtime.pointerGetAttributes.return_value
    for kind, holder in ((0, None), (1, None), (2, 3), (3, 3)):
        attributes.type, attributes.device = kind, 3
        assert device.holder(ADDRESS) == holder
    cupy.empty.return_value.data.ptr = ADDRESS
    assert device.fresh((2, 3), np.dtype("f4")) == (ADDRESS, cupy.empty.return_value)
    cupy.empty.assert_called_once_with((2, 3), np.dtype("f4"))
    owner = object()
    strided = DeviceArray(ADDRESS, (2, 3), np.dtype("f4"), (4, 8), 0, None, owner)
    cupy.ascontiguousarray.return_value.data.ptr = ADDRESS + 256
    assert device.gathered(strided) == (ADDRESS + 256, cupy.ascontiguousarray.return_value)
    cupy.cuda.UnownedMemory.assert_called_once_with(ADDRESS, 24, owner, 0)
    assert cupy.ndarray.call_args.args == ((2, 3), np.dtype("f4"))
    assert cupy.ndarray.call_args.kwargs["strides"] == (4, 8)
