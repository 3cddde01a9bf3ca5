"""Complex values at the border of a kernel: in memory they are pairs of floats, the real part first.

The buffer of a complex value has one dim more, of extent 2. `real` and `imag` of an input are loads of it, and an
output that `complex` makes is two stores. Nothing else has to do with complex numbers: `graphc.passes.complexes` has
made arithmetic on floats of all that computes with them.
"""

from collections.abc import Callable, Sequence

from graphc.core.errors import UnsupportedError
from graphc.graph.ir import Graph, Node, Value
from graphc.kernel.ir import Buffer, Load, Space, index
from graphc.kernel.lower.emit import Emitter, Pull, PullRule
from graphc.kernel.lower.expr import Index, delinear, linear

Place = tuple[Buffer, Index]  # where an element lies: a buffer, and what comes after the element's own index
_PARTS = {"real": 0, "imag": 1}


def buffer_of(name: str, value: Value, space: Space = "param") -> Buffer:
    """The buffer a value lies in."""
    pair = (2,) if value.dtype.is_complex else ()
    return Buffer(name, value.dtype.part, (*value.shape, *pair), space)


def parts_read(body: Graph, value: Value, buffer: Buffer) -> dict[Value, Callable[[Index], Load]]:
    """Where the parts lie that a body reads of a complex input."""
    readers = [node for node in body.users.get(value, ()) if node.op.name in _PARTS]
    return {node.result: _part_in(buffer, value.shape, _PARTS[node.op.name]) for node in readers}


def _part_in(buffer: Buffer, shape: tuple[int, ...], part: int) -> Callable[[Index], Load]:
    if (*shape, 2) == buffer.shape:
        return lambda idx: Load(buffer, (*idx, index(part)))
    return lambda idx: Load(buffer, (*delinear(linear(idx, shape), buffer.shape[:-1]), index(part)))


def in_parts(body: Graph, buffers: Sequence[Buffer]) -> tuple[Graph, list[Place]]:
    """The body with two outputs for each complex one, and where the elements of all outputs are stored."""
    outputs: list[Value] = []
    places: list[Place] = []
    for value, buffer in zip(body.outputs, buffers, strict=True):
        parts = _parts_of(body, value) if value.dtype.is_complex else (value,)
        outputs += parts
        places += [(buffer, (index(k),) if len(parts) > 1 else ()) for k in range(len(parts))]
    if len(outputs) == len(body.outputs):
        return body, places
    # `complex` stays, unused: it says that the parts run along the same dims
    return Graph(body.name, body.inputs, body.nodes, tuple(outputs)), places


def _parts_of(body: Graph, value: Value) -> tuple[Value, ...]:
    node = body.producers.get(value)
    if node is None or node.op.name != "complex":
        raise UnsupportedError(f"{body.name}: {value.type} is not made of parts")
    return node.operands


def _part(emitter: Emitter, node: Node, idx: Index) -> Pull:
    parts = _parts_of(emitter.body, node.operands[0])
    return (yield parts[_PARTS[node.op.name]], idx)


def _whole(emitter: Emitter, node: Node, idx: Index) -> Pull:
    raise UnsupportedError(f"{node.op.name}: a kernel has no complex element ({node.loc})")


RULES: dict[str, PullRule] = {"real": _part, "imag": _part, "complex": _whole}
