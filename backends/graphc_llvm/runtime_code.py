"""The native runtime, written once: sharing work among threads, taking turns on a record, looking at signals, a clock.

In: the machine and the system. Out: LLVM text of the functions that compiled programs and Python call.
"""

from graphc_llvm.pool_code import FIELDS, PARALLEL_TEXT, WAKE_NS, WORKER_TEXT, WORTH_NS
from graphc_llvm.record import FORKED, FREE, RECORD, TAKEN
from graphc_llvm.sleep_code import (
    CLOCK_TEXT,
    FUTEX,
    FUTEX_NEEDS,
    FUTEX_TEXT,
    FUTEX_WAIT,
    FUTEX_WAKE,
    NAP_NS,
    SLEEP_NEEDS,
    SLEEP_TEXT,
)
from graphc_llvm.turns_code import INTERRUPTED_TEXT, LOOK_NS, TURNS_TEXT
from graphc_llvm.units_code import SEGMENT_BYTES, UNITS_TEXT

EXPORTS = (
    "gc_parallel",
    "gc_worker",
    "gc_wake",
    "gc_clock",
    "gc_begin",
    "gc_end",
    "gc_wait",
    "gc_pauses",
    "gc_interrupted",
)
LIBRARY_PREFIX = "graphc_lapack_"  # of the symbols of library functions

_PARTS = (UNITS_TEXT, INTERRUPTED_TEXT, PARALLEL_TEXT, WORKER_TEXT, TURNS_TEXT, CLOCK_TEXT)


def runtime_text(machine: str, system: str) -> str:
    """LLVM text of the functions in `EXPORTS` for this machine."""
    futex = FUTEX.get(machine.lower()) if system == "Linux" else None
    pause = {
        "x86_64": "call void @llvm.x86.sse2.pause()",
        "amd64": "call void @llvm.x86.sse2.pause()",
        "aarch64": 'call void asm sideeffect "yield", ""()',
        "arm64": 'call void asm sideeffect "yield", ""()',
    }.get(machine.lower(), 'call void asm sideeffect "", "~{memory}"()')
    text = "".join(_PARTS) + (FUTEX_TEXT if futex is not None else SLEEP_TEXT)
    constants = {
        "PAUSE": pause,
        "CLOCK": "6" if system == "Darwin" else "1",
        "FUTEX": str(futex),
        "OP_WAIT": str(FUTEX_WAIT),
        "OP_WAKE": str(FUTEX_WAKE),
        "SEGMENT": str(SEGMENT_BYTES),
        "WORTH": str(WORTH_NS),
        "WAKE_AFTER": str(WAKE_NS),
        "LOOK": str(LOOK_NS),
        "NAP": str(NAP_NS),
        "FREE": str(FREE),
        "TAKEN": str(TAKEN),
    }
    for name, value in constants.items():
        text = text.replace(f"${name}", value)
    for name, offset in FIELDS.items():
        text = text.replace(f"POOL({name})", f"getelementptr i8, ptr %pool, i64 {offset}")
    for name, offset in RECORD.items():
        text = text.replace(f"RECORD({name})", f"getelementptr i8, ptr %record, i64 {offset}")
    assert FORKED not in (FREE, TAKEN)
    needs = ["declare i32 @clock_gettime(i32, ptr)", "declare i64 @llvm.smin.i64(i64, i64)"]
    needs += ["declare i64 @llvm.smax.i64(i64, i64)"]
    needs += FUTEX_NEEDS if futex is not None else SLEEP_NEEDS
    if "x86" in pause:
        needs.append("declare void @llvm.x86.sse2.pause()")
    return text + "\n".join(needs) + "\n"
