"""What each primitive means in functions of JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.core import dtypes
from tests.peers.numpy_rows import conv_order, conv_result, merged
from tests.peers.rows import Row, run, structural

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_default_matmul_precision", "highest")
jnp, lax = jax.numpy, jax.lax


def _one(fn: Callable[..., Any]) -> Row:
    return lambda _, *xs: (fn(*xs),)


def _shift_right(x: Any, y: Any) -> Any:
    return (lax.shift_right_arithmetic if x.dtype.kind == "i" else lax.shift_right_logical)(x, y)


def _cast(a: Any, x: Any) -> tuple[Any]:
    if a.dtype.is_bool:  # JAX looks at the real part of a complex number alone
        return (x != 0,)
    if a.dtype.is_half or dtypes.dtype(x.dtype).is_half:  # by way of float32
        x = lax.convert_element_type(x, np.float32 if x.dtype.kind != "c" else x.dtype)
    return (lax.convert_element_type(x, a.dtype.numpy),)


_ELEMENTWISE: dict[str, Row] = {
    "neg": _one(lambda x: lax.neg(x)),
    "abs": _one(jnp.abs),
    "sign": _one(jnp.sign),
    "exp": _one(lambda x: lax.exp(x)),
    "expm1": _one(lambda x: lax.expm1(x)),
    "log": _one(lambda x: lax.log(x)),
    "log1p": _one(lambda x: lax.log1p(x)),
    "sqrt": _one(lambda x: lax.sqrt(x)),
    "sin": _one(lambda x: lax.sin(x)),
    "cos": _one(lambda x: lax.cos(x)),
    "atan": _one(lambda x: lax.atan(x)),
    "asin": _one(jnp.arcsin),
    "acos": _one(jnp.arccos),
    "tanh": _one(lambda x: lax.tanh(x)),
    "erf": _one(lax.erf),
    "erfc": _one(lax.erfc),
    "sigmoid": _one(lambda x: lax.logistic(x)),
    "floor": _one(lax.floor),
    "ceil": _one(lax.ceil),
    "trunc": _one(jnp.trunc),
    "round": _one(lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)),
    "is_finite": _one(lax.is_finite),
    "not": _one(lax.bitwise_not),
    "add": _one(lax.add),
    "sub": _one(lax.sub),
    "mul": _one(lax.mul),
    "div": _one(lax.div),
    "rem": _one(lax.rem),
    "pow": _one(lax.pow),
    "max": _one(lax.max),
    "min": _one(lax.min),
    "and": _one(lax.bitwise_and),
    "or": _one(lax.bitwise_or),
    "xor": _one(lax.bitwise_xor),
    "shift_left": _one(lax.shift_left),
    "shift_right": _one(_shift_right),
    "eq": _one(lax.eq),
    "ne": _one(lax.ne),
    "lt": _one(lax.lt),
    "le": _one(lax.le),
    "gt": _one(lax.gt),
    "ge": _one(lax.ge),
    "select": _one(jnp.where),
    "cast": _cast,
    "bitcast": lambda a, x: (lax.bitcast_convert_type(x, a.dtype.numpy),),
    "real": _one(lax.real),
    "imag": _one(lax.imag),
    "complex": _one(lax.complex),
    "stop_gradient": _one(lax.stop_gradient),
    "saved": _one(lambda x: x),
    "within": lambda _, x: (x,),
}

_MOVEMENT: dict[str, Row] = {
    "reshape": lambda a, x: (lax.reshape(x, a.shape),),
    "transpose": lambda a, x: (lax.transpose(x, a.permutation),),
    "broadcast": lambda a, x: (lax.broadcast_in_dim(x, a.shape, a.dims),),
    "slice": lambda a, x: (lax.slice(x, a.start, a.stop, a.step),),
    "pad": lambda a, x, value: (lax.pad(x, value, list(zip(a.low, a.high, a.interior, strict=True))),),
    "concatenate": lambda a, *xs: (lax.concatenate(xs, a.axis),),
    "reverse": lambda a, x: (lax.rev(x, a.axes),),
}


def _wide(x: Any) -> Any:
    """What half types are added up in."""
    return x.astype(np.float32) if dtypes.dtype(x.dtype).is_half else x


def _reduce(fn: Callable[..., Any]) -> Row:
    return lambda a, x: (fn(_wide(x), axis=a.axes).astype(x.dtype),)


def _lowest(x: Any) -> Any:
    return False if x.dtype == bool else np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf


def _highest(x: Any) -> Any:
    return True if x.dtype == bool else np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.inf


def _dot(a: Any, lhs: Any, rhs: Any) -> tuple[Any]:
    dims = ((a.lhs_contract, a.rhs_contract), (a.lhs_batch, a.rhs_batch))
    kind = a.dtype.numpy if a.dtype else None
    return (lax.dot_general(lhs, rhs, dims, precision="highest", preferred_element_type=kind),)


_REDUCTIONS: dict[str, Row] = {
    "reduce_sum": _reduce(lambda x, axis: jnp.sum(x, axis, dtype=x.dtype)),
    "reduce_prod": _reduce(lambda x, axis: jnp.prod(x, axis, dtype=x.dtype)),
    "reduce_max": _reduce(lambda x, axis: jnp.max(x, axis, initial=_lowest(x))),
    "reduce_min": _reduce(lambda x, axis: jnp.min(x, axis, initial=_highest(x))),
    "argmax": lambda a, x: (lax.argmax(x, a.axis, np.int64),),
    "argmin": lambda a, x: (lax.argmin(x, a.axis, np.int64),),
    "dot_general": _dot,
}

# ---------------------------------------------------------------------------------------------------------- windows


def _windows(a: Any, x: Any) -> tuple[Any]:
    """By gathers along one dim after the other."""
    for n, dim in enumerate(a.dims):
        count = len(range(0, x.shape[dim] - (a.size[n] - 1) * a.dilation[n], a.stride[n]))
        places = np.arange(count)[:, None] * a.stride[n] + np.arange(a.size[n]) * a.dilation[n]
        seen = x[(slice(None),) * dim + (places,)] if places.size else jnp.zeros(_taken(x, dim, places), x.dtype)
        x = jnp.moveaxis(seen, dim + 1, -1)
    return (x,)


def _taken(x: Any, dim: int, places: np.ndarray) -> tuple[int, ...]:
    return (*x.shape[:dim], *places.shape, *x.shape[dim + 1 :])


def _conv(a: Any, lhs: Any, rhs: Any) -> tuple[Any]:
    batch, spatial = len(a.lhs_batch), len(a.lhs_spatial)
    parts = []
    for x, is_left in ((lhs, True), (rhs, False)):
        order, free = conv_order(a, x.ndim, is_left)
        x = jnp.transpose(x, order)
        parts.append(jnp.reshape(x, merged(x.shape, batch, free, spatial)))
    left, right = parts
    if a.flipped:
        right = jnp.flip(right, tuple(range(3, 3 + spatial)))
    if not left.size or not right.size or not spatial:
        assert not left.size or not spatial
        found = jnp.zeros((*left.shape[:2], right.shape[1], *_places(a, left.shape[3:], right.shape[3:])), lhs.dtype)
        if not spatial:
            found = jnp.einsum("bmc,bnc->bmn", left, right, precision="highest", preferred_element_type=_kind(a, lhs))
        return (jnp.reshape(found, conv_result(a, lhs.shape, rhs.shape, found.shape[3:])).astype(_kind(a, lhs)),)
    one = lambda x, w: lax.conv_general_dilated(
        x,
        w,
        a.stride,
        list(zip(a.low, a.high, strict=True)),
        a.lhs_dilation,
        a.rhs_dilation,
        precision="highest",
        preferred_element_type=_kind(a, lhs),
    )
    found = jax.vmap(one)(left, right)
    return (jnp.reshape(found, conv_result(a, lhs.shape, rhs.shape, found.shape[3:])),)


def _kind(a: Any, x: Any) -> Any:
    return a.dtype.numpy if a.dtype else x.dtype


def _places(a: Any, extents: Any, sizes: Any) -> list[int]:
    rows = zip(extents, sizes, a.stride, a.low, a.high, a.lhs_dilation, a.rhs_dilation, strict=True)
    return [
        len(range(0, (e and (e - 1) * base + 1) + low + high - (k - 1) * apart, step))
        for e, k, step, low, high, base, apart in rows
    ]


def _reduce_window(a: Any, x: Any) -> tuple[Any]:
    def whole(row: Any, other: Any) -> list[Any]:
        full = [other] * x.ndim
        for dim, value in zip(a.dims, row, strict=True):
            full[dim] = value
        return full

    kind, x = x.dtype, _wide(x)
    combine = {"sum": lax.add, "max": lax.max, "min": lax.min}[a.reducer]
    start = {"sum": 0, "max": _lowest(x), "min": _highest(x)}[a.reducer]
    return (
        lax.reduce_window(
            x,
            np.array(start, x.dtype),
            combine,
            whole(a.size, 1),
            whole(a.stride, 1),
            whole(zip(a.low, a.high, strict=True), (0, 0)),
            whole(a.base_dilation, 1),
            whole(a.dilation, 1),
        ).astype(kind),
    )


def reduce_window_by_gather(a: Any, x: Any) -> tuple[Any]:
    """JAX differentiates windows of a plain kind only: the same by reductions of what they see."""
    start = {"sum": 0, "max": _lowest(x), "min": _highest(x)}[a.reducer]
    rows = list(zip(a.dims, a.low, a.high, a.base_dilation, strict=True))
    padding = [(0, 0, 0)] * x.ndim
    for dim, low, high, base in rows:
        padding[dim] = (low, high, base - 1)
    (seen,) = _windows(a, lax.pad(x, np.array(start, x.dtype), padding))
    axes = tuple(range(x.ndim, x.ndim + len(a.dims)))
    if a.reducer == "sum":
        return (jnp.sum(seen, axes, dtype=x.dtype),)
    return ((jnp.max if a.reducer == "max" else jnp.min)(seen, axes, initial=start),)


_WINDOWS: dict[str, Row] = {"windows": _windows, "conv_general": _conv, "reduce_window": _reduce_window}

# --------------------------------------------------------------------------------------------------------- indexing


def _gather(a: Any, x: Any, indices: Any) -> tuple[Any]:
    extent = x.shape[a.axis]
    if not indices.size:
        shape = x.shape[: a.axis] + indices.shape[a.batch_dims :] + x.shape[a.axis + 1 :]
        return (jnp.zeros(shape, x.dtype) * jnp.sum(x),) if x.dtype.kind == "f" else (jnp.zeros(shape, x.dtype),)
    at = jnp.clip(indices.astype(np.int64), 0, extent - 1)
    take = lambda x, i: jnp.take(x, i, axis=a.axis - a.batch_dims)
    for _ in range(a.batch_dims):
        take = jax.vmap(take)
    return (take(x, at),)


def _scatter(method: str) -> Row:
    """`x.at[..].set` and the like; what lies outside goes to a place behind the end, which JAX drops."""
    in_turn = method not in ("set", "add")  # JAX differentiates these for places that differ only

    def row(a: Any, x: Any, indices: Any, updates: Any) -> tuple[Any]:
        extent = x.shape[a.axis]
        at = indices.astype(np.int64)
        at = jnp.where((at < 0) | (at >= extent), extent, at)

        def one(x: Any, at: Any, updates: Any) -> Any:
            dim = a.axis - a.batch_dims
            moved, rank = jnp.moveaxis(x, dim, 0), at.ndim
            given = jnp.moveaxis(updates, tuple(range(dim, dim + rank)), tuple(range(rank)))
            rows, given = at.reshape(-1), given.reshape(-1, *moved.shape[1:])
            if not in_turn:
                return jnp.moveaxis(getattr(moved.at[rows], method)(given, mode="drop"), 0, dim)
            put = lambda x, pair: (
                getattr(x.at[pair[0][None]], method)(pair[1][None], mode="drop", unique_indices=True),
                None,
            )
            return jnp.moveaxis(lax.scan(put, moved, (rows, given))[0], 0, dim)

        for _ in range(a.batch_dims):
            one = jax.vmap(one)
        wide = np.float32 if dtypes.dtype(x.dtype).is_half else x.dtype
        return (one(x.astype(wide), at, updates.astype(wide)).astype(x.dtype),)

    return row


def _start(x: Any, dims: Any, starts: Any) -> list[Any]:
    found = [np.int64(0)] * x.ndim
    for dim, start in zip(dims, starts, strict=True):
        found[dim] = start.astype(np.int64)
    return found


def _dynamic_slice(a: Any, x: Any, *starts: Any) -> tuple[Any]:
    sizes = list(x.shape)
    for dim, size in zip(a.dims, a.sizes, strict=True):
        sizes[dim] = size
    at = [jnp.maximum(s, 0) for s in _start(x, a.dims, starts)]  # JAX counts negative ones from the end
    return (lax.dynamic_slice(x, at, sizes),)


def _dynamic_update(a: Any, x: Any, update: Any, *starts: Any) -> tuple[Any]:
    at = [jnp.maximum(s, 0) for s in _start(x, a.dims, starts)]
    return (lax.dynamic_update_slice(x, update, at),)


def _csr_dot(_: Any, data: Any, indices: Any, indptr: Any, dense: Any) -> tuple[Any]:
    if not data.size:
        return (jnp.zeros((len(indptr) - 1, dense.shape[1]), dense.dtype),)
    places = jnp.arange(len(data))
    starts = jnp.clip(indptr, 0, len(data))
    rows = jnp.searchsorted(starts, places, side="right") - 1
    rows = jnp.where((places >= starts[0]) & (places < starts[-1]), rows, len(indptr) - 1)
    terms = data[:, None] * dense[jnp.clip(indices, 0, len(dense) - 1)]
    return (jax.ops.segment_sum(terms, rows, len(indptr))[:-1],)


_INDEXING: dict[str, Row] = {
    "gather": _gather,
    "scatter": _scatter("set"),
    "scatter_add": _scatter("add"),
    "scatter_mul": _scatter("mul"),
    "scatter_min": _scatter("min"),
    "scatter_max": _scatter("max"),
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "csr_dot": _csr_dot,
}

# ------------------------------------------------------------------------------------------- along an axis, in order


def _cumulative(fn: Callable[..., Any]) -> Row:
    def row(a: Any, x: Any) -> tuple[Any]:
        kind = dtypes.dtype(x.dtype)
        wide = np.float32 if kind.is_half else np.uint8 if kind.is_bool else x.dtype
        return (fn(x.astype(wide), a.axis, a.reverse).astype(x.dtype),)

    return row


def _recurrence(a: Any, factors: Any, terms: Any) -> tuple[Any]:
    kind = terms.dtype
    factors, terms = (jnp.moveaxis(x, a.axis, 0) for x in (factors, terms))
    if dtypes.dtype(kind).is_half:
        factors, terms = factors.astype(np.float32), terms.astype(np.float32)
    if not len(terms):
        return (jnp.moveaxis(terms, 0, a.axis).astype(kind),)
    first = len(terms) - 1 if a.reverse else 0
    factors = factors.at[first].set(0)
    step = lambda h, row: (row[0] * h + row[1],) * 2
    _, found = lax.scan(step, jnp.zeros_like(terms[0]), (factors, terms), reverse=a.reverse)
    return (jnp.moveaxis(found, 0, a.axis).astype(kind),)


def _first_of_order(attrs: Any, x: Any) -> Any:
    order = jnp.argsort(x, attrs.axis, stable=True, descending=attrs.largest).astype(np.int64)
    return lax.slice_in_dim(order, 0, attrs.k, axis=attrs.axis)


_ORDERED: dict[str, Row] = {
    "cumsum": _cumulative(lambda x, axis, reverse: lax.cumsum(x, axis, reverse)),
    "cumprod": _cumulative(lambda x, axis, reverse: lax.cumprod(x, axis, reverse)),
    "cummax": _cumulative(lambda x, axis, reverse: lax.cummax(x, axis, reverse)),
    "cummin": _cumulative(lambda x, axis, reverse: lax.cummin(x, axis, reverse)),
    "linear_recurrence": _recurrence,
    "sort": lambda a, x: (jnp.sort(x, a.axis, stable=True, descending=a.descending),),
    "argsort": lambda a, x: (jnp.argsort(x, a.axis, stable=True, descending=a.descending).astype(np.int64),),
    "arg_top_k": lambda a, x: (_first_of_order(a, x),),
}

# --------------------------------------------------------------------------------------------------- linear algebra


def _t(x: Any) -> Any:
    return jnp.swapaxes(x, -1, -2)


def _lower(x: Any) -> Any:
    """The symmetric matrix whose lower triangle is that of x."""
    return jnp.tril(x) + _t(jnp.tril(x, -1))


def _signs(columns: Any) -> Any:
    large = jnp.abs(columns) > 0.437 / columns.shape[-2] ** 0.5
    first = jnp.argmax(large, axis=-2, keepdims=True)
    return lax.stop_gradient(jnp.where(jnp.take_along_axis(columns, first, -2) < 0, -1.0, 1.0).astype(columns.dtype))


def _svd(a: Any, x: Any) -> tuple[Any, ...]:
    full = a.full and x.shape[-1] != x.shape[-2]
    u, s, vt = jnp.linalg.svd(x, full_matrices=full)
    left, right = _signs(u), _signs(_t(vt))
    k = s.shape[-1]
    right = jnp.concatenate([left[..., :k], right[..., k:]], -1)
    return u * left, s, vt * _t(right)


def _eigh(_: Any, x: Any) -> tuple[Any, ...]:
    values, vectors = jnp.linalg.eigh(_lower(x), symmetrize_input=False)
    return values, vectors * _signs(vectors)


def _lu(_: Any, x: Any) -> tuple[Any, ...]:
    packed, pivots, order = lax.linalg.lu(x)
    return packed, pivots.astype(np.int32), order.astype(np.int32)


def _triangular(a: Any, matrix: Any, b: Any) -> tuple[Any]:
    options = {"lower": a.lower, "transpose_a": a.transposed, "unit_diagonal": a.unit}
    return (lax.linalg.triangular_solve(matrix, b, left_side=True, **options),)


_LINALG: dict[str, Row] = {
    "cholesky": lambda _, x: (lax.linalg.cholesky(_lower(x), symmetrize_input=False),),
    "triangular_solve": _triangular,
    "lu": _lu,
    "qr": lambda a, x: tuple(lax.linalg.qr(x, full_matrices=a.full and x.shape[-1] != x.shape[-2])),
    "svd": _svd,
    "eigh": _eigh,
}

# ------------------------------------------------------------------------------------------------ sources, and loops


def _row(x: Any, t: Any) -> Any:
    return lax.dynamic_index_in_dim(x, t, keepdims=False)


def _scan(a: Any, *operands: Any) -> tuple[Any, ...]:
    count = jnp.clip(operands[0], 0, a.length) if a.counted else a.length
    operands = operands[int(a.counted) :]
    captures, rest = operands[: a.num_captures], operands[a.num_captures :]
    carries, xs = rest[: a.num_carries], rest[a.num_carries :]
    if not a.counted:

        def step(carry: Any, rows: Any) -> tuple[Any, Any]:
            made = run(ROWS, a.body, [*captures, *carry, *rows])
            return made[: a.num_carries], made[a.num_carries :]

        last, ys = lax.scan(step, tuple(carries), tuple(xs), a.length, a.reverse)
        return (*last, *ys)

    def limited(carry: Any, row: Any) -> tuple[Any, Any]:
        t, *rows = row
        made = run(ROWS, a.body, [*captures, *carry, *rows])
        kept = tuple(jnp.where(t < count, new, old) for new, old in zip(made, carry, strict=False))
        return kept, tuple(jnp.where(t < count, y, jnp.zeros_like(y)) for y in made[a.num_carries :])

    last, ys = lax.scan(limited, tuple(carries), (jnp.arange(a.length), *xs), a.length, a.reverse)
    return (*last, *ys)


def _while(a: Any, *operands: Any) -> tuple[Any, ...]:
    captures, carries = operands[: a.num_captures], tuple(operands[a.num_captures :])
    goes_on = lambda carry: run(ROWS, a.cond, [*captures, *carry])[0]
    if a.bound is None:
        return tuple(lax.while_loop(goes_on, lambda carry: run(ROWS, a.body, [*captures, *carry]), carries))

    def step(state: Any, _: Any) -> tuple[Any, Any]:
        carry, made = state
        on = goes_on(carry)
        results = run(ROWS, a.body, [*captures, *carry])
        kept = tuple(jnp.where(on, new, old) for new, old in zip(results, carry, strict=False))
        rows = tuple(jnp.where(on, y, jnp.zeros_like(y)) for y in results[len(carry) :])
        return (kept, made + on), rows

    (carries, made), ys = lax.scan(step, (carries, np.int64(0)), None, a.bound)
    return (*carries, *ys, made)


def _branch(a: Any, index: Any, *operands: Any) -> tuple[Any, ...]:
    return tuple(lax.switch(index, [lambda *xs, g=g: run(ROWS, g, xs) for g in a.branches], *operands))


ROWS: dict[str, Row] = {
    **_ELEMENTWISE,
    **_MOVEMENT,
    **_REDUCTIONS,
    **_WINDOWS,
    **_INDEXING,
    **_ORDERED,
    **_LINALG,
    "constant": lambda a: (jnp.asarray(a.value),),
    "iota": lambda a: (lax.broadcasted_iota(a.dtype.numpy, a.shape, a.axis),),
    "scan": _scan,
    "while": _while,
    "branch": _branch,
}
ROWS.update(structural(ROWS))


def jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled in a hurry: it runs once."""
    return jax.jit(
        fn, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    )
