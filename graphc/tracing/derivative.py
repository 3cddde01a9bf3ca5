"""Functions of the library that know their derivative better than the ops they are made of."""

from collections.abc import Callable

from graphc.graph.ops.custom import CustomJvpAttrs, custom_jvp
from graphc.tracing.bind import bind1, dtype_of
from graphc.tracing.context import Array, TracedValue
from graphc.tracing.function import trace
from graphc.tracing.spec import spec


def with_derivative(
    name: str, function: Callable[..., Array], rule: Callable[..., tuple[Array, Array]], *operands: Array
) -> Array:
    """`function(*operands)`, whose value and tangent are `rule(*operands, *tangents)`. The tangents are those of
    floats, and the rule is linear in them. What the two use besides the operands are constants.
    """
    if not any(isinstance(operand, TracedValue) and dtype_of(operand).is_float for operand in operands):
        return function(*operands)
    specs = [spec(operand.shape, dtype_of(operand)) for operand in operands]
    moving = [spec for spec in specs if spec.dtype.is_float]
    graph = trace(function, specs, name=name).graph
    attrs = CustomJvpAttrs(graph, trace(rule, [*specs, *moving], name=f"{name}_derivative").graph, 0)
    return bind1(custom_jvp, *operands, attrs=attrs)
