"""The backward walk: transpose nodes that are linear in some values, from the last to the first.

A cotangent with several contributions is their sum in the order the walk meets them (last use first), so the order of
rounding depends on the graph alone.
"""

from collections.abc import Sequence

from graphc.core.errors import GradientError
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Node, Value
from graphc.transform.autodiff.forward import located
from graphc.transform.autodiff.rows import Derive, Linear, Region, Tangent
from graphc.transform.autodiff.table import row_of


def pull_back(
    builder: GraphBuilder,
    nodes: Sequence[Node],
    linear: set[Value],
    seeds: Sequence[tuple[Value, Value]],
    derive: Derive,
    role: str,
) -> dict[Value, Value]:
    """Append the transposes of `nodes`; returns the cotangents of linear values that no node defines.

    `seeds` are (linear value, its cotangent). Operands outside `linear` must be defined in the builder already.
    """
    cotangent_of: dict[Value, Value] = {}

    def accumulate(value: Value, cotangent: Value, c: Compose) -> None:
        known = cotangent_of.get(value)
        cotangent_of[value] = cotangent if known is None else c.add(known, cotangent)

    for value, cotangent in seeds:
        accumulate(value, cotangent, Compose(builder))
    for node in reversed(nodes):
        cotangents: list[Tangent] = [cotangent_of.pop(v, None) for v in node.results]
        if all(ct is None for ct in cotangents):
            continue
        c = Compose(builder, located(node.loc, role))
        marked = tuple(v in linear for v in node.operands)
        parts = _transpose(c, node, marked, cotangents, derive)
        for operand, wanted, part in zip(node.operands, marked, parts, strict=True):
            if wanted and part is not None:
                accumulate(operand, part, c)
    return cotangent_of


def _transpose(
    c: Compose, node: Node, linear: tuple[bool, ...], cotangents: Sequence[Tangent], derive: Derive
) -> Sequence[Tangent]:
    row = row_of(node)
    if isinstance(row, Region):
        return row.transpose(derive, c, node, linear, cotangents)
    (cotangent,) = cotangents
    if isinstance(row, Linear) and cotangent is not None and is_linear(node, linear):
        return row.transpose(c, node, linear, cotangent)
    raise GradientError(
        f"{node.op.name}: is not linear, so a derivative rule must not apply it to tangents ({node.loc})"
    )


def is_linear(node: Node, linear: Sequence[bool]) -> bool:
    """Whether an op that holds no graph is linear in the marked operands together: a product is in one factor, a choice
    in its sides.
    """
    row = row_of(node)
    if not isinstance(row, Linear):
        return False
    marked = [number for number, flag in enumerate(linear) if flag]
    if (row.apart and len(marked) > 1) or any(number in (row.fixed or ()) for number in marked):
        return False
    return all(node.operands[number].dtype.is_inexact for number in marked)
