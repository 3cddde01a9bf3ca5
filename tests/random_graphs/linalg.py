"""Steps of linear algebra."""

import numpy as np

from graphc.graph.ops import contraction, elementwise, linalg, movement, source
from tests.random_graphs.grower import Grower, Maker

_OF_VALUES = (linalg.svd, linalg.eigh)
_OPS = (linalg.cholesky, linalg.lu, linalg.triangular_solve, linalg.qr, *_OF_VALUES)


def _linalg(g: Grower) -> None:
    """Of a matrix that is made positive definite first."""
    op = g.one_of(_OPS)
    x = g.pick_for(op, lambda v: v.type.rank > 1 and v.type.size > 0)
    rank = x.type.rank
    batch = tuple(range(rank - 2))
    square = g.add(contraction.dot_general, x, x, attrs=contraction.DotAttrs((rank - 1,), (rank - 1,), batch, batch))
    shift = g.add(source.constant, attrs=source.ConstantAttrs(np.eye(square.shape[-1], dtype=x.dtype.numpy)))
    spread = movement.BroadcastAttrs(square.shape, (rank - 2, rank - 1))
    positive = g.add(elementwise.add, square, g.add(movement.broadcast, shift, attrs=spread))
    if op is linalg.triangular_solve:
        g.add(op, positive, x, attrs=linalg.TriangleAttrs(g.chance(0.5), g.chance(0.5), g.chance(0.5)))
        return
    g.add(op, positive)
    if op in _OF_VALUES:  # vectors of equal values are any that fit
        _, *vectors = sorted(g.builder.nodes[-1].results, key=lambda v: v.type.rank)
        g.pool = [v for v in g.pool if v not in vectors]


MAKERS = {"linalg": Maker(_linalg, _OPS)}
