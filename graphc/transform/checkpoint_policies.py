"""What a checkpoint saves: a policy is asked about each op inside, `policy(name, *specs of operands, **attributes)`,
and says whether its results are saved. JAX's names.
"""

from graphc.tracing import Spec

_DOTS = frozenset({"dot_general", "conv_general"})


def nothing_saveable(op: str, *operands: Spec, **attributes: object) -> bool:
    """Everything is computed again from the arguments."""
    return False


def everything_saveable(op: str, *operands: Spec, **attributes: object) -> bool:
    """Nothing is computed again."""
    return True


def dots_saveable(op: str, *operands: Spec, **attributes: object) -> bool:
    """Products and convolutions are saved; what is cheap is computed again."""
    return op in _DOTS


def dots_with_no_batch_dims_saveable(op: str, *operands: Spec, **attributes: object) -> bool:
    """Products with weights are saved, those of two activations (attention scores) are computed again."""
    return op in _DOTS and not attributes.get("lhs_batch")
