"""The shape of a batching rule. Every primitive has exactly one row; the tables are in this folder, by op family.

| row         | for                            | says                                                                  |
|-------------|--------------------------------|-----------------------------------------------------------------------|
| Batch       | all ops without regions        | the results for all examples; each carries the batch dim              |
| BatchRegion | ops that hold graphs           | the results and which of them carry it, by batched graphs             |
| NoBatching  | ops that cannot be batched     | why                                                                   |

The batch dim of a batched value is dim 0: an operand of type [3,5] comes as [size,3,5]. A rule is asked only when some
operand is batched; the others come as they are, and `Operands.all` gives them the dim where the rule needs it. What a
rule gives for an example must be, to the bit, what the op gives for it alone (products with a vector may become
products of matrices, which add up in the order of those).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from graphc.core.records import dataclass
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value


@dataclass(frozen=True, slots=True)
class Operands:
    """The operands of a node: `values[i]` has the batch dim, of extent `size`, as dim 0 where `batched[i]`."""

    c: Compose
    size: int
    values: tuple[Value, ...]
    batched: tuple[bool, ...]

    def all(self, i: int) -> Value:
        """Operand i with a batch dim; the same for every example if it had none."""
        return with_batch(self.c, self.values[i], self.batched[i], self.size)


def with_batch(c: Compose, value: Value, is_batched: bool, size: int) -> Value:
    """The value with the batch dim in front."""
    if is_batched:
        return value
    return c.broadcast(value, (size, *value.shape), tuple(range(1, value.type.rank + 1)))


@dataclass(frozen=True, slots=True)
class BatchedGraph:
    """`graph`: the same inputs and outputs, with the batch dim in front where marked; `outputs` are the marks."""

    graph: Graph
    outputs: tuple[bool, ...]


class Batcher(Protocol):
    """Batches the graphs an op holds; equal requests give the same graph, so repeated callees stay shared."""

    @property
    def size(self) -> int: ...

    def batch(self, graph: Graph, batched: Sequence[bool], outputs: Sequence[bool] | None = None) -> BatchedGraph:
        """`outputs`: which outputs carry the batch dim at least; the others may."""
        ...


# (compose, node, its operands here) -> the results, all batched
Rule = Callable[[Compose, Node, Operands], Value | tuple[Value, ...]]
# (batcher, compose, node, its operands here) -> the results and which are batched
RegionRule = Callable[[Batcher, Compose, Node, Operands], tuple[Sequence[Value], Sequence[bool]]]


@dataclass(frozen=True, slots=True)
class Batch:
    rule: Rule


@dataclass(frozen=True, slots=True)
class BatchRegion:
    rule: RegionRule


@dataclass(frozen=True, slots=True)
class NoBatching:
    reason: str


Row = Batch | BatchRegion | NoBatching
