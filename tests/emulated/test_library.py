"""Products by a library: which are found, how its matrices lie, and that results are the CPU's but for rounding.

The emulated device computes each call from its descriptors alone, with NumPy.
"""

from __future__ import annotations

import ctypes
from typing import cast

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core.dtypes import float32
from graphc.core.errors import BackendError, UnsupportedError
from graphc.kernel import interpret
from graphc.kernel.verify import verify
from graphc_cupy import cublaslt
from graphc_cupy.backend import GpuBackend
from graphc_cupy.code import Code
from graphc_cupy.cublaslt import CublasLt, Functions
from graphc_cupy.phases import LibraryCall, phases
from graphc_cupy.products import Matmul, Matrix
from graphc_cupy.program import Multiply, rows_of
from graphc_cupy.recipes import schedule
from tests.acceptance.jobs import job
from tests.emulated.backend import EmulatedBackend
from tests.emulated.device import Misuse
from tests.emulated.kernels import needs_compiler
from tests.emulated.test_contractions import Function, array, bfloat, kernel_of, layer, product

CASES: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    "plain": (product, (array(40, 30), array(30, 20))),
    "left transposed": (lambda x, y: x.T @ y, (array(30, 40), array(30, 20))),
    "right transposed": (lambda x, y: x @ y.T, (array(40, 30), array(20, 30))),
    "both transposed": (lambda x, y: x.T @ y.T, (array(30, 40), array(20, 30))),
    "result transposed": (lambda x, y: (x @ y).T, (array(40, 30), array(30, 20))),
    "batched": (product, (array(3, 40, 30), array(3, 30, 20))),
    "one factor for all": (product, (array(3, 4, 40, 30), array(30, 20))),
    "two batches": (product, (array(3, 4, 40, 30), array(3, 4, 30, 20))),
    "layer": (layer, (array(40, 30), array(20, 30), array(20))),
    "bfloat16": (product, (bfloat(40, 33), bfloat(33, 18))),
    "bfloat16, even": (product, (bfloat(40, 34), bfloat(34, 18))),
    "float16": (product, (array(40, 33).astype(np.float16), array(33, 18).astype(np.float16))),
    "long": (product, (array(17, 9000), array(9000, 16))),
    "squares": (lambda x: x @ x.T, (array(20, 18),)),
    "computed operands": (lambda x, y: (x * 2.0) @ (y + 1.0), (array(40, 30), array(30, 20))),
}
OURS: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    "small": (product, (array(8, 30), array(30, 20))),
    "one row": (product, (array(1, 300), array(300, 200))),
    "float64": (product, (array(40, 30, dtype="float64"), array(30, 20, dtype="float64"))),
    "integers": (product, (np.ones((20, 20), np.int32), np.ones((20, 20), np.int32))),
    "no product": (lambda x: x.sum(0), (array(40, 30),)),
    "a factor that is one number": (lambda x: gnp.ones((40, 30)) @ x, (array(30, 20),)),
}


def calls(function: Function, *arrays: np.ndarray) -> list[LibraryCall]:
    kernel, _ = kernel_of(function, *arrays)
    scheduled = schedule(kernel, "float32").kernel
    verify(scheduled)
    return [each for each in phases(scheduled, "float32") if isinstance(each, LibraryCall)]


@pytest.mark.parametrize("name", CASES)
def test_products_are_one_call_each(name: str) -> None:
    function, arrays = CASES[name]
    assert len(calls(function, *arrays)) == 1


@pytest.mark.parametrize("name", OURS)
def test_what_a_library_is_no_good_at_is_ours(name: str) -> None:
    function, arrays = OURS[name]
    assert not calls(function, *arrays)


@pytest.mark.parametrize("name", [name for name in CASES if name != "long"])  # that takes the interpreter seconds
def test_steps_keep_the_meaning(name: str) -> None:
    """Bit for bit: the product is a nest of loops too."""
    kernel, inputs = kernel_of(CASES[name][0], *CASES[name][1])
    results = []
    for each in (kernel, schedule(kernel, "float32").kernel):
        given = iter(inputs)
        arrays = [
            next(given).copy() if p.mode == "in" else np.zeros(p.buffer.shape, p.buffer.dtype.numpy)
            for p in kernel.params
        ]
        interpret.run(each, arrays)
        results.append(arrays[-1])
    np.testing.assert_array_equal(*results)


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_calls_compute_the_product(emulated: EmulatedBackend, name: str) -> None:
    function, arrays = CASES[name]
    found = gc.compile(function, *arrays, backend="emulated", precision="library")(*arrays)
    wanted = gc.compile(function, *arrays, backend="cpu")(*arrays)
    assert found.dtype == wanted.dtype  # type: ignore[attr-defined]
    small = 1e-2 if "float16" in name else 1e-4 if name == "long" else 1e-5
    np.testing.assert_allclose(*(np.asarray(each, np.float64) for each in (found, wanted)), rtol=small, atol=small * 10)


@needs_compiler
def test_gradients_and_training_agree(emulated: EmulatedBackend) -> None:
    losses = []
    for backend, precision in (("cpu", "float32"), ("emulated", "library"), ("emulated", "tf32")):
        each = job(backend=backend, precision=precision)
        each.fit(epochs=3)
        losses.append(np.asarray(each.run("train", each.step, 1)[1]["loss"]))  # type: ignore[call-overload]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=2e-2)
    assert losses[2] != losses[0]


@needs_compiler
def test_tensor_cores_round_and_the_default_does_not(emulated: EmulatedBackend) -> None:
    x, y = CASES["plain"][1]
    exact = gc.compile(product, x, y, backend="cpu")(x, y)
    found = [gc.compile(product, x, y, backend="emulated", precision=p)(x, y) for p in ("float32", "tf32")]
    np.testing.assert_array_equal(found[0], exact)
    error = np.abs(cast(np.ndarray, found[1]) - cast(np.ndarray, exact)).max()
    assert 1e-5 < error < 2e-2


@needs_compiler
def test_calls_are_captured_and_prepared_before(emulated: EmulatedBackend) -> None:
    x, y = CASES["layer"][1][:2]
    exe = gc.compile(lambda a, b: gnp.tanh(a @ b.T), x, y, backend="emulated", precision="library")
    for _ in range(3):
        exe(x, y)
    log = emulated.device.log
    assert log.count("product") == 1 == log.count("begin_capture")
    assert log.index("product") < log.index("begin_capture")
    assert "cuBLASLt" in exe.text("cuda")


def test_other_precisions_are_refused(emulated: EmulatedBackend) -> None:
    for backend, message in (
        ("emulated", r"precision='half': the gpu backend has 'float32', 'library', 'tf32'"),
        ("cpu", r"precision='half': the cpu backend has only 'float32'"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            gc.compile(gnp.tanh, gc.spec((3,)), backend=backend, precision="half")


def test_a_layout_that_does_not_fit_is_found(emulated: EmulatedBackend) -> None:
    good = Matrix(20, 30, 20, 0, float32)
    for left, right, result in (
        (Matrix(20, 30, 19, 0, float32), Matrix(30, 40, 30, 0, float32), Matrix(20, 40, 20, 0, float32)),
        (good, Matrix(40, 30, 40, 0, float32), Matrix(20, 40, 20, 0, float32)),
        (good, Matrix(30, 40, 30, 0, float32), Matrix(40, 20, 40, 0, float32)),
    ):
        with pytest.raises(Misuse):
            emulated.device.product(Matmul(left, right, result, 30, 1, "float32"), 16)


# ----------------------------------------------------------------------------------------------------- the library


class Recorder:
    """Stands for the shared library: notes what is set, and has an algorithm or none."""

    def __init__(self, algorithms: int = 1, failing: str = "") -> None:
        self.algorithms, self.failing = algorithms, failing
        self.seen: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> int:
            if name == self.failing:
                return 7
            if name.endswith("SetAttribute"):
                value = arguments[2]._obj  # type: ignore[attr-defined]
                self.seen.append((name.removeprefix("cublasLt"), arguments[1], value.value))
            elif name == "cublasLtMatmulAlgoGetHeuristic":
                arguments[-1]._obj.value = self.algorithms  # type: ignore[attr-defined]
            else:
                values = [each.value for each in arguments if isinstance(each, ctypes._SimpleCData)]
                plain = [each for each in arguments if isinstance(each, int)]
                self.seen.append((name.removeprefix("cublasLt"), *plain, *values))
            return 0

        return call


MATMUL = Matmul(
    Matrix(30, 20, 32, 640, float32, is_transposed=True),
    Matrix(30, 40, 30, 0, float32),
    Matrix(20, 40, 24, 960, float32),
    depth=30,
    count=3,
    compute="tf32",
)


def test_descriptors_say_what_a_product_is() -> None:
    recorder = Recorder()
    library = CublasLt(cast(Functions, recorder))
    prepared = library.prepare(MATMUL, 8)
    assert ("MatmulDescCreate", 77, 0) in recorder.seen
    assert [each for each in recorder.seen if each[0] == "MatmulDescSetAttribute"] == [
        ("MatmulDescSetAttribute", 3, 1),
        ("MatmulDescSetAttribute", 4, 0),
    ]
    layouts = [each[1:] for each in recorder.seen if each[0] == "MatrixLayoutCreate"]
    assert layouts == [(0, 30, 20, 32), (0, 30, 40, 30), (0, 20, 40, 24)]
    batches = [each[1:] for each in recorder.seen if each[0] == "MatrixLayoutSetAttribute"]
    assert batches == [(5, 3), (6, 640), (5, 3), (6, 0), (5, 3), (6, 960)]
    preferences = [each[1:] for each in recorder.seen if each[0] == "MatmulPreferenceSetAttribute"]
    assert preferences == [(1, 32 << 20), (5, 8), (6, 8), (7, 8), (8, 8)]
    library.multiply(prepared, (4096, 8192, 12288), 512, 99)
    name, *values = recorder.seen[-1]
    assert name == "Matmul"
    assert [v for v in values if v] == [4096, 8192, 12288, 12288, 512, 32 << 20, 99]
    assert ctypes.sizeof(cublaslt._Heuristic) == 96


def test_failures_name_the_function() -> None:
    with pytest.raises(BackendError, match="cuBLASLt has no algorithm for Matmul"):
        CublasLt(cast(Functions, Recorder(algorithms=0))).prepare(MATMUL, 16)
    with pytest.raises(BackendError, match="cublasLtCreate failed with status 7"):
        CublasLt(cast(Functions, Recorder(failing="cublasLtCreate")))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublaslt, "_places", lambda: iter(["libnothing.so.1"]))
    with pytest.raises(BackendError, match=r'pip install "graphc\[gpu,cublas\]" \(libnothing.so.1: '):
        cublaslt.open_library()
    (row,) = [row for row in GpuBackend().doctor() if row[0] == "cuBLASLt"]
    assert row[1] is None and "need cuBLASLt" in row[2]  # missing, and nothing is wrong with that


@needs_compiler
def test_products_are_kept_on_disk(emulated: EmulatedBackend) -> None:
    x, y = CASES["batched"][1]
    exe = gc.compile(product, x, y, backend="emulated", precision="library")
    code = exe._executable.code  # type: ignore[attr-defined]
    assert any(
        isinstance(each, Multiply) for items in code.entries.values() for row in rows_of(items) for each in row.queued
    )
    assert Code.from_bytes(code.to_bytes()) == code
