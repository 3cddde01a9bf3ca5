"""The loop IR's meaning: run a kernel on NumPy arrays.

In: a kernel and one C-contiguous array per parameter, of the parameter's dtype and shape. Out: nothing; the arrays of
"out" and "inout" parameters hold the results. Guaranteed: the bits are those the rules of `graphc.kernel.ir` ask for.

Iterations of `vector` loops, and of `parallel`, `block` and `thread` loops in chunks, are *lanes*: a value is a scalar
when all lanes agree and else one array with an element per active lane, `If` and unequal loop bounds keep the active
lanes only. An index out of bounds raises `VerifyError`, and scratch starts as NaN or an odd number, so reading it early
shows.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphc.core import lapack
from graphc.core.dtypes import DType, int64
from graphc.core.errors import ArgumentError, VerifyError
from graphc.core.records import dataclass
from graphc.kernel import arith
from graphc.kernel.ir import (
    Accumulate,
    Alloc,
    Binary,
    Bitcast,
    Buffer,
    CallLibrary,
    Cast,
    Compare,
    Const,
    DotPair,
    Expr,
    Fma,
    For,
    If,
    Kernel,
    Let,
    Load,
    Prefetch,
    Select,
    Stmt,
    Store,
    Unary,
    Var,
    While,
    walk,
)

Value = npt.NDArray[Any]  # 0-d: the same in all lanes; 1-d: one per active lane

_LANES = 1 << 16  # lanes of a parallel loop run together, so that temporaries stay in cache
_SCRATCH = 1 << 26  # bytes of lane-private scratch at a time


@dataclass(slots=True)
class _Frame:
    """What a statement sees. lanes: None outside of loops that are not serial, else the number of active ones.

    values: variables, and under "@name" the row of lane-private buffer `name` each lane owns.
    """

    lanes: int | None
    values: dict[str, Value]
    memory: dict[str, Value]  # flat arrays
    taken: dict[Store, Value]  # which elements distinct stores have written in the outermost independent loop

    def child(self) -> "_Frame":
        return _Frame(self.lanes, dict(self.values), dict(self.memory), self.taken)

    def select(self, mask: Value) -> "_Frame":
        """The lanes where `mask` is true."""
        chosen = np.flatnonzero(mask)
        values = {name: value if value.ndim == 0 else value[chosen] for name, value in self.values.items()}
        return _Frame(len(chosen), values, dict(self.memory), self.taken)

    def spread(self, var: Var, first: int, count: int) -> "_Frame":
        """Every lane becomes `count` lanes that differ in `var`."""
        lanes = 1 if self.lanes is None else self.lanes
        values = {n: v if v.ndim == 0 else np.repeat(v, count) for n, v in self.values.items()}
        values[var.name] = np.tile(np.arange(first, first + count, dtype=np.int64), lanes)
        return _Frame(lanes * count, values, dict(self.memory), self.taken)


def run(kernel: Kernel, args: Sequence[np.ndarray]) -> None:
    """Execute `kernel` in place on one array per parameter.

    Raises `ArgumentError` when an array does not fit its parameter and `VerifyError` for an index out of bounds.
    """
    if len(args) != len(kernel.params):
        raise ArgumentError(f"{kernel.name}: {len(kernel.params)} parameters, {len(args)} arrays")
    memory: dict[str, Value] = {}
    for param, array in zip(kernel.params, args, strict=True):
        buffer = param.buffer
        if array.dtype != buffer.dtype.numpy or array.size != buffer.size:
            found = f"{array.dtype}{list(array.shape)}"
            raise ArgumentError(f"{kernel.name}: {buffer.name} is {buffer.dtype}{list(buffer.shape)}, not {found}")
        if not array.flags.c_contiguous:
            raise ArgumentError(f"{kernel.name}: the array for {buffer.name} must be C-contiguous")
        memory[buffer.name] = array.reshape(-1)
    with np.errstate(all="ignore"):
        _block(kernel.body, _Frame(None, {}, memory, {}))


# ----------------------------------------------------------------------------------------------------- statements


def _block(statements: tuple[Stmt, ...], frame: _Frame) -> None:
    for statement in statements:
        _STATEMENTS[type(statement)](statement, frame)


def _let(statement: Let, frame: _Frame) -> None:
    frame.values[statement.var.name] = evaluate(statement.value, frame)


def _store(statement: Store, frame: _Frame) -> None:
    value = evaluate(statement.value, frame)
    if statement.distinct:
        _take(statement, frame)
    _write(statement.buffer, statement.index, value, frame)


def _take(statement: Store, frame: _Frame) -> None:
    """Check what a distinct store promises."""
    memory = frame.memory[statement.buffer.name]
    taken = frame.taken.setdefault(statement, np.zeros(memory.shape, np.uint8))
    np.add.at(taken, _place(statement.buffer, statement.index, frame), 1)
    if (taken[_place(statement.buffer, statement.index, frame)] > 1).any():
        raise VerifyError(f"a distinct store writes an element of {statement.buffer.name} twice")


def _write(buffer: Buffer, index: tuple[Expr, ...], value: Value, frame: _Frame) -> None:
    place = _place(buffer, index, frame)
    if isinstance(place, int) and frame.lanes is not None and frame.lanes > 1:
        raise VerifyError(f"{frame.lanes} lanes store to the same element of {buffer.name}")
    if isinstance(place, int) and value.ndim == 1:  # the one active lane
        value = value[0]
    frame.memory[buffer.name][place] = value


def _accumulate(statement: Accumulate, frame: _Frame) -> None:
    values = tuple(evaluate(value, frame) for value in statement.values)
    targets = tuple(_load(Load(buffer, index), frame) for buffer, index in statement.targets)
    results = arith.combine(statement.combine, targets, values)
    for (buffer, index), result in zip(statement.targets, results, strict=True):
        _write(buffer, index, result, frame)


def _if(statement: If, frame: _Frame) -> None:
    cond = evaluate(statement.cond, frame)
    if cond.ndim == 0:
        _block(statement.then if cond else statement.orelse, frame.child())
        return
    if cond.any():
        _block(statement.then, frame.select(cond))
    if statement.orelse and not cond.all():
        _block(statement.orelse, frame.select(~cond))


def _while(statement: While, frame: _Frame) -> None:
    current = frame
    for _ in range(statement.bound):
        cond = evaluate(statement.cond, current)
        if not cond.any():
            return
        if cond.ndim:
            current = current.select(cond)
        _block(statement.body, current.child())


def _alloc(statement: Alloc, frame: _Frame) -> None:
    buffer = statement.buffer
    rows = 1 if frame.lanes is None else frame.lanes
    frame.memory[buffer.name] = _undefined(buffer.dtype, rows * buffer.size)
    frame.values.pop("@" + buffer.name, None)
    if frame.lanes is not None:
        frame.values["@" + buffer.name] = np.arange(rows, dtype=np.int64)


def _undefined(dtype: DType, count: int) -> Value:
    if dtype.is_float:
        return np.full(count, np.nan, dtype.numpy)
    return np.frombuffer(b"\x01" if dtype.is_bool else b"\xa5" * dtype.itemsize, dtype.numpy).repeat(count)


def _for(statement: For, frame: _Frame) -> None:
    extent = evaluate(statement.extent, frame)
    if statement.kind in ("serial", "unroll"):
        _serial(statement, extent, frame)
        return
    count = int(extent)
    if frame.lanes is None:
        frame.taken.clear()
    if statement.kind == "vector":
        if count > 0:
            _block(statement.body, frame.spread(statement.var, 0, count))
        return
    private = sum(s.buffer.nbytes for s in walk(statement.body) if isinstance(s, Alloc))
    lanes = min(_LANES, _SCRATCH // max(private, 1))
    chunk = max(lanes // (frame.lanes or 1), 1)
    for first in range(0, count, chunk):
        _block(statement.body, frame.spread(statement.var, first, min(chunk, count - first)))


def _serial(statement: For, extent: Value, frame: _Frame) -> None:
    if extent.size == 0:
        return
    current = frame
    for counter in range(int(extent.max())):
        if extent.ndim:
            mask = counter < extent
            if not mask.all():
                current, extent = current.select(mask), extent[mask]
        inside = current.child()
        inside.values[statement.var.name] = np.asarray(counter, np.int64)
        _block(statement.body, inside)


def _call_library(statement: CallLibrary, frame: _Frame) -> None:
    """One call for each active lane, in order."""
    arguments = [ctypes.c_void_p] * len(statement.buffers)
    function = ctypes.CFUNCTYPE(None, *arguments)(lapack.address(statement.function))
    for lane in range(1 if frame.lanes is None else frame.lanes):
        parts = []
        for buffer in statement.buffers:
            own = frame.values.get("@" + buffer.name, _ZERO)
            row = int(own if own.ndim == 0 else own[lane])
            memory = frame.memory[buffer.name]
            parts.append(memory.ctypes.data + row * buffer.size * memory.itemsize)
        function(*parts)


def _prefetch(statement: Prefetch, frame: _Frame) -> None:
    """Nothing is read: the place may lie outside the buffer."""


_STATEMENTS: dict[type, Callable[..., None]] = {
    Let: _let,
    Store: _store,
    Accumulate: _accumulate,
    If: _if,
    While: _while,
    Alloc: _alloc,
    Prefetch: _prefetch,
    CallLibrary: _call_library,
    For: _for,
}

# ---------------------------------------------------------------------------------------------------- expressions


def evaluate(expr: Expr, frame: _Frame) -> Value:
    """The value of an expression in all lanes of a frame."""
    return _EXPRESSIONS[type(expr)](expr, frame)


def _load(expr: Load, frame: _Frame) -> Value:
    memory = frame.memory[expr.buffer.name]
    if expr.buffer.is_view:
        memory = memory.view(expr.dtype.numpy)
    return np.asarray(memory[_place(expr.buffer, expr.index, frame)])


def _binary(expr: Binary, frame: _Frame) -> Value:
    return arith.binary(expr.op, evaluate(expr.lhs, frame), evaluate(expr.rhs, frame))


def _fused(combine: Callable[[Value, Value, Value], Value]) -> Callable[..., Value]:
    return lambda e, frame: combine(evaluate(e.a, frame), evaluate(e.b, frame), evaluate(e.c, frame))


def _select(expr: Select, frame: _Frame) -> Value:
    cond = evaluate(expr.cond, frame)
    return np.where(cond, evaluate(expr.on_true, frame), evaluate(expr.on_false, frame))


_EXPRESSIONS: dict[type, Callable[..., Value]] = {
    Var: lambda e, frame: frame.values[e.name],
    Const: lambda e, frame: np.asarray(e.value, e.dtype.numpy),
    Load: _load,
    Binary: _binary,
    Unary: lambda e, frame: arith.unary(e.op, evaluate(e.x, frame)),
    Compare: lambda e, frame: arith.compare(e.op, evaluate(e.lhs, frame), evaluate(e.rhs, frame)),
    Fma: _fused(arith.fma),
    DotPair: _fused(arith.dot_pair),
    Select: _select,
    Cast: lambda e, frame: arith.cast(evaluate(e.x, frame), e.dtype),
    Bitcast: lambda e, frame: evaluate(e.x, frame).view(e.dtype.numpy),
}


def _place(buffer: Buffer, index: tuple[Expr, ...], frame: _Frame) -> int | Value:
    """Flat element numbers, one for all lanes as an int; checks every dimension against its extent."""
    own = frame.values.get("@" + buffer.name)
    place: int | Value = 0 if own is None else own
    for extent, expr in zip(buffer.shape, index, strict=True):
        found = evaluate(expr, frame)
        if found.ndim == 0:  # most of them: Python is faster at numbers than NumPy
            value: int | Value = int(found)
            inside = 0 <= value < extent
        else:
            value = arith.cast(found, int64)
            inside = value.size == 0 or bool(value.view(np.uint64).max() < extent)  # negative ones are huge
        if not inside:
            raise VerifyError(f"{buffer.name}{list(buffer.shape)}: index {found.ravel()[:4]}... is out of bounds")
        place = place * extent + value
    return place


_ZERO: Value = np.asarray(0, np.int64)
