"""The primitives, one file per family. Importing this package registers all of them.

Elementwise ops take operands of exactly equal shape; broadcasting is a node of its own. Everything that is not here
(softmax, losses, norms, optimisers, ...) is an ordinary traced function made of these.
"""

from graphc.graph.ops import (
    contraction,
    control,
    cumulative,
    custom,
    elementwise,
    indexing,
    linalg,
    movement,
    reduction,
    sliding,
    sorting,
    source,
    sparse,
    structural,
    windows,
)

__all__ = [
    "contraction",
    "control",
    "cumulative",
    "custom",
    "elementwise",
    "indexing",
    "linalg",
    "movement",
    "reduction",
    "sliding",
    "sorting",
    "source",
    "sparse",
    "structural",
    "windows",
]
