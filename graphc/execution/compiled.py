"""`gc.compile`: one function, compiled for one signature."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

from graphc.compilation import Compilation, Options, Timing, compile_program
from graphc.core import pytree
from graphc.core.errors import ArgumentError, TraceError
from graphc.execution.cost import CostReport, cost_report
from graphc.execution.dump import after_compilation
from graphc.execution.memory import memory_of
from graphc.execution.profile import ProfileReport
from graphc.execution.recording import record_compiled
from graphc.execution.resident import Argument, call, check_arguments, of_the_host, with_specs
from graphc.execution.stages import stage_text
from graphc.graph.ir import Graph
from graphc.graph.program import EntryGraph, GraphProgram
from graphc.plan.report import MemoryReport
from graphc.runtime.protocol import Direct, DirectCalls, Executable
from graphc.tracing import Traced, trace
from graphc.tracing.context import sanitizing


class CompiledFunction:
    """A function compiled for one signature: call it, or look inside. Made by `gc.compile`."""

    def __init__(
        self,
        traced: Traced,
        name: str,
        options: Options,
        trace_seconds: float = 0.0,
        function: Callable[..., object] | None = None,
    ) -> None:
        if traced.captures:
            raise TraceError(f"compile: {name} uses a value of a trace that is still running; pass it as an argument")
        self.name = name
        self.options = options = sanitized_options(options, traced.sanitize)
        self.function = function  # what was traced; None when a graph was given
        self._traced = traced
        self._names = [value.name or f"argument {i}" for i, value in enumerate(traced.graph.inputs)]
        self._types = traced.graph.input_types
        output_names = tuple(pytree.leaf_names(traced.out_tree, "output"))
        entry = EntryGraph(traced.graph, len(traced.graph.inputs), False, output_names)
        self._compilation = compile_program(GraphProgram((), {name: entry}), options)
        self._compilation.timings.insert(0, Timing("trace", trace_seconds))
        assert self._compilation.executable is not None
        self._executable: Executable = self._compilation.executable
        after_compilation(self._compilation, {name: traced.primals}, self._compilation.timings)
        record_compiled(self)
        self._reported: set[str] = set()
        self.pack = _packer(traced.out_tree)
        self.direct: Direct | None = None  # takes the arguments as they are, if these are plain positional arrays
        if isinstance(self._executable, DirectCalls) and _is_plain(traced.in_tree):
            self.direct = self._executable.direct(name)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {type}" for name, type in zip(self._names, self._types, strict=True))
        outputs = ", ".join(str(type) for type in self._traced.graph.output_types)
        return f"<compiled {self.name}({inputs}) -> ({outputs}) for {self._compilation.backend.name}>"

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run on arrays of exactly the compiled shapes and dtypes; raises `ShapeError` or `DTypeError` otherwise."""
        if self.direct is not None and not kwargs:
            outputs = self.direct(0, *args)
            if outputs is not None:
                return self.pack(outputs)
        leaves, tree = pytree.flatten((args, kwargs))
        self._check_tree(tree)
        return self.call_leaves(leaves)

    def call_leaves(self, leaves: list[object]) -> object:
        """Run on the flattened arguments."""
        return self.pack(call(self._executable, self.name, self._arguments(leaves)))

    def _arguments(self, leaves: list[object]) -> Sequence[Argument]:
        return check_arguments(self._executable, leaves, self._types, self._names, self._reported)

    @property
    def graph(self) -> Graph:
        """The traced graph."""
        return self._traced.graph

    @property
    def memory(self) -> MemoryReport:
        """Peak bytes, the moment of the peak and what lives then; known before the first run."""
        return memory_of(self._compilation, self.name)

    @property
    def cost(self) -> CostReport:
        """Float operations and bytes per kernel and line; depth, width and work of the graph."""
        return cost_report(self.name, self._compilation.optimized[self.name], self._compilation.loops.get(self.name))

    def text(self, stage: str) -> str:
        """The text of a stage: trace, grad, optimized, fused, loop or plan; llvm or asm (cpu); cuda or ptx (gpu)."""
        return stage_text(self._compilation, {self.name: self._traced.primals}, stage)

    @property
    def timings(self) -> tuple[Timing, ...]:
        """Seconds per stage and pass of the compilation."""
        return tuple(self._compilation.timings)

    @property
    def compilation(self) -> Compilation:
        """Everything the compiler made, stage by stage."""
        return self._compilation

    def profile(
        self, *args: object, repeats: int | None = None, remeasure: bool = False, **kwargs: object
    ) -> ProfileReport:
        """Time and roofline fraction of every kernel, as it runs on these arguments.

        Without arguments their arrays are made up. repeats: how many calls are timed (default: as many as take 0.2
        seconds). remeasure: measure the limits of the machine again. Raises `UnsupportedError` for a backend that
        cannot time the kernels of a running program.
        """
        from graphc.execution.profiling import made_up, profile_entry  # reached only by this method

        leaves, tree = pytree.flatten((args, kwargs))
        if not leaves:
            arrays = made_up(self._types)
        else:
            self._check_tree(tree)
            arrays = of_the_host(self._arguments(leaves))
        return profile_entry(self._compilation, self.name, arrays, repeats=repeats, remeasure=remeasure)

    def _check_tree(self, tree: pytree.TreeDef) -> None:
        if tree != self._traced.in_tree:
            _check_no_lists(self.name, self._traced.in_tree, tree, self._names)
            own, given = _arguments(self._traced.in_tree), _arguments(tree)
            raise ArgumentError(f"{self.name}: compiled for arguments {own}, called with {given}")


def _is_plain(tree: pytree.TreeDef) -> bool:
    """Whether `(args, kwargs)` are positional arguments that are leaves."""
    args, kwargs = tree.children
    return not kwargs.children and all(child.kind is None for child in args.children)


def _packer(tree: pytree.TreeDef) -> Callable[[Sequence[object]], object]:
    """`unflatten` for this tree; the common ones without a look at it."""
    if tree.kind is None:
        return itemgetter(0)
    if tree.kind is tuple and all(child.kind is None for child in tree.children):
        return tuple
    return partial(pytree.unflatten, tree)


def _check_no_lists(function: str, own: pytree.TreeDef, given: pytree.TreeDef, names: Sequence[str]) -> None:
    """A list of numbers is a container of as many arguments: say so where an array was meant."""
    leaf = 0
    for wanted, found in zip(own.children[0].children, given.children[0].children, strict=False):
        if wanted.kind is None and found.kind in (list, tuple):
            raise ArgumentError(
                f"{function}: argument {names[leaf]} was compiled for one array and is a {found.kind.__name__}; "
                "pass np.asarray(...) of it"
            )
        leaf += wanted.num_leaves


def _arguments(tree: pytree.TreeDef) -> str:
    """The pytrees of `(args, kwargs)` as in a call."""
    args, kwargs = tree.children
    named = [f"{name}={child}" for name, child in zip(kwargs.names, kwargs.children, strict=True)]
    return f"({', '.join([*map(str, args.children), *named])})"


def sanitized_options(options: Options, asked: bool) -> Options:
    """The options of a program; `asked`: whether a function inside it asks for `sanitize=True`."""
    return replace(options, sanitize=True) if asked else options


def compile_function(
    fn: Callable[..., object] | Graph, args: tuple[object, ...], kwargs: Mapping[str, object], options: Options
) -> CompiledFunction:
    """Trace `fn` for the given specs (or take a graph as it is) and compile it."""
    start = time.perf_counter()
    if isinstance(fn, Graph):
        if args or kwargs:
            raise ArgumentError("compile: a graph has its types; pass no specs with it")
        traced = Traced.of_graph(fn)
    else:
        args, kwargs = with_specs(fn, args, dict(kwargs))
        with sanitizing(options.sanitize):
            traced = trace(fn, args, kwargs, name=getattr(fn, "__name__", "main"))
    return CompiledFunction(
        traced, traced.graph.name, options, time.perf_counter() - start, None if isinstance(fn, Graph) else fn
    )
