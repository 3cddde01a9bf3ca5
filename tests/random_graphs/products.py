"""Steps that multiply and add up: products, convolutions, windows that slide."""

import numpy as np

from graphc.graph.ir import TensorType
from graphc.graph.ops import contraction, sliding, source, sparse
from tests.random_graphs.grower import Grower, Maker

_SLIDING = (sliding.windows, sliding.reduce_window, sliding.reduce_window)
_REDUCERS = sliding.REDUCERS


def _dot(g: Grower) -> None:
    lhs = g.pick_for(contraction.dot_general)
    rank = lhs.type.rank
    dims = [int(d) for d in g.rng.permutation(rank)]
    batch, contract = dims[: g.below(2) if rank > 1 else 0], dims[1 if rank > 1 else 0 :][:1]
    batch = [d for d in batch if d not in contract]
    shape = [lhs.shape[d] for d in (*contract, *batch)]
    rhs = g.of_type(TensorType((*shape, *((2,) if g.chance(0.6) else ())), lhs.dtype))
    attrs = contraction.DotAttrs(
        tuple(contract), tuple(range(len(contract))), tuple(batch), tuple(range(len(contract), len(shape)))
    )
    g.add(contraction.dot_general, lhs, rhs, attrs=attrs)


def _slide(g: Grower, extent: int) -> sliding.Sliding:
    """Some windows along a dim of that extent."""
    size, stride, base, dilation = 1 + g.below(3), 1 + g.below(2), 1 + g.below(4) // 3 * g.below(3), 1 + g.below(2)
    return sliding.Sliding(extent, size, stride, g.below(4) - 1, g.below(4) - 1, base, dilation)


def _sliding(g: Grower) -> None:
    op = g.one_of(_SLIDING)
    x = g.pick_for(op, lambda v: 0 < v.type.rank < 4)
    dims = tuple(d for d in range(x.type.rank) if g.chance(0.6))
    rows = [_slide(g, x.shape[d]) for d in dims]
    size, stride, dilation = (tuple(getattr(s, name) for s in rows) for name in ("size", "stride", "dilation"))
    if op is sliding.windows:
        g.add(op, x, attrs=sliding.WindowsAttrs(dims, size, stride, dilation))
        return
    low, high, base = (tuple(getattr(s, name) for s in rows) for name in ("low", "high", "base"))
    # what reduces nothing is as large as numbers are
    reducer = _REDUCERS[1 + g.below(2)] if x.dtype.is_bool else _REDUCERS[g.below(3)] if g.wild else "sum"
    g.add(op, x, attrs=sliding.ReduceWindowAttrs(reducer, dims, size, stride, low, high, base, dilation))


def _max_pool(g: Grower) -> None:
    x = g.pick_for(sliding.reduce_window, lambda v: v.type.rank > 0 and v.type.size > 0)
    rows = [sliding.Sliding(e, 1 + g.below(min(e, 3)), 1 + g.below(2)) for e in x.shape]
    dims, zeros, ones = tuple(range(len(rows))), (0,) * len(rows), (1,) * len(rows)
    attrs = sliding.ReduceWindowAttrs(
        _REDUCERS[1 + g.below(2)],
        dims,
        tuple(s.size for s in rows),
        tuple(s.stride for s in rows),
        zeros,
        zeros,
        ones,
        ones,
    )
    g.add(sliding.reduce_window, x, attrs=attrs)


def _conv(g: Grower) -> None:
    lhs = g.pick_for(sliding.conv_general, lambda v: v.type.rank > 0)
    rank = lhs.type.rank
    dims = [int(d) for d in g.rng.permutation(rank)]
    spatial, others = dims[: 1 + g.below(min(rank, 2))], dims[2:]
    contract, batch = others[:1], others[1:2] if g.chance(0.5) else []
    rows = [_slide(g, lhs.shape[d]) for d in spatial]
    free = [2] if g.chance(0.6) else []
    shape = [*(lhs.shape[d] for d in (*contract, *batch)), *free, *(s.size for s in rows)]
    rhs = g.of_type(TensorType(tuple(shape), lhs.dtype))
    k, b = len(contract), len(batch)
    attrs = sliding.ConvAttrs(
        tuple(contract),
        tuple(range(k)),
        tuple(spatial),
        tuple(range(len(shape) - len(rows), len(shape))),
        *(tuple(getattr(s, name) for s in rows) for name in ("stride", "low", "high", "base", "dilation")),
        tuple(batch),
        tuple(range(k, k + b)),
        flipped=g.chance(0.3),
    )
    g.add(sliding.conv_general, lhs, rhs, attrs=attrs)


def _sparse(g: Grower) -> None:
    dense = g.pick_for(sparse.csr_dot, lambda v: v.type.rank == 2 and v.shape[0] > 0)
    count, rows = g.below(6), 1 + g.below(4)
    indptr = np.sort([0, count, *(g.below(count + 1) for _ in range(rows - 1))]).astype(np.int32)
    indices = np.array([g.below(dense.shape[0]) for _ in range(count)], np.int32)
    places = [g.add(source.constant, attrs=source.ConstantAttrs(x)) for x in (indices, indptr)]
    g.add(sparse.csr_dot, g.of_type(TensorType((count,), dense.dtype)), *places, dense)


MAKERS = {
    "dot": Maker(_dot, (contraction.dot_general,), 2),
    "sliding": Maker(_sliding, _SLIDING),
    "max_pool": Maker(_max_pool, (sliding.reduce_window,)),
    "conv": Maker(_conv, (sliding.conv_general,)),
    "sparse": Maker(_sparse, (sparse.csr_dot,)),
}
