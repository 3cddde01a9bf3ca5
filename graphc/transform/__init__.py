"""Graph to Graph, as users ask for it: `grad`, `value_and_grad`, `vjp`, `jvp`, `linearize`, `stop_gradient`, and the
numerical check of all of them, `gradcheck`.
"""

from graphc.transform.forward_mode import jvp, linearize
from graphc.transform.gradcheck import GradientCheck, GradientReport, gradcheck
from graphc.transform.reverse_mode import grad, stop_gradient, value_and_grad, vjp

__all__ = [
    "GradientCheck",
    "GradientReport",
    "grad",
    "gradcheck",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
