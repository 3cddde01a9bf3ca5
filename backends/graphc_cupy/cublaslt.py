"""cuBLASLt through ctypes: CuPy has no binding of it, and its own products refuse to be captured.

Only what `Device.product` and `Device.multiply` need. A product is prepared once, which chooses an algorithm, and may
be queued in a captured step then: it takes its workspace from the caller. Numbers are those of cublasLt.h.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from graphc.core.errors import BackendError
from graphc_cupy.products import Matmul, Matrix

WORKSPACE = 32 * 1024 * 1024  # bytes: what NVIDIA recommends for its larger cards
NAMES = ("libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so")

REAL = {"float32": 0, "float16": 2, "bfloat16": 14}  # cudaDataType
COMPUTE = {"float32": 68, "tf32": 77}  # cublasComputeType
TRANS_A, TRANS_B = 3, 4  # cublasLtMatmulDescAttributes
BATCH_COUNT, BATCH_STRIDE = 5, 6  # cublasLtMatrixLayoutAttribute
MOST_WORKSPACE, LEAST_ALIGNMENT = 1, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes: of A, B, C, D
TRANSPOSED = 1  # cublasOperation


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = [
        ("algorithm", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    ]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A product, ready to be queued: descriptors and the algorithm."""

    operation: ctypes.c_void_p
    layouts: tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]  # of left, right, result
    algorithm: _Heuristic
    alpha: ctypes.c_float
    beta: ctypes.c_float


class Functions(Protocol):
    """The functions of the shared library, by name."""

    def __getattr__(self, name: str) -> "ctypes._NamedFuncPointer": ...


class CublasLt:
    """One handle. Calls name the function that failed, and its status."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._handle = ctypes.c_void_p()
        self._call("cublasLtCreate", ctypes.byref(self._handle))

    def prepare(self, matmul: Matmul, alignment: int) -> Prepared:
        """Choose how to compute a product. Raises `BackendError` when there is no way."""
        operation = ctypes.c_void_p()
        compute, scale = COMPUTE[matmul.compute], REAL["float32"]
        self._call("cublasLtMatmulDescCreate", ctypes.byref(operation), compute, scale)
        for attribute, matrix in ((TRANS_A, matmul.left), (TRANS_B, matmul.right)):
            value = ctypes.c_int32(TRANSPOSED if matrix.is_transposed else 0)
            self._set("cublasLtMatmulDescSetAttribute", operation, attribute, value)
        left, right, result = (self._layout(each, matmul.count) for each in (matmul.left, matmul.right, matmul.result))
        preference = ctypes.c_void_p()
        self._call("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        self._set("cublasLtMatmulPreferenceSetAttribute", preference, MOST_WORKSPACE, ctypes.c_uint64(WORKSPACE))
        for attribute in LEAST_ALIGNMENT:
            value_ = ctypes.c_uint32(alignment)
            self._set("cublasLtMatmulPreferenceSetAttribute", preference, attribute, value_)
        found, count = _Heuristic(), ctypes.c_int(0)
        given = (self._handle, operation, left, right, result, result, preference, 1)
        self._call("cublasLtMatmulAlgoGetHeuristic", *given, ctypes.byref(found), ctypes.byref(count))
        self._call("cublasLtMatmulPreferenceDestroy", preference)
        if not count.value or found.status:
            raise BackendError(f"cuBLASLt has no algorithm for {matmul}")
        return Prepared(operation, (left, right, result), found, ctypes.c_float(1), ctypes.c_float(0))

    def multiply(self, product: Prepared, places: tuple[int, int, int], workspace: int, stream: int) -> None:
        """Queue a product. `places`: the addresses of left, right and result."""
        a, b, c = (ctypes.c_void_p(place) for place in places)
        left, right, result = product.layouts
        self._call(
            "cublasLtMatmul",
            *(self._handle, product.operation, ctypes.byref(product.alpha), a, left, b, right),
            *(ctypes.byref(product.beta), c, result, c, result, ctypes.byref(product.algorithm)),
            *(ctypes.c_void_p(workspace), ctypes.c_size_t(WORKSPACE), ctypes.c_void_p(stream)),
        )

    def _layout(self, matrix: Matrix, count: int) -> ctypes.c_void_p:
        layout = ctypes.c_void_p()
        sizes = ctypes.c_uint64(matrix.rows), ctypes.c_uint64(matrix.columns), ctypes.c_int64(matrix.leading)
        self._call("cublasLtMatrixLayoutCreate", ctypes.byref(layout), REAL[matrix.dtype.name], *sizes)
        self._set("cublasLtMatrixLayoutSetAttribute", layout, BATCH_COUNT, ctypes.c_int32(count))
        self._set("cublasLtMatrixLayoutSetAttribute", layout, BATCH_STRIDE, ctypes.c_int64(matrix.batch))
        return layout

    def _set(self, function: str, of: ctypes.c_void_p, attribute: int, value: "ctypes._SimpleCData[int]") -> None:
        self._call(function, of, attribute, ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value)))

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self._functions, function)(*arguments)
        if status:
            raise BackendError(f"{function} failed with status {status}")


def open_library() -> CublasLt:
    """cuBLASLt of this machine. Raises `BackendError` saying how to get it."""
    return CublasLt(ctypes.CDLL(find()))


def find() -> str:
    """The file of the shared library. Raises `BackendError` saying what was tried and how to get it."""
    problems: list[str] = []
    for name in _places():
        try:
            ctypes.CDLL(name)
        except OSError as error:
            problems.append(str(error))
        else:
            return name
    tried = "; ".join(problems)
    raise BackendError(f'products by a library need cuBLASLt: pip install "graphc[gpu,cublas]" ({tried})')


def _places() -> Iterator[str]:
    """Where the shared library may be: in NVIDIA's packages, then wherever the system looks."""
    found = find_spec("nvidia")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        yield from sorted(map(str, Path(folder).glob("*/lib/libcublasLt.so.*")))
    yield from NAMES
