"""What primitives mean in functions of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.core.dtypes import DType
from tests.peers.numpy_rows import conv_order, conv_result, letters, merged
from tests.peers.rows import Row, run, structural

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def to_torch(x: np.ndarray) -> Any:
    """A copy, of the same dtype."""
    x = np.array(x, order="C", copy=True)
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def to_numpy(x: Any) -> np.ndarray:
    x = x.detach().resolve_conj().resolve_neg().contiguous()
    if x.dtype is torch.bfloat16:
        import ml_dtypes

        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def kind_of(dtype: DType) -> Any:
    return getattr(torch, "bool" if dtype.is_bool else dtype.name)


def _one(fn: Callable[..., Any]) -> Row:
    return lambda _, *xs: (fn(*xs),)


def _div(x: Any, y: Any) -> Any:
    if x.dtype.is_floating_point or x.dtype.is_complex:
        return x / y
    odd = (y == 0) | (y == -1) if x.dtype.is_signed else y == 0  # PyTorch raises, and the processor at INT_MIN / -1
    quotient = torch.div(x, torch.where(odd, torch.ones_like(y), y), rounding_mode="trunc")
    return torch.where(y == 0, torch.zeros_like(x), torch.where(odd, -x, quotient) if x.dtype.is_signed else quotient)


_ELEMENTWISE: dict[str, Row] = {
    "neg": _one(torch.neg),
    "abs": _one(torch.abs),
    "sign": _one(torch.sign),
    "exp": _one(torch.exp),
    "expm1": _one(torch.expm1),
    "log": _one(torch.log),
    "log1p": _one(torch.log1p),
    "sqrt": _one(torch.sqrt),
    "sin": _one(torch.sin),
    "cos": _one(torch.cos),
    "atan": _one(torch.atan),
    "asin": _one(torch.asin),
    "acos": _one(torch.acos),
    "tanh": _one(torch.tanh),
    "erf": _one(torch.erf),
    "erfc": _one(torch.erfc),
    "sigmoid": _one(torch.sigmoid),
    "floor": _one(torch.floor),
    "ceil": _one(torch.ceil),
    "trunc": _one(torch.trunc),
    "round": _one(torch.round),
    "is_finite": _one(torch.isfinite),
    "not": _one(torch.bitwise_not),
    "add": _one(torch.add),
    "sub": _one(torch.sub),
    "mul": _one(torch.mul),
    "div": _one(_div),
    "rem": _one(torch.fmod),
    "pow": _one(torch.pow),
    "max": _one(torch.maximum),
    "min": _one(torch.minimum),
    "and": _one(torch.bitwise_and),
    "or": _one(torch.bitwise_or),
    "xor": _one(torch.bitwise_xor),
    "shift_left": _one(torch.bitwise_left_shift),
    "shift_right": _one(torch.bitwise_right_shift),
    "eq": _one(torch.eq),
    "ne": _one(torch.ne),
    "lt": _one(torch.lt),
    "le": _one(torch.le),
    "gt": _one(torch.gt),
    "ge": _one(torch.ge),
    "select": _one(torch.where),
    "cast": lambda a, x: (x.to(kind_of(a.dtype)),),
    "bitcast": lambda a, x: (x.view(kind_of(a.dtype)),),
    "real": _one(torch.real),
    "imag": _one(torch.imag),
    "complex": _one(torch.complex),
    "stop_gradient": _one(torch.detach),
    "saved": _one(lambda x: x + 0 if x.requires_grad else x),
    "within": lambda _, x: (x,),
}


def _slice(a: Any, x: Any) -> tuple[Any]:
    return (x[tuple(slice(*row) for row in zip(a.start, a.stop, a.step, strict=True))],)


def _spread(x: Any, dim: int, every: int) -> Any:
    if every == 1 or x.shape[dim] < 2:
        return x
    parts = torch.stack([x, *[torch.zeros_like(x)] * (every - 1)], dim + 1).flatten(dim, dim + 1)
    return parts.narrow(dim, 0, (x.shape[dim] - 1) * every + 1)


def _framed(x: Any, dim: int, low: int, high: int, fill: Any) -> Any:
    cut = max(-low, 0), max(-high, 0)
    x = x.narrow(dim, min(cut[0], x.shape[dim]), max(x.shape[dim] - sum(cut), 0))
    parts = []
    for count in (low, high):
        shape = list(x.shape)
        shape[dim] = max(count, 0)
        parts.append(torch.as_tensor(fill, dtype=x.dtype).expand(shape))
    return torch.cat([parts[0], x, parts[1]], dim)


def _pad(a: Any, x: Any, value: Any) -> tuple[Any]:
    for dim in range(x.ndim):
        every = a.interior[dim] + 1
        if every > 1 and x.shape[dim] > 1:
            fill = value.expand(x.shape)
            x = torch.stack([x, *[fill] * (every - 1)], dim + 1).flatten(dim, dim + 1)
            x = x.narrow(dim, 0, x.shape[dim] - every + 1)
        shape = list(x.shape)
        parts = []
        for count in (a.low[dim], a.high[dim]):
            shape[dim] = count
            parts.append(value.expand(shape))
        x = torch.cat([parts[0], x, parts[1]], dim)
    return (x,)


def _broadcast(a: Any, x: Any) -> tuple[Any]:
    for d in range(len(a.shape)):
        if d not in a.dims:
            x = x.unsqueeze(d)
    return (x.expand(a.shape),)


_MOVEMENT: dict[str, Row] = {
    "reshape": lambda a, x: (torch.reshape(x, a.shape),),
    "transpose": lambda a, x: (torch.permute(x, a.permutation),),
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concatenate": lambda a, *xs: (torch.cat(xs, a.axis),),
    "reverse": lambda a, x: (torch.flip(x, a.axes),),
}


def _sum(a: Any, x: Any) -> tuple[Any]:
    return (torch.sum(x, a.axes, dtype=x.dtype) if a.axes else x,)


def _prod(a: Any, x: Any) -> tuple[Any]:
    kind = x.dtype
    for axis in reversed(a.axes):
        x = torch.prod(x, axis, dtype=torch.float32 if kind in (torch.bfloat16, torch.float16) else kind)
    return (x.to(kind),)


def _nothing(x: Any, reducer: str) -> Any:
    """What the reduction of no elements is."""
    if reducer == "sum" or x.dtype is torch.bool:
        return torch.tensor(reducer == "min", dtype=x.dtype)
    if x.dtype.is_floating_point:
        return torch.tensor(-np.inf if reducer == "max" else np.inf, dtype=x.dtype)
    info = torch.iinfo(x.dtype)
    return torch.tensor(info.min if reducer == "max" else info.max, dtype=x.dtype)


def _extreme(fn: Callable[..., Any], reducer: str) -> Row:
    def row(a: Any, x: Any) -> tuple[Any]:
        if not a.axes:
            return (x,)
        if any(x.shape[d] == 0 for d in a.axes):
            return (_nothing(x, reducer).expand([e for d, e in enumerate(x.shape) if d not in a.axes]),)
        return (fn(x, a.axes),)

    return row


def _dot(a: Any, lhs: Any, rhs: Any) -> tuple[Any]:
    kind = kind_of(a.dtype) if a.dtype else lhs.dtype
    if kind in (torch.float32, torch.bfloat16, torch.float16):
        return (torch.einsum(letters(a, lhs, rhs), lhs.float(), rhs.float()).to(kind),)
    return (torch.einsum(letters(a, lhs, rhs), lhs, rhs),)


_REDUCTIONS: dict[str, Row] = {
    "reduce_sum": _sum,
    "reduce_prod": _prod,
    "reduce_max": _extreme(torch.amax, "max"),
    "reduce_min": _extreme(torch.amin, "min"),
    "argmax": lambda a, x: (torch.argmax(x, a.axis),),
    "argmin": lambda a, x: (torch.argmin(x, a.axis),),
    "dot_general": _dot,
}


def _windows(a: Any, x: Any) -> tuple[Any]:
    rank = x.ndim
    for n, dim in enumerate(a.dims):
        reach = (a.size[n] - 1) * a.dilation[n] + 1
        if x.shape[dim] < reach:
            shape = list(x.shape)
            shape[dim] = 0
            x = x.reshape(*shape, 0).new_zeros(*shape, a.size[n]) if not x.numel() else x.new_zeros(*shape, a.size[n])
            continue
        x = x.unfold(dim, reach, a.stride[n])[..., :: a.dilation[n]]
    assert x.ndim == rank + len(a.dims)
    return (x,)


def _conv(a: Any, lhs: Any, rhs: Any) -> tuple[Any]:
    batch, spatial = len(a.lhs_batch), len(a.lhs_spatial)
    kind = kind_of(a.dtype) if a.dtype else lhs.dtype
    parts = []
    for x, is_left in ((lhs, True), (rhs, False)):
        order, free = conv_order(a, x.ndim, is_left)
        x = torch.permute(x, order)
        x = x.float() if x.dtype is torch.bfloat16 else x
        parts.append(torch.reshape(x, merged(x.shape, batch, free, spatial)))
    left, right = parts
    for n in range(spatial):
        left = _framed(_spread(left, 3 + n, a.lhs_dilation[n]), 3 + n, a.low[n], a.high[n], 0)
        right = torch.flip(right, (3 + n,)) if a.flipped else right
    fn = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}.get(spatial)
    sizes = zip(left.shape[3:], right.shape[3:], a.stride, a.rhs_dilation, strict=True)
    places = [len(range(0, extent - (size - 1) * apart, stride)) for extent, size, stride, apart in sizes]
    if not all((*left.shape, *places)):
        found = left.new_zeros((*left.shape[:2], right.shape[1], *places))
    elif fn is None:
        found = torch.einsum("bmc,bnc->bmn", left, right)
    else:
        each = [fn(x, w, stride=a.stride, dilation=a.rhs_dilation) for x, w in zip(left, right, strict=True)]
        found = torch.stack(each)
    return (torch.reshape(found, conv_result(a, lhs.shape, rhs.shape, found.shape[3:])).to(kind),)


def _reduce_window(a: Any, x: Any) -> tuple[Any]:
    kind = x.dtype
    x = x.float() if kind is torch.bfloat16 else x
    nothing = _nothing(x, a.reducer)
    rows = zip(a.dims, a.low, a.high, a.base_dilation, strict=True)
    for dim, low, high, base in rows:
        if base > 1 and x.shape[dim] > 1:
            holes = nothing.expand(x.shape)
            x = torch.stack([x, *[holes] * (base - 1)], dim + 1).flatten(dim, dim + 1)
            x = x.narrow(dim, 0, x.shape[dim] - base + 1)
        x = _framed(x, dim, low, high, nothing)
    (seen,) = _windows(a, x)
    axes = tuple(range(x.ndim, x.ndim + len(a.dims)))
    if not axes:
        return (x.to(kind),)
    if a.reducer == "sum":
        return (torch.sum(seen, axes, dtype=x.dtype).to(kind),)
    return ((torch.amax if a.reducer == "max" else torch.amin)(seen, axes).to(kind),)


_WINDOWS: dict[str, Row] = {"windows": _windows, "conv_general": _conv, "reduce_window": _reduce_window}


def _gather(a: Any, x: Any, indices: Any) -> tuple[Any]:
    at = indices.long().clamp(0, x.shape[a.axis] - 1)

    def one(x: Any, at: Any, dim: int) -> Any:
        found = torch.index_select(x, dim, at.reshape(-1))
        return found.reshape((*x.shape[:dim], *at.shape, *x.shape[dim + 1 :]))

    if not a.batch_dims:
        return (one(x, at, a.axis),)
    rows = x.reshape(-1, *x.shape[a.batch_dims :])
    places = at.reshape(-1, *at.shape[a.batch_dims :])
    found = torch.stack([one(r, p, a.axis - a.batch_dims) for r, p in zip(rows, places, strict=True)])
    return (found.reshape(*x.shape[: a.batch_dims], *found.shape[1:]),)


def _scatter(combine: Callable[[Any, Any], Any]) -> Row:
    """One after the other, as it is written."""

    def row(a: Any, x: Any, indices: Any, updates: Any) -> tuple[Any]:
        kind = x.dtype
        half = kind in (torch.bfloat16, torch.float16)
        x, updates = (x.float(), updates.float()) if half else (x, updates)
        batch, dim = a.batch_dims, a.axis - a.batch_dims
        lines: dict[tuple[int, ...], Any] = {}
        for b in np.ndindex(*x.shape[:batch]):
            for k in range(x.shape[a.axis]):
                lines[(*b, k)] = x[b].select(dim, k)
            for p in np.ndindex(*indices.shape[batch:]):
                place = int(indices[b + p])
                if 0 <= place < x.shape[a.axis]:
                    update = updates[b + (slice(None),) * dim + p]
                    lines[(*b, place)] = combine(lines[(*b, place)], update)
        if not lines:
            return (x.to(kind),)
        rows = [
            torch.stack([lines[(*b, k)] for k in range(x.shape[a.axis])], dim) for b in np.ndindex(*x.shape[:batch])
        ]
        return ((torch.stack(rows).reshape(x.shape) if batch else rows[0]).to(kind),)

    return row


def _window(x: Any, dims: Any, sizes: Any, starts: Any) -> list[tuple[int, int, int]]:
    rows = zip(dims, sizes, starts, strict=True)
    return [(d, min(max(int(start), 0), x.shape[d] - size), size) for d, size, start in rows]


def _dynamic_slice(a: Any, x: Any, *starts: Any) -> tuple[Any]:
    for row in _window(x, a.dims, a.sizes, starts):
        x = x.narrow(*row)
    return (x,)


def _dynamic_update(a: Any, x: Any, update: Any, *starts: Any) -> tuple[Any]:
    inside = torch.ones_like(update, dtype=torch.bool)
    for d, first, size in _window(x, a.dims, [update.shape[d] for d in a.dims], starts):
        after = x.shape[d] - first - size
        update, inside = (_framed(y, d, first, after, 0) for y in (update, inside))
    return (torch.where(inside, update, x),)


_INDEXING: dict[str, Row] = {
    "gather": _gather,
    "scatter": _scatter(lambda old, new: new),
    "scatter_add": _scatter(torch.add),
    "scatter_mul": _scatter(torch.mul),
    "scatter_min": _scatter(torch.minimum),
    "scatter_max": _scatter(torch.maximum),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
}


def _cumulative(fn: Callable[..., Any]) -> Row:
    def row(a: Any, x: Any) -> tuple[Any]:
        kind = x.dtype
        x = x.float() if kind in (torch.bfloat16, torch.float16) else x
        x = torch.flip(x, (a.axis,)) if a.reverse else x
        found = fn(x, a.axis)
        return ((torch.flip(found, (a.axis,)) if a.reverse else found).to(kind),)

    return row


def _recurrence(a: Any, factors: Any, terms: Any) -> tuple[Any]:
    kind = terms.dtype
    if kind in (torch.bfloat16, torch.float16):
        factors, terms = factors.float(), terms.float()
    order = range(terms.shape[a.axis])
    rows: dict[int, Any] = {}
    last = None
    for i in reversed(order) if a.reverse else order:
        term = terms.select(a.axis, i)
        last = term if last is None else factors.select(a.axis, i) * last + term
        rows[i] = last
    return ((torch.stack([rows[i] for i in order], a.axis) if rows else terms).to(kind),)


_ORDERED: dict[str, Row] = {
    "cumsum": _cumulative(lambda x, axis: torch.cumsum(x, axis, dtype=x.dtype)),
    "cumprod": _cumulative(lambda x, axis: torch.cumprod(x, axis, dtype=x.dtype)),
    "cummax": _cumulative(lambda x, axis: torch.cummax(x, axis).values if x.numel() else x),
    "cummin": _cumulative(lambda x, axis: torch.cummin(x, axis).values if x.numel() else x),
    "linear_recurrence": _recurrence,
    "sort": lambda a, x: (torch.sort(x, dim=a.axis, descending=a.descending, stable=True).values,),
    "argsort": lambda a, x: (torch.argsort(x, dim=a.axis, descending=a.descending, stable=True),),
    "arg_top_k": lambda a, x: (torch.argsort(x, dim=a.axis, descending=a.largest, stable=True).narrow(a.axis, 0, a.k),),
}


def _lower(x: Any) -> Any:
    return torch.tril(x) + torch.tril(x, -1).mT


def _signs(columns: Any) -> Any:
    columns = columns.detach()
    first = torch.argmax((columns.abs() > 0.437 / columns.shape[-2] ** 0.5).int(), -2, keepdim=True)
    return torch.where(torch.take_along_dim(columns, first, -2) < 0, -1.0, 1.0).to(columns.dtype)


def _svd(a: Any, x: Any) -> tuple[Any, ...]:
    u, s, vt = torch.linalg.svd(x, full_matrices=a.full)
    left, right = _signs(u), _signs(vt.mT)
    k = s.shape[-1]
    right = torch.cat([left[..., :k], right[..., k:]], -1)
    return u * left, s, vt * right.mT


def _eigh(_: Any, x: Any) -> tuple[Any, ...]:
    values, vectors = torch.linalg.eigh(_lower(x))
    return values, vectors * _signs(vectors)


def _triangular(a: Any, matrix: Any, b: Any) -> tuple[Any]:
    triangle, upper = (matrix.mT, a.lower) if a.transposed else (matrix, not a.lower)
    return (torch.linalg.solve_triangular(triangle, b, upper=upper, unitriangular=a.unit),)


def _lu(_: Any, x: Any) -> tuple[Any, ...]:
    packed, pivots = torch.linalg.lu_factor(x)
    order = torch.arange(x.shape[-1]).expand(*x.shape[:-1]).clone()
    for k in range(x.shape[-1]):
        mine, other = order[..., k].clone(), pivots[..., k : k + 1].long() - 1
        order[..., k] = torch.take_along_dim(order, other, -1)[..., 0]
        order.scatter_(-1, other, mine[..., None])
    return packed, (pivots - 1).int(), order.int()


_LINALG: dict[str, Row] = {
    "cholesky": lambda _, x: (torch.linalg.cholesky(_lower(x)),),
    "triangular_solve": _triangular,
    "lu": _lu,
    "qr": lambda a, x: tuple(torch.linalg.qr(x, mode="complete" if a.full else "reduced")),
    "svd": _svd,
    "eigh": _eigh,
}


def _iota(a: Any) -> tuple[Any]:
    line = torch.arange(a.shape[a.axis], dtype=torch.int64)
    shape = [1] * len(a.shape)
    shape[a.axis] = -1
    return (line.reshape(shape).expand(a.shape).to(kind_of(a.dtype)),)


def _scan(a: Any, *operands: Any) -> tuple[Any, ...]:
    count = min(max(int(operands[0]), 0), a.length) if a.counted else a.length
    operands = operands[int(a.counted) :]
    captures, rest = operands[: a.num_captures], operands[a.num_captures :]
    carries, xs = rest[: a.num_carries], rest[a.num_carries :]
    rows: list[Any] = [None] * a.length
    for t in reversed(range(count)) if a.reverse else range(count):
        made = run(ROWS, a.body, [*captures, *carries, *(x[t] for x in xs)])
        carries, rows[t] = made[: a.num_carries], made[a.num_carries :]
    empty = [torch.zeros(v.shape, dtype=kind_of(v.dtype)) for v in a.body.outputs[a.num_carries :]]
    columns = zip(*(row or empty for row in rows), strict=True) if rows else ()
    ys = [torch.stack(column) for column in columns] or [e[None][:0] for e in empty]
    return (*carries, *ys)


def _while(a: Any, *operands: Any) -> tuple[Any, ...]:
    captures, carries = operands[: a.num_captures], operands[a.num_captures :]
    empty = [torch.zeros(v.shape, dtype=kind_of(v.dtype)) for v in a.body.outputs[len(carries) :]]
    rows: list[Any] = []
    made = 0
    while run(ROWS, a.cond, [*captures, *carries])[0]:
        results = run(ROWS, a.body, [*captures, *carries])
        carries = results[: len(carries)]
        rows.append(results[len(carries) :])
        made += 1
    if a.bound is None:
        return tuple(carries)
    rows += [empty] * (a.bound - made)
    return (*carries, *(torch.stack(column) for column in zip(*rows, strict=True)), torch.tensor(made))


def _branch(a: Any, index: Any, *operands: Any) -> tuple[Any, ...]:
    return run(ROWS, a.branches[min(max(int(index), 0), len(a.branches) - 1)], operands)


ROWS: dict[str, Row] = {
    **_ELEMENTWISE,
    **_MOVEMENT,
    **_REDUCTIONS,
    **_WINDOWS,
    **_INDEXING,
    **_ORDERED,
    **_LINALG,
    "constant": lambda a: (to_torch(a.value),),
    "iota": _iota,
    "scan": _scan,
    "while": _while,
    "branch": _branch,
}
ROWS.update(structural(ROWS))
