"""The text form of a graph. `parser.parse(print_graph(g)) == g`.

    graph f(%0: f32[2,3] x) {
      %1: f32[3,2] = transpose(%0) {permutation=(1, 0)}  # train.py:31
      return %1
    }

Regions are printed before the graph that uses them and named `@name`; equal regions are printed once. Constants above
64 elements are shown by a digest, `f32[784,10]{$1f3a...}`; `parse` then needs the arrays, which `constants(graph)`
collects.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from graphc.core.dtypes import DType, dtype, holds_floats
from graphc.core.source import UNKNOWN
from graphc.graph.ir import Attrs, Graph, Node, Value, regions

MAX_INLINE = 64  # elements of a constant printed in full


def digest(array: np.ndarray) -> str:
    """The name a large constant has in text: a hash of its type and bytes."""
    content = np.ascontiguousarray(array)
    head = f"{content.dtype.str}{content.shape}".encode()  # of bfloat16 "<V2", which nothing else is
    return hashlib.sha256(head + content.tobytes()).hexdigest()[:16]


def constants(graph: Graph) -> dict[str, np.ndarray]:
    """The large constants of a graph and its regions by digest, as `parse` takes them."""
    found: dict[str, np.ndarray] = {}
    stack = [graph]
    while stack:
        for node in stack.pop().nodes:
            stack += regions(node)
            for f in fields(node.attrs):
                value = getattr(node.attrs, f.name)
                if isinstance(value, np.ndarray) and value.size > MAX_INLINE:
                    found[digest(value)] = value
    return found


def _regions_first(graph: Graph) -> Iterator[Graph]:
    """Every distinct region below `graph`, inner ones first, without recursion."""
    order: list[Graph] = []
    stack: list[tuple[Graph, bool]] = [(graph, False)]
    seen: set[Graph] = set()
    while stack:
        current, expanded = stack.pop()
        if expanded:
            order.append(current)
            continue
        if current in seen:
            continue
        seen.add(current)
        stack.append((current, True))
        stack += [(region, False) for node in current.nodes for region in regions(node)]
    yield from order


def _array(value: np.ndarray) -> str:
    kind = f"{dtype(value.dtype).short}[{','.join(map(str, value.shape))}]"
    if value.size > MAX_INLINE:
        return f"{kind}{{${digest(value)}}}"
    return f"{kind}{{{', '.join(_scalar(v) for v in value.reshape(-1))}}}"


def _scalar(value: object) -> str:
    if isinstance(value, np.generic):
        if holds_floats(value):
            return str(value)  # NumPy prints the shortest text that reads back exactly in this dtype
        if value.dtype.kind == "c":
            return f"({value.real}, {value.imag})"
        value = value.item()
    return str(value)


def _attr(value: object, names: dict[Graph, str]) -> str:
    if isinstance(value, Graph):
        return f"@{names[value]}"
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, DType):
        return value.short
    if isinstance(value, tuple):
        return f"({', '.join(_attr(v, names) for v in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, str):
        return f'"{value}"'
    return _scalar(value)


def _attrs(attrs: Attrs, names: dict[Graph, str]) -> str:
    given = [(f.name, getattr(attrs, f.name)) for f in fields(attrs)]
    items = [f"{name}={_attr(value, names)}" for name, value in given if value is not None]
    return f" {{{', '.join(items)}}}" if items else ""


def _node(node: Node, number: dict[Value, int], names: dict[Graph, str]) -> str:
    results = ", ".join(f"%{number[v]}: {v.type}" for v in node.results)
    operands = ", ".join(f"%{number[v]}" for v in node.operands)
    line = f"  {results} = {node.op.name}({operands}){_attrs(node.attrs, names)}"
    return line if node.loc is UNKNOWN else f"{line}  # {node.loc}"


def _identifier(name: str) -> str:
    cleaned = "".join(c if c.isalnum() or c in "_." else "_" for c in name)
    return cleaned if cleaned and not cleaned[0].isdigit() else f"g{cleaned}"


def _print_one(graph: Graph, name: str, names: dict[Graph, str]) -> str:
    number: dict[Value, int] = {}
    for value in (*graph.inputs, *(v for node in graph.nodes for v in node.results)):
        number.setdefault(value, len(number))
    inputs = ", ".join(f"%{number[v]}: {v.type}{' ' + _identifier(v.name) if v.name else ''}" for v in graph.inputs)
    aliases = ", ".join(f"{output} <- {source}" for output, source in graph.aliases)
    lines = [f"graph {name}({inputs}){f' donates({aliases})' if aliases else ''} {{"]
    lines += [_node(node, number, names) for node in graph.nodes]
    lines += [f"  return {', '.join(f'%{number[v]}' for v in graph.outputs)}".rstrip(), "}"]
    return "\n".join(lines)


def print_graph(graph: Graph) -> str:
    """The text of a graph and, before it, of the regions it uses."""
    names: dict[Graph, str] = {}
    parts: list[str] = []
    for region in _regions_first(graph):
        base = _identifier(region.name)
        names[region] = base if base not in names.values() else f"{base}.{len(names)}"
        parts.append(_print_one(region, names[region], names))
    return "\n\n".join(parts) + "\n"
