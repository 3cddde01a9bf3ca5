"""Lowering: fused graphs to loops. `lower_graph` is an entry, `lower_fusion` one kernel."""

from graphc.kernel.lower.fusion import lower_body, lower_fusion
from graphc.kernel.lower.program import lower_graph

__all__ = ["lower_body", "lower_fusion", "lower_graph"]
