"""The shape of a derivative rule. Every primitive has exactly one row; the tables are in this folder, by op family.

| row          | for                                           | says                                            |
|--------------|-----------------------------------------------|-------------------------------------------------|
| Partials     | elementwise ops                               | per operand: tangent times partial derivative   |
| Linear       | ops with one result, linear in some operands  | transpose; jvp if it is not the op itself       |
| Jvp          | the rest (max, reduce_max, ...)               | tangent of the result, linear in the tangents   |
| Region       | ops that hold graphs                          | jvp, linearise, transpose, by derived graphs    |
| Zero         | derivative zero wherever it exists            | nothing                                         |
| NoDerivative | ops that cannot be differentiated             | why                                             |

A tangent or cotangent that is zero by structure is None and stays None as long as possible. Rules emit only ops that
have rows, so any order of derivatives works. What a rule applies to a tangent must be linear: ops with a Linear row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from graphc.core.records import dataclass
from graphc.core.source import Loc
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value

Tangent = Value | None
IsConstant = Callable[[Value], bool]


@dataclass(frozen=True, slots=True)
class JvpGraph:
    """`graph`: the primal inputs, then the tangents of the active inputs -> the primal outputs, then the tangents of
    the outputs marked in `active`.
    """

    graph: Graph
    active: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class LinearisedGraph:
    """`forward`: inputs -> outputs, then residuals. `linear`: residuals, then the tangents of the active inputs -> the
    tangents of the outputs marked in `active`.

    `residuals` says where each residual is found: ("input", i) of the function or ("output", i) of `forward`.
    """

    forward: Graph
    linear: Graph
    residuals: tuple[tuple[str, int], ...]
    active: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class TransposedGraph:
    """`graph`: the inputs that are not linear, then the cotangents of the marked outputs -> cotangents of the linear
    inputs marked in `active` (one flag per linear input).
    """

    graph: Graph
    active: tuple[bool, ...]


class Derive(Protocol):
    """Derivatives of the graphs an op holds; equal requests give the same graph, so repeated callees stay shared."""

    def jvp(self, graph: Graph, active: tuple[bool, ...]) -> JvpGraph: ...

    def linearise(self, graph: Graph, active: tuple[bool, ...]) -> LinearisedGraph: ...

    def transpose(self, graph: Graph, linear: tuple[bool, ...], cotangents: tuple[bool, ...]) -> TransposedGraph: ...

    def transpose_rule(self, rule: Graph, residuals: int) -> TransposedGraph:
        """The transpose of a rule for cotangents, from residuals and cotangents; raises where it is not linear in
        these.
        """
        ...

    def divide(self, rule: Graph, primals: int, loc: Loc) -> LinearisedGraph:
        """A rule for tangents, from primals and tangents of all its float inputs, as what does not depend on tangents
        and what does; its last outputs are the tangents of its float outputs. `loc`: where it is used.
        """
        ...


# (compose, tangent, result, *operands) -> tangent times the partial derivative by one operand
Partial = Callable[..., Value]
# (compose, node, which operands are linear here, cotangent of the only result) -> cotangents of the operands
Transpose = Callable[[Compose, Node, Sequence[bool], Value], Sequence[Tangent]]
# (compose, node, tangents of the operands, not all None) -> tangent of the only result
LinearJvp = Callable[[Compose, Node, Sequence[Tangent]], Value]
# (compose, node, tangents of the operands, is this value constant?) -> tangents of the results
TangentRule = Callable[[Compose, Node, Sequence[Tangent], IsConstant], Sequence[Tangent]]
# (derive, compose, node, tangents of the operands) -> results and their tangents
RegionRule = Callable[[Derive, Compose, Node, Sequence[Tangent]], tuple[Sequence[Value], Sequence[Tangent]]]
RegionTranspose = Callable[[Derive, Compose, Node, Sequence[bool], Sequence[Tangent]], Sequence[Tangent]]


@dataclass(frozen=True, slots=True)
class Partials:
    """One `Partial` per operand; None where the derivative is zero."""

    rules: tuple[Partial | None, ...]


@dataclass(frozen=True, slots=True)
class Linear:
    """An op that is linear.

    `apart`: linear in each operand while the others are fixed (mul), rather than in all of them together (add).
    `fixed`: partial derivatives by the operands it is not linear in (the divisor of div), by operand number.
    `jvp`: replaces the default, which applies the op to the tangents with zeros where there is none.
    """

    transpose: Transpose
    apart: bool = False
    fixed: Mapping[int, Partial] | None = None
    jvp: LinearJvp | None = None


@dataclass(frozen=True, slots=True)
class Jvp:
    rule: TangentRule


@dataclass(frozen=True, slots=True)
class Region:
    jvp: RegionRule
    linearise: RegionRule
    transpose: RegionTranspose


@dataclass(frozen=True, slots=True)
class Zero:
    """The derivative is zero wherever it exists, or the results are not floats."""


@dataclass(frozen=True, slots=True)
class NoDerivative:
    reason: str


def zeros_for(c: Compose, tangent: Tangent, x: Value) -> Value:
    """The tangent of x, written out as zeros when it is zero by structure."""
    return c.zeros(x.type) if tangent is None else tangent


Row = Partials | Linear | Jvp | Region | Zero | NoDerivative
