"""Digests tell contents apart, and nothing else: the same in every process, whatever things are called."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.core import dtypes
from graphc.core.digest import array_digest, source_digest
from graphc.core.dtypes import DType
from graphc.graph.digest import INLINE_BYTES, GraphDigests
from graphc.graph.ir import Attrs, Graph, Node, TensorType, Value
from graphc.graph.parser import parse
from graphc.graph.registry import all_ops
from graphc.graph.text import constants
from tests.random_graphs import random_graph

ROOT = Path(__file__).resolve().parents[2]


def digest(graph: Graph) -> str:
    return GraphDigests().of(graph)


# ---------------------------------------------------------------------------------------------------------- graphs


@pytest.mark.parametrize("seed", range(40))
def test_equal_graphs_have_one_digest(seed: int) -> None:
    graph = random_graph(seed).graph
    again = parse(str(graph), constants(graph))  # other values, other names, another file
    assert digest(again) == digest(graph)


@pytest.mark.parametrize("seed", range(40))
def test_every_change_changes_the_digest(seed: int) -> None:
    """Random graphs with one thing changed: a digest differs where the structure does."""
    chance = random.Random(seed)
    graph = random_graph(seed).graph
    known = digest(graph)
    tried = 0
    for changed in mutants(graph, chance):
        assert (digest(changed) == known) == (changed == graph), changed
        tried += 1
    assert tried >= len(graph.nodes)


def mutants(graph: Graph, chance: random.Random) -> Iterator[Graph]:
    """The graph with one attribute, operand, op, output, type or alias changed. They need not be well typed."""
    others = [op for op in all_ops() if op.kind != "structural"]
    for position, node in enumerate(graph.nodes):
        for field in fields(node.attrs):
            value = getattr(node.attrs, field.name)
            yield with_node(graph, position, replace(node, attrs=other_attrs(node.attrs, field.name, value)))
        if node.operands:
            values = [*graph.inputs, *(result for before in graph.nodes[:position] for result in before.results)]
            operands = list(node.operands)
            operands[chance.randrange(len(operands))] = chance.choice(values)
            yield with_node(graph, position, replace(node, operands=tuple(operands)))
            yield with_node(graph, position, replace(node, operands=node.operands[::-1]))
        yield with_node(graph, position, replace(node, op=chance.choice(others)))
    yield replace(graph, outputs=graph.outputs[::-1])
    yield replace(graph, outputs=(*graph.outputs, graph.outputs[0]))
    yield replace(graph, aliases=((0, 0),))
    if graph.inputs:
        first = graph.inputs[0]
        yield with_input(graph, Value(first.type.with_shape((7, *first.shape)), first.name))
        wanted = dtypes.int8 if first.dtype != dtypes.int8 else dtypes.uint8
        yield with_input(graph, Value(first.type.with_dtype(wanted), first.name))


def with_node(graph: Graph, position: int, node: Node) -> Graph:
    nodes = (*graph.nodes[:position], node, *graph.nodes[position + 1 :])
    return Graph(graph.name, graph.inputs, nodes, graph.outputs, graph.aliases)


def with_input(graph: Graph, value: Value) -> Graph:
    old = graph.inputs[0]
    nodes = tuple(
        replace(node, operands=tuple(value if v is old else v for v in node.operands)) for node in graph.nodes
    )
    outputs = tuple(value if v is old else v for v in graph.outputs)
    return Graph(graph.name, (value, *graph.inputs[1:]), nodes, outputs, graph.aliases)


def other_attrs(attrs: Attrs, name: str, value: object) -> Attrs:
    return replace(attrs, **{name: another(value)})


def another(value: object) -> object:
    """A value of the same kind that differs in as little as there is."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return float(np.nextafter(value, np.inf))
        case str():
            return value + "!"
        case tuple():
            return (*value[:-1], another(value[-1])) if value else (0,)
        case DType():
            return dtypes.int8 if value != dtypes.int8 else dtypes.float32
        case np.ndarray():
            if not value.size:
                return np.zeros((1,), value.dtype)
            flipped = value.copy()
            flipped.reshape(-1).view(np.uint8)[-1] ^= 1
            return flipped
        case None:
            return dtypes.float32
        case Graph():
            return replace(value, inputs=(*value.inputs, Value(TensorType((), dtypes.float32), "more")))
        case _:
            raise TypeError(f"no other {type(value).__name__} is known")


def test_every_attribute_of_every_op_has_a_digest() -> None:
    """Kinds of attributes are few; a new kind needs a row in `graph/digest.py`."""
    kinds = {kind for op in all_ops() for kind in get_type_hints(op.attrs).values()}
    plain = {int, bool, float, str, DType, np.ndarray, Graph}
    optional = {int | None, DType | None, Graph | None}
    assert kinds <= plain | optional | {tuple[int, ...], tuple[bool, ...], tuple[Graph, ...]}, kinds


def test_kinds_of_numbers_are_told_apart() -> None:
    digests = GraphDigests()
    values: list[object] = [1, True, 1.0, "1", (1,), ((1,),), (1, 1), None, 0.0, -0.0, (), "", "a,b", ("a", "b")]
    values += [np.float32([1]), np.int32([1]), np.int64([1]), np.float32([[1]]), dtypes.float32, "f32"]
    texts = [digests._value(value) for value in values]
    assert len(set(texts)) == len(texts)


def test_an_unknown_kind_of_attribute_is_an_error() -> None:
    with pytest.raises(TypeError, match="type set have no digest"):
        GraphDigests()._value({1, 2})


def test_source_lines_and_names_do_not_count() -> None:
    one = gc.trace(lambda x: gnp.tanh(x), gc.spec((3,)))

    def other(y):
        return gnp.tanh(y)

    assert digest(gc.trace(other, gc.spec((3,)))) == digest(one)
    assert digest(gc.trace(other, gc.spec((4,)))) != digest(one)


def test_large_constants_are_collected_and_count() -> None:
    large = np.arange(1000, dtype=np.float32)
    changed = large.copy()
    changed[999] += 1

    def graph(constant: np.ndarray) -> Graph:
        return gc.trace(lambda x: x + constant, gc.spec((1000,)))

    digests = GraphDigests()
    assert digests.of(graph(large)) != digests.of(graph(changed))
    assert large.nbytes > INLINE_BYTES
    np.testing.assert_array_equal(np.stack(list(digests.arrays.values())), np.stack([large, changed]))


def test_regions_count_however_deep() -> None:
    def nested(depth: int, last: float) -> Graph:
        function = lambda x: x * last
        for _ in range(depth):
            function = (lambda inner: gc.jit(lambda x: inner(x) + 1.0))(function)
        return gc.trace(function, gc.spec((2,)))

    assert digest(nested(40, 2.0)) == digest(nested(40, 2.0))
    assert digest(nested(40, 2.0)) != digest(nested(40, 3.0))


def test_it_is_the_same_in_every_process() -> None:
    program = (
        "from tests.random_graphs import random_graph\n"
        "from graphc.graph.digest import GraphDigests\n"
        "print(*[GraphDigests().of(random_graph(seed).graph) for seed in range(8)])"
    )
    expected = [digest(random_graph(seed).graph) for seed in range(8)]
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}"},
        )
        assert result.stdout.split() == expected, result.stderr


# ------------------------------------------------------------------------------------------------ arrays and files


def test_arrays_differ_by_dtype_shape_and_bits() -> None:
    base = np.zeros((2, 3), np.float32)
    others = [base.reshape(3, 2), base.reshape(6), base.view(np.int32), -base, base.astype(np.float64), base[:, :2]]
    assert len({array_digest(array) for array in [base, *others]}) == 7
    assert array_digest(np.asfortranarray(base)) == array_digest(base)
    assert array_digest(np.zeros((0, 3), np.float32)) != array_digest(np.zeros((3, 0), np.float32))


def test_a_changed_array_has_another_digest() -> None:
    array = np.zeros(3)
    before = array_digest(array)
    array[0] = 1
    assert array_digest(array) != before
    view = array[:]
    view.flags.writeable = False  # the array behind it may still change
    before = array_digest(view)
    array[0] = 2
    assert array_digest(view) != before


def test_sources_count_by_name_and_content(tmp_path: Path) -> None:
    def write(name: str, text: str) -> str | None:
        source_digest.cache_clear()
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return source_digest(tmp_path, ("inner", "single.py"))

    assert source_digest(tmp_path / "nothing") is None
    found = [write("inner/a.py", "x = 1\n"), write("inner/b.py", "y = 1\n"), write("inner/a.py", "x = 2\n")]
    found.append(write("single.py", "x = 1\n"))
    assert len(set(found)) == 4
    assert write("inner/notes.txt", "no code") == write("other.py", "not in the list") == found[-1]
