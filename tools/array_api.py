"""docs/array_api.md: every function of the Python array API standard 2024.12, and its state in `graphc.numpy`.

`python -m tools.array_api` prints the document; a test compares it with the file. States are found in the code: a
function is there when it takes the parameters of the standard; one that is annotated as never returning raises an
error, whose advice is copied. What differs in meaning is written down in `DIFFERS`, and nowhere else.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NoReturn

import numpy as np

import graphc.numpy as gnp
from graphc.core.errors import GraphcError
from graphc.tracing import Tracer, spec, trace

# The standard's names and parameters; `_` is one that is given by position only.
NAMESPACE = {
    "Creation": """
        arange(_,stop,step,dtype,device) asarray(_,dtype,device,copy) empty(shape,dtype,device)
        empty_like(_,dtype,device) eye(_,_,k,dtype,device) from_dlpack(_,device,copy)
        full(shape,fill_value,dtype,device) full_like(_,fill_value,dtype,device)
        linspace(_,_,num,dtype,device,endpoint) meshgrid(*arrays,indexing) ones(shape,dtype,device)
        ones_like(_,dtype,device) tril(_,k) triu(_,k) zeros(shape,dtype,device) zeros_like(_,dtype,device)
    """,
    "Dtypes": """
        astype(_,_,copy,device) can_cast(_,_) finfo(_) iinfo(_) isdtype(dtype,kind) result_type(*arrays_and_dtypes)
        bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
    """,
    "Elementwise": """
        abs(_) acos(_) acosh(_) add(_,_) asin(_) asinh(_) atan(_) atan2(_,_) atanh(_) bitwise_and(_,_)
        bitwise_left_shift(_,_) bitwise_invert(_) bitwise_or(_,_) bitwise_right_shift(_,_) bitwise_xor(_,_) ceil(_)
        clip(_,min,max) conj(_) copysign(_,_) cos(_) cosh(_) divide(_,_) equal(_,_) exp(_) expm1(_) floor(_)
        floor_divide(_,_) greater(_,_) greater_equal(_,_) hypot(_,_) imag(_) isfinite(_) isinf(_) isnan(_) less(_,_)
        less_equal(_,_) log(_) log1p(_) log2(_) log10(_) logaddexp(_,_) logical_and(_,_) logical_not(_)
        logical_or(_,_) logical_xor(_,_) maximum(_,_) minimum(_,_) multiply(_,_) negative(_) nextafter(_,_)
        not_equal(_,_) positive(_) pow(_,_) real(_) reciprocal(_) remainder(_,_) round(_) sign(_) signbit(_) sin(_)
        sinh(_) square(_) sqrt(_) subtract(_,_) tan(_) tanh(_) trunc(_)
    """,
    "Indexing": "take(_,_,axis) take_along_axis(_,_,axis)",
    "Linear algebra": "matmul(_,_) matrix_transpose(_) tensordot(_,_,axes) vecdot(_,_,axis)",
    "Manipulation": """
        broadcast_arrays(*arrays) broadcast_to(_,shape) concat(_,axis) expand_dims(_,axis) flip(_,axis)
        moveaxis(_,_,_) permute_dims(_,axes) repeat(_,_,axis) reshape(_,shape,copy) roll(_,shift,axis) squeeze(_,axis)
        stack(_,axis) tile(_,_) unstack(_,axis)
    """,
    "Searching": """
        argmax(_,axis,keepdims) argmin(_,axis,keepdims) count_nonzero(_,axis,keepdims) nonzero(_)
        searchsorted(_,_,side,sorter) where(_,_,_)
    """,
    "Sets": "unique_all(_) unique_counts(_) unique_inverse(_) unique_values(_)",
    "Sorting": "argsort(_,axis,descending,stable) sort(_,axis,descending,stable)",
    "Statistics": """
        cumulative_sum(_,axis,dtype,include_initial) cumulative_prod(_,axis,dtype,include_initial)
        max(_,axis,keepdims) mean(_,axis,keepdims) min(_,axis,keepdims) prod(_,axis,dtype,keepdims)
        std(_,axis,correction,keepdims) sum(_,axis,dtype,keepdims) var(_,axis,correction,keepdims)
    """,
    "Utilities": "all(_,axis,keepdims) any(_,axis,keepdims) diff(_,axis,n,prepend,append)",
    "Constants": "e inf nan newaxis pi",
    "Inspection": "__array_namespace_info__()",
}
EXTENSIONS = {
    "linalg": """
        cholesky(_,upper) cross(_,_,axis) det(_) diagonal(_,offset) eigh(_) eigvalsh(_) inv(_) matmul(_,_)
        matrix_norm(_,keepdims,ord) matrix_power(_,_) matrix_rank(_,rtol) matrix_transpose(_) outer(_,_) pinv(_,rtol)
        qr(_,mode) slogdet(_) solve(_,_) svd(_,full_matrices) svdvals(_) tensordot(_,_,axes) trace(_,offset,dtype)
        vecdot(_,_,axis) vector_norm(_,axis,keepdims,ord)
    """,
    "fft": """
        fft(_,n,axis,norm) ifft(_,n,axis,norm) fftn(_,s,axes,norm) ifftn(_,s,axes,norm) rfft(_,n,axis,norm)
        irfft(_,n,axis,norm) rfftn(_,s,axes,norm) irfftn(_,s,axes,norm) hfft(_,n,axis,norm) ihfft(_,n,axis,norm)
        fftfreq(_,d,dtype,device) rfftfreq(_,d,dtype,device) fftshift(_,axes) ifftshift(_,axes)
    """,
}
TRACED = """
    T device dtype mT ndim shape size __abs__() __add__(_) __and__(_) __array_namespace__(api_version) __bool__()
    __complex__() __dlpack__(stream,max_version,dl_device,copy) __dlpack_device__() __eq__(_) __float__()
    __floordiv__(_) __ge__(_) __getitem__(_) __gt__(_) __index__() __int__() __invert__() __le__(_) __lshift__(_)
    __lt__(_) __matmul__(_) __mod__(_) __mul__(_) __ne__(_) __neg__() __or__(_) __pos__() __pow__(_) __rshift__(_)
    __setitem__(_,_) __sub__(_) __truediv__(_) __xor__(_) to_device(_,stream)
"""

# What is there under the standard's name and means something else, or less.
DIFFERS = {
    "__getitem__": "a mask must be known while tracing; `where(mask, x, other)` takes a traced one",
    "astype": "float to integer saturates, and NaN becomes 0, where the standard leaves it open",
    "empty": "zeros: nothing is left undefined",
    "empty_like": "zeros: nothing is left undefined",
    "from_dlpack": "takes what lies in the host's memory; while tracing, as a constant",
    "repeat": "several repetitions must be known while tracing, since the shape depends on them",
    "take": "an index outside is an error if it is known while tracing; a traced one takes the nearest element",
}

# Functions that the standard wants for complex numbers too.
_COMPLEX = """
    abs acos acosh add asin asinh atan atanh conj cos cosh divide equal exp expm1 imag isfinite isinf isnan log log1p
    log2 log10 multiply negative not_equal positive pow real reciprocal round sign sin sinh square sqrt subtract tan
    tanh matmul matrix_transpose vecdot cumulative_sum cumulative_prod mean prod sum diff all any
"""

# Attributes of arrays that traced values have no use for.
_WITHOUT = {
    "__dlpack__": "a traced value has no memory; return it from the program",
    "__dlpack_device__": "a traced value has no memory; return it from the program",
    "device": "`jit(..., backend=...)` says where a program runs",
    "to_device": "`jit(..., backend=...)` says where a program runs",
}


@dataclass(frozen=True)
class Row:
    """One name of the standard. `state` is yes, differs, cannot or not yet."""

    name: str
    state: str
    note: str = ""


def _items(text: str) -> Iterator[tuple[str, list[str] | None]]:
    """Names with their parameters; None for what is no function."""
    for item in text.split():
        name, call, parameters = item.rstrip(")").partition("(")
        yield name, [p for p in parameters.split(",") if p] if call else None


def _row(owner: object, name: str, parameters: list[str] | None, call: Callable[[str, int], str], key: str) -> Row:
    if not hasattr(owner, name):
        return Row(name, "cannot", _WITHOUT[name]) if name in _WITHOUT else Row(name, "not yet")
    found = getattr(owner, name)
    if parameters is None or not inspect.isfunction(found):
        return Row(name, "yes")
    signature = inspect.signature(found)
    if signature.return_annotation is NoReturn:
        return Row(name, "cannot", call(name, len(parameters)))
    lacks = [p for p in parameters if p.isidentifier() and p != "_" and p not in signature.parameters]
    if lacks:
        return Row(name, "differs", f"without the parameters {', '.join(lacks)}")
    if owner is gnp and name in _COMPLEX.split() and not _takes_complex(name, parameters.count("_")):
        return Row(name, "differs", "takes no complex numbers")
    return Row(name, "differs", DIFFERS[key]) if key in DIFFERS else Row(name, "yes")


def _takes_complex(name: str, count: int) -> bool:
    options = {"axis": 0} if name.startswith("cumulative") else {}
    try:
        getattr(gnp, name)(*[np.full((2, 2), 0.5 + 0.25j, np.complex64)] * count, **options)
    except GraphcError:
        return False
    return True


def _advice(name: str, error: GraphcError) -> str:
    """What an error says to do, without the place."""
    text = str(error).rsplit(" (", 1)[0].removeprefix(f"{name}: ")
    for mark in ("cannot hold; ", "no number yet. ", "in place; "):
        text = text.rpartition(mark)[2]
    return text


def _call_function(name: str, count: int) -> str:
    try:
        getattr(gnp, name)(*[[0.0]] * count)
    except GraphcError as error:
        return _advice(name, error)
    raise AssertionError(f"{name} returned")


def _call_method(name: str, count: int) -> str:
    try:
        trace(lambda x: getattr(Tracer, name)(x, *[0] * count), [spec((2,))])
    except GraphcError as error:
        return _advice(name, error)
    raise AssertionError(f"{name} returned")


def _extension(name: str) -> object:
    """A module of graphc.numpy; nothing is in one that is not there."""
    try:
        return importlib.import_module(f"graphc.numpy.{name}")
    except ModuleNotFoundError:
        return SimpleNamespace()


def sections() -> dict[str, list[Row]]:
    """The rows of every table, by its title."""
    found = {
        title: [_row(gnp, name, parameters, _call_function, name) for name, parameters in _items(text)]
        for title, text in NAMESPACE.items()
    }
    for extension, text in EXTENSIONS.items():
        owner = _extension(extension)
        found[f"Extension `{extension}`"] = [
            _row(owner, name, parameters, _call_function, f"{extension}.{name}") for name, parameters in _items(text)
        ]
    found["Traced values"] = [_row(Tracer, name, parameters, _call_method, name) for name, parameters in _items(TRACED)]
    return found


HEAD = """# graphc.numpy and the Python array API standard

Every name of the [Python array API standard 2024.12](https://data-apis.org/array-api/2024.12/) and its state here. This
file is printed by `python -m tools.array_api` from the code; a test compares the two.

- **yes**: there, with the parameters of the standard; on arrays it computes at once, on traced values it adds to
  the graph.
- **differs**: there, and the note says how it differs.
- **cannot**: shapes of a compiled program are static and traced values have no numbers; the note, which is the error's,
  says what to use instead.
- **not yet**: not there.

Arrays outside of programs are NumPy's, so what they can do is what NumPy's arrays can do; the last table is about
values while tracing. Beyond the standard `graphc.numpy` has many of NumPy's functions.
"""


def document() -> str:
    """The text of docs/array_api.md."""
    tables = sections()
    counts = Counter(row.state for rows in tables.values() for row in rows)
    total = ", ".join(f"{counts[state]} {state}" for state in ("yes", "differs", "cannot", "not yet"))
    lines = [HEAD, f"Of {counts.total()} names: {total}."]
    for title, rows in tables.items():
        plain = [row.name for row in rows if row.state == "yes"]
        lines += ["", f"## {title}", ""]
        if plain:
            lines += textwrap.wrap("yes: " + ", ".join(f"`{name}`" for name in plain), 120)
        others = [row for row in rows if row.state != "yes"]
        if plain and others:
            lines += [""]
        if others:
            lines += ["| name | state | note |", "|---|---|---|"]
            lines += [f"| `{row.name}` | {row.state} | {row.note.replace('|', chr(92) + '|')} |" for row in others]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
