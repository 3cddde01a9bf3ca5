"""Checks in a program: which operation first made a NaN or infinity, and which index lies outside.

In: an optimised graph, that is what will really be computed. Out: the same graph with one int32 more among its results,
the *fault*: 0, or what says which check failed first. It is made of ordinary nodes, so every backend computes it.

The classes of floats are 0 (finite), 1 (infinite) and 2 (NaN). An operation *creates* a NaN or infinity where the class
of its result is higher than that of everything it is made of, which is when IEEE 754 raises "invalid", "divide by zero"
or "overflow". So an infinity that is written on purpose (a mask) may be added, compared, and go through exp; infinity
less infinity is a fault. Elementwise ops are checked element by element, reductions row by row; of other ops an
infinity in any operand excuses infinities in the results.

What is computed by a formula (functions of complex numbers) is checked as one operation: where its result is used,
against what the formula is given. What it makes on the way is its own business.

An index is checked where an op says that it has to lie inside (gather, scatters, dynamic slices, `csr_dot`).
"""

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Literal

import numpy as np

from graphc.core import dtypes
from graphc.core.records import dataclass
from graphc.core.source import Composite
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, TensorType, Value
from graphc.graph.ops import (
    control,
    cumulative,
    elementwise,
    indexing,
    movement,
    reduction,
    sorting,
    sparse,
    structural,
    windows,
)
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.elementwise import WithinAttrs
from graphc.graph.ops.indexing import GatherAttrs
from graphc.graph.ops.source import ConstantAttrs, IotaAttrs, ShuffleAttrs
from graphc.graph.ops.structural import CallAttrs
from graphc.graph.ops.windows import DimsAttrs

FAULT = TensorType((), dtypes.int32)
_FIRST = 2**30  # the fault of check 0; that of check k is k less, so the first check has the largest

# Elementwise ops that make no NaN or infinity of what is none: they choose, or their range is bounded. A bitcast makes
# what was asked for.
_E = elementwise
_HARMLESS = frozenset(
    {_E.neg, _E.abs_, _E.sign, _E.atan, _E.tanh, _E.erf, _E.erfc, _E.sigmoid, _E.floor, _E.ceil, _E.trunc, _E.round_}
    | {_E.max_, _E.min_, _E.select, _E.bitcast, _E.real, _E.imag, _E.complex_, _E.stop_gradient, _E.saved}
)
# Other ops that choose elements.
_CHOOSING = frozenset(
    {reduction.reduce_max, reduction.reduce_min, cumulative.cummax, cumulative.cummin, sorting.sort, indexing.gather}
    | {indexing.scatter, indexing.scatter_min, indexing.scatter_max}
    | {windows.dynamic_slice, windows.dynamic_update_slice}
)
# What moves elements and computes none, or makes them of attributes.
_MOVING = frozenset(("movement", "source"))


@dataclass(frozen=True, slots=True)
class Check:
    """What fault `_FIRST - number` means.

    node: what was checked. kind: "value" for result `position` of it, "formula" where that is the result of the formula
    whose last part it is, "index" for operand `position`. mask: true where
    it failed; elementwise, or one bool for all. An index has to be in [low, high); where: of what.
    """

    number: int
    node: Node
    kind: Literal["value", "formula", "index"]
    position: int
    mask: Value
    low: int = 0
    high: int = 0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A graph with checks; `checks` by number."""

    graph: Graph
    checks: tuple[Check, ...]


def check_of(fault: int) -> int:
    """The number of the check that failed."""
    return _FIRST - fault


def with_checks(graph: Graph, num_state: int) -> Checked:
    """The graph of an entry whose last state slot, and last output, are faults (see `graphc.sanitized`).

    A step in which a check fails, and all steps after it, leave the state as it was.
    """
    shared = _Shared()
    builder = GraphBuilder(graph.name)
    inputs = tuple(builder.input(value.type, value.name) for value in graph.inputs)
    made, found = _write(builder, graph, inputs, shared)
    at = Compose(builder)
    before = inputs[num_state - 1]
    fault = before if found is None else _first(at, before, found)
    has_failed = at(elementwise.ne, fault, at.scalar(0, dtypes.int32))
    state = [_kept(at, has_failed, old, new) for old, new in zip(inputs[: num_state - 1], made)]
    outputs = (*state, fault, *made[num_state:-1], fault)
    return Checked(builder.build(outputs, graph.aliases), tuple(shared.checks))


def _first(at: Compose, before: Value, after: Value) -> Value:
    """The earlier of two faults."""
    return at.select(at(elementwise.ne, before, at.scalar(0, dtypes.int32)), before, after)


def _kept(at: Compose, has_failed: Value, old: Value, new: Value) -> Value:
    """The new value of a state slot, or the old one when a check failed."""
    if new is old or not old.type.size:
        return new
    if not old.dtype.is_complex:
        return at.select(at.spread(has_failed, old.shape), old, new)
    parts = [_kept(at, has_failed, at(part, old), at(part, new)) for part in (elementwise.real, elementwise.imag)]
    return at(elementwise.complex_, *parts)


@dataclass(slots=True)
class _Shared:
    """What the regions of one entry have in common."""

    checks: list[Check] = field(default_factory=list)
    callees: dict[Graph, Graph] = field(default_factory=dict)


def _write(
    builder: GraphBuilder, graph: Graph, operands: Sequence[Value], shared: _Shared
) -> tuple[tuple[Value, ...], Value | None]:
    """The nodes of a region with their checks: its outputs, and its fault (None where nothing is checked)."""
    region = _Region(builder, dict(zip(graph.inputs, operands, strict=True)), shared)
    for node in graph.nodes:
        region.add(node)
    for value in graph.outputs:
        region.leave(region.values[value], None)
    return tuple(region.values[value] for value in graph.outputs), region.fault()


class _Region:
    """One region in the making."""

    def __init__(self, builder: GraphBuilder, values: dict[Value, Value], shared: _Shared) -> None:
        self.builder = builder
        self.values = values  # of the graph -> of the one in the making
        self._shared = shared
        self._classes: dict[Value, Value] = {}
        self._highest: dict[Value, Value] = {}
        self._producers: dict[Value, Node] = {}
        self._faults: list[Value] = []
        self._given: dict[Composite, list[Value]] = {}  # floats that formulas read
        self._left: set[Value] = set()  # results of formulas that are checked

    def fault(self) -> Value | None:
        """The first of all faults so far."""
        if not self._faults:
            return None
        at = Compose(self.builder)
        level = list(self._faults)
        while len(level) > 1:
            pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
            level = [at(elementwise.max_, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return level[0]

    def add(self, node: Node) -> None:
        """A node and what is checked of it."""
        for operand in self._operands(node):
            self.leave(operand, _formula(node))
        inside = _REGIONS.get(node.op.name)
        if inside is not None:
            results, fault = inside(self, node)
            self.values.update(zip(node.results, results, strict=True))
            if fault is not None:
                self._faults.append(fault)
            return
        if isinstance(node.attrs, WithinAttrs):
            self._expect(node, node.attrs)
            return
        self.builder.copy(node, self.values)
        copy = self.builder.nodes[-1]
        self._producers.update((result, copy) for result in copy.results)
        self._check_indices(copy)
        self._check_values(copy)

    # ------------------------------------------------------------------------------------------------- values

    def leave(self, x: Value, user: Composite | None) -> None:
        """Check the result of a formula where something else uses it; note what a formula is given."""
        node = self._producers.get(x)
        formula = None if node is None else _formula(node)
        if formula is user or not x.dtype.is_float or not x.type.size:
            return
        if user is not None and not self._is_constant(x):
            self._given.setdefault(user, []).append(x)
        if node is None or formula is None or x in self._left or node.op.kind == "source":
            return
        self._left.add(x)
        given = self._given.get(formula, [])
        at = Compose(self.builder, node.loc)
        of = self._class if all(each.shape == x.shape for each in given) else self._highest_class
        mask = self._exceeds(at, [of(at, each) for each in given], of(at, x))
        self._note(at, node, "formula", node.results.index(x), mask)

    def _is_constant(self, x: Value) -> bool:
        while x in self._producers and self._producers[x].op in _PASSING:
            x = self._producers[x].operands[0]
        return x in self._producers and self._producers[x].op.kind == "source"

    def _check_values(self, node: Node) -> None:
        if _formula(node) is not None or node.op.kind in _MOVING or node.op in _HARMLESS or node.op in _CHOOSING:
            return
        at = Compose(self.builder, node.loc)
        for position, result in enumerate(node.results):
            if result.dtype.is_float and result.type.size:
                self._note(at, node, "value", position, self._created(at, node, result))

    def _created(self, at: Compose, node: Node, result: Value) -> Value:
        """Where the class of the result is higher than that of what it is made of."""
        floats = [operand for operand in node.operands if operand.dtype.is_float and operand.type.size]
        if node.op.kind == "elementwise":
            before = [self._class(at, operand) for operand in floats]
            after = self._class(at, result)
        elif node.op.kind == "reduction":
            before = [at(reduction.reduce_max, self._class(at, x), attrs=node.attrs) for x in floats]
            after = self._class(at, result)
        else:
            before = [self._highest_class(at, operand) for operand in floats]
            after = self._highest_class(at, result)
        return self._exceeds(at, before, after)

    def _exceeds(self, at: Compose, before: Sequence[Value], after: Value) -> Value:
        """Where a class is higher than all those before."""
        if not before:
            return at(elementwise.gt, after, at.like(after, 0))
        highest = before[0]
        for other in before[1:]:
            highest = at(elementwise.max_, highest, other)
        return at(elementwise.gt, after, highest)

    def _class(self, at: Compose, x: Value) -> Value:
        """0, 1 or 2 for each element."""
        if x not in self._classes:
            if self._is_finite(x):
                self._classes[x] = at.full(x.type.with_dtype(dtypes.int32), 0)
            else:
                whole = x.type.with_dtype(dtypes.int32)
                of_no_number = at.select(at(elementwise.ne, x, x), at.full(whole, 2), at.full(whole, 1))
                self._classes[x] = at.select(at(elementwise.is_finite, x), at.full(whole, 0), of_no_number)
        return self._classes[x]

    def _highest_class(self, at: Compose, x: Value) -> Value:
        """The highest class of all elements."""
        if x not in self._highest:
            self._highest[x] = _over_all(at, self._class(at, x))
        return self._highest[x]

    def _is_finite(self, x: Value) -> bool:
        """Whether it is known to be finite: a constant, perhaps spread or moved, or what was an integer."""
        while x in self._producers:
            node = self._producers[x]
            if isinstance(node.attrs, ConstantAttrs):
                return bool(np.isfinite(dtypes.widened(node.attrs.value)).all())
            if node.op.kind == "source":
                return True
            if node.op is elementwise.cast and node.result.dtype.bits >= 32 and not node.operands[0].dtype.is_float:
                return True
            if node.op not in _PASSING:
                return False
            x = node.operands[0]
        return False

    # ------------------------------------------------------------------------------------------------- indices

    def _check_indices(self, node: Node) -> None:
        for position, axis, extent in _indexed(node):
            index = node.operands[position]
            self._check_range(node, index, position, 0, extent, f"axis {axis} of {node.operands[0].type}")

    def _expect(self, node: Node, attrs: WithinAttrs) -> None:
        """An index as the user wrote it. The node itself is left out."""
        (index,) = self._operands(node)
        self.values[node.result] = index
        stand_in = Node(node.op, (index,), attrs, node.results, node.loc)
        self._check_range(stand_in, index, 0, attrs.low, attrs.high, "")

    def _check_range(self, node: Node, index: Value, position: int, low: int, high: int, where: str) -> None:
        at = Compose(self.builder, node.loc)
        outside: list[Value] = []
        least, most = self._bounds(index)
        if index.type.size and least < low:
            outside.append(at(elementwise.lt, index, at.like(index, low)))
        if index.type.size and high <= most:
            outside.append(at(elementwise.ge, index, at.like(index, high)))
        if outside:
            mask = outside[0] if len(outside) == 1 else at(elementwise.or_, *outside)
            self._note(at, node, "index", position, mask, low, high, where)

    def _bounds(self, x: Value) -> tuple[int, int]:
        """What the elements of an index are known to lie between: the data loader's are always inside."""
        limits = np.iinfo(x.dtype.numpy.name)
        everything = int(limits.min), int(limits.max)
        node = self._producers.get(x)
        while node is not None and (node.op in _PASSING or self._widens(node)):
            node = self._producers.get(node.operands[0])
        if node is None:
            return everything
        match node.attrs:
            case ConstantAttrs(value) if value.size and value.dtype.kind in "iu":
                return int(value.min()), int(value.max())
            case ShuffleAttrs(n):
                return 0, n - 1
            case IotaAttrs(shape, dtype, axis) if shape[axis] <= np.iinfo(dtype.numpy.name).max:
                return 0, max(shape[axis] - 1, 0)
        return everything

    def _widens(self, node: Node) -> bool:
        """Whether it is a cast that keeps every integer that its operand can be."""
        if node.op is not elementwise.cast or not node.operands[0].dtype.is_integer:
            return False
        (low, high), wide = self._bounds(node.operands[0]), np.iinfo(node.result.dtype.numpy.name)
        return int(wide.min) <= low and high <= int(wide.max)

    def _note(
        self,
        at: Compose,
        node: Node,
        kind: Literal["value", "formula", "index"],
        position: int,
        mask: Value,
        low: int = 0,
        high: int = 0,
        where: str = "",
    ) -> None:
        number = len(self._shared.checks)
        self._shared.checks.append(Check(number, node, kind, position, mask, low, high, where))
        # the same kernel for all checks of one shape; the number comes into it afterwards
        failed = _over_all(at, at.cast(mask, dtypes.int32))
        self._faults.append(at(elementwise.mul, failed, at.scalar(_FIRST - number, dtypes.int32)))

    # ------------------------------------------------------------------------------------------------- regions

    def _operands(self, node: Node) -> list[Value]:
        return [self.values[operand] for operand in node.operands]

    def scan(self, node: Node) -> tuple[tuple[Value, ...], Value | None]:
        """A loop whose last carry is the fault."""
        attrs = node.attrs
        assert isinstance(attrs, ScanAttrs)
        fixed = attrs.num_captures + attrs.num_carries
        body = self._body(attrs.body, fixed, attrs.num_carries, None)
        if body is None:
            return self._unchanged(node)
        at, operands, place = Compose(self.builder, node.loc), self._operands(node), attrs.first + fixed
        operands.insert(place, at.scalar(0, dtypes.int32))
        changed = replace(attrs, body=body, num_carries=attrs.num_carries + 1)
        results = self.builder.add(node.op, operands, changed, node.loc)
        n = attrs.num_carries
        return (*results[:n], *results[n + 1 :]), results[n]

    def while_(self, node: Node) -> tuple[tuple[Value, ...], Value | None]:
        """A loop whose last carry is the fault; it ends when there is one.

        What its condition computes is checked as part of the body, on the same carries, and once more behind the loop.
        """
        attrs = node.attrs
        assert isinstance(attrs, WhileAttrs)
        fixed, n = len(attrs.body.inputs), attrs.num_carries
        body = self._body(attrs.body, fixed, n, attrs.cond)
        if body is None:
            return self._unchanged(node)
        at = Compose(self.builder, node.loc)
        operands = [*self._operands(node), at.scalar(0, dtypes.int32)]
        changed = replace(attrs, cond=_until_fault(attrs.cond), body=body)
        results = self.builder.add(node.op, operands, changed, node.loc)
        last = (*operands[: attrs.num_captures], *results[:n])
        _, at_end = _write(self.builder, attrs.cond, last, self._shared)
        fault = results[n] if at_end is None else _first(at, results[n], at_end)
        return (*results[:n], *results[n + 1 :]), fault

    def branch(self, node: Node) -> tuple[tuple[Value, ...], Value | None]:
        """Branches that have their fault as one more result."""
        attrs = node.attrs
        assert isinstance(attrs, BranchAttrs)
        before = len(self._shared.checks)
        branches = tuple(self._callee(graph) for graph in attrs.branches)
        if len(self._shared.checks) == before:
            return self._unchanged(node)
        results = self.builder.add(node.op, self._operands(node), BranchAttrs(branches), node.loc)
        return results[:-1], results[-1]

    def call(self, node: Node) -> tuple[tuple[Value, ...], Value | None]:
        """A call of a function that has its fault as one more result; the same one wherever it is called."""
        attrs = node.attrs
        assert isinstance(attrs, CallAttrs)
        callees = self._shared.callees
        if attrs.graph not in callees:
            callees[attrs.graph] = self._callee(attrs.graph)
        results = self.builder.add(node.op, self._operands(node), CallAttrs(callees[attrs.graph]), node.loc)
        return results[:-1], results[-1]

    def _unchanged(self, node: Node) -> tuple[tuple[Value, ...], None]:
        self.builder.copy(node, self.values)
        return self.builder.nodes[-1].results, None

    def _callee(self, graph: Graph) -> Graph:
        builder = GraphBuilder(graph.name)
        inputs = [builder.input(value.type, value.name) for value in graph.inputs]
        outputs, fault = _write(builder, graph, inputs, self._shared)
        return builder.build((*outputs, Compose(builder).scalar(0, dtypes.int32) if fault is None else fault))

    def _body(self, graph: Graph, fixed: int, num_carries: int, cond: Graph | None) -> Graph | None:
        """A body with one carry more, behind its `fixed` captures and carries; None where nothing is checked."""
        builder = GraphBuilder(graph.name)
        inputs = [builder.input(value.type, value.name) for value in graph.inputs[:fixed]]
        before = builder.input(FAULT)
        inputs += [builder.input(value.type, value.name) for value in graph.inputs[fixed:]]
        asked = None if cond is None else _write(builder, cond, inputs, self._shared)[1]
        outputs, fault = _write(builder, graph, inputs, self._shared)
        if fault is None and asked is None:
            return None
        at, after = Compose(builder), before
        for each in (asked, fault):
            after = after if each is None else _first(at, after, each)
        return builder.build((*outputs[:num_carries], after, *outputs[num_carries:]))


def _formula(node: Node) -> Composite | None:
    """The formula it is a part of."""
    return node.loc.composite if node.op.kind in ("elementwise", *_MOVING) else None


def _over_all(at: Compose, x: Value) -> Value:
    """The largest element."""
    return at.reduce_max(x, tuple(range(x.type.rank))) if x.type.rank else x


def _until_fault(cond: Graph) -> Graph:
    """The condition, and no fault so far."""
    builder = GraphBuilder(cond.name)
    inputs = [builder.input(value.type, value.name) for value in cond.inputs]
    fault = builder.input(FAULT)
    (goes_on,) = builder.inline(cond, inputs)
    at = Compose(builder)
    return builder.build((at(elementwise.and_, goes_on, at.eq(fault, at.scalar(0, dtypes.int32))),))


_REGIONS: dict[str, Callable[[_Region, Node], tuple[tuple[Value, ...], Value | None]]] = {
    control.scan.name: _Region.scan,
    control.while_.name: _Region.while_,
    control.branch.name: _Region.branch,
    structural.call.name: _Region.call,
}

_PASSING = frozenset((movement.broadcast, movement.reshape, movement.transpose, movement.reverse, movement.slice_))


def _indexed(node: Node) -> list[tuple[int, int, int]]:
    """Operands that are indices, the axis they go to and what they have to stay below."""
    attrs, operands = node.attrs, node.operands
    if isinstance(attrs, GatherAttrs):
        return [(1, attrs.axis, operands[0].shape[attrs.axis])]
    if node.op is sparse.csr_dot:
        data, _, _, dense = operands
        return [(1, 0, dense.shape[0]), (2, 0, data.shape[0] + 1)]
    if not isinstance(attrs, DimsAttrs):
        return []
    x, sizes, first = operands[0], node.result.shape, 1
    if node.op is windows.dynamic_update_slice:
        sizes, first = operands[1].shape, 2
    return [(first + k, dim, x.shape[dim] - sizes[dim] + 1) for k, dim in enumerate(attrs.dims)]
