"""Steps that reduce over axes, run along one, or sort along one."""

from graphc.graph.ops import cumulative, reduction, sorting
from tests.random_graphs.grower import Grower, Maker
from tests.random_graphs.movement import some_axes

_REDUCTIONS = (
    *(reduction.reduce_sum, reduction.reduce_sum, reduction.reduce_prod),
    *(reduction.reduce_max, reduction.reduce_min),
)
_ARGS = (reduction.argmax, reduction.argmin)


def _reduce(g: Grower) -> None:
    op = g.one_of(_REDUCTIONS)
    x = g.pick_for(op)
    g.add(op, x, attrs=some_axes(g, x.type.rank))


def _arg(g: Grower) -> None:
    op = g.one_of(_ARGS)
    x = g.pick_for(op, lambda v: any(v.shape))
    axes = [d for d, e in enumerate(x.shape) if e > 0]
    g.add(op, x, attrs=reduction.ArgAttrs(axes[g.below(len(axes))]))


def _cumulative(g: Grower) -> None:
    op = g.one_of(cumulative.CUMULATIVE)
    x = g.pick_for(op, lambda v: v.type.rank > 0)
    attrs = cumulative.CumulativeAttrs(g.below(x.type.rank), g.chance(0.5))
    operands = (g.of_type(x.type), x) if op is cumulative.linear_recurrence else (x,)
    g.add(op, *operands, attrs=attrs)


def _sort(g: Grower) -> None:
    op = g.one_of(sorting.SORTING)
    x = g.pick_for(op, lambda v: v.type.rank > 0)
    axis = g.below(x.type.rank)
    if op is sorting.arg_top_k:
        g.add(op, x, attrs=sorting.TopAttrs(axis, g.below(x.shape[axis] + 1), g.chance(0.5)))
        return
    g.add(op, x, attrs=sorting.SortAttrs(axis, g.chance(0.5)))


MAKERS = {
    "reduce": Maker(_reduce, _REDUCTIONS),
    "arg": Maker(_arg, _ARGS),
    "cumulative": Maker(_cumulative, cumulative.CUMULATIVE),
    "sort": Maker(_sort, sorting.SORTING),
}
