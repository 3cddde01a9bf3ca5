"""Clipping gradients by their global norm."""

from __future__ import annotations

from collections.abc import Sequence

import graphc.numpy as gnp
from graphc.api import Array
from graphc.optim.schedules import check


def global_norm(arrays: Sequence[Array]) -> Array:
    """The Euclidean norm of all elements of all arrays together; in float64 if the dtypes differ.

    >>> import numpy as np
    >>> from graphc import optim
    >>> float(optim.global_norm([np.array([3.0]), np.array([4.0])]))
    5.0
    """
    dtypes = {str(array.dtype) for array in arrays}
    squares = [gnp.sum(array * array) for array in arrays]
    if len(dtypes) > 1:
        squares = [square.astype("float64") for square in squares]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return gnp.sqrt(total)


def clip_by_global_norm(grads: Sequence[Array], max_norm: float) -> tuple[list[Array], Array]:
    """Scale all arrays by min(1, max_norm / (norm + 1e-6)), as PyTorch does; returns them and the norm before.

    Raises `ArgumentError` for a negative `max_norm` (Pascanu, Mikolov and Bengio 2013).

    >>> import numpy as np
    >>> from graphc import optim
    >>> clipped, norm = optim.clip_by_global_norm([np.array([3.0]), np.array([4.0])], 1.0)
    >>> float(norm), round(float(clipped[0][0]), 4)
    (5.0, 0.6)
    """
    check("clip_by_global_norm", max_norm=max_norm)
    norm = global_norm(grads)
    scale = gnp.minimum(max_norm / (norm + 1e-6), 1.0)
    return [grad * scale.astype(grad.dtype) for grad in grads], norm
