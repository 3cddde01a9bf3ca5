"""Lowering: fused graphs to loops. `lower_graph` is an entry, `lower_body` one kernel."""

from graphc.kernel.lower.fusion import lower_body
from graphc.kernel.lower.program import lower_graph

__all__ = ["lower_body", "lower_graph"]
