"""Reads the text form of graphs (see `text`). Types are inferred again and must agree with the text."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields

import numpy as np

import graphc.graph.ops  # noqa: F401  registers the primitives
from graphc.core.dtypes import DType, dtype
from graphc.core.errors import GraphcError, ParseError
from graphc.graph.builder import GraphBuilder
from graphc.graph.ir import Attrs, Graph, TensorType, Value
from graphc.graph.registry import lookup

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*\n\s*)*(?:
    (?P<value>%\d+) | (?P<region>@[\w.]+) | (?P<digest>\$[0-9a-f]{16}) | (?P<string>"[^"]*")
    | (?P<number>[-+]?(?:inf|nan)\b | [-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)
    | (?P<name>[A-Za-z_][\w.]*) | (?P<arrow><-) | (?P<symbol>[()\[\]{},:=])
    )""",
    re.VERBOSE,
)


class _Reader:
    """A cursor over tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        stripped = text.rstrip()
        while at < len(stripped):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                if re.fullmatch(r"(\s*#[^\n]*)*\s*", text[at:]):
                    break
                raise ParseError(f"line {text.count(chr(10), 0, at) + 1}: cannot read {text[at : at + 20]!r}")
            self.tokens.append((match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)))
            at = match.end()
        self.at = 0

    @property
    def more(self) -> bool:
        return self.at < len(self.tokens)

    def fail(self, wanted: str) -> ParseError:
        if not self.more:
            return ParseError(f"the text ends where {wanted} should follow")
        _, text, position = self.tokens[self.at]
        return ParseError(f"line {self.text.count(chr(10), 0, position) + 1}: expected {wanted}, found {text!r}")

    def peek(self, text: str) -> bool:
        return self.more and self.tokens[self.at][1] == text

    def accept(self, text: str) -> bool:
        if self.peek(text):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.fail(repr(text))

    def take(self, group: str) -> str:
        if not self.more or self.tokens[self.at][0] != group:
            raise self.fail(f"a {group}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def group(self) -> str:
        return self.tokens[self.at][0] if self.more else ""

    @property
    def line(self) -> int:
        position = self.tokens[min(self.at, len(self.tokens) - 1)][2]
        return self.text.count("\n", 0, position) + 1


def parse(text: str, constants: Mapping[str, np.ndarray] | None = None) -> Graph:
    """The last graph of the text; graphs before it are its regions.

    `constants` holds the large arrays by digest. Raises `ParseError` with the line for anything malformed.

    >>> import graphc as gc
    >>> len(gc.parse("graph f(%0: f32[2] x) { %1: f32[2] = tanh(%0) return %1 }").nodes)
    1
    """
    reader = _Reader(text)
    graphs: dict[str, Graph] = {}
    name = ""
    while reader.more:
        name, graph = _graph(reader, graphs, constants or {})
        graphs[name] = graph
    if not graphs:
        raise ParseError("no graph in the text")
    return graphs[name]


def _type(reader: _Reader) -> TensorType:
    element = reader.take("name")
    try:
        kind = dtype(element)
    except GraphcError as error:
        raise ParseError(f"line {reader.line}: {error}") from None
    reader.expect("[")
    shape: list[int] = []
    while not reader.accept("]"):
        shape.append(int(reader.take("number")))
        reader.accept(",")
    return TensorType(tuple(shape), kind)


def _graph(reader: _Reader, graphs: Mapping[str, Graph], constants: Mapping[str, np.ndarray]) -> tuple[str, Graph]:
    reader.expect("graph")
    name = reader.take("name")
    builder = GraphBuilder(name)
    values: dict[str, Value] = {}
    reader.expect("(")
    while not reader.accept(")"):
        label = reader.take("value")
        reader.expect(":")
        type = _type(reader)
        hint = reader.take("name") if reader.group() == "name" else ""
        values[label] = builder.input(type, hint)
        reader.accept(",")
    aliases: list[tuple[int, int]] = []
    if reader.accept("donates"):
        reader.expect("(")
        while not reader.accept(")"):
            output = int(reader.take("number"))
            reader.expect("<-")
            aliases.append((output, int(reader.take("number"))))
            reader.accept(",")
    reader.expect("{")
    while not reader.accept("return"):
        _node(reader, builder, values, graphs, constants)
    outputs: list[Value] = []
    while not reader.accept("}"):
        outputs.append(_use(reader, values))
        reader.accept(",")
    return name, builder.build(outputs, tuple(aliases))


def _use(reader: _Reader, values: Mapping[str, Value]) -> Value:
    label = reader.take("value")
    if label not in values:
        raise ParseError(f"line {reader.line}: {label} is used before it is defined")
    return values[label]


def _node(
    reader: _Reader,
    builder: GraphBuilder,
    values: dict[str, Value],
    graphs: Mapping[str, Graph],
    constants: Mapping[str, np.ndarray],
) -> None:
    labels: list[tuple[str, TensorType]] = []
    while not reader.accept("="):
        label = reader.take("value")
        if label in values:
            raise ParseError(f"line {reader.line}: {label} is defined twice")
        reader.expect(":")
        labels.append((label, _type(reader)))
        reader.accept(",")
    op = lookup(reader.take("name"))
    reader.expect("(")
    operands: list[Value] = []
    while not reader.accept(")"):
        operands.append(_use(reader, values))
        reader.accept(",")
    given: dict[str, object] = {}
    if reader.accept("{"):
        while not reader.accept("}"):
            key = reader.take("name")
            reader.expect("=")
            given[key] = _attr(reader, graphs, constants)
            reader.accept(",")
    results = builder.add(op, operands, _make_attrs(reader, op.attrs, given))
    if tuple(value.type for value in results) != tuple(type for _, type in labels):
        found = ", ".join(str(value.type) for value in results)
        raise ParseError(f"line {reader.line}: {op.name} gives {found}, the text says otherwise")
    values.update(zip((label for label, _ in labels), results, strict=True))


def _make_attrs(reader: _Reader, kind: type[Attrs], given: Mapping[str, object]) -> Attrs:
    wanted = {f.name for f in fields(kind)}
    optional = {f.name for f in fields(kind) if f.default is not MISSING}
    if not wanted - optional <= set(given) <= wanted:
        raise ParseError(f"line {reader.line}: {kind.__name__} has fields {sorted(wanted)}, the text {sorted(given)}")
    return kind(**given)


def _attr(reader: _Reader, graphs: Mapping[str, Graph], constants: Mapping[str, np.ndarray]) -> object:
    match reader.group():
        case "region":
            name = reader.take("region")[1:]
            if name not in graphs:
                raise ParseError(f"line {reader.line}: region @{name} is not defined above")
            return graphs[name]
        case "string":
            return reader.take("string")[1:-1]
        case "number":
            return _number(reader.take("number"))
        case "name":
            return _named(reader, constants)
    if not reader.accept("("):
        raise reader.fail("an attribute value")
    items: list[object] = []
    while not reader.accept(")"):
        items.append(_attr(reader, graphs, constants))
        reader.accept(",")
    return tuple(items)


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _named(reader: _Reader, constants: Mapping[str, np.ndarray]) -> object:
    for word, value in (("True", True), ("False", False), ("None", None), ("inf", np.inf), ("nan", np.nan)):
        if reader.accept(word):
            return value
    if reader.at + 1 < len(reader.tokens) and reader.tokens[reader.at + 1][1] == "[":
        return _array(reader, constants)
    try:
        return dtype(reader.take("name"))
    except GraphcError as error:
        raise ParseError(f"line {reader.line}: {error}") from None


def _array(reader: _Reader, constants: Mapping[str, np.ndarray]) -> np.ndarray:
    type = _type(reader)
    reader.expect("{")
    if reader.group() == "digest":
        key = reader.take("digest")[1:]
        reader.expect("}")
        if key not in constants:
            raise ParseError(
                f"line {reader.line}: constant ${key} is not in the text; pass constants={{'{key}': array}}"
            )
        return constants[key]
    items: list[object] = []
    while not reader.accept("}"):
        items.append(_element(reader, type.dtype))
        reader.accept(",")
    if len(items) != type.size:
        raise ParseError(f"line {reader.line}: {type} has {type.size} elements, the text {len(items)}")
    return np.array(items, type.dtype.numpy).reshape(type.shape)


def _element(reader: _Reader, dtype: DType) -> object:
    """One element of a constant: a word or a number; of complex dtypes (real, imaginary)."""
    if not dtype.is_complex:
        text = reader.take(reader.group())
        return text == "True" if dtype.is_bool else dtype.numpy.type(text)
    reader.expect("(")
    parts = [_element(reader, dtype.part)]
    reader.expect(",")
    parts.append(_element(reader, dtype.part))
    reader.expect(")")
    return np.array(parts, dtype.part.numpy).view(dtype.numpy)[0]
