"""Values during emission: registers (uniform over the lanes, or one number per lane), and int64 sums not yet emitted.

A uniform value stays scalar as long as it can. A `Linear` value `constant + sum(coefficient * register) + step * lane`
is how an address keeps its parts apart: what is constant goes into the instruction, what loops do not change is
computed before them, and it becomes a register only when something other than an address needs it.
"""

from dataclasses import field

from graphc.core.dtypes import DType, int64
from graphc.core.records import dataclass
from graphc_llvm.builder import Builder
from graphc_llvm.types import register, scalar, wrap


@dataclass(slots=True, unsafe_hash=True)  # made by the thousand: setting what is frozen takes twice as long
class Value:
    """`text` is a register or constant. lanes 1: uniform. Never changed."""

    dtype: DType
    text: str
    lanes: int = 1

    @property
    def uniform(self) -> bool:
        return self.lanes == 1

    @property
    def step(self) -> None:
        """Not known to grow from lane to lane by the same amount."""
        return None

    @property
    def known(self) -> int | None:
        """The number, when this is a uniform integer constant."""
        if self.lanes != 1 or self.text.startswith("%") or not self.dtype.is_integer:
            return None
        return int(self.text)


@dataclass(slots=True, unsafe_hash=True)  # as `Value`
class Linear:
    """An int64 `constant + sum(coefficient * register) + step * lane`, modulo 2**64. lanes 1: no step, uniform."""

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = ()
    step: int | None = None
    lanes: int = 1

    @property
    def dtype(self) -> DType:
        return int64

    @property
    def uniform(self) -> bool:
        return self.lanes == 1

    @property
    def known(self) -> int | None:
        """The number, when this is a uniform constant."""
        return None if self.terms or self.lanes != 1 else wrap(self.constant, 64)

    @property
    def base(self) -> "Linear":
        """The value of lane 0."""
        return Linear(self.constant, self.terms)

    def times(self, factor: int) -> "Linear":
        """This, `factor` times."""
        if factor == 1:
            return self
        if factor == 0:
            return Linear()
        terms = tuple((name, coefficient * factor) for name, coefficient in self.terms)
        return Linear(self.constant * factor, terms, None if self.step is None else self.step * factor, self.lanes)


def integer(value: int) -> Linear:
    """An int64 constant."""
    return Linear(value)


@dataclass(slots=True)
class Sum:
    """A `Linear` being added up. `others`: summands that are none."""

    constant: int = 0
    terms: dict[str, int] = field(default_factory=dict)
    step: int = 0
    lanes: int = 1
    others: list[Value] = field(default_factory=list)

    def add(self, value: Linear, factor: int = 1) -> None:
        """Add `factor` times the value."""
        self.constant += value.constant * factor
        for name, coefficient in value.terms:
            self.terms[name] = self.terms.get(name, 0) + coefficient * factor
        if value.lanes > 1:
            self.step += (value.step or 0) * factor
            self.lanes = value.lanes

    def result(self) -> Linear:
        """What was added."""
        terms = tuple((name, coefficient) for name, coefficient in self.terms.items() if coefficient)
        return Linear(self.constant, terms, wrap(self.step, 64) if self.lanes > 1 else None, self.lanes)


def linear(value: Value | Linear) -> Linear | None:
    """The value as a sum; None when its lanes differ irregularly."""
    if isinstance(value, Linear):
        return value
    if value.lanes != 1 or value.dtype is not int64:
        return None
    known = value.known
    return Linear(0, ((value.text, 1),)) if known is None else Linear(known)


def add(x: Linear, y: Linear, factor: int = 1) -> Linear:
    """x + factor * y."""
    whole = Sum()
    whole.add(x)
    whole.add(y, factor)
    return whole.result()


def product(b: Builder, x: Linear, y: Linear) -> Linear | None:
    """x * y; None when it is not linear in the lane number."""
    if x.known is not None:
        x, y = y, x
    factor = y.known
    if factor is not None:
        return x.times(factor)
    if not (x.uniform and y.uniform):
        return None
    first, second = emitted(b, x).text, emitted(b, y).text
    return Linear(0, ((b.pure(f"mul i64 {first}, {second}", first, second), 1),))


def emitted(b: Builder, value: Value | Linear) -> Value:
    """The value in a register, or as a constant."""
    if isinstance(value, Value):
        return value
    text = ""
    for part in scaled(b, value.terms):
        text = b.pure(f"add i64 {text}, {part}", text, part) if text else part
    constant = wrap(value.constant, 64)
    if constant or not text:
        text = b.pure(f"add i64 {text}, {constant}", text) if text else str(constant)
    if value.lanes == 1:
        return Value(int64, text)
    kind, step = register(int64, value.lanes), value.step or 0
    ramp = "<" + ", ".join(f"i64 {wrap(step * lane, 64)}" for lane in range(value.lanes)) + ">"
    if text == "0":
        return Value(int64, ramp, value.lanes)
    first = b.splat("i64", text, value.lanes)
    return Value(int64, b.pure(f"add {kind} {first}, {ramp}", first), value.lanes)


def scaled(b: Builder, terms: tuple[tuple[str, int], ...]) -> list[str]:
    """Each register times its coefficient; what changes in outer loops comes first."""
    ordered = sorted(terms, key=lambda term: b.depth(term[0])) if len(terms) > 1 else terms
    return [
        name if coefficient == 1 else b.pure(f"mul i64 {name}, {wrap(coefficient, 64)}", name)
        for name, coefficient in ordered
    ]


def spread(b: Builder, value: Value | Linear, lanes: int) -> str:
    """The register holding `value` in `lanes` lanes."""
    here = emitted(b, value)
    if lanes == 1 or not here.uniform:
        return here.text
    return b.splat(scalar(here.dtype), here.text, lanes)
