"""Values during emission: uniform over the lanes, one per lane, or linear in the lane number.

A uniform value stays scalar as long as it can. A linear value `base + step * lane` (int64 only) is how an address keeps
its stride visible: it becomes a vector only when something other than an address needs it.
"""

from dataclasses import dataclass

from graphc.core.dtypes import DType, int64
from graphc_llvm.builder import Builder
from graphc_llvm.types import register, scalar, wrap


@dataclass(frozen=True, slots=True)
class Value:
    """`text` is a register or constant. lanes 1: uniform. step set: `text` is the base and lane i holds base + i *
    step.
    """

    dtype: DType
    text: str
    lanes: int = 1
    step: int | None = None

    @property
    def uniform(self) -> bool:
        return self.lanes == 1

    @property
    def known(self) -> int | None:
        """The number, when this is a uniform integer constant."""
        if self.lanes != 1 or not self.dtype.is_integer or self.text.startswith("%"):
            return None
        return int(self.text)


def integer(value: int) -> Value:
    """An int64 constant."""
    return Value(int64, str(wrap(value, 64)))


def spread(b: Builder, value: Value, lanes: int) -> str:
    """The register holding `value` in `lanes` lanes."""
    if lanes == 1:
        return value.text
    if value.uniform:
        return b.splat(scalar(value.dtype), value.text, lanes)
    if value.step is None:
        return value.text
    kind = register(int64, lanes)
    ramp = "<" + ", ".join(f"i64 {wrap(value.step * lane, 64)}" for lane in range(lanes)) + ">"
    if value.text == "0":
        return ramp
    return b.emit(f"add {kind} {b.splat('i64', value.text, lanes)}, {ramp}")


def add(b: Builder, x: Value, y: Value) -> Value | None:
    """x + y on int64, folded or kept linear; None when it is neither."""
    if x.known == 0:
        return y
    if y.known == 0:
        return x
    return _linear(b, "add", x, y, (x.step or 0) + (y.step or 0))


def subtract(b: Builder, x: Value, y: Value) -> Value | None:
    """x - y on int64, as `add`."""
    if y.known == 0:
        return x
    return _linear(b, "sub", x, y, (x.step or 0) - (y.step or 0))


def _linear(b: Builder, op: str, x: Value, y: Value, step: int) -> Value | None:
    if any(v.lanes > 1 and v.step is None for v in (x, y)):
        return None
    base = _fold(op, x.text, y.text) or b.emit(f"{op} i64 {x.text}, {y.text}")
    lanes = max(x.lanes, y.lanes)
    return Value(int64, base, lanes, wrap(step, 64) if lanes > 1 else None)


def multiply(b: Builder, x: Value, y: Value) -> Value | None:
    """x * y on int64, as `add`."""
    if x.known is not None:
        x, y = y, x
    factor = y.known
    if factor == 0:
        return integer(0)
    if factor == 1:
        return x
    if x.uniform and y.uniform:
        return Value(int64, _fold("mul", x.text, y.text) or b.emit(f"mul i64 {x.text}, {y.text}"))
    if factor is None or x.step is None:
        return None
    base = _fold("mul", x.text, y.text) or b.emit(f"mul i64 {x.text}, {factor}")
    return Value(int64, base, x.lanes, wrap(x.step * factor, 64))


_FOLD = {"add": int.__add__, "sub": int.__sub__, "mul": int.__mul__}


def _fold(op: str, x: str, y: str) -> str | None:
    if y == "0" and op != "mul":
        return x
    if x.startswith("%") or y.startswith("%"):
        return None
    return str(wrap(_FOLD[op](int(x), int(y)), 64))


LINEAR = {"add": add, "sub": subtract, "mul": multiply}
