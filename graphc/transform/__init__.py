"""Graph to Graph, as users ask for it: `grad`, `value_and_grad`, `vjp`, `jvp`, `linearize`, `stop_gradient`,
`jacobian`, `hessian`, `hvp`, `vmap`, `checkpoint`, `custom_jvp`, `custom_vjp`, control flow, and the numerical check of
the derivatives, `gradcheck`.
"""

from graphc.transform import checkpoint_policies
from graphc.transform.checkpointing import checkpoint
from graphc.transform.control_flow import cond, fori_loop, scan, switch, while_loop
from graphc.transform.custom import custom_jvp, custom_vjp
from graphc.transform.forward_mode import jvp, linearize
from graphc.transform.gradcheck import GradientCheck, GradientReport, gradcheck
from graphc.transform.jacobians import hessian, hvp, jacobian
from graphc.transform.mapping import vmap
from graphc.transform.reverse_mode import grad, stop_gradient, value_and_grad, vjp

__all__ = [
    "GradientCheck",
    "GradientReport",
    "checkpoint",
    "checkpoint_policies",
    "cond",
    "custom_jvp",
    "custom_vjp",
    "fori_loop",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "linearize",
    "scan",
    "stop_gradient",
    "switch",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
