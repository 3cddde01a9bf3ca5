"""Steps that compute element by element. The ops are those of the registry: a new one needs nothing here, unless its
values are defined in a part of the numbers only.
"""

import numpy as np

from graphc.core import dtypes
from graphc.graph.ir import Attrs, Op
from graphc.graph.ops import elementwise, source
from graphc.graph.registry import all_ops
from tests.accepted import typical
from tests.random_graphs.grower import Grower, Maker

_SHIFTS = (elementwise.shift_left, elementwise.shift_right)
_PARTS = (elementwise.real, elementwise.imag)
_POSITIVE = (elementwise.log, elementwise.log1p, elementwise.sqrt)  # of real numbers
_OFTEN = {"neg": 3, "add": 3, "sub": 3, "mul": 3, "div": 3}  # what rewrites are about


def _plain(arity: int) -> tuple[Op, ...]:
    """The ops without attributes that take so many operands of one dtype."""
    ops = [
        op for op in all_ops() if op.kind == "elementwise" and op.attrs is Attrs and len(typical(op).inputs) == arity
    ]
    return tuple(op for op in ops for _ in range(_OFTEN.get(op.name, 1)) if op not in _SHIFTS)


UNARY = _plain(1)
BINARY = tuple(op for op in _plain(2) if op is not elementwise.complex_)


def _unary(g: Grower) -> None:
    op = g.one_of(UNARY)
    x = g.pick_for(op)
    if op in _POSITIVE and not g.wild and not x.dtype.is_complex:
        x = g.add(elementwise.abs_, x)
    g.add(op, x)


def _binary(g: Grower) -> None:
    op = g.one_of(BINARY)
    x = g.pick_for(op)
    pair = [x, g.of_type(x.type)]
    if op is elementwise.pow_ and not g.wild and not x.dtype.is_complex:
        pair[0] = g.add(elementwise.abs_, pair[0])
    g.add(op, *(pair if g.chance(0.5) or op is elementwise.pow_ else reversed(pair)))


def _shift(g: Grower) -> None:
    op = g.one_of(_SHIFTS)
    x = g.pick_for(op)
    mask = g.add(source.constant, attrs=source.ConstantAttrs(np.full(x.shape, 7, x.dtype.numpy)))
    g.add(op, x, g.add(elementwise.and_, g.of_type(x.type), mask))


def _select(g: Grower) -> None:
    x = g.pick()
    g.add(elementwise.select, g.of_type(x.type.with_dtype(dtypes.bool_)), x, g.of_type(x.type))


def _cast(g: Grower) -> None:
    x = g.pick()
    kinds = [d for d in g.kinds if d.is_complex or d.is_bool or not x.dtype.is_complex]
    g.add(elementwise.cast, x, attrs=elementwise.DTypeAttrs(kinds[g.below(len(kinds))]))


def _bitcast(g: Grower) -> None:
    x = g.pick_for(elementwise.bitcast)
    same = [d for d in dtypes.ALL if d.bits == x.dtype.bits and not d.is_bool and (d.is_integer or g.wild)]
    g.add(elementwise.bitcast, x, attrs=elementwise.DTypeAttrs(same[g.below(len(same))]))


def _within(g: Grower) -> None:
    x = g.pick_for(elementwise.within)
    g.add(elementwise.within, x, attrs=elementwise.WithinAttrs(0, 5, "place"))


def _complex(g: Grower) -> None:
    """A complex number, and one of its parts, where the number itself is nothing that others take."""
    x = g.pick_for(elementwise.complex_)
    z = g.add(elementwise.complex_, *((x, g.of_type(x.type)) if g.chance(0.5) else (g.of_type(x.type), x)))
    if z not in g.pool or g.chance(0.3):
        g.add(_PARTS[g.below(2)], z)


MAKERS = {
    "unary": Maker(_unary, UNARY, 3),
    "binary": Maker(_binary, BINARY, 4),
    "shift": Maker(_shift, _SHIFTS),
    "select": Maker(_select, (elementwise.select,)),
    "cast": Maker(_cast, (elementwise.cast,)),
    "bitcast": Maker(_bitcast, (elementwise.bitcast,)),
    "within": Maker(_within, (elementwise.within,)),
    "complex": Maker(_complex, (elementwise.complex_,)),
}
