"""`gc.jit`: trace and compile a function once per input signature, with an LRU cache and statistics.

Inside another trace a jitted function becomes a `call` node, traced once per signature.
"""

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, cast

import numpy as np

from graphc.compilation import Options
from graphc.core import pytree
from graphc.core.errors import ArgumentError, GraphcError
from graphc.core.records import dataclass
from graphc.execution.arguments import Arguments, type_of
from graphc.execution.compiled import CompiledFunction, compile_function
from graphc.graph.ir import TensorType
from graphc.runtime.protocol import Direct
from graphc.tracing import Spec, Traced, Tracer, apply_graph, is_tracing, trace
from graphc.tracing.context import ask_to_sanitize, is_sanitizing, sanitizing
from graphc.tracing.function import argument_names, parameter_names

Signature = tuple[tuple[tuple[int, ...], np.dtype[np.generic]], ...]  # shape and dtype of each argument
Static = tuple[tuple[str, type, object], ...]  # name, type and value of each static argument


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """Statistics of one jitted function."""

    hits: int
    misses: int
    size: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Key:
    """What a compiled function is found by."""

    tree: pytree.TreeDef
    types: tuple[TensorType, ...]
    static: Static


@dataclass(frozen=True, slots=True)
class _Shortcut:
    """A compiled function that takes plain positional arrays."""

    key: Key
    direct: Direct
    pack: Callable[[Sequence[np.ndarray]], object]


class Jitted:
    """A function that compiles itself per signature. Made by `gc.jit`."""

    def __init__(
        self,
        fn: Callable[..., object],
        options: Options,
        static: Iterable[str] = (),
        capacity: int = 128,
        recompile: Literal["allow", "error"] = "allow",
    ) -> None:
        functools.update_wrapper(self, fn, updated=())
        # A module that is called holds arrays: they are arguments, so that later changes to them are seen.
        self._owner = (fn,) if pytree.is_container(fn) else ()
        self._fn = _call_first if self._owner else fn
        self._name = getattr(fn, "__name__", type(fn).__name__)
        self._options = options
        self._static = frozenset(static)
        self._capacity = capacity
        self._recompile = recompile
        self._compiled: OrderedDict[Key, CompiledFunction] = OrderedDict()
        self._graphs: OrderedDict[tuple[Key, bool], Traced] = OrderedDict()  # with `sanitize=True` or without
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()
        # Programs by the shapes and dtypes of positional arrays, and the one used last: found before any pytree work.
        self._by_arrays: dict[Signature, _Shortcut] = {}
        self._latest: _Shortcut | None = None
        self._parameters = parameter_names(self._fn)
        self._signature = inspect.signature(self._fn) if self._static else inspect.Signature()
        if not self._static <= set(self._signature.parameters):
            raise ArgumentError(
                f"jit: static {sorted(self._static - set(self._signature.parameters))} are not parameters"
            )

    def __repr__(self) -> str:
        return f"<jit {self._name}, compiled for {len(self._compiled)} signatures>"

    def __call__(self, *args: object, **kwargs: object) -> object:
        latest = self._latest
        if latest is not None and not kwargs:
            outputs = latest.direct(0, *args)
            if outputs is not None:
                self._hits += 1
                return latest.pack(outputs)
        signature = self._signature_of(args, kwargs)
        known = None if signature is None else self._by_arrays.get(signature)
        if known is not None:
            outputs = known.direct(0, *args)
            if outputs is not None:
                self._used(known)
                return known.pack(outputs)
        bound, static = self._split(args, kwargs)
        leaves, tree = pytree.flatten(bound)
        if is_tracing() and any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._call_in_trace(leaves, tree, static)
        key = Key(tree, self._types(leaves, tree), static)
        if is_tracing() and key not in self._compiled and self._traced(key).captures:
            return self._call_in_trace(leaves, tree, static)  # it closes over a value of the trace
        compiled = self._lookup(key, bound)
        if signature is not None and compiled.direct is not None:
            self._by_arrays[signature] = self._latest = _Shortcut(key, compiled.direct, compiled.pack)
        return compiled.call_leaves(leaves)

    def lower(self, *args: object, **kwargs: object) -> CompiledFunction:
        """Compile for these specs or arrays without running; the result can be inspected and called."""
        bound, static = self._split(args, kwargs)
        leaves, tree = pytree.flatten(bound)
        return self._lookup(Key(tree, self._types(leaves, tree, _type_or_spec), static), bound)

    def cache_info(self) -> CacheInfo:
        """Hits, misses, compiled signatures and capacity of the cache."""
        return CacheInfo(self._hits, self._misses, len(self._compiled), self._capacity)

    def cache_clear(self) -> None:
        """Forget every compiled signature."""
        with self._lock:
            self._compiled.clear()
            self._graphs.clear()
            self._forget_shortcuts()

    def __get__(self, instance: object, owner: type | None = None) -> object:
        """Bind as a method, as plain functions do."""
        return self if instance is None else functools.partial(self, instance)

    # ----------------------------------------------------------------------------------------------------- inside

    def _split(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[Arguments, Static]:
        """Traced (args, kwargs) and the static arguments by name."""
        args = (*self._owner, *args)
        if not self._static:
            return (args, kwargs), ()
        given = self._signature.bind(*args, **kwargs).arguments
        static = {n: v for n, v in given.items() if n in self._static}
        for name, value in static.items():
            try:
                hash(value)
            except TypeError:
                raise ArgumentError(f"jit: static argument {name} must be hashable, got {value!r}") from None
        rest = {n: v for n, v in given.items() if n not in self._static}
        # with its type: 1, 1.0 and True are equal, and not the same program
        return ((), rest), tuple((n, type(v), v) for n, v in sorted(static.items()))

    def _signature_of(self, args: tuple[object, ...], kwargs: dict[str, object]) -> Signature | None:
        """Shapes and dtypes of a call with positional arrays only; None for any other call."""
        if kwargs or self._static or self._owner:
            return None
        signature = []
        for arg in args:
            if type(arg) is not np.ndarray:
                return None
            signature.append((arg.shape, arg.dtype))
        return tuple(signature)

    def _used(self, shortcut: _Shortcut) -> None:
        """Note a call of the program behind a shortcut."""
        with self._lock:
            self._hits += 1
            if shortcut.key in self._compiled:
                self._compiled.move_to_end(shortcut.key)
                self._latest = shortcut

    def _forget_shortcuts(self) -> None:
        self._by_arrays.clear()
        self._latest = None

    def _types(
        self, leaves: list[object], tree: pytree.TreeDef, of: Callable[[object, str], TensorType] = type_of
    ) -> tuple[TensorType, ...]:
        """The types of the arguments; an error names the one it is about."""
        try:
            return tuple(of(leaf, "") for leaf in leaves)
        except GraphcError:  # names take longer than types
            return tuple(of(leaf, name) for leaf, name in zip(leaves, self._names(tree), strict=True))

    def _names(self, tree: pytree.TreeDef) -> list[str]:
        """Names of the traced arguments for messages."""
        return argument_names(self._parameters, tree)

    def _function(self, static: Static) -> Callable[..., object]:
        """What is traced: the function, or it with its static arguments, taking the others by name."""
        if not static:
            return self._fn

        @functools.wraps(self._fn)
        def with_static(**rest: object) -> object:
            bound = self._signature.bind_partial()
            bound.arguments.update({n: v for n, _, v in static} | rest)
            return self._fn(*bound.args, **bound.kwargs)

        return with_static

    def _lookup(self, key: Key, bound: Arguments) -> CompiledFunction:
        with self._lock:
            found = self._compiled.get(key)
            if found is not None:
                self._hits += 1
                self._compiled.move_to_end(key)
                return found
            if self._recompile == "error" and self._compiled:
                raise ArgumentError(self._what_changed(key))
            self._misses += 1
        args, kwargs = bound
        compiled = compile_function(self._function(key.static), args, kwargs, self._options)
        with self._lock:
            self._compiled[key] = compiled
            while len(self._compiled) > self._capacity:
                self._compiled.popitem(last=False)
                self._forget_shortcuts()
        return compiled

    def _what_changed(self, key: Key) -> str:
        """Names the argument whose type is new; for recompile="error"."""
        last = next(reversed(self._compiled))
        name = self._name
        if last.tree != key.tree:
            return f"{name} was compiled for arguments {last.tree} and is called with {key.tree}"
        if last.static != key.static:
            return (
                f"{name} was compiled with static arguments {_shown(last.static)} "
                f"and is called with {_shown(key.static)}"
            )
        names = self._names(key.tree)
        changed = [f"{n}: {a} -> {b}" for n, a, b in zip(names, last.types, key.types, strict=True) if a != b]
        return f"{name} would be compiled again because these arguments changed: {', '.join(changed)}"

    def _call_in_trace(
        self,
        leaves: list[object],
        tree: pytree.TreeDef,
        static: Static,
    ) -> object:
        traced = self._traced(Key(tree, self._types(leaves, tree, _type_in_trace), static))
        if self._options.sanitize or traced.sanitize:
            ask_to_sanitize()
        outputs = apply_graph(traced.graph, [*leaves, *traced.captures], as_call=True)
        return pytree.unflatten(traced.out_tree, outputs)

    def _traced(self, key: Key) -> Traced:
        """The graph of a signature, for use inside a trace."""
        with sanitizing(self._options.sanitize):
            place = key, is_sanitizing()
            traced = self._graphs.get(place)
            if traced is not None:
                return traced
            specs = [Spec(t.shape, t.dtype) for t in key.types]
            args, kwargs = cast(Arguments, pytree.unflatten(key.tree, specs))
            traced = trace(self._function(key.static), args, kwargs, name=self._name)
            if not traced.captures:  # with captures the graph belongs to this very trace
                self._graphs[place] = traced
                while len(self._graphs) > self._capacity:
                    self._graphs.popitem(last=False)
        return traced


def _call_first(owner: Callable[..., object], *args: object, **kwargs: object) -> object:
    return owner(*args, **kwargs)


def _shown(static: Static) -> str:
    return ", ".join(f"{name}={value!r}" for name, _, value in static)


def _type_in_trace(leaf: object, name: str) -> TensorType:
    return Spec(leaf.shape, leaf.dtype).type if isinstance(leaf, Tracer) else type_of(leaf, name)


def _type_or_spec(leaf: object, name: str) -> TensorType:
    return leaf.type if isinstance(leaf, Spec) else type_of(leaf, name)
