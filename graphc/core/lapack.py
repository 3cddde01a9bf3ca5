"""Where LAPACK's functions are in this process: those SciPy brings, in its module `scipy.linalg.cython_lapack`.

They are C functions that take addresses only and need no interpreter. SciPy's OpenBLAS is told to use one thread when
the first of them is looked up, for the whole process: how work is shared out would otherwise show in the last bits, and
graphc's own threads take a matrix each.
"""

import ctypes
from functools import cache
from importlib import import_module
from pathlib import Path

from graphc.core.errors import BackendError


@cache
def address(function: str) -> int:
    """The address of a function such as "dgesdd". Raises `BackendError` when SciPy is missing."""
    try:
        capsules = import_module("scipy.linalg.cython_lapack").__pyx_capi__
    except ImportError as error:
        advice = 'pip install "graphc[linalg]"'
        raise BackendError(f"{function} is a function of LAPACK, which comes with SciPy: {advice}") from error
    if function not in capsules:
        raise BackendError(f"SciPy's LAPACK has no function {function}")
    _use_one_thread()
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = capsules[function]
    found = pointer_of(capsule, name_of(capsule))
    assert isinstance(found, int)
    return found


@cache
def _use_one_thread() -> None:
    package = Path(str(import_module("scipy").__file__)).parent
    for path in (*package.parent.glob("scipy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")):
        try:
            set_threads = ctypes.CDLL(str(path)).scipy_openblas_set_num_threads
        except (OSError, AttributeError):
            continue  # of another kind, or of another machine
        set_threads(1)
