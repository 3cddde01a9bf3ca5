"""The function of an entry that takes array objects, and looks at them itself before anything runs."""

from collections.abc import Sequence

from graphc.plan.ir import Entry, Slot
from graphc_llvm.arrays import DATA, DESCRIPTOR, DIMS, FLAGS, NDIM, PLAIN, TYPE
from graphc_llvm.builder import Builder
from graphc_llvm.record import EXCEEDED, IS_BUSY, RECORD

LONG_NS = 20_000  # from here on a call gives up the interpreter's lock


def call_text(name: str, function: str, entry: Entry, ns: float, may_abandon: bool) -> str:
    """`i64 name(ptr record, i64 step, ptr descriptors, ptr input.., ptr output..)`: the last ones are array objects.

    `descriptors` is the table of addresses of the inputs' dtype objects. Returns 0, or `IS_BUSY`, or 1 + i when input i
    is no plain array of the slot's dtype and shape: then nothing ran; or what `driver` says of a loop without an end.
    The outputs are not looked at.
    """
    b = Builder(set())

    def load(kind: str, base: str, offset: int) -> str:
        return b.emit(f"load {kind}, ptr {b.pointer(base, str(offset))}, align 8")

    kind = load("ptr", "%record", RECORD["array_type"])
    for number, slot in enumerate(entry.inputs):
        array = f"%in{number}"
        flags = load("i32", array, FLAGS)
        _check(
            b,
            array,
            slot,
            f"wrong{number}",
            [
                f"icmp eq ptr {load('ptr', array, TYPE)}, {kind}",
                f"icmp eq ptr {load('ptr', array, DESCRIPTOR)}, {load('ptr', '%descriptors', 8 * number)}",
                f"icmp eq i32 {load('i32', array, NDIM)}, {len(slot.shape)}",
                f"icmp eq i32 {b.emit(f'and i32 {flags}, {PLAIN}')}, {PLAIN}",
            ],
        )
    long, look = ns >= LONG_NS, ns >= LONG_NS and may_abandon
    begin, end = load("ptr", "%record", RECORD["begin"]), load("ptr", "%record", RECORD["end"])
    how = f"i1 {str(long).lower()}, i1 {str(look).lower()}"
    b.branch_if(b.emit(f"call i1 {begin}(ptr %record, {how})"), "ours", "theirs")
    b.start("ours")
    for word, short, slots in (("inputs", "in", entry.inputs), ("outputs", "out", entry.outputs)):
        table = load("ptr", "%record", RECORD[f"own_{word}"])
        b.do(f"store ptr {table}, ptr {b.pointer('%record', str(RECORD[word]))}, align 8")
        for number in range(len(slots)):
            data = load("ptr", f"%{short}{number}", DATA)
            b.do(f"store ptr {data}, ptr {b.pointer(table, str(8 * number))}, align 8")
    done = b.emit(f"call i64 @{function}(ptr %record, i64 %step, i64 0, i64 1, i64 0)")
    b.do(f"call void {end}(ptr %record)")
    status = b.emit(f"select i1 {b.emit(f'icmp sle i64 {done}, {EXCEEDED}')}, i64 {done}, i64 0")
    b.do(f"ret i64 {status}")
    b.start("theirs")
    b.do(f"ret i64 {IS_BUSY}")
    for number in range(len(entry.inputs)):
        b.start(f"wrong{number}")
        b.do(f"ret i64 {number + 1}")
    arrays = [*(f"ptr %in{k}" for k in range(len(entry.inputs))), *(f"ptr %out{k}" for k in range(len(entry.outputs)))]
    return b.text(f"define i64 @{name}({', '.join(['ptr %record', 'i64 %step', 'ptr %descriptors', *arrays])}) #0")


def _check(b: Builder, array: str, slot: Slot, wrong: str, conditions: Sequence[str]) -> None:
    """Go on only if all conditions hold and the shape is the slot's; the shape is read when ndim is right."""
    _branch_on(b, conditions, wrong)
    if not slot.shape:
        return
    dims = b.emit(f"load ptr, ptr {b.pointer(array, str(DIMS))}, align 8")
    extents = [b.emit(f"load i64, ptr {b.pointer(dims, str(8 * k))}, align 8") for k in range(len(slot.shape))]
    _branch_on(b, [f"icmp eq i64 {found}, {extent}" for found, extent in zip(extents, slot.shape)], wrong)


def _branch_on(b: Builder, conditions: Sequence[str], wrong: str) -> None:
    fits = b.emit(conditions[0])
    for condition in conditions[1:]:
        fits = b.emit(f"and i1 {fits}, {b.emit(condition)}")
    following = b.fresh("fits")
    b.branch_if(fits, following, wrong)
    b.start(following)
