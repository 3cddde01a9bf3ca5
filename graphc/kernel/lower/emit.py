"""The emitter: statements of one kernel, and the value of any element of any tensor of a fused group on demand.

`pull(value, index)` gives an expression for one element. It works backwards from what is needed: elementwise ops pull
their operands at the same index, movement ops at a remapped one, so broadcasts, transposes, slices and the like cost
an index expression and no memory. Each element is computed once per scope and named by a `Let`; what does not depend
on an inner loop is placed outside of it.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import field

from graphc.core.dtypes import DType
from graphc.core.errors import UnsupportedError, VerifyError
from graphc.core.records import dataclass
from graphc.graph.ir import Graph, Node, Value
from graphc.kernel.ir import Alloc, Buffer, Const, Expr, For, Let, Load, LoopKind, Space, Stmt, Var, index, operands
from graphc.kernel.lower.expr import Index, delinear, linear

Pull = Generator[tuple[Value, Index], Expr, Expr]  # a rule asks for elements of its operands and returns its own
PullRule = Callable[["Emitter", Node, Index], Pull]


@dataclass(slots=True)
class Scope:
    """A block under construction."""

    statements: list[Stmt] = field(default_factory=list)
    memo: dict[tuple[Value, Index], Expr] = field(default_factory=dict)


class Emitter:
    """Builds the statements of one kernel from the body of a fusion.

    `stored` says where values lie in memory: inputs of the body, and what earlier phases or stages have written.
    """

    def __init__(self, body: Graph, rules: dict[str, PullRule], names: dict[str, int] | None = None) -> None:
        self.body = body
        self.rules = rules
        self.stored: dict[Value, Callable[[Index], Load]] = {}
        self.scopes: list[Scope] = [Scope()]
        self.depth_of: dict[str, int] = {}
        self.counter: dict[str, int] = {} if names is None else names  # how often each base of a name is taken
        self.floor = 0  # lowest scope a Let may go to
        self.loads: list[tuple[Load, int]] = []  # every load with the stage that makes it
        self.stage = 0
        self.naming = True  # False: short expressions stay whole instead of being named, long ones are named in place

    # ------------------------------------------------------------------------------------------------ names, blocks

    def name(self, base: str) -> str:
        """A name no other variable or buffer of the kernel has."""
        number = self.counter.get(base, 0)
        self.counter[base] = number + 1
        return f"{base}{number}"

    def fresh(self, base: str) -> Var:
        """A loop counter; it belongs to the next scope that is opened."""
        var = Var(self.name(base))
        self.depth_of[var.name] = len(self.scopes)
        return var

    def buffer(self, base: str, dtype: DType, shape: tuple[int, ...], space: Space) -> Buffer:
        """Allocate scratch in the current block."""
        made = Buffer(self.name(base), dtype, shape, space)
        self.append(Alloc(made))
        self.depth_of[made.name] = len(self.scopes) - 1
        return made

    def append(self, statement: Stmt) -> None:
        self.scopes[-1].statements.append(statement)

    def open(self) -> None:
        self.scopes.append(Scope())

    def close(self) -> tuple[Stmt, ...]:
        return tuple(self.scopes.pop().statements)

    def close_nest(self, counters: "list[tuple[Var, int, LoopKind]]") -> None:
        """Close the block and append it to the enclosing one inside a perfect nest of loops, outermost first."""
        body = self.close()
        for var, extent, kind in reversed(counters):
            body = (For(var, index(extent), kind, body),)
        self.scopes[-1].statements += body

    def close_phase(self, counters: Sequence[Var], extents: Sequence[int]) -> None:
        """Close the block as one phase of the kernel: a nest of parallel loops, or one iteration on one thread."""
        nest: list[tuple[Var, int, LoopKind]] = [(c, e, "parallel") for c, e in zip(counters, extents, strict=True)]
        self.close_nest(nest or [(self.fresh("once"), 1, "serial")])

    # ------------------------------------------------------------------------------------------------ values

    def let(self, value: Expr, base: str = "v") -> Expr:
        """Name a value in the outermost scope that has all it depends on."""
        if isinstance(value, Const | Var) or (not self.naming and _is_short(value)):
            return value
        depth = self._depth(value) if self.naming else len(self.scopes) - 1
        var = Var(self.name(base), value.dtype)
        self.depth_of[var.name] = depth
        self.scopes[depth].statements.append(Let(var, value))
        return var

    def read(self, load: Load, base: str = "v") -> Var:
        """Name what scratch holds at this point of the current block."""
        var = Var(self.name(base), load.dtype)
        self.depth_of[var.name] = len(self.scopes) - 1
        self.append(Let(var, load))
        return var

    def bind(self, value: Value, idx: Index, expr: Expr) -> None:
        """From now on, in this scope, the element is `expr`."""
        self.scopes[-1].memo[_element(value, idx)] = expr

    def pull(self, value: Value, idx: Index) -> Expr:
        """The element of `value` at `idx`."""
        stack: list[tuple[tuple[Value, Index], Pull]] = []
        request = _element(value, idx)
        answer = self._known(*request)
        while answer is None or stack:
            if answer is None:
                stack.append((request, self._start(*request)))
            key, rule = stack[-1]
            try:
                request = _element(*(next(rule) if answer is None else rule.send(answer)))
                answer = self._known(*request)
            except StopIteration as stop:
                stack.pop()
                answer = self._enter(key, stop.value)
        return answer

    def _start(self, value: Value, idx: Index) -> Pull:
        node = self.body.producers.get(value)
        if node is None:
            raise VerifyError(f"{self.body.name}: input {value!r} has no buffer")
        rule = self.rules.get(node.op.name)
        if rule is None:
            raise UnsupportedError(f"{node.op.name}: its elements cannot be computed one by one ({node.loc})")
        return rule(self, node, idx)

    def _known(self, value: Value, idx: Index) -> Expr | None:
        for scope in reversed(self.scopes):
            found = scope.memo.get((value, idx))
            if found is not None:
                return found
        if value not in self.stored:
            return None
        load = self.stored[value](idx)
        self.loads.append((load, self.stage))
        return self._enter((value, idx), load)

    def _enter(self, key: tuple[Value, Index], expr: Expr) -> Expr:
        named = self.let(expr)
        depth = max(self._depth(named), max((self._depth(i) for i in key[1]), default=self.floor))
        self.scopes[depth].memo[key] = named
        return named

    def _depth(self, expr: Expr) -> int:
        deepest = self.floor
        stack = [expr]
        while stack:
            current = stack.pop()
            if isinstance(current, Var):
                deepest = max(deepest, self.depth_of[current.name])
            if isinstance(current, Load):
                deepest = max(deepest, self.depth_of.get(current.buffer.name, 0))
            stack += operands(current)
        return deepest


SHORT = 8  # operations of an expression that may stay whole where it is used: it is written again at each use


def _is_short(expr: Expr) -> bool:
    """Whether an expression has few operations; what is inside an index does not count."""
    stack, count = [expr], 0
    while stack and count <= SHORT:
        current = stack.pop()
        count += 1
        stack += () if isinstance(current, Load) else operands(current)
    return count <= SHORT


def _element(value: Value, idx: Index) -> tuple[Value, Index]:
    """An element by one name: along a dim of extent 1 there is only index 0, however it was computed."""
    return value, tuple(index(0) if extent == 1 else i for extent, i in zip(value.shape, idx, strict=True))


def in_buffer(buffer: Buffer, shape: tuple[int, ...]) -> Callable[[Index], Load]:
    """Elements of a tensor of `shape` that lies in a buffer; its shape may be another one of the same elements."""
    if shape == buffer.shape:
        return lambda idx: Load(buffer, idx)
    return lambda idx: Load(buffer, delinear(linear(idx, shape), buffer.shape))
