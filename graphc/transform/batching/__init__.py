"""Batching, graph to graph: the same function on many inputs at once. One row per primitive (see `rows`); what does not
depend on a batched input is computed once.
"""

from graphc.transform.batching.api import Batched, batch

__all__ = ["Batched", "batch"]
