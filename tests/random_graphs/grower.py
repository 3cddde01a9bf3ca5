"""Growing a graph step by step: what there is so far, choices among it, and each node run as it is added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.source import Loc
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Attrs, Graph, Op, TensorType, Value
from graphc.graph.ops import movement, source
from tests.accepted import accepted

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 3), (3, 2), (1, 3), (2, 1, 3), (5,), (0,), (2, 0), (2, 3, 2))
LARGE_SHAPES: tuple[tuple[int, ...], ...] = (  # longer than a vector, with and without a tail
    *((), (17,), (64,), (1, 17), (7, 33), (33, 7), (16, 16), (5, 1, 19), (3, 16, 5), (0, 17), (130,)),
)
LARGEST = 1e4  # magnitudes a value may reach
SMALLEST = 1e-4  # non-zero magnitudes below this are taken back too
_ODD = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, 1e-42)


@dataclass(frozen=True, slots=True)
class RandomGraph:
    graph: Graph
    inputs: tuple[np.ndarray, ...]


class Rejected(Exception):
    """This step does not fit what there is, or its values left the range."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a step should add: an op on values of a dtype."""

    op: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Maker:
    """A step that adds one of `ops` (and what it needs). `weight`: how often it is taken."""

    make: Callable[[Grower], object]
    ops: tuple[Op, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Choices:
    """What graphs are made of.

    kinds: dtypes of inputs and casts. wild: NaN, infinities, extremes and huge values are let through and put into
    inputs and constants. floats_only: every input is a float32 or float64. large: shapes are those of `LARGE_SHAPES`.
    """

    kinds: tuple[DType, ...]
    makers: Mapping[str, Maker]
    wild: bool = False
    floats_only: bool = False
    large: bool = False


class Grower:
    """A graph in the making. Makers ask it for values and add nodes."""

    def __init__(self, rng: np.random.Generator, choices: Choices, depth: int = 0) -> None:
        self.rng = rng
        self.choices = choices
        self.wild = choices.wild
        self.kinds = choices.kinds
        self.shapes = LARGE_SHAPES if choices.large else SHAPES
        self.small = 300 if choices.large else 12  # elements of what may be broadcast or padded
        self.depth = depth
        self.wish: Wish | None = None
        self._picked = False
        self.builder = GraphBuilder("random")
        self.array: dict[Value, np.ndarray] = {}
        self.pool: list[Value] = []

    # Choices.

    def below(self, n: int) -> int:
        return int(self.rng.integers(0, n))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def random_type(self) -> TensorType:
        kinds = (dtypes.float32, dtypes.float64) if self.choices.floats_only else self.kinds
        return TensorType(self.shapes[self.below(len(self.shapes))], kinds[self.below(len(kinds))])

    def random_kind(self) -> DType:
        return self.kinds[self.below(len(self.kinds))]

    def index_kind(self) -> DType:
        """The dtype of some indices."""
        kinds = [dtype for dtype in self.kinds if dtype.is_integer]
        return kinds[self.below(len(kinds))]

    def one_of(self, ops: Sequence[Op]) -> Op:
        """The op that is wished for, if it is one of these; else any of them."""
        wished = [op for op in ops if self.wish is not None and op.name == self.wish.op]
        return wished[0] if wished else ops[self.below(len(ops))]

    def pick(self, accept: Callable[[Value], bool] = lambda _: True) -> Value:
        """A value so far; recent ones are more likely. The first of a step has the dtype that is wished for."""
        fitting = [v for v in self.pool if accept(v)]
        if self.wish is not None and not self._picked:
            self._picked = True
            wanted = [v for v in fitting if v.dtype is self.wish.dtype]
            if not wanted or self.chance(0.1):
                wanted += self._new_fitting(self.wish.dtype, accept)
            fitting = wanted or fitting
        if not fitting:
            raise Rejected
        return fitting[max(self.below(len(fitting)), self.below(len(fitting)))]

    def pick_for(self, op: Op, accept: Callable[[Value], bool] = lambda _: True) -> Value:
        """A value that the op takes."""
        return self.pick(lambda v: v.dtype in accepted(op) and accept(v))

    def _new_fitting(self, dtype: DType, accept: Callable[[Value], bool]) -> list[Value]:
        types = [TensorType(shape, dtype) for shape in self.shapes]
        types = [type for type in types if accept(Value(type))]
        return [self.new_input(types[self.below(len(types))])] if types else []

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
        dtype, kind = type.dtype, type.dtype.numpy
        if dtype.is_bool:
            return np.asarray(self.rng.random(type.shape) < 0.5)
        if dtype.is_integer:
            return self._integers(type)
        values = self.rng.uniform(-2, 2, type.shape)
        if dtype.is_complex:
            return np.asarray(values + 1j * self.rng.uniform(-2, 2, type.shape)).astype(kind)
        if self.wild:
            values = np.where(self.rng.random(type.shape) < 0.3, self.rng.choice(_ODD, type.shape), values)
        with np.errstate(over="ignore"):
            return values.astype(kind)

    def _integers(self, type: TensorType) -> np.ndarray:
        kind = type.dtype.numpy
        values = self.rng.integers(0 if type.dtype.kind == "uint" else -3, 6, type.shape).astype(kind)
        if not self.wild:
            return np.asarray(values)
        info = np.iinfo(kind.name)
        odd = self.rng.choice(np.array([info.min, info.max, info.max - 1], kind), type.shape)
        return np.where(self.rng.random(type.shape) < 0.2, odd, values)

    def new_input(self, type: TensorType) -> Value:
        if self.choices.floats_only and not type.dtype.is_float:
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
                raise Rejected
            self.array[value] = array
            if not value.dtype.is_complex or value.dtype in self.kinds:
                self.pool.append(value)
        return results[0]

    def attempt(self, maker: Maker, wish: Wish | None = None) -> bool:
        """Run a step; when it is rejected, nothing of it stays."""
        nodes, inputs, pool = len(self.builder.nodes), len(self.builder.inputs), len(self.pool)
        self.wish, self._picked = wish, False
        try:
            maker.make(self)
        except Rejected:
            del self.builder.nodes[nodes:], self.builder.inputs[inputs:], self.pool[pool:]
            return False
        return True

    def random_maker(self) -> Maker:
        makers = list(self.choices.makers.values())
        weights = np.array([maker.weight for maker in makers])
        return makers[int(self.rng.choice(len(makers), p=weights / weights.sum()))]

    def inside(self, given: Sequence[tuple[TensorType, np.ndarray]], steps: int = 4) -> Grower:
        """What grows inside a call, loop or branch from these inputs; others that it takes come after them."""
        if self.depth > 1:
            raise Rejected
        inner = Grower(self.rng, self.choices, self.depth + 1)
        for number, (type, array) in enumerate(given):
            value = inner.builder.input(type, f"a{number}")
            inner.array[value] = array
            inner.pool.append(value)
        for _ in range(steps):
            inner.attempt(inner.random_maker())
        return inner

    def taken(self, inner: Grower, count: int) -> list[Value]:
        """Values outside for what a body takes besides its `count` inputs."""
        operands: list[Value] = []
        for value in inner.builder.inputs[count:]:
            operand = self.new_input(value.type)
            self.array[operand] = inner.array[value]
            operands.append(operand)
        return operands

    def finish(self, name: str, everything: bool = False) -> RandomGraph:
        """The graph. Its outputs are most of what nobody reads; all of it with `everything`."""
        read = {v for node in self.builder.nodes for v in node.operands}
        loose = [v for v in self.pool if v not in read and v not in self.builder.inputs]
        outputs = [v for v in loose if everything or self.chance(0.8)] or [self.pool[-1]]
        if self.chance(0.3):
            outputs.append(self.pool[self.below(len(self.pool))])
        self.builder.name = name
        return RandomGraph(self.builder.build(outputs), tuple(self.array[v] for v in self.builder.inputs))


def _moderate(array: np.ndarray) -> bool:
    if not (dtypes.holds_floats(array) or array.dtype.kind == "c") or array.size == 0:
        return True
    size = np.abs(array)
    return bool(np.all(size <= LARGEST) and np.all((size >= SMALLEST) | (size == 0)))
