"""Differentiation, graph to graph. One row per primitive (see `rows`); forward mode pushes tangents along the graph,
reverse mode linearises, keeps the residuals and transposes.
"""

from graphc.transform.autodiff.api import jvp, linearize, transpose, vjp

__all__ = ["jvp", "linearize", "transpose", "vjp"]
