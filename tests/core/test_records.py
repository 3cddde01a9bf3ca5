"""Our `dataclass` makes what the standard one makes."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field

import pytest

from graphc.core import records


def family(dataclass: Callable[..., Callable[[type], type]]) -> tuple[type, ...]:
    """The same classes, made by one or the other decorator."""

    @dataclass(frozen=True, slots=True)
    class Base:
        """Has a text."""

        first: int

        def doubled(self) -> int:
            return 2 * self.first

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        second: tuple[float, ...] = (0.5,)
        third: list[int] = field(default_factory=lambda: [1, 2], hash=False)
        hidden: dict[str, int] = field(default_factory=dict, init=False, compare=False, repr=False)

    @dataclass(frozen=True, slots=True)
    class Checked:
        size: int = 3

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError("negative")

    @dataclass(frozen=True, slots=True)
    class Named:
        name: str

        def __repr__(self) -> str:
            return f"<{self.name}>"

    @dataclass(frozen=True, slots=True)
    class Empty:
        pass

    return Base, Derived, Checked, Named, Empty


OURS, STANDARD = family(records.dataclass), family(dataclasses.dataclass)
ARGUMENTS = [(4,), (4, (1.5, 2.0), [7]), (5,), ("n",), ()]


@pytest.mark.parametrize("ours, standard, given", list(zip(OURS, STANDARD, ARGUMENTS, strict=True)))
def test_instances_are_alike(ours: type, standard: type, given: tuple[object, ...]) -> None:
    x, like = ours(*given), standard(*given)
    assert repr(x) == repr(like) and hash(x) == hash(like)
    assert x == ours(*given) and x != like and not hasattr(x, "__dict__")
    assert ours.__slots__ == standard.__slots__ and ours.__match_args__ == standard.__match_args__
    assert dataclasses.asdict(x) == dataclasses.asdict(like)
    names = [each.name for each in dataclasses.fields(ours)]
    assert names == [each.name for each in dataclasses.fields(standard)]
    assert copy.deepcopy(x) == x == dataclasses.replace(x)
    for name in names:
        for change in (lambda name=name: setattr(x, name, 1), lambda name=name: delattr(x, name)):
            with pytest.raises(dataclasses.FrozenInstanceError):
                change()


def test_what_differs_between_instances() -> None:
    _, derived, checked, _, _ = OURS
    assert derived(1) != derived(2) and derived(1).third is not derived(1).third
    assert derived(first=3).doubled() == 6
    assert dataclasses.replace(derived(1), second=()) == derived(1, ())
    with pytest.raises(ValueError, match="negative"):
        checked(-1)
    with pytest.raises(TypeError, match="first"):
        derived()
    with pytest.raises(TypeError, match="unexpected"):
        checked(sizes=1)


@records.dataclass(frozen=True, slots=True)
class Kept:
    value: int
    rest: tuple[int, ...] = ()


def test_pickles() -> None:
    assert pickle.loads(pickle.dumps(Kept(1, (2, 3)))) == Kept(1, (2, 3))


def test_other_options_are_those_of_the_standard_library() -> None:
    @records.dataclass(slots=True)
    class Open:
        value: int = 1

    opened = Open()
    opened.value = 2
    assert opened == Open(2)
