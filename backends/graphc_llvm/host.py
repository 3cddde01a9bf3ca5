"""The machine: LLVM cpu and features (or the one `GRAPHC_CPU` asks for), vector width, caches."""

import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

from graphc.core import config
from graphc.core.errors import BackendError
from graphc.core.records import dataclass
from graphc.runtime.protocol import Target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHES: Mapping[int, int] = {1: 32 * 1024, 2: 1024 * 1024}  # by level, where the system does not say
_FEATURES_SHOWN = ("avx512f", "avx512bf16", "avx2", "fma", "neon", "sve")


# Processors `GRAPHC_CPU` may name besides the host's own, and the features each adds to the one before (psABI levels).
_LEVELS: Mapping[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": ("cx16", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3", "sahf"),
    "x86-64-v3": ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}


@dataclass(frozen=True, slots=True)
class Host:
    """What LLVM generates code for."""

    triple: str
    cpu: str
    features: str  # LLVM's "+a,-b"; empty when the cpu's name says it all

    @property
    def vector_bits(self) -> int:
        """Width of the widest vector registers."""
        if not self.is_x86:
            return 128
        enabled = set(self.features.split(","))
        if "+avx512f" in enabled or self.cpu == "x86-64-v4":
            return 512
        if "+avx2" in enabled or self.cpu == "x86-64-v3":
            return 256
        return 128

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "amd64"))

    @property
    def vector_registers(self) -> int:
        """How many vector registers there are."""
        return 16 if self.is_x86 and self.vector_bits < 512 else 32


def converts_halves() -> bool:
    """Whether conversions between float16 and float32 are instructions."""
    found = host()
    return not found.is_x86 or found.cpu in ("x86-64-v3", "x86-64-v4") or "+f16c" in found.features.split(",")


def has_dot_instruction(lanes: int) -> bool:
    """Whether products of pairs of bfloat16 are one instruction on vectors of that many float32."""
    return lanes in (4, 8, 16) and "+avx512bf16" in host().features.split(",")


def passes_in_registers(vectors: int, bits: int) -> bool:
    """Whether up to 16 vectors of that many bits go to a function and come back in registers.

    Half of the registers stay free: LLVM ends the process when a call takes all of them and one has to be moved.
    """
    found = host()
    return found.is_x86 and 128 <= bits <= found.vector_bits and 2 * vectors <= found.vector_registers


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def host() -> Host:
    """The machine to generate code for, as things are now.

    Raises `BackendError` when `GRAPHC_CPU` names a processor this machine cannot stand in for.
    """
    real = _real()
    asked = config.get("GRAPHC_CPU")
    return real if asked in ("", real.cpu) else _pretended(asked, real)


@cache
def _pretended(asked: str, real: Host) -> Host:
    levels = list(_LEVELS) if real.is_x86 else ["generic"]
    if asked not in levels:
        raise BackendError(f"GRAPHC_CPU={asked}: not known here; this machine has {real.cpu}, {', '.join(levels)}")
    enabled = set(real.features.split(","))
    wanted = [name for level in levels[: levels.index(asked) + 1] for name in _LEVELS.get(level, ())]
    missing = [name for name in wanted if f"+{name}" not in enabled]
    if missing:
        raise BackendError(f"GRAPHC_CPU={asked}: this machine ({real.cpu}) lacks {', '.join(missing)}")
    return Host(real.triple, asked, "")


@cache
def _real() -> Host:
    """Asked once: LLVM answers when it has finished what another thread is compiling."""
    return Host(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


@cache
def machine(of: Host, plain: bool = False) -> llvm.TargetMachine:
    """The code generator that goes with llvmlite's lock; see `new_machine`."""
    return new_machine(of, plain)


def new_machine(of: Host, plain: bool) -> llvm.TargetMachine:
    """A code generator of LLVM for a host; `plain`: the one that is fast itself. Raises `BackendError` when LLVM has
    none. One thread at a time may use it.
    """
    _initialise()
    try:
        target = llvm.Target.from_triple(of.triple)
        return target.create_target_machine(
            cpu=of.cpu, features=of.features, opt=0 if plain else 2, reloc="pic", codemodel="small", jit=True
        )
    except RuntimeError as error:
        raise BackendError(f"cpu backend: LLVM cannot generate code for {of.triple}, {of.cpu}: {error}") from error


def target() -> Target:
    """The host as schedules see it."""
    found = host()
    names = {feature[1:] for feature in found.features.split(",") if feature.startswith("+")}
    return Target(
        name=f"{found.cpu} ({platform.machine()})",
        vector_bits=found.vector_bits,
        cores=config.available_cores(),
        cache_bytes=_caches(),
        features=tuple(name for name in _FEATURES_SHOWN if name in names),
    )


@cache
def _caches() -> tuple[int, ...]:
    """Data cache sizes of core 0 by level, as Linux reports them: two at least, which schedules ask for."""
    sizes = dict(_USUAL_CACHES)
    for entry in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = ((entry / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(size.rstrip("KM")) * (1024 if size.endswith("K") else 1024 * 1024)
        except (OSError, ValueError):
            continue
    return tuple(sizes[level] for level in sorted(sizes))
