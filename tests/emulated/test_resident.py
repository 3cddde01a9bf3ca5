"""Arrays of other libraries on the device: taken where they lie, in the order of streams, kept until they are read."""

from __future__ import annotations

import ctypes
import gc as collector
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.errors import ArgumentError, CopyWarning, DTypeError, ShapeError
from graphc.runtime.device_arrays import DeviceArray, _Tensor, described, lies_on_gpu
from graphc_cupy.device import Event
from tests.emulated.backend import EmulatedBackend
from tests.emulated.device import EmulatedDevice, Resident, Stream
from tests.emulated.kernels import needs_compiler
from tests.emulated.test_driver import BATCH, N, program

pytestmark = needs_compiler


def resident(device: EmulatedDevice, array: np.ndarray, stream: int | None = None) -> Resident:
    """An array on the device whose elements are still to be computed, in the caller's stream or that one."""
    found = Resident(device, array.shape, array.dtype, stream)
    place = found.content()
    (device.caller if stream is None else device.others[stream]).put(lambda: place.__setitem__(..., array))
    return found


def read(device: EmulatedDevice, array: object) -> np.ndarray:
    """What the caller sees who reads an array in his stream."""
    assert isinstance(array, Resident)
    seen: list[np.ndarray] = []
    place = array.content()
    device.caller.put(lambda: seen.append(place.copy()))
    device.caller.drain()
    return seen[0]


def function(x, y):  # type: ignore[no-untyped-def]
    return gnp.tanh(x @ y), x.sum(0)


X = np.linspace(-1, 1, 60, dtype=np.float32).reshape(10, 6)
Y = np.linspace(-2, 2, 24, dtype=np.float32).reshape(6, 4)


def compiled(backend: str = "emulated") -> Callable[..., tuple[object, object]]:
    return gc.compile(function, X, Y, backend=backend)  # type: ignore[return-value]


def test_results_lie_where_arguments_do(emulated: EmulatedBackend) -> None:
    exe, wanted = compiled(), compiled("cpu")(X, Y)
    device = emulated.device
    for _ in range(4):  # queued as it is, captured, replayed
        x, y = resident(device, X), resident(device, Y)
        for got, want in zip(exe(x, y), wanted, strict=True):
            np.testing.assert_array_equal(read(device, got), want)
    for got, want in zip(exe(X, Y), wanted, strict=True):
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, want)


def test_nothing_waits_and_nothing_is_copied(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    x, y = resident(device, X), resident(device, Y)
    for _ in range(3):
        results = exe(x, y)
        del results
    device.log.clear()
    results = exe(x, y)
    assert not {"synchronize", "wait", "download", "copy", "gather"} & set(device.log)
    assert device.log.count("upload") == 1  # the number of the step
    np.testing.assert_array_equal(read(device, results[1]), compiled("cpu")(X, Y)[1])


def test_calls_with_the_same_addresses_are_captured_once(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    x, y = resident(device, X), resident(device, Y)
    places: list[object] = [Resident(device, (10, 4), np.float32), Resident(device, (6,), np.float32)]
    device.fresh = lambda shape, dtype: next((p.address, p) for p in places if p.shape == shape)  # type: ignore[assignment, misc]
    device.log.clear()
    for _ in range(5):
        exe(x, y)
    assert device.log.count("begin_capture") == 1
    assert device.log.count("replay") == 4
    np.testing.assert_array_equal(read(device, places[0]), compiled("cpu")(X, Y)[0])


def test_arguments_are_kept_until_they_are_read(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    results = exe(resident(device, X), resident(device, Y))
    collector.collect()
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])
    held = len(device._blocks)
    exe(resident(device, X), resident(device, Y))  # what the first call needed is let go of
    collector.collect()
    assert len(device._blocks) == held + 2  # of the new one: two arguments and two results; of the old one two results


def test_a_program_that_goes_finishes_first(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    results = exe(resident(device, X), resident(device, Y))
    del exe
    collector.collect()
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


def test_the_owners_stream_comes_first_and_waits(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    device.others[3] = Stream()
    x = resident(device, X, stream=3)
    results = exe(x, resident(device, Y))
    place = x.content()
    device.others[3].put(lambda: place.fill(9))  # the owner writes to it at once
    device.others[3].drain()
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


@pytest.mark.parametrize("method", ["follow", "lead"])
def test_a_missing_order_is_found(emulated: EmulatedBackend, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmulatedDevice, method, lambda self, stream: None)
    exe, device = compiled(), emulated.device
    results = exe(resident(device, X), resident(device, Y))
    if method == "follow":
        device.synchronize()
    assert not np.array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


def test_an_argument_let_go_of_is_found(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc_cupy.executable.GpuExecutable._forget", lambda self: None)
    exe, device = compiled(), emulated.device
    x, y = resident(device, X), resident(device, Y)
    device.caller.drain()
    results = exe(x, y)
    del x, y
    exe._executable._calls.clear()  # type: ignore[attr-defined]
    collector.collect()
    assert not np.array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


def test_arrays_of_the_host_go_along(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    mine = Y.copy()
    results = exe(resident(device, X), mine)
    mine[:] = 0  # before it is read
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


def strided(device: EmulatedDevice, array: np.ndarray) -> Resident:
    """The same elements, each row as a column in memory."""
    found = resident(device, np.ascontiguousarray(array.T))
    found.shape, found.strides = array.shape, (array.itemsize, array.itemsize * array.shape[0])
    return found


def test_arrays_with_strides_are_kept_until_they_are_copied(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    x = strided(device, X)
    device.caller.drain()
    results = exe(x, resident(device, Y))
    del x
    collector.collect()
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])


def test_strides_are_copied_and_large_ones_reported(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    results = exe(strided(device, X), resident(device, Y))
    np.testing.assert_array_equal(read(device, results[0]), compiled("cpu")(X, Y)[0])
    large = np.ones((600, 500), np.float32)
    total = gc.compile(lambda big: big.sum(), large, backend="emulated")
    with pytest.warns(CopyWarning, match=r"argument big: 1,200,000 bytes are copied at each call because of its strid"):
        (result,) = (total(strided(device, large)),)
    assert read(device, result) == 300_000


def test_large_arrays_of_the_host_are_reported(emulated: EmulatedBackend) -> None:
    large = np.ones((600, 500), np.float32)
    exe = gc.compile(lambda x, y: x + y, large, np.float32(1), backend="emulated")
    with pytest.warns(CopyWarning, match=r"argument x: 1,200,000 bytes .* it lies in the memory of the host"):
        exe(large, resident(emulated.device, np.array(1, np.float32)))


def test_mistakes_are_named(emulated: EmulatedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    exe, device = compiled(), emulated.device
    x, y = resident(device, X), resident(device, Y)
    with pytest.raises(DTypeError, match=r"argument y: expected f32\[6,4\], got f64\[6,4\] on the GPU; cast it"):
        exe(x, resident(device, Y.astype("f8")))
    with pytest.raises(ShapeError, match=r"argument x: expected f32\[10,6\], got f32\[6,4\] on the GPU"):
        exe(y, y)
    with pytest.raises(ArgumentError, match=r"argument x: Resident lies on a GPU.*compiled with backend='gpu'"):
        compiled("cpu")(x, y)
    with pytest.raises(ArgumentError, match="compiled for arguments"):
        exe(x)
    with pytest.raises(ArgumentError, match="profile: pass arrays of the host"):
        compiled().profile(X, resident(device, Y))  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match=r"argument state\.x: Resident lies on a GPU"):
        gc.program({"x": x}, {"go": lambda s, b, t: (s, ())}, backend="emulated")
    monkeypatch.setattr(device, "holder", lambda address: 1)
    with pytest.raises(
        ArgumentError, match="argument x: it lies in the memory of device 1, the program is on device 0"
    ):
        exe(x, y)
    monkeypatch.setattr(device, "holder", lambda address: None)
    with pytest.raises(ArgumentError, match=r"argument x: it lies in no memory of a GPU \(it is the host's, or was"):
        exe(x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typestr": ">f4"}, "its elements '>f4' have the other byte order"),
        ({"strides": (4,)}, r"does not share its memory: its shape is \(10, 6\) and its strides are \(4,\)"),
        ({"shape": (-10, 6)}, r"does not share its memory: its shape is \(-10, 6\)"),
        ({"shape": "ab"}, "does not share its memory: 'str' object cannot be"),
        ({"data": 5}, "does not share its memory: cannot unpack"),
    ],
)
def test_a_wrong_description_is_named(emulated: EmulatedBackend, changes: dict[str, object], message: str) -> None:
    exe, x = compiled(), resident(emulated.device, X)

    class Wrong:
        __cuda_array_interface__ = x.__cuda_array_interface__ | changes

    with pytest.raises((ArgumentError, DTypeError), match=f"argument x: .*{message}"):
        exe(Wrong(), Y)
    assert exe(x, resident(emulated.device, Y))


def test_jitted_functions_take_them(emulated: EmulatedBackend) -> None:
    device = emulated.device
    jitted = gc.jit(lambda x: {"twice": x["a"] * 2}, backend="emulated")
    for _ in range(2):
        results = jitted({"a": resident(device, X)})
        np.testing.assert_array_equal(read(device, results["twice"]), X * 2)  # type: ignore[index]
    assert jitted.cache_info().misses == 1


def test_programs_take_them(emulated: EmulatedBackend) -> None:
    device = emulated.device
    ours, theirs = program("emulated"), program("cpu")
    for step in range(3):
        got = ours.call("go", resident(device, BATCH), step=step)
        np.testing.assert_array_equal(read(device, got), theirs.call("go", BATCH, step=step))
    (_, mine), (_, cpus) = (
        each.run("go", batch, n=20) for each, batch in ((ours, resident(device, BATCH)), (theirs, BATCH))
    )
    np.testing.assert_array_equal(mine, cpus)
    np.testing.assert_array_equal(ours.state["x"], theirs.state["x"])
    assert ours.state["x"].shape == (N,)


def test_the_host_is_a_bounded_number_of_calls_ahead(emulated: EmulatedBackend) -> None:
    exe, device = compiled(), emulated.device
    x, y = resident(device, X), resident(device, Y)
    device.is_reached = lambda event: False  # type: ignore[method-assign]
    waited: list[Event] = []
    device.wait = waited.append  # type: ignore[method-assign, assignment]
    for _ in range(70):
        exe(x, y)
    assert len(waited) == 5
    assert len(exe._executable._calls) == 65  # type: ignore[attr-defined]
    exe._executable._calls.clear()  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ what owners tell us


class Exporter:
    """An array that shares its memory by DLPack, on a made-up card."""

    def __init__(self, shape: tuple[int, ...], code: int, bits: int, strides: tuple[int, ...] | None = None) -> None:
        self._sizes = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        self._strides = (ctypes.c_int64 * max(len(shape), 1))(*(strides or ()))
        pointer = ctypes.POINTER(ctypes.c_int64)
        self._tensor = _Tensor(
            *(0x7F00_0000_0000, 2, 1, len(shape), code, bits, 1),
            ctypes.cast(self._sizes, pointer),
            ctypes.cast(self._strides, pointer) if strides else None,
            16,
        )
        self.streams: list[int | None] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 1

    def __dlpack__(self, *, stream: int | None = None) -> object:
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self._tensor), b"dltensor", None)


def test_dlpack_is_read() -> None:
    given = Exporter((3, 4), 2, 32, (1, 3))
    assert lies_on_gpu(given)
    found = described(given, "x", stream=7)
    assert (found.address, found.shape, found.dtype) == (0x7F00_0000_0010, (3, 4), np.dtype("f4"))
    assert (found.strides, found.device, found.is_contiguous) == ((4, 12), 1, False)
    assert given.streams == [7]
    described(given, "x")
    assert given.streams == [7, -1]
    assert described(Exporter((2,), 4, 16), "x").dtype.name == "bfloat16"
    assert described(Exporter((), 6, 8), "x").dtype == np.bool_
    assert described(Exporter((2, 5), 0, 64, (5, 1)), "x").is_contiguous
    with pytest.raises(DTypeError, match=r"argument x: .* not known here \(DLPack 2, 4 bits\)"):
        described(Exporter((1,), 2, 4), "x")


def test_who_does_not_share_is_named() -> None:
    class Refuses(Exporter):
        def __dlpack__(self, *, stream: int | None = None) -> object:
            raise BufferError("it requires a gradient")

    with pytest.raises(ArgumentError, match="argument x: Refuses does not share its memory: it requires a gradient"):
        described(Refuses((1,), 2, 32), "x")
    with pytest.raises(ArgumentError, match="argument weight: Refuses does not share its memory"):
        gc.compile(lambda x, weight: x + weight, gc.spec((1,)), Refuses((1,), 2, 32), backend="reference")


def test_arrays_of_the_host_are_none_of_ours() -> None:
    assert not any(map(lies_on_gpu, (np.zeros(3), 1.0, [1], np.float32(1), memoryview(b"ab"))))


def test_contiguity_is_that_of_numpy() -> None:
    for shape in [(), (1,), (3, 1), (2, 3), (0, 2)]:
        for view in (np.zeros(shape), np.zeros(shape).T, np.zeros((*shape, 2))[..., 0]):
            found = DeviceArray(0, view.shape, view.dtype, view.strides, 0, None, None)
            assert found.is_contiguous == view.flags.c_contiguous, (view.shape, view.strides)
