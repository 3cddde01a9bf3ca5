"""Control flow: `scan` and `while` (loops) and `branch`. Each holds its bodies; what these use from outside is an
operand.

A loop passes *carries* from one iteration to the next; *captures* are the same in all iterations. A scan also takes one
row of each of its *xs* per iteration, and every loop that has a bound stacks what its body makes besides (*ys*): row t
belongs to step t, whatever the direction in which the steps run.
"""

from collections.abc import Sequence

import numpy as np

from graphc.core import dtypes
from graphc.core.errors import BoundError, DTypeError, ShapeError
from graphc.core.records import dataclass
from graphc.graph.interpreter import interpret
from graphc.graph.ir import Attrs, Graph, Node, TensorType, Value
from graphc.graph.registry import register

COUNT = TensorType((), dtypes.int64)
INDEX = TensorType((), dtypes.int32)
FLAG = TensorType((), dtypes.bool_)
# The name of the condition of a `fori_loop` with limits that are only known later.
BELOW_UPPER = "below_upper"


@dataclass(frozen=True, slots=True)
class ScanAttrs(Attrs):
    """`length` iterations of `body`: captures, carries, a row of each x -> carries, a row of each y.

    Operands: captures, carries, xs (rows stacked in front); results: carries, stacked ys. reverse: from the last row to
    the first. counted: one more operand, in front, says how many of the rows there are (at most `length`; a number
    outside of 0..length is taken for the nearest inside): the first ones. Rows of ys that are not made are zeros.
    """

    body: Graph
    num_captures: int
    num_carries: int
    length: int
    reverse: bool
    counted: bool

    @property
    def first(self) -> int:
        """The place of the first capture among the operands."""
        return int(self.counted)

    @property
    def num_xs(self) -> int:
        return len(self.body.inputs) - self.num_captures - self.num_carries

    @property
    def num_ys(self) -> int:
        return len(self.body.outputs) - self.num_carries


@dataclass(frozen=True, slots=True)
class WhileAttrs(Attrs):
    """`body`: captures, carries -> carries, as long as `cond`: captures, carries -> bool says so.

    Operands: captures, carries; results: carries. With a bound also the stacked ys of the body (`bound` rows, zeros
    behind the last that is made) and the number of iterations (int64); more iterations than that are an error.
    """

    cond: Graph
    body: Graph
    num_captures: int
    bound: int | None = None

    @property
    def num_carries(self) -> int:
        return len(self.body.inputs) - self.num_captures

    @property
    def num_ys(self) -> int:
        return len(self.body.outputs) - self.num_carries


@dataclass(frozen=True, slots=True)
class BranchAttrs(Attrs):
    """One of `branches`, all of one type. Operands: an int32 that says which one (the nearest one there is), then its
    operands.
    """

    branches: tuple[Graph, ...]


def _stacked(type: TensorType, length: int) -> TensorType:
    return type.with_shape((length, *type.shape))


def _check_operands(name: str, what: str, got: Sequence[TensorType], wanted: Sequence[TensorType]) -> None:
    if len(got) != len(wanted):
        raise ShapeError(f"{name}: takes {len(wanted)} {what}, got {len(got)}")
    for position, (found, needed) in enumerate(zip(got, wanted, strict=True)):
        if found != needed:
            raise DTypeError(f"{name}: {what[:-1]} {position} is {found}, the body takes {needed}")


def _check_carries(name: str, body: Graph, start: int, count: int) -> None:
    if not 0 <= count <= len(body.outputs):
        raise ShapeError(f"{name}: the body has {len(body.outputs)} results, fewer than {count} carries")
    for position in range(count):
        before, after = body.inputs[start + position].type, body.outputs[position].type
        if before != after:
            raise DTypeError(f"{name}: carry {position} is {before}, the body makes {after} of it")


def _infer_scan(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, ScanAttrs)
    if attrs.length < 0 or min(attrs.num_captures, attrs.num_carries, attrs.num_xs) < 0:
        raise ShapeError(f"scan: length {attrs.length}, {attrs.num_captures} captures and {attrs.num_carries} carries")
    if attrs.counted and (not types or types[0] != COUNT):
        raise DTypeError(f"scan: the number of rows must be {COUNT}")
    fixed = attrs.num_captures + attrs.num_carries
    wanted = [v.type if k < fixed else _stacked(v.type, attrs.length) for k, v in enumerate(attrs.body.inputs)]
    _check_operands("scan", "operands", types[attrs.first :], wanted)
    _check_carries("scan", attrs.body, attrs.num_captures, attrs.num_carries)
    carries, ys = attrs.body.output_types[: attrs.num_carries], attrs.body.output_types[attrs.num_carries :]
    return (*carries, *(_stacked(y, attrs.length) for y in ys))


def _infer_while(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, WhileAttrs)
    _check_operands("while", "operands", types, attrs.body.input_types)
    _check_operands("while", "operands of the condition", types, attrs.cond.input_types)
    _check_carries("while", attrs.body, attrs.num_captures, attrs.num_carries)
    if attrs.cond.output_types != (FLAG,):
        raise DTypeError(f"while: the condition must give one bool, not {', '.join(map(str, attrs.cond.output_types))}")
    if attrs.bound is None:
        if attrs.num_ys:
            raise ShapeError("while: a body without a bound has no results besides its carries")
        return attrs.body.output_types
    if attrs.bound < 0:
        raise ShapeError(f"while: bound {attrs.bound} is negative")
    carries, ys = attrs.body.output_types[: attrs.num_carries], attrs.body.output_types[attrs.num_carries :]
    return (*carries, *(_stacked(y, attrs.bound) for y in ys), COUNT)


def _infer_branch(types: tuple[TensorType, ...], attrs: Attrs) -> tuple[TensorType, ...]:
    assert isinstance(attrs, BranchAttrs)
    if not attrs.branches:
        raise ShapeError("branch: there are no branches")
    if not types or types[0] != INDEX:
        raise DTypeError(f"branch: the index must be {INDEX}, not {types[0] if types else 'missing'}")
    results = attrs.branches[0].output_types
    for graph in attrs.branches:
        _check_operands("branch", "operands", types[1:], graph.input_types)
        if graph.output_types != results:
            got, wanted = (", ".join(map(str, t)) or "nothing" for t in (graph.output_types, results))
            raise DTypeError(f"branch: {graph.name} gives {got}, {attrs.branches[0].name} gives {wanted}")
    return results


class _Rows:
    """Stacked rows in the making."""

    def __init__(self, types: Sequence[TensorType], length: int) -> None:
        self.arrays = tuple(np.zeros((length, *t.shape), t.dtype.numpy) for t in types)

    def put(self, t: int, rows: Sequence[np.ndarray]) -> None:
        for array, row in zip(self.arrays, rows, strict=True):
            array[t] = row


def _scan(attrs: ScanAttrs, *operands: np.ndarray) -> tuple[np.ndarray, ...]:
    count = attrs.length
    if attrs.counted:
        count = min(max(int(operands[0]), 0), attrs.length)
    first, last = attrs.first + attrs.num_captures, attrs.first + attrs.num_captures + attrs.num_carries
    captures, carries, xs = operands[attrs.first : first], list(operands[first:last]), operands[last:]
    rows = _Rows(attrs.body.output_types[attrs.num_carries :], attrs.length)
    for i, t in enumerate(reversed(range(count)) if attrs.reverse else range(count)):
        made = interpret(attrs.body, [*captures, *carries, *(np.asarray(x[t], order="C") for x in xs)], i)
        carries = made[: attrs.num_carries]
        rows.put(t, made[attrs.num_carries :])
    return (*carries, *rows.arrays)


def _while(attrs: WhileAttrs, *operands: np.ndarray) -> tuple[np.ndarray, ...]:
    captures, carries = operands[: attrs.num_captures], list(operands[attrs.num_captures :])
    rows = _Rows(attrs.body.output_types[attrs.num_carries :], attrs.bound or 0)
    count = 0
    while interpret(attrs.cond, [*captures, *carries], count)[0]:
        if count == attrs.bound:
            raise BoundError(exceeded(attrs.bound))
        made = interpret(attrs.body, [*captures, *carries], count)
        carries = made[: attrs.num_carries]
        rows.put(count, made[attrs.num_carries :])
        count += 1
    return tuple(carries) if attrs.bound is None else (*carries, *rows.arrays, np.array(count, np.int64))


def exceeded(bound: int, where: str = "") -> str:
    """What is said of a loop that would not end within its bound."""
    place = f" ({where})" if where else ""
    return f"while_loop: more iterations than bound={bound}; declare a larger bound{place}"


def _branch(attrs: BranchAttrs, index: np.ndarray, *operands: np.ndarray) -> tuple[np.ndarray, ...]:
    chosen = min(max(int(index), 0), len(attrs.branches) - 1)
    return tuple(interpret(attrs.branches[chosen], operands))


scan = register("scan", "structural", _infer_scan, _scan, ScanAttrs)
while_ = register("while", "structural", _infer_while, _while, WhileAttrs)
branch = register("branch", "structural", _infer_branch, _branch, BranchAttrs)
CONTROL = frozenset({scan, while_, branch})


def parts_of_scan(node: Node, attrs: ScanAttrs) -> tuple[tuple[Value, ...], ...]:
    """The operands of a scan: count (none or one), captures, carries, xs."""
    first, second = attrs.first + attrs.num_captures, attrs.first + attrs.num_captures + attrs.num_carries
    operands = node.operands
    return operands[: attrs.first], operands[attrs.first : first], operands[first:second], operands[second:]
