"""Row groups: how several reductions share one space of rows.

Comes in: a graph whose reductions are to run in one kernel. Goes out: its *phases*; each has a space of parallel rows
and *stages* in order: reductions over the rest of a row that need the results of earlier stages. Softmax is one phase
of two stages. A reduction over the rows themselves (the mean of all rows' losses) starts the next phase.
"""

from collections.abc import Callable, Iterable
from dataclasses import field

from graphc.core.records import dataclass
from graphc.graph.dims import DimClasses, Slot, classes_of
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.ops.reduction import ArgAttrs


def axes_of(node: Node) -> tuple[int, ...]:
    """The axes a reduction node reduces."""
    if isinstance(node.attrs, ArgAttrs):
        return (node.attrs.axis,)
    return tuple(getattr(node.attrs, "axes", ()))


@dataclass(slots=True)
class Stage:
    """Reductions that run over the same elements of a row at the same time."""

    level: int
    inner: tuple[Slot, ...]
    nodes: list[Node]


@dataclass(slots=True)
class Phase:
    """Reductions with the same rows, and what is stored when they are known."""

    rows: tuple[Slot, ...]
    stages: list[Stage] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    crossing: list[Value] = field(default_factory=list)  # read by later phases

    @property
    def results(self) -> list[Value]:
        return [node.result for stage in self.stages for node in stage.nodes]


@dataclass(slots=True)
class Structure:
    """The phases of a body and the dim classes they are made of."""

    body: Graph
    classes: DimClasses
    phases: list[Phase]

    def extent(self, slot: Slot) -> int:
        return slot[0].shape[slot[1]]


def structure(body: Graph) -> Structure | None:
    """The phases and stages of a graph with reductions; None when its reductions do not share their rows."""
    classes = classes_of(body)
    phases: list[Phase] = []
    phase_of: dict[Value, int] = {}
    level_of: dict[Value, int] = {}
    for node in body.nodes:
        phase = max((phase_of.get(v, -1) for v in node.operands), default=-1)
        level = max((level_of.get(v, 0) for v in node.operands if phase_of.get(v, -1) == phase), default=0)
        if node.op.kind == "reduction":
            rows = classes.wide(node.result)
            if phase < 0 and phases and set(rows) == set(phases[0].rows):
                phase = 0
            if phase < 0 or set(rows) != set(phases[phase].rows):
                phase, level = phase + 1, 0
            if phase == len(phases):
                phases.append(Phase(rows))
            if set(rows) != set(phases[phase].rows):
                return None
            _add_stage(phases[phase], classes, node, level)
            level += 1
        for value in node.results:
            phase_of[value], level_of[value] = phase, level
    for value in dict.fromkeys(body.outputs):
        phases[max(phase_of.get(value, -1), 0)].outputs.append(value)
    made = Structure(body, classes, phases)
    for number in range(1, len(phases)):
        earlier = {value for value, phase in phase_of.items() if 0 <= phase < number}
        for value in cone(body, _roots(phases[number]), earlier.__contains__):
            origin = phase_of.get(value, -1)
            if 0 <= origin < number and value not in phases[origin].crossing:
                phases[origin].crossing.append(value)
    return made


def _add_stage(phase: Phase, classes: DimClasses, node: Node, level: int) -> None:
    x = node.operands[0]
    inner = tuple(classes.root(x, d) for d in axes_of(node))
    for stage in phase.stages:
        if stage.level == level and stage.inner == inner:
            stage.nodes.append(node)
            return
    phase.stages.append(Stage(level, inner, [node]))
    phase.stages.sort(key=lambda s: s.level)


def _roots(phase: Phase) -> list[Value]:
    return [node.operands[0] for stage in phase.stages for node in stage.nodes] + phase.outputs


def cone(body: Graph, roots: Iterable[Value], stop: Callable[[Value], bool]) -> list[Value]:
    """Values the roots are made of; nothing below a value that `stop`s is looked at."""
    seen: dict[Value, None] = {}
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen[value] = None
        node = body.producers.get(value)
        if node is not None and not stop(value):
            stack += node.operands
    return list(seen)
