"""Random well-typed graphs over all primitives, for property tests and the fuzzer.

`random_graph(seed)` gives a graph and example inputs on which every value is finite and moderate (unless `wild`); each
node is run as it is added, and one whose values leave the range is taken back. Shapes are small and include 0-d, 1, odd
and empty extents. Constants favour 0, 1 and -1, and nodes are sometimes repeated, so that rewrites find work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.errors import GradientError
from graphc.core.source import Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Attrs, Graph, Op, TensorType, Value, regions
from graphc.graph.ops import (
    contraction,
    control,
    cumulative,
    custom,
    elementwise,
    indexing,
    linalg,
    movement,
    reduction,
    sliding,
    sorting,
    source,
    sparse,
    structural,
    windows,
)
from graphc.transform import autodiff

DTYPES: tuple[DType, ...] = (
    *(dtypes.float32, dtypes.float64, dtypes.float32, dtypes.float64),
    *(dtypes.bfloat16, dtypes.float16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.bool_),
)
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 3), (3, 2), (1, 3), (2, 1, 3), (5,), (0,), (2, 0), (2, 3, 2))
LARGE_SHAPES: tuple[tuple[int, ...], ...] = (  # longer than a vector, with and without a tail
    *((), (17,), (64,), (1, 17), (7, 33), (33, 7), (16, 16), (5, 1, 19), (3, 16, 5), (0, 17), (130,)),
)
LARGEST = 1e4  # magnitudes a value may reach
SMALLEST = 1e-4  # non-zero magnitudes below this are taken back too


@dataclass(frozen=True, slots=True)
class RandomGraph:
    graph: Graph
    inputs: tuple[np.ndarray, ...]


Weights = Mapping[str, float]


def random_graph(
    seed: int,
    size: int = 12,
    weights: Weights | None = None,
    wild: bool = False,
    floats_only: bool = False,
    large: bool = False,
) -> RandomGraph:
    """A graph of about `size` steps (a step adds one node or a few).

    `weights` scales how often the makers in `MAKERS` are chosen, by name, 1 by default; `wild` lets NaN, infinities and
    huge values through and puts them into inputs and constants; `floats_only` makes every input a float32 or float64
    and casts nothing to half types; `large` takes shapes from `LARGE_SHAPES`.
    """
    grower = _Grower(np.random.default_rng(seed), wild, floats_only, large)
    names = list(MAKERS)
    chances = np.array([(weights or {}).get(name, 1.0) for name in names])
    chances /= chances.sum()
    for _ in range(grower.below(2) + 2):
        grower.new_input(grower.random_type())
    for name in grower.rng.choice(names, size, p=chances):
        grower.attempt(MAKERS[str(name)])
    return grower.finish(f"random_{seed}")


class _Rejected(Exception):
    """This step does not fit what there is, or its values left the range."""


class _Grower:
    def __init__(self, rng: np.random.Generator, wild: bool, floats_only: bool, large: bool, depth: int = 0) -> None:
        self.large = large
        self.shapes = LARGE_SHAPES if large else SHAPES
        self.small = 300 if large else 12  # elements of what may be broadcast or padded
        self.rng = rng
        self.wild = wild
        self.floats_only = floats_only
        # derivatives are compared with tolerances of float32
        self.kinds = tuple(d for d in DTYPES if not d.is_half) if floats_only else DTYPES
        self.depth = depth
        self.builder = GraphBuilder("random")
        self.array: dict[Value, np.ndarray] = {}
        self.pool: list[Value] = []

    # Choices.

    def below(self, n: int) -> int:
        return int(self.rng.integers(0, n))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def random_type(self) -> TensorType:
        kinds = (dtypes.float32, dtypes.float64) if self.floats_only else self.kinds
        return TensorType(self.shapes[self.below(len(self.shapes))], kinds[self.below(len(kinds))])

    def pick(self, accept: Callable[[Value], bool] = lambda _: True) -> Value:
        """A value so far; recent ones are more likely."""
        fitting = [v for v in self.pool if accept(v)]
        if not fitting:
            raise _Rejected
        return fitting[max(self.below(len(fitting)), self.below(len(fitting)))]

    def of_type(self, type: TensorType) -> Value:
        """A value of that type: one there is, a constant, or a new input."""
        same = [v for v in self.pool if v.type == type]
        if same and self.chance(0.7):
            return same[self.below(len(same))]
        if self.chance(0.5):
            return self.constant(type)
        return self.new_input(type)

    # Values.

    def data(self, type: TensorType) -> np.ndarray:
        kind = type.dtype.numpy
        if type.dtype.is_bool:
            return np.asarray(self.rng.random(type.shape) < 0.5)
        if type.dtype.is_integer:
            return self.rng.integers(0 if kind.kind == "u" else -3, 6, type.shape).astype(kind)
        values = self.rng.uniform(-2, 2, type.shape)
        if self.wild:
            odd = self.rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, 1e-42], type.shape)
            values = np.where(self.rng.random(type.shape) < 0.3, odd, values)
        return values.astype(kind)

    def new_input(self, type: TensorType) -> Value:
        if self.floats_only and not type.dtype.is_float:
            return self.constant(type)
        value = self.builder.input(type, f"x{len(self.builder.inputs)}")
        self.array[value] = self.data(type)
        self.pool.append(value)
        return value

    def constant(self, type: TensorType) -> Value:
        if self.chance(0.6):
            plain = np.array(self.rng.choice([0, 1, 1] if type.dtype.kind in ("uint", "bool") else [0, 1, -1, 2]))
            scalar = self.add(source.constant, attrs=source.ConstantAttrs(plain.astype(type.dtype.numpy)))
            if type.shape == ():
                return scalar
            return self.add(movement.broadcast, scalar, attrs=movement.BroadcastAttrs(type.shape, ()))
        return self.add(source.constant, attrs=source.ConstantAttrs(self.data(type)))

    def add(self, op: Op, *operands: Value, attrs: Attrs | None = None) -> Value:
        """Append a node and run it; the first result."""
        loc = Loc("random.py", len(self.builder.nodes) + 1)
        results = self.builder.add(op, operands, attrs or op.attrs(), loc)
        arrays = op.meaning(attrs or op.attrs(), *(self.array[v] for v in operands))
        for value, array in zip(results, arrays, strict=True):
            if not self.wild and not _moderate(array):
                raise _Rejected
            self.array[value] = array
            if not value.dtype.is_complex:  # what else takes them is taken apart by a pass, which comes first
                self.pool.append(value)
        return results[0]

    def attempt(self, make: Callable[["_Grower"], object]) -> None:
        """Run a step; when it is rejected, nothing of it stays."""
        nodes, inputs, pool = len(self.builder.nodes), len(self.builder.inputs), len(self.pool)
        try:
            make(self)
        except _Rejected:
            del self.builder.nodes[nodes:], self.builder.inputs[inputs:], self.pool[pool:]

    def finish(self, name: str) -> RandomGraph:
        read = {v for node in self.builder.nodes for v in node.operands}
        loose = [v for v in self.pool if v not in read and v not in self.builder.inputs]
        outputs = [v for v in loose if self.chance(0.8)] or [self.pool[-1]]
        if self.chance(0.3):
            outputs.append(self.pool[self.below(len(self.pool))])
        self.builder.name = name
        return RandomGraph(self.builder.build(outputs), tuple(self.array[v] for v in self.builder.inputs))


def _moderate(array: np.ndarray) -> bool:
    if not dtypes.holds_floats(array) or array.size == 0:
        return True
    size = np.abs(array)
    return bool(np.all(size <= LARGEST) and np.all((size >= SMALLEST) | (size == 0)))


# Makers: each adds one step.

_UNARY: tuple[tuple[Op, tuple[DType, ...]], ...] = (
    *((op, dtypes.FLOATS) for op in (elementwise.exp, elementwise.expm1, elementwise.sin, elementwise.cos)),
    *((op, dtypes.FLOATS) for op in (elementwise.tanh, elementwise.erf, elementwise.erfc, elementwise.sigmoid)),
    (elementwise.atan, dtypes.FLOATS),
    *((op, dtypes.FLOATS) for op in (elementwise.floor, elementwise.ceil, elementwise.trunc, elementwise.round_)),
    *((op, dtypes.FLOATS) for op in (elementwise.log, elementwise.log1p, elementwise.sqrt, elementwise.is_finite)),
    *((op, elementwise.SIGNED) for op in (elementwise.neg,) * 3),
    *((op, dtypes.NUMERIC) for op in (elementwise.abs_, elementwise.sign)),
    (elementwise.not_, elementwise.BITS),
    (elementwise.stop_gradient, dtypes.ALL),
    (elementwise.saved, dtypes.ALL),
)
_BINARY: tuple[tuple[Op, tuple[DType, ...]], ...] = (
    *((op, dtypes.NUMERIC) for op in (elementwise.add, elementwise.sub, elementwise.mul, elementwise.div) * 3),
    *((op, dtypes.NUMERIC) for op in (elementwise.rem, elementwise.max_, elementwise.min_)),
    (elementwise.pow_, dtypes.FLOATS),
    *((op, elementwise.BITS) for op in (elementwise.and_, elementwise.or_, elementwise.xor)),
    *((op, dtypes.ALL) for op in (elementwise.eq, elementwise.ne, elementwise.lt)),
    *((op, dtypes.ALL) for op in (elementwise.le, elementwise.gt, elementwise.ge)),
)
_ORDERED = (elementwise.pow_, elementwise.shift_left, elementwise.shift_right)  # operands differ in what they may be
_POSITIVE = (elementwise.log, elementwise.log1p, elementwise.sqrt)


def _unary(g: _Grower) -> None:
    op, accepted = _UNARY[g.below(len(_UNARY))]
    x = g.pick(lambda v: v.dtype in accepted)
    if op in _POSITIVE and not g.wild:
        x = g.add(elementwise.abs_, x)
    g.add(op, x)


def _binary(g: _Grower) -> None:
    op, accepted = _BINARY[g.below(len(_BINARY))]
    x = g.pick(lambda v: v.dtype in accepted)
    pair = [x, g.of_type(x.type)]
    if op is elementwise.pow_ and not g.wild:
        pair[0] = g.add(elementwise.abs_, pair[0])
    g.add(op, *(pair if g.chance(0.5) or op is elementwise.pow_ else reversed(pair)))


def _shift(g: _Grower) -> None:
    x = g.pick(lambda v: v.dtype.is_integer)
    mask = g.add(source.constant, attrs=source.ConstantAttrs(np.full(x.shape, 7, x.dtype.numpy)))
    count = g.add(elementwise.and_, g.of_type(x.type), mask)
    g.add((elementwise.shift_left, elementwise.shift_right)[g.below(2)], x, count)


def _select(g: _Grower) -> None:
    x = g.pick()
    g.add(elementwise.select, g.of_type(x.type.with_dtype(dtypes.bool_)), x, g.of_type(x.type))


def _cast(g: _Grower) -> None:
    x = g.pick()
    g.add(elementwise.cast, x, attrs=elementwise.DTypeAttrs(g.kinds[g.below(len(g.kinds))]))


def _bitcast(g: _Grower) -> None:
    x = g.pick(lambda v: v.dtype.is_float)
    kind = dtypes.dtype(f"int{x.dtype.bits}")
    g.add(elementwise.bitcast, x, attrs=elementwise.DTypeAttrs(kind))


def _within(g: _Grower) -> None:
    x = g.pick(lambda v: v.dtype.is_integer)
    g.add(elementwise.within, x, attrs=elementwise.WithinAttrs(0, 5, "place"))


def _complex(g: _Grower) -> None:
    """A complex number, and one of its parts; the number itself stays between the two."""
    x = g.pick(lambda v: v.dtype in (dtypes.float32, dtypes.float64))
    z = g.add(elementwise.complex_, *((x, g.of_type(x.type)) if g.chance(0.5) else (g.of_type(x.type), x)))
    g.add((elementwise.real, elementwise.imag)[g.below(2)], z)


def _reshape(g: _Grower) -> None:
    x = g.pick()
    extents = list(x.shape)
    g.rng.shuffle(extents)
    if len(extents) > 1 and g.chance(0.5):
        extents = [extents[0] * extents[1], *extents[2:]]
    if g.chance(0.3):
        extents.insert(g.below(len(extents) + 1), 1)
    g.add(movement.reshape, x, attrs=movement.ShapeAttrs(tuple(extents)))


def _transpose(g: _Grower) -> None:
    x = g.pick()
    g.add(movement.transpose, x, attrs=movement.TransposeAttrs(tuple(int(d) for d in g.rng.permutation(x.type.rank))))


def _broadcast(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank <= 3 and v.type.size <= g.small)
    shape, dims = [], []
    for extent in x.shape:
        if g.chance(0.3):
            shape.append(2)
        dims.append(len(shape))
        shape.append(3 if extent == 1 and g.chance(0.5) else extent)
    if g.chance(0.3):
        shape.append(2)
    g.add(movement.broadcast, x, attrs=movement.BroadcastAttrs(tuple(shape), tuple(dims)))


def _slice(g: _Grower) -> None:
    x = g.pick()
    start = tuple(g.below(e + 1) if g.chance(0.4) else 0 for e in x.shape)
    stop = tuple(a + g.below(e - a + 1) if g.chance(0.4) else e for a, e in zip(start, x.shape, strict=True))
    step = tuple(1 + g.below(3) if g.chance(0.3) else 1 for _ in x.shape)
    g.add(movement.slice_, x, attrs=movement.SliceAttrs(start, stop, step))


def _pad(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.size <= g.small)
    low, high, interior = (tuple(g.below(2) for _ in x.shape) for _ in range(3))
    g.add(movement.pad, x, g.of_type(TensorType((), x.dtype)), attrs=movement.PadAttrs(low, high, interior))


def _concatenate(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0)
    axis = g.below(x.type.rank)
    others = [v for v in g.pool if v.dtype == x.dtype and v.type.rank == x.type.rank]
    fitting = [v for v in others if v.shape[:axis] + v.shape[axis + 1 :] == x.shape[:axis] + x.shape[axis + 1 :]]
    parts = [fitting[g.below(len(fitting))] for _ in range(1 + g.below(2))]
    joined = g.add(movement.concatenate, x, *parts, attrs=movement.AxisAttrs(axis))
    if g.chance(0.4):  # and take one part out again
        start, stop = [0] * x.type.rank, list(joined.shape)
        start[axis] = x.shape[axis] if g.chance(0.5) else 0
        stop[axis] = start[axis] + (parts[0] if start[axis] else x).shape[axis]
        attrs = movement.SliceAttrs(tuple(start), tuple(stop), (1,) * x.type.rank)
        g.add(movement.slice_, joined, attrs=attrs)


def _axes(g: _Grower, rank: int) -> movement.AxesAttrs:
    return movement.AxesAttrs(tuple(d for d in range(rank) if g.chance(0.5)))


def _reverse(g: _Grower) -> None:
    x = g.pick()
    g.add(movement.reverse, x, attrs=_axes(g, x.type.rank))


def _reduce(g: _Grower) -> None:
    ops = (
        reduction.reduce_sum,
        reduction.reduce_sum,
        reduction.reduce_prod,
        reduction.reduce_max,
        reduction.reduce_min,
    )
    x = g.pick(lambda v: not v.dtype.is_bool)
    g.add(ops[g.below(len(ops))], x, attrs=_axes(g, x.type.rank))


def _arg(g: _Grower) -> None:
    x = g.pick(lambda v: not v.dtype.is_bool and any(v.shape))
    axes = [d for d, e in enumerate(x.shape) if e > 0]
    if not axes:
        raise _Rejected
    op = (reduction.argmax, reduction.argmin)[g.below(2)]
    g.add(op, x, attrs=reduction.ArgAttrs(axes[g.below(len(axes))]))


def _dot(g: _Grower) -> None:
    lhs = g.pick(lambda v: v.dtype in dtypes.NUMERIC)
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


def _slide(g: _Grower, extent: int) -> sliding.Sliding:
    """Some windows along a dim of that extent."""
    size, stride, base, dilation = 1 + g.below(3), 1 + g.below(2), 1 + g.below(4) // 3 * g.below(3), 1 + g.below(2)
    return sliding.Sliding(extent, size, stride, g.below(4) - 1, g.below(4) - 1, base, dilation)


def _sliding(g: _Grower) -> None:
    x = g.pick(lambda v: 0 < v.type.rank < 4)
    dims = tuple(d for d in range(x.type.rank) if g.chance(0.6))
    rows = [_slide(g, x.shape[d]) for d in dims]
    size, stride, dilation = (tuple(getattr(s, name) for s in rows) for name in ("size", "stride", "dilation"))
    if g.chance(0.3):
        g.add(sliding.windows, x, attrs=sliding.WindowsAttrs(dims, size, stride, dilation))
        return
    if x.dtype.is_bool:
        raise _Rejected
    low, high, base = (tuple(getattr(s, name) for s in rows) for name in ("low", "high", "base"))
    # what reduces nothing is as large as numbers are
    reducer = sliding.REDUCERS[g.below(3)] if g.wild else "sum"
    g.add(
        sliding.reduce_window,
        x,
        attrs=sliding.ReduceWindowAttrs(reducer, dims, size, stride, low, high, base, dilation),
    )


def _max_pool(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0 and v.type.size > 0 and not v.dtype.is_bool)
    rows = [sliding.Sliding(e, 1 + g.below(min(e, 3)), 1 + g.below(2)) for e in x.shape]
    dims, zeros, ones = tuple(range(len(rows))), (0,) * len(rows), (1,) * len(rows)
    attrs = sliding.ReduceWindowAttrs(
        sliding.REDUCERS[1 + g.below(2)],
        dims,
        tuple(s.size for s in rows),
        tuple(s.stride for s in rows),
        zeros,
        zeros,
        ones,
        ones,
    )
    g.add(sliding.reduce_window, x, attrs=attrs)


def _conv(g: _Grower) -> None:
    lhs = g.pick(lambda v: v.dtype in dtypes.NUMERIC and v.type.rank > 0)
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


def _gather_attrs(g: _Grower, x: Value) -> tuple[indexing.GatherAttrs, Value]:
    """An axis, batch dims before it, and indices."""
    axis = g.below(x.type.rank)
    batch = g.below(axis + 1) if g.chance(0.5) else 0
    shape = (*x.shape[:batch], *((), (2,), (3,))[g.below(3)])
    kind = (dtypes.int32, dtypes.int64, dtypes.uint8)[g.below(3)]
    return indexing.GatherAttrs(axis, batch), g.of_type(TensorType(shape, kind))


def _gather(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0 and v.type.size > 0)
    attrs, indices = _gather_attrs(g, x)
    g.add(indexing.gather, x, indices, attrs=attrs)


def _scatter(g: _Grower) -> None:
    op = indexing.SCATTERS[g.below(len(indexing.SCATTERS))]
    accepted = dtypes.NUMERIC if op in (indexing.scatter_add, indexing.scatter_mul) else dtypes.ALL
    x = g.pick(lambda v: v.type.rank > 0 and v.dtype in accepted)
    attrs, indices = _gather_attrs(g, x)
    updates = g.of_type(x.type.with_shape(indexing.gathered_shape(x.shape, indices.shape, attrs)))
    g.add(op, x, indices, updates, attrs=attrs)


def _window(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0)
    dims = tuple(d for d in range(x.type.rank) if g.chance(0.5))
    sizes = tuple(g.below(x.shape[d] + 1) for d in dims)
    kind = (dtypes.int32, dtypes.int64, dtypes.uint8)[g.below(3)]
    starts = [g.of_type(TensorType((), kind)) for _ in dims]
    if g.chance(0.5):
        g.add(windows.dynamic_slice, x, *starts, attrs=windows.WindowAttrs(dims, sizes))
        return
    shape = list(x.shape)
    for dim, size in zip(dims, sizes, strict=True):
        shape[dim] = size
    update = g.of_type(x.type.with_shape(tuple(shape)))
    g.add(windows.dynamic_update_slice, x, update, *starts, attrs=windows.DimsAttrs(dims))


def _cumulative(g: _Grower) -> None:
    op = cumulative.CUMULATIVE[g.below(len(cumulative.CUMULATIVE))]
    accepted = {cumulative.linear_recurrence: dtypes.FLOATS, cumulative.cumsum: dtypes.NUMERIC}
    accepted |= {cumulative.cumprod: dtypes.NUMERIC}
    x = g.pick(lambda v: v.type.rank > 0 and v.dtype in accepted.get(op, dtypes.ALL))
    attrs = cumulative.CumulativeAttrs(g.below(x.type.rank), g.chance(0.5))
    operands = (g.of_type(x.type), x) if op is cumulative.linear_recurrence else (x,)
    g.add(op, *operands, attrs=attrs)


def _sort(g: _Grower) -> None:
    x = g.pick(lambda v: v.type.rank > 0)
    g.add(sorting.SORTS[g.below(2)], x, attrs=sorting.SortAttrs(g.below(x.type.rank), g.chance(0.5)))


def _linalg(g: _Grower) -> None:
    """Of a matrix that is made positive definite first."""
    x = g.pick(lambda v: v.type.rank > 1 and v.dtype in linalg.ACCEPTED and v.type.size > 0)
    rank = x.type.rank
    batch = tuple(range(rank - 2))
    square = g.add(contraction.dot_general, x, x, attrs=contraction.DotAttrs((rank - 1,), (rank - 1,), batch, batch))
    shift = g.add(source.constant, attrs=source.ConstantAttrs(np.eye(square.shape[-1], dtype=x.dtype.numpy)))
    spread = movement.BroadcastAttrs(square.shape, (rank - 2, rank - 1))
    positive = g.add(elementwise.add, square, g.add(movement.broadcast, shift, attrs=spread))
    kind = g.below(6)
    if kind > 2:
        g.add(linalg.BY_LIBRARY[kind - 3], positive)
        _, *vectors = sorted(g.builder.nodes[-1].results, key=lambda v: v.type.rank)
        if kind > 3:  # vectors of equal values are any that fit
            g.pool = [v for v in g.pool if v not in vectors]
    elif kind == 0:
        g.add(linalg.cholesky, positive)
    elif kind == 1:
        g.add(linalg.lu, positive)
    else:
        attrs = linalg.TriangleAttrs(g.chance(0.5), g.chance(0.5), g.chance(0.5))
        g.add(linalg.triangular_solve, positive, x, attrs=attrs)


def _sparse(g: _Grower) -> None:
    dense = g.pick(lambda v: v.type.rank == 2 and v.dtype in sparse.ACCEPTED and v.shape[0] > 0)
    count, rows = g.below(6), 1 + g.below(4)
    indptr = np.sort([0, count, *(g.below(count + 1) for _ in range(rows - 1))]).astype(np.int32)
    indices = np.array([g.below(dense.shape[0]) for _ in range(count)], np.int32)
    places = [g.add(source.constant, attrs=source.ConstantAttrs(x)) for x in (indices, indptr)]
    g.add(sparse.csr_dot, g.of_type(TensorType((count,), dense.dtype)), *places, dense)


def _source(g: _Grower) -> None:
    if g.chance(0.5):
        type = g.random_type()
        if type.rank == 0 or type.dtype.is_bool:
            raise _Rejected
        g.add(source.iota, attrs=source.IotaAttrs(type.shape, type.dtype, g.below(type.rank)))
        return
    key = g.constant(TensorType((2,), dtypes.uint32))
    bits = g.add(source.random_bits, key, attrs=movement.ShapeAttrs(g.shapes[g.below(len(g.shapes))]))
    if g.chance(0.5):
        keys = g.constant(TensorType((4, 2), dtypes.uint32))
        eleven = g.add(source.constant, attrs=source.ConstantAttrs(np.full(bits.shape, 11, np.uint32)))
        below = g.add(elementwise.rem, bits, eleven)
        g.add(source.shuffle_index, below, keys, attrs=source.ShuffleAttrs(11))


def _again(g: _Grower) -> None:
    """Repeat a node: the same op on the same operands, or on two of one type the other way round."""
    if not g.builder.nodes:
        raise _Rejected
    node = g.builder.nodes[g.below(len(g.builder.nodes))]
    operands = node.operands
    if len(operands) == 2 and operands[0].type == operands[1].type and node.op not in _ORDERED:
        operands = operands[::-1] if g.chance(0.5) else operands
    g.add(node.op, *operands, attrs=node.attrs)


def _call(g: _Grower) -> None:
    if g.depth > 1:
        raise _Rejected
    inner = _Grower(g.rng, g.wild, g.floats_only, g.large, g.depth + 1)
    operands: list[Value] = []
    for _ in range(1 + g.below(2)):
        operand = g.pick()
        value = inner.builder.input(operand.type, f"a{len(operands)}")
        inner.array[value] = g.array[operand]
        inner.pool.append(value)
        operands.append(operand)
    names = list(MAKERS)
    for _ in range(4):
        inner.attempt(MAKERS[names[inner.below(len(names))]])
    callee = inner.finish(f"callee_{len(g.builder.nodes)}")
    for value in callee.graph.inputs[len(operands) :]:
        operand = g.new_input(value.type)
        g.array[operand] = inner.array[value]
        operands.append(operand)
    try:
        op, attrs = CALLS[g.below(len(CALLS))](g, callee.graph)
    except GradientError:  # a loop without a bound, say
        raise _Rejected from None
    if op is custom.linear_call:
        operands = [g.of_type(v.type) for v in attrs.graph.inputs]
    g.add(op, *operands, attrs=attrs)
    if g.chance(0.4):
        g.add(op, *operands, attrs=attrs)


def _floats(graph: Graph) -> list[bool]:
    return [v.dtype.is_float for v in graph.inputs]


def _plain_call(g: _Grower, graph: Graph) -> tuple[Op, Attrs]:
    return structural.call, structural.CallAttrs(graph)


def _has_control(graph: Graph) -> bool:
    stack = [graph]
    while stack:
        for node in stack.pop().nodes:
            if node.op in control.CONTROL:
                return True
            stack += regions(node)
    return False


def _custom_jvp(g: _Grower, graph: Graph) -> tuple[Op, Attrs]:
    if _has_control(graph):  # a loop of values and tangents in a rule is not taken apart
        raise _Rejected
    return custom.custom_jvp, custom.CustomJvpAttrs(graph, autodiff.jvp(graph, _floats(graph)), 0)


def _custom_vjp(g: _Grower, graph: Graph) -> tuple[Op, Attrs]:
    forward, linear = autodiff.linearize(graph, _floats(graph))
    backward = autodiff.transpose(linear, _tangents(forward, graph, linear))
    return custom.custom_vjp, custom.CustomVjpAttrs(graph, forward, backward, 0)


def _linear_call(g: _Grower, graph: Graph) -> tuple[Op, Attrs]:
    forward, linear = autodiff.linearize(graph, _floats(graph))
    if not linear.outputs:
        raise _Rejected
    flags = _tangents(forward, graph, linear)
    return custom.linear_call, custom.LinearCallAttrs(linear, autodiff.transpose(linear, flags), flags.count(False))


def _tangents(forward: Graph, graph: Graph, linear: Graph) -> list[bool]:
    """Which inputs of the linear part are tangents: those after the residuals."""
    residuals = len(forward.outputs) - len(graph.outputs)
    return [number >= residuals for number in range(len(linear.inputs))]


def _checkpoint(g: _Grower, graph: Graph) -> tuple[Op, Attrs]:
    late = tuple(g.chance(0.3) for _ in graph.inputs)
    return custom.checkpoint, custom.CheckpointAttrs(graph, late)


CALLS = (_plain_call, _plain_call, _custom_jvp, _custom_vjp, _linear_call, _checkpoint, _checkpoint)


def _barrier(g: _Grower) -> None:
    g.add(custom.barrier, *(g.pick() for _ in range(1 + g.below(3))))


def _inside(g: _Grower, given: Sequence[tuple[TensorType, np.ndarray]]) -> _Grower:
    """What grows inside a loop or branch from these inputs; others that it takes come after them."""
    if g.depth > 1:
        raise _Rejected
    inner = _Grower(g.rng, g.wild, g.floats_only, g.large, g.depth + 1)
    for number, (type, array) in enumerate(given):
        value = inner.builder.input(type, f"a{number}")
        inner.array[value] = array
        inner.pool.append(value)
    names = list(MAKERS)
    for _ in range(4):
        inner.attempt(MAKERS[names[inner.below(len(names))]])
    return inner


def _taken(g: _Grower, inner: _Grower, count: int) -> list[Value]:
    """Values outside for what a body takes besides its `count` inputs."""
    operands: list[Value] = []
    for value in inner.builder.inputs[count:]:
        operand = g.new_input(value.type)
        g.array[operand] = inner.array[value]
        operands.append(operand)
    return operands


def _next(inner: _Grower, carries: Sequence[Value]) -> list[Value]:
    return [inner.pick(lambda v, type=carry.type: v.type == type) for carry in carries]


def _scan(g: _Grower) -> None:
    carries = [g.pick() for _ in range(g.below(3))]
    xs = [g.pick(lambda v: v.type.rank > 0 and v.shape[0] <= 8)] if g.chance(0.6) else []
    length = xs[0].shape[0] if xs else g.below(4)
    types = [x.type.with_shape(x.shape[1:]) for x in xs]
    rows = [(type, g.array[x][0] if length else g.data(type)) for type, x in zip(types, xs, strict=True)]
    given = [*((carry.type, g.array[carry]) for carry in carries), *rows]
    inner = _inside(g, given)
    if not inner.pool:
        raise _Rejected
    inputs = inner.builder.inputs[: len(given)]
    outputs = [*_next(inner, carries), *(inner.pick() for _ in range(g.below(2) + (not carries)))]
    captures = _taken(g, inner, len(given))
    ordered = (*inner.builder.inputs[len(given) :], *inputs)
    body = Graph(f"body_{len(g.builder.nodes)}", ordered, tuple(inner.builder.nodes), tuple(outputs))
    counted = g.chance(0.3)
    attrs = control.ScanAttrs(body, len(captures), len(carries), length, g.chance(0.4), counted)
    count = [g.constant(control.COUNT)] if counted else []
    g.add(control.scan, *count, *captures, *carries, *xs, attrs=attrs)


def _while(g: _Grower) -> None:
    carries = [g.pick() for _ in range(1 + g.below(2))]
    inner = _inside(g, [(carry.type, g.array[carry]) for carry in carries])
    outputs = _next(inner, carries)
    has_derivative = any(v.dtype.is_float for v in (*inner.builder.inputs, *outputs))
    bound = 4 if has_derivative or g.chance(0.6) else None
    if bound is not None and g.chance(0.6):
        outputs.append(inner.pick())
    captures = _taken(g, inner, len(carries))
    number = Value(control.COUNT, "i")
    inputs = (*inner.builder.inputs[len(carries) :], number, *inner.builder.inputs[: len(carries)])
    following = inner.builder.add1(elementwise.add, (number, _number(inner.builder, 1)))
    body = Graph(f"body_{len(g.builder.nodes)}", inputs, tuple(inner.builder.nodes), (following, *outputs))
    asked = GraphBuilder(f"cond_{len(g.builder.nodes)}")
    own = [asked.input(value.type) for value in inputs]
    cond = asked.build([asked.add1(elementwise.lt, (own[len(captures)], _number(asked, g.below(4))))])
    start = g.add(source.constant, attrs=source.ConstantAttrs(np.array(0)))
    g.add(control.while_, *captures, start, *carries, attrs=control.WhileAttrs(cond, body, len(captures), bound))


def _number(builder: GraphBuilder, value: int) -> Value:
    return builder.add1(source.constant, (), source.ConstantAttrs(np.array(value)))


def _branch(g: _Grower) -> None:
    given = [g.pick() for _ in range(1 + g.below(2))]
    grown = [_inside(g, [(value.type, g.array[value]) for value in given]) for _ in range(1 + g.below(3))]
    results = [_next(inner, given) for inner in grown]
    taken = [_taken(g, inner, len(given)) for inner in grown]
    branches = []
    for chosen, (inner, outputs) in enumerate(zip(grown, results, strict=True)):
        inputs = list(inner.builder.inputs[: len(given)])
        for number, values in enumerate(taken):
            own = inner.builder.inputs[len(given) :]
            inputs += own if number == chosen else [Value(value.type) for value in values]
        branches.append(Graph(f"branch_{chosen}", tuple(inputs), tuple(inner.builder.nodes), tuple(outputs)))
    index = g.constant(control.INDEX) if g.floats_only else g.of_type(control.INDEX)
    more = [value for values in taken for value in values]
    g.add(control.branch, index, *given, *more, attrs=control.BranchAttrs(tuple(branches)))


MAKERS: Mapping[str, Callable[[_Grower], None]] = {
    "unary": _unary,
    "unary_again": _unary,
    "binary": _binary,
    "binary_again": _binary,
    "shift": _shift,
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "within": _within,
    "complex": _complex,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "reverse": _reverse,
    "reduce": _reduce,
    "arg": _arg,
    "dot": _dot,
    "sliding": _sliding,
    "max_pool": _max_pool,
    "conv": _conv,
    "gather": _gather,
    "scatter": _scatter,
    "window": _window,
    "cumulative": _cumulative,
    "sort": _sort,
    "linalg": _linalg,
    "source": _source,
    "sparse": _sparse,
    "again": _again,
    "call": _call,
    "scan": _scan,
    "while": _while,
    "branch": _branch,
    "call_again": _call,
    "barrier": _barrier,
}


def same_bits(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Equal types and bits; any NaN equals any NaN."""
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and bool(np.all((_bits(x) == _bits(y)) | ((x != x) & (y != y))))
        for x, y in zip(a, b, strict=True)
    )


def _bits(x: np.ndarray) -> np.ndarray:
    if not dtypes.holds_floats(x):
        return x
    return np.array(x, order="C").view(f"u{x.dtype.itemsize}")
