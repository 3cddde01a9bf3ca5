"""A fused graph to a `LoopProgram`: kernels in order over tensors.

In: a graph of `fusion` nodes, constants and views (reshape; contiguous slice; concatenate of parts that follow each
other in memory), loops and branches, with the inputs of an entry: state slots, the caller's, the step. Out: one kernel
call per fusion, one call per loop and branch, whose bodies are lowered likewise.

A view costs nothing: it is a part of its operand's memory. A concatenate becomes memory of its own with its operands
as parts, where each operand is a temporary made once and for this place alone; otherwise it is copied by a kernel.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphc.core.dtypes import uint8
from graphc.core.errors import UnsupportedError
from graphc.core.source import UNKNOWN
from graphc.graph.builder import GraphBuilder
from graphc.graph.compose import Compose
from graphc.graph.ir import Graph, Node, Value
from graphc.graph.layout import is_flat_concatenate, slice_offset
from graphc.graph.ops.control import BranchAttrs, ScanAttrs, WhileAttrs
from graphc.graph.ops.elementwise import complex_
from graphc.graph.ops.source import ConstantAttrs
from graphc.graph.ops.structural import FusionAttrs
from graphc.kernel.ir import Buffer, Kernel, Mode, Param
from graphc.kernel.lower.fusion import lower_body
from graphc.kernel.lower.naming import labelled, sources_of
from graphc.kernel.lower.updates import lower_window, updated
from graphc.kernel.program import BranchCall, Call, KernelCall, LoopCall, LoopProgram, Tensor
from graphc.kernel.structure import copy_kernel


def lower_graph(
    graph: Graph, *, name: str, state_inputs: int = 0, num_inputs: int | None = None, takes_step: bool = False
) -> LoopProgram:
    """Lower one entry. Its inputs are `state_inputs` state slots, `num_inputs` arguments and the step; its outputs the
    new state values, then the caller's. A state whose new value is its input has no update.

    Raises `UnsupportedError` naming the op for a bare node that is neither constant nor view.
    """
    if num_inputs is None:
        num_inputs = len(graph.inputs) - state_inputs - takes_step
    if len(graph.inputs) != state_inputs + num_inputs + takes_step:
        raise UnsupportedError(f"{name}: {len(graph.inputs)} inputs are not state, arguments and step")
    return _Lowering(graph, name).run(state_inputs, num_inputs)


class _Lowering:
    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self.tensors: dict[int, Tensor] = {}
        self.of: dict[Value, int] = {}
        self.constants: list[np.ndarray] = []
        self.calls: list[Call] = []
        self.names: dict[str, int] = {}
        self.bodies: dict[Graph, Kernel] = {}

    def run(self, state_inputs: int, num_inputs: int) -> LoopProgram:
        inputs: list[int] = []
        for position, value in enumerate(self.graph.inputs):
            if position < state_inputs:
                self._add(value, Tensor(0, value.type.nbytes, "state", position, label=f"{value.name} {value.type}"))
            elif position < state_inputs + num_inputs:
                slot = position - state_inputs
                inputs.append(
                    self._add(value, Tensor(0, value.type.nbytes, "input", slot, label=f"{value.name} {value.type}"))
                )
            else:
                self._add(value, Tensor(0, value.type.nbytes, "step", label="step"))
        self._place_concatenates()
        for node in self.graph.nodes:
            self._node(node)
        outputs = [self.of[value] for value in self.graph.outputs]
        updates = tuple(
            (slot, outputs[slot])
            for slot in range(state_inputs)
            if self.graph.outputs[slot] is not self.graph.inputs[slot]
        )
        return LoopProgram(
            self.name,
            self.tensors,
            tuple(self.calls),
            tuple(inputs),
            tuple(outputs[state_inputs:]),
            updates,
            tuple(self.constants),
        )

    # ------------------------------------------------------------------------------------------------ tensors

    def _add(self, value: Value, tensor: Tensor) -> int:
        number = len(self.tensors)
        self.tensors[number] = replace(tensor, id=number)
        self.of[value] = number
        return number

    def _temporary(self, value: Value, node: Node) -> int:
        if value in self.of:  # it has a place in a concatenate
            return self.of[value]
        return self._add(value, _described(value, node, node.op.name))

    def _view(self, value: Value, of: int, offset: int, node: Node) -> int:
        """A part of another tensor; views of views are views of what owns the memory."""
        owner = self.tensors[of]
        if owner.view_of is not None:
            of, offset = owner.view_of, offset + owner.view_offset
        described = _described(value, node, node.op.name)
        return self._add(value, replace(described, view_of=of, view_offset=offset))

    def _place_concatenates(self) -> None:
        """Give the operands of flat concatenates their places, so that they are made where they end up."""
        for node in reversed(self.graph.nodes):  # an outer concatenate first: its parts may be concatenates
            if node.op.name != "concatenate" or not is_flat_concatenate(node) or not self._can_place(node):
                continue
            whole = self._temporary(node.result, node)
            offset = 0
            for operand in node.operands:
                self._place_part(operand, whole, offset)
                offset += operand.type.nbytes

    def _place_part(self, value: Value, whole: int, offset: int) -> None:
        while True:
            producer = self.graph.producers[value]
            self._view(value, whole, offset, producer)
            if producer.op.name != "reshape":
                return
            value = producer.operands[0]

    def _can_place(self, node: Node) -> bool:
        """Every operand is a different temporary made by a fusion (or seen through reshapes) with no other place."""
        origins: list[Value] = []
        for operand in node.operands:
            value = operand
            while True:
                producer = self.graph.producers.get(value)
                if producer is None or value in self.of:
                    return False
                if producer.op.name != "reshape":
                    break
                value = producer.operands[0]
            placed = producer.op.name == "fusion" or (
                producer.op.name == "concatenate" and is_flat_concatenate(producer)
            )
            if not placed:
                return False
            origins.append(value)
        return len(set(origins)) == len(origins)

    # ------------------------------------------------------------------------------------------------ nodes

    def _node(self, node: Node) -> None:
        match node.op.name:
            case "fusion":
                assert isinstance(node.attrs, FusionAttrs)
                self._call(node, node.attrs.graph)
            case "constant":
                assert isinstance(node.attrs, ConstantAttrs)
                described = _described(node.result, node, "constant")
                self._add(node.result, replace(described, role="constant", slot=len(self.constants)))
                self.constants.append(np.ascontiguousarray(node.attrs.value))
            case "reshape":
                if node.result not in self.of:
                    self._view(node.result, self.of[node.operands[0]], 0, node)
            case "slice" if (offset := slice_offset(node)) is not None:
                source = self.of[node.operands[0]]
                self._view(node.result, source, offset * node.result.dtype.itemsize, node)
            case "concatenate":
                if not self._is_placed(node):
                    self._copy(node)
            case "scan" | "while":
                self._loop(node)
            case "branch":
                self._branch(node)
            case _:
                raise UnsupportedError(f"{node.op.name}: is not fused and is no view ({node.loc})")

    def _is_placed(self, node: Node) -> bool:
        if node.result not in self.of:
            return False
        whole = self.of[node.result]
        owner = self.tensors[whole]
        base = (whole, 0) if owner.view_of is None else (owner.view_of, owner.view_offset)
        offset = base[1]
        for operand in node.operands:
            part = self.tensors[self.of[operand]]
            if (part.view_of, part.view_offset) != (base[0], offset):
                return False
            offset += operand.type.nbytes
        return True

    def _copy(self, node: Node) -> None:
        builder = GraphBuilder("concatenate")
        operands = tuple(dict.fromkeys(node.operands))
        inputs = {value: builder.input(value.type) for value in operands}
        result = builder.add1(node.op, [inputs[v] for v in node.operands], node.attrs, node.loc)
        copied = Node(node.op, operands, node.attrs, node.results, node.loc)
        self._call(copied, builder.build([result]))

    def _call(self, node: Node, body: Graph) -> None:
        results = [self._temporary(value, node) for value in node.results]
        if all(value.type.size == 0 for value in node.results):
            return
        if (array := updated(body)) is not None:
            self._update(node, body, array)
            return
        if body not in self.bodies:
            self.bodies[body] = lower_body(body)
        kernel = labelled(self.bodies[body], body)  # a body of equal structure may come from other lines
        kernel = replace(kernel, name=self._unique(kernel.name))
        self.calls.append(KernelCall(kernel, (*(self.of[v] for v in node.operands), *results)))

    def _update(self, node: Node, body: Graph, array: Value) -> None:
        """Copy an array to where the result belongs, unless it lies there (the plan knows), and put the window in."""
        operand = node.operands[body.inputs.index(array)]
        result = self.of[node.result]
        copied = copy_kernel(array.dtype, array.type.size, f"{array.type} {sources_of(body, array)}".rstrip())
        copied = replace(copied, name=self._unique(copied.name))
        self.calls.append(KernelCall(copied, (self.of[operand], result)))
        if body not in self.bodies:
            self.bodies[body] = lower_window(body)
        kernel = replace(self.bodies[body], name=self._unique(self.bodies[body].name))
        others = [self.of[v] for v, given in zip(node.operands, body.inputs, strict=True) if given is not array]
        self.calls.append(KernelCall(kernel, (*others, result)))

    # ------------------------------------------------------------------------------------------------ loops, branches

    def _loop(self, node: Node) -> None:
        attrs = node.attrs
        assert isinstance(attrs, ScanAttrs | WhileAttrs)
        cond: LoopProgram | None = None
        count, reverse, limited = None, False, False
        if isinstance(attrs, ScanAttrs):
            count, reverse, limited = attrs.length, attrs.reverse, attrs.counted
        else:
            count = attrs.bound
            cond = _inside(attrs.cond, attrs.num_captures, len(attrs.cond.inputs), keeps=True)
        carries = attrs.num_carries
        body = _inside(attrs.body, attrs.num_captures, attrs.num_captures + carries, keeps=False)
        for value in node.results:
            self._temporary(value, node)
        ys = node.results[carries : carries + attrs.num_ys]
        if limited or cond is not None:
            for value in ys:
                self._zeros(node, value)
        inits = int(limited) + attrs.num_captures
        params = [_param("in", value) for value in node.operands]
        for k, value in enumerate(node.results):
            params.append(_param("out", value))
            if k < carries:
                params[-1] = replace(params[-1], aliases_ok=(f"p{inits + k}",))
            elif value in ys and (limited or cond is not None):
                params[-1] = replace(params[-1], mode="inout")
        self.calls.append(
            LoopCall(
                f"{node.op.name} {attrs.body.name}",
                body,
                cond,
                attrs.num_captures,
                carries,
                count,
                reverse,
                limited,
                _numbered(params),
                tuple(self.of[value] for value in (*node.operands, *node.results)),
                _line(node),
            )
        )

    def _branch(self, node: Node) -> None:
        attrs = node.attrs
        assert isinstance(attrs, BranchAttrs)
        for value in node.results:
            self._temporary(value, node)
        params = [_param("in", value) for value in node.operands] + [_param("out", value) for value in node.results]
        names = ", ".join(dict.fromkeys(graph.name for graph in attrs.branches))
        self.calls.append(
            BranchCall(
                f"branch {names}",
                tuple(lower_graph(graph, name=graph.name) for graph in attrs.branches),
                _numbered(params),
                tuple(self.of[value] for value in (*node.operands, *node.results)),
                _line(node),
            )
        )

    def _zeros(self, node: Node, value: Value) -> None:
        """A kernel that fills a value with zeros."""
        builder = GraphBuilder("zeros")
        c = Compose(builder, node.loc)
        result = c.zeros(value.type.with_dtype(value.dtype.part))
        if value.dtype.is_complex:
            result = c(complex_, result, result)
        self._call(Node(node.op, (), node.attrs, (value,), node.loc), builder.build([result]))

    def _unique(self, base: str) -> str:
        number = self.names.get(base, 0)
        self.names[base] = number + 1
        return f"{base}.{number}" if number else base


def _inside(graph: Graph, captures: int, stop: int, keeps: bool) -> LoopProgram:
    """The body or the condition of a loop: its carries, inputs `captures` to `stop`, become the state; keeps: which it
    does not change.
    """
    carries = graph.inputs[captures:stop]
    inputs = (*carries, *graph.inputs[:captures], *graph.inputs[stop:])
    turned = Graph(graph.name, inputs, graph.nodes, (*(carries if keeps else ()), *graph.outputs))
    return lower_graph(turned, name=graph.name, state_inputs=len(carries))


def _param(mode: Mode, value: Value) -> Param:
    """What a loop or branch does to a tensor around it: a parameter of as many bytes."""
    return Param(Buffer("", uint8, (value.type.nbytes,)), mode, source=f"{value.name} {value.type}".lstrip())


def _numbered(params: Sequence[Param]) -> tuple[Param, ...]:
    return tuple(replace(p, buffer=replace(p.buffer, name=f"p{k}")) for k, p in enumerate(params))


def _line(node: Node) -> str:
    return "" if node.loc is UNKNOWN else str(node.loc)


def _described(value: Value, node: Node, label: str) -> Tensor:
    made = node
    if isinstance(node.attrs, FusionAttrs):
        inner = node.attrs.graph
        made = inner.producers.get(inner.outputs[node.results.index(value)], node) if value in node.results else node
        label = made.op.name
    return Tensor(0, value.type.nbytes, label=f"{label} {value.type}", source=_line(made))
