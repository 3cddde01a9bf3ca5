"""LLVM text to machine code: parse, verify, one pass, object code (kept on disk), link into this process.

No pass here may change a result: no fast-math, no contraction. `sroa` turns stack slots into registers. Passes that
tidy up after the emitter (instcombine, gvn) took half as long as generating code and made no kernel faster.
"""

import ctypes
import itertools
import os
import platform
import re
from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter

import llvmlite
import llvmlite.binding as llvm

from graphc.core import lapack
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.runtime.cache import ObjectCache
from graphc_llvm import host, unlocked
from graphc_llvm.background import Background, Pending
from graphc_llvm.runtime_code import EXPORTS, LIBRARY_PREFIX, runtime_text

SETTINGS = "2"  # of the pass list and the code generator below; raise it when they change

ATTRIBUTES = 'attributes #0 = { nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512" }'
LARGE = 12_000  # characters; smaller modules are compiled together, because each costs LLVM as much as 2,000 more do
_LIBRARY_SYMBOL = re.compile(re.escape(LIBRARY_PREFIX).encode() + rb"(\w+)")
PLAIN = 8  # times faster than the optimising code generator is the other one

_numbers = itertools.count()
_background = Background()
_runtime_begun: dict[int, Pending] = {}  # by process: what the parent of a fork began is not finished in the child


@dataclass(frozen=True, slots=True)
class Module:
    """One LLVM module. `plain`: calls and addresses only, where better code is not worth the time it takes.

    shared: others declare what it defines, so that it is not to be joined with them.
    """

    functions: str
    declarations: tuple[str, ...] = ()
    plain: bool = False
    shared: bool = False

    @property
    def text(self) -> str:
        """What LLVM reads."""
        return "\n\n".join([self.functions, "\n".join(sorted(self.declarations)), ATTRIBUTES, ""])

    @property
    def is_large(self) -> bool:
        """Whether it is compiled alone."""
        return self.plain or self.shared or len(self.functions) >= LARGE


@dataclass(frozen=True, slots=True)
class Library:
    """Code in this process. It stays while `tracker` lives."""

    tracker: llvm.orcjit.ResourceTracker
    addresses: Mapping[str, int]


def versions() -> tuple[str, ...]:
    """What code depends on besides its text and the processor."""
    layout = str(object.__basicsize__)  # of Python objects: calls read them
    return (SETTINGS, llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)), layout)


def _parse(text: str) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(text, context=llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise BackendError(f"cpu backend: LLVM rejects the generated text: {error}") from error
    return module


def optimise(module: Module, target: host.Host) -> llvm.ModuleRef:
    """The module with its stack slots in registers, in a context of its own."""
    generator = unlocked.machine(target, module.plain)
    parsed = _parse(module.text)
    parsed.triple = target.triple
    parsed.data_layout = str(generator.target_data)
    if module.plain:
        return parsed
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    passes.run(parsed, llvm.create_pass_builder(generator, options))
    return parsed


def assembly(module: Module, target: host.Host) -> str:
    """The module as assembly, for people."""
    return str(unlocked.machine(target, module.plain).emit_assembly(optimise(module, target)))


def object_code(module: Module, target: host.Host) -> bytes:
    """Machine code of a module, from the disk when it was compiled before."""
    store = ObjectCache.default()
    kind = "plain" if module.plain else "llvm"
    key = store.key(kind, module.text, target.triple, target.cpu, target.features, *versions())
    found = store.get(key)
    if found is not None:
        return found
    code = unlocked.emit_object(unlocked.machine(target, module.plain), optimise(module, target))
    store.put(key, code)
    return code


def begin(*modules: Module, target: host.Host) -> Pending:
    """Compile modules, as one, while the caller goes on. What takes long is begun before what does not."""
    whole = modules[0] if len(modules) == 1 else _joined(modules)
    size = len(whole.functions) // (PLAIN if whole.plain else 1)
    return _background.submit(lambda: object_code(whole, target), size)


class Begun:
    """Modules of a program that are being compiled: each as soon as it is known, small ones together."""

    def __init__(self, target: host.Host) -> None:
        self._target = target
        self._known: set[Module] = set()
        self._small: list[Module] = []
        self._groups: list[tuple[tuple[Module, ...], Pending]] = []

    def add(self, module: Module) -> None:
        """Begin with a module, unless it was begun before; if it is small, when there are more."""
        if module in self._known:
            return
        self._known.add(module)
        if module.is_large:
            self._groups.append(((module,), begin(module, target=self._target)))
            return
        self._small.append(module)
        if sum(len(each.functions) for each in self._small) >= LARGE:
            self._flush()

    def _flush(self) -> None:
        if self._small:
            small, self._small = tuple(self._small), []
            self._groups.append((small, begin(*small, target=self._target)))

    def objects(self, modules: Sequence[Module]) -> tuple[bytes, ...]:
        """Machine code of these modules, in their order; of others too if they were compiled with one of them, or if
        such a one may call them.
        """
        for module in modules:
            self.add(module)
        self._flush()
        place = {module: number for number, module in enumerate(modules)}
        for group, _ in self._groups:
            place.update({each: -1 for each in group if each.shared})
        groups = [(min(place.get(each, len(place)) for each in group), pending) for group, pending in self._groups]
        made = tuple(pending.result() for first, pending in sorted(groups, key=itemgetter(0)) if first < len(place))
        if any(module.is_large and not module.plain for module in modules):
            give_memory_back()
        return made


def give_memory_back() -> None:
    """Return to the system what LLVM needed and freed: tens of megabytes. Only glibc keeps it, and has a function."""
    trim = getattr(_process(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _process() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None  # a system without it


def _joined(modules: Sequence[Module]) -> Module:
    declarations = {line for module in modules for line in module.declarations}
    return Module("\n\n".join(module.functions for module in modules), tuple(sorted(declarations)))


@cache
def _linker() -> llvm.LLJIT:
    return llvm.create_lljit_compiler(host.machine(host.host()), use_jit_link=True)


def link(objects: Sequence[bytes], exports: Sequence[str]) -> Library:
    """Load object code and look up the exported functions."""
    builder = llvm.JITLibraryBuilder().add_current_process()
    for code in objects:
        builder.add_object_img(code)
    for name in exports:
        builder.export_symbol(name)
    for found in {name for code in objects for name in _LIBRARY_SYMBOL.findall(code)}:
        builder.import_symbol(LIBRARY_PREFIX + found.decode(), lapack.address(found.decode()))
    try:
        tracker = builder.link(_linker(), f"graphc_{next(_numbers)}")
    except RuntimeError as error:
        raise BackendError(f"cpu backend: cannot load the generated code: {error}") from error
    return Library(tracker, {name: tracker[name] for name in exports})


@cache
def runtime() -> Library:
    """The thread pool's native side. Loaded once and never unloaded: a sleeping worker stands in it."""
    begun = _runtime_begun.get(os.getpid())
    code = object_code(_runtime_module(), host.host()) if begun is None else begun.result()
    return link([code], EXPORTS)


def begin_runtime() -> None:
    """Have the thread pool's native side compiled while the caller goes on."""
    if not _runtime_begun:
        _runtime_begun[os.getpid()] = begin(_runtime_module(), target=host.host())


def _runtime_module() -> Module:
    return Module(runtime_text(platform.machine(), platform.system()))
