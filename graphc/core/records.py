"""`dataclass` for what is imported on the way to a compiled program: hundreds of classes, frozen and with slots.

`dataclasses.dataclass` compiles each of six methods of each such class by itself, which takes longer than the rest of
an import. Here a class has one text, of the methods that depend on its fields; all classes share the others. What comes
out is a dataclass like any other (`fields`, `replace`, patterns, copies, pickles, an error when it is changed), and its
instances are made in less time.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, **options):
        """`dataclasses.dataclass`, faster for frozen classes with slots."""

        def make(cls):
            if frozen and slots and not options and _is_usual(cls):
                return _record(cls)
            return dataclasses.dataclass(cls, frozen=frozen, slots=slots, **options)

        return make if cls is None else make(cls)


class _Instance(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_METHODS = ("__init__", "__eq__", "__hash__")
_SPECIAL = ("ClassVar", "InitVar", "KW_ONLY")


def _is_usual(cls: type) -> bool:
    """Whether a class has plain fields only, and no methods of its own in the place of ours."""
    if any(name in vars(cls) for name in (*_METHODS, *_SHARED, "__slots__")):
        return False
    return not any(
        special in str(kind) for kind in vars(cls).get("__annotations__", {}).values() for special in _SPECIAL
    )


def _record(cls: type) -> type:
    """The class as a frozen dataclass with slots."""
    cls.__doc__ = cls.__doc__ or cls.__name__  # else a signature is worked out
    inherits = hasattr(cls, "__dataclass_fields__")  # then it has to say itself that it is frozen
    cls = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=inherits)(cls)
    params = vars(cls)["__dataclass_params__"]
    params.init = params.repr = params.eq = params.frozen = True
    fields = dataclasses.fields(cls)
    scope: dict[str, Any] = {"__name__": cls.__module__, "_MISSING": MISSING}
    exec(_text(fields, scope, hasattr(cls, "__post_init__")), scope)
    body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    for field in fields:
        body.pop(field.name, None)  # the default
    for name in _METHODS:
        body[name] = method = scope[name]
        method.__qualname__ = f"{cls.__qualname__}.{name}"
    inherited = {slot for base in cls.__mro__[1:-1] for slot in vars(base).get("__slots__", ())}
    body |= _SHARED
    body["__slots__"] = tuple(field.name for field in fields if field.name not in inherited)
    metaclass: Callable[[str, tuple[type, ...], dict[str, Any]], type] = type(cls)
    made = metaclass(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    scope |= {f"_set_{field.name}": getattr(made, field.name).__set__ for field in fields}
    return made


def _text(fields: tuple[Field[Any], ...], scope: dict[str, Any], then: bool) -> str:
    """The methods that depend on the fields. `scope` gets the defaults they name."""
    given, lines = ["self"], []
    for field in fields:
        name, value = field.name, field.name
        if field.default_factory is not MISSING:
            scope[f"_factory_{name}"] = field.default_factory
            value = f"_factory_{name}() if {name} is _MISSING else {name}" if field.init else f"_factory_{name}()"
            given += [f"{name}=_MISSING"] if field.init else []
        elif field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            value = name if field.init else f"_default_{name}"
            given += [f"{name}=_default_{name}"] if field.init else []
        elif field.init:
            given.append(name)
        else:
            continue
        lines.append(f" _set_{name}(self, {value})")
    if then:
        lines.append(" self.__post_init__()")
    compared = [field.name for field in fields if field.compare]
    own, others = ("".join(f"{x}.{name}, " for name in compared) for x in ("self", "other"))
    hashed = "".join(f"self.{f.name}, " for f in fields if (f.compare if f.hash is None else f.hash))
    return "\n".join(
        [
            f"def __init__({', '.join(given)}):",
            *(lines or [" pass"]),
            "def __eq__(self, other):",
            " if other.__class__ is not self.__class__:",
            "  return NotImplemented",
            f" return self is other or ({own}) == ({others})",
            "def __hash__(self):",
            f" return hash(({hashed}))",
        ]
    )


@recursive_repr()
def _repr(self: _Instance) -> str:
    shown = (field.name for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _setattr(self: _Instance, name: str, value: object) -> None:
    _refuse(self, name, "assign to")
    object.__setattr__(self, name, value)


def _delattr(self: _Instance, name: str) -> None:
    _refuse(self, name, "delete")
    object.__delattr__(self, name)


def _refuse(self: _Instance, name: str, what: str) -> None:
    """A subclass that is no dataclass may have more attributes, which are its own."""
    if "__dataclass_fields__" in vars(type(self)) or name in self.__dataclass_fields__:
        raise FrozenInstanceError(f"cannot {what} field {name!r}")


def _getstate(self: _Instance) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _setstate(self: _Instance, state: Sequence[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)


_SHARED = {
    "__repr__": _repr,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}
