"""Modules: Python objects that hold named arrays.

Comes in: a class that assigns `Parameter`s, `Buffer`s, other modules and lists or dicts of these to its attributes, and
defines `forward`. Goes out: dotted names for all arrays (PyTorch's).

Guaranteed:
- Two attributes that hold the same array object (`decoder.weight = embedding.weight`) are tied: they share a name, and
  so a gradient.
- There is no mode flag on a module. A plain call `model(x)` is evaluation; training is asked for per call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import cast

import numpy as np

import graphc.api as gc
from graphc.api import ArgumentError, Array

_IN_FORWARD: ContextVar[bool] = ContextVar("graphc_in_forward", default=False)  # of a bound module


class Leaf:
    """A named array of a module. Reading the attribute it was assigned to gives the array itself.

    is_view: the array belongs to a compiled program; assigning the attribute copies into it.
    """

    __slots__ = ("is_view", "value")

    def __init__(self, value: Array) -> None:
        self.value: Array = np.array(value) if isinstance(value, np.ndarray | np.generic | float | list) else value
        self.is_view = False

    def copy(self) -> Leaf:
        """The same array in a leaf of its own."""
        twin = type(self).__new__(type(self))
        for kind in type(self).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                setattr(twin, slot, getattr(self, slot))
        return twin

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value.dtype}{list(self.value.shape)})"


class Parameter(Leaf):
    """An array that the optimiser changes, unless `requires_grad` is False: then it is frozen and takes no gradient."""

    __slots__ = ("requires_grad",)

    def __init__(self, value: Array, requires_grad: bool = True) -> None:
        super().__init__(value)
        if _IN_FORWARD.get():
            raise ArgumentError(
                gc.with_line(
                    "a parameter made in forward is a new one at each call and never trained: make it in __init__"
                )
            )
        if not str(self.value.dtype).startswith(("float", "bfloat")):
            raise ArgumentError(
                f"Parameter: needs a floating dtype, got {self.value.dtype}; use Buffer for other arrays"
            )
        self.requires_grad = requires_grad


class Buffer(Leaf):
    """An array that belongs to the state but takes no gradient: running statistics, counters, tables.

    Assigning the attribute in `forward` gives it a new value; shape and dtype stay.
    """

    __slots__ = ()


class Call:
    """What one call of a bound module knows: the mode, the random key, and what its modules returned."""

    __slots__ = ("counts", "is_bound", "key", "output", "training")

    def __init__(self, training: bool, key: Array | None, is_bound: bool) -> None:
        self.training = training
        self.key = key
        self.is_bound = is_bound
        self.counts: dict[str, int] = {}
        self.output: object = None  # of the outermost module, for metrics

    def next_key(self, path: str) -> Array:
        if self.key is None:
            raise ArgumentError(f"{path or 'the model'}: draws random numbers, so training=True needs key=")
        count = self.counts.get(path, 0)
        self.counts[path] = count + 1
        return gc.random.fold_in(self.key, path, count)


_EVALUATION = Call(training=False, key=None, is_bound=False)


_NO_MODE = "a module has no mode; model(x) evaluates, nn.functional_call(..., training=True) and train.compile train"
_NO_DEVICE = "arrays have no device; the backend is an argument of train.compile, gc.compile and gc.jit"
_INSTEAD = {  # methods of PyTorch's modules that have no counterpart, and what to do
    "train": _NO_MODE,
    "eval": _NO_MODE,
    "to": f"{_NO_DEVICE}, the dtype one of the layers",
    "cpu": _NO_DEVICE,
    "cuda": _NO_DEVICE,
    "zero_grad": "arrays carry no gradient; gc.grad returns it",
    "requires_grad_": "use freeze() and unfreeze()",
    "register_buffer": "assign an nn.Buffer to an attribute",
    "register_parameter": "assign an nn.Parameter to an attribute",
    "add_module": "assign the module to an attribute",
    "children": "use named_children()",
    "modules": "use named_modules()",
}


def _check_given(kind: type[Module], args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Raise where a module is made of what it should be called with, as in `nn.ReLU(x)`."""
    takes_nothing = kind.__init__ is object.__init__
    is_own = kind.__module__.startswith(__package__)
    arrays = [value for value in (*args, *kwargs.values()) if isinstance(value, gc.Tracer | np.ndarray)]
    if not (takes_nothing and (args or kwargs)) and not (is_own and arrays):
        return
    parameters = {} if takes_nothing else inspect.signature(kind).parameters
    names = [*parameters, *[f"argument {n}" for n in range(len(parameters), len(args))]]
    for name, value in [*zip(names, args), *kwargs.items()]:
        wanted = str(parameters[name].annotation) if name in parameters else ""
        if isinstance(value, gc.Tracer | np.ndarray) and "Array" not in wanted:
            rest = "" if all(p.default is not p.empty for p in parameters.values()) else "..."
            what = f"{name} is an array" if name in parameters else "takes no array"
            call = f"nn.{kind.__name__}({rest})(x)" if is_own else f"{kind.__name__}({rest})(x)"
            raise ArgumentError(gc.with_line(f"{kind.__name__}: {what}; make the layer first and call it: {call}"))
    if takes_nothing:
        raise ArgumentError(gc.with_line(f"{kind.__name__}: takes no arguments, got {(*args, *kwargs.values())!r:.60}"))


def _no_forward(self: Module, *args: object, **kwargs: object) -> Array:
    raise NotImplementedError(f"{type(self).__name__} does not define forward")


class Module:
    """Base of layers and models. Assign parameters and children in `__init__`, compute in `forward`.

    ```python
    class Scale(nn.Module):
        def __init__(self, size: int) -> None:
            self.gain = nn.Parameter(nn.init.ones((size,)))

        def forward(self, x):
            return x * self.gain  # reading the attribute gives the array
    ```
    """

    _slots: dict[str, object]  # attribute -> Leaf, or a list, tuple or dict of leaves
    _call: Call
    _path: str
    _source: gc.Loc  # the user's line that made the module

    def __new__(cls, *args: object, **kwargs: object) -> Module:
        _check_given(cls, args, kwargs)
        module = super().__new__(cls)
        module.__dict__.update(_slots={}, _call=_EVALUATION, _path="", _source=gc.here())
        return module

    forward: Callable[..., Array] = _no_forward  # what the module computes; subclasses define it

    def __call__(self, *args: object, **kwargs: object) -> Array:
        token = _IN_FORWARD.set(self._call.is_bound)
        try:
            output = self.forward(*args, **kwargs)
        finally:
            _IN_FORWARD.reset(token)
        if self._path == "":
            self._call.output = output if self._call.is_bound else None
        return output

    @property
    def training(self) -> bool:
        """Whether this call is a training call: static, so an ordinary `if` works."""
        return self._call.training

    def random_key(self) -> Array:
        """A key of this module's own: another one at each use, the same ones when the call is repeated."""
        return self._call.next_key(self._path)

    # Attributes. Leaves live apart from `__dict__`, so that `self.weight` can give the array.
    def __getattr__(self, name: str) -> Array:
        slots = self.__dict__.get("_slots", {})
        if name in slots:
            return _read(slots[name])
        advice = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{advice}")

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, Leaf) and self._is_view(name):
            self._assign(name, value.value)
        elif _holds_leaves(value):
            self.__dict__.pop(name, None)
            self._slots[name] = value
        elif name in self._slots and value is not None:
            self._assign(name, value)
        else:
            self._slots.pop(name, None)
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._slots:
            del self._slots[name]
        else:
            object.__delattr__(self, name)

    def _assign(self, name: str, value: object) -> None:
        leaf = self._slots[name]
        where = f"{type(self).__name__}.{name}"
        if not isinstance(leaf, Leaf):
            raise ArgumentError(f"{where}: assign a new list of parameters as a whole")
        if self._call.is_bound and isinstance(leaf, Parameter):
            raise ArgumentError(
                f"{where}: a parameter is changed by the optimiser; make it a Buffer to assign it in forward"
            )
        old = leaf.value
        has_type = hasattr(value, "shape") and hasattr(value, "dtype")
        new = cast("Array", value if has_type else np.asarray(value, str(old.dtype)))
        if tuple(new.shape) != tuple(old.shape) or str(new.dtype) != str(old.dtype):
            raise ArgumentError(f"{where}: is {old.dtype}{list(old.shape)}, cannot become {new.dtype}{list(new.shape)}")
        if self._is_view(name):
            np.copyto(np.asarray(leaf.value), np.asarray(new))
        else:
            leaf.value = new

    def _is_view(self, name: str) -> bool:
        leaf = self._slots.get(name)
        return isinstance(leaf, Leaf) and leaf.is_view and not self._call.is_bound

    # Structure.
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Child modules with their names, in order of assignment; `layers.0` for those in lists and dicts."""
        for name, value in self.__dict__.items():
            yield from _items(name, value, Module)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each with its dotted path; the path of the module itself is `prefix`."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Each parameter once, under its first name."""
        for name, leaf in named_leaves(self).items():
            if isinstance(leaf, Parameter):
                yield name, leaf

    def parameters(self) -> list[Parameter]:
        """Each parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Each buffer once, under its first name."""
        for name, leaf in named_leaves(self).items():
            if isinstance(leaf, Buffer):
                yield name, leaf

    def freeze(self) -> Module:
        """Let the optimiser pass over all parameters of this module; they take no gradient. Returns the module."""
        return self._set_requires_grad(False)

    def unfreeze(self) -> Module:
        """Undo `freeze`. Returns the module."""
        return self._set_requires_grad(True)

    def _set_requires_grad(self, value: bool) -> Module:
        for parameter in self.parameters():
            parameter.requires_grad = value
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """All arrays by name, tied ones under each of their names, as in PyTorch. The arrays are not copied."""
        return {name: np.asarray(leaf.value) for name, leaf in all_leaves(self)}

    def load_state_dict(self, state: Mapping[str, object], strict: bool = True) -> None:
        """Copy arrays (NumPy's, or PyTorch's tensors) into this module, by name.

        Raises `ArgumentError` for a shape that differs and, when `strict`, for names that are missing or unknown; then
        nothing has been changed.
        """
        own = dict(all_leaves(self))
        missing, unknown = [n for n in own if n not in state], [n for n in state if n not in own]
        if strict and (missing or unknown):
            raise ArgumentError(f"load_state_dict: missing {missing or 'none'}, unknown {unknown or 'none'}")
        arrays = {name: _plain(state[name]) for name in own if name in state}
        for name, array in arrays.items():
            if array.shape != tuple(own[name].value.shape):
                raise ArgumentError(
                    f"load_state_dict: {name} is {list(own[name].value.shape)}, got {list(array.shape)}"
                )
        for name, array in arrays.items():
            np.copyto(np.asarray(own[name].value), array, casting="same_kind")

    def extra_repr(self) -> str:
        """The arguments shown between the brackets of `repr`."""
        return ""

    def __repr__(self) -> str:
        children = [f"  ({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        return "\n".join([f"{type(self).__name__}({self.extra_repr()}", *children, ")"])


def _plain(value: object) -> np.ndarray:
    if not hasattr(value, "detach"):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return np.asarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())


def _items(name: str, value: object, kind: type) -> Iterator[tuple[str, Module]]:
    """`value` if it is of `kind`, or those inside it if it is a list, tuple or dict, with their names."""
    if isinstance(value, kind):
        yield name, value  # type: ignore[misc]
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _items(f"{name}.{index}", item, kind)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _items(f"{name}.{key}", item, kind)


def _holds_leaves(value: object) -> bool:
    if isinstance(value, Leaf):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_holds_leaves(item) for item in inner)


def _read(slot: object) -> Array:
    """What reading an attribute gives: the array, or a container of arrays that cannot be changed by mistake."""
    if isinstance(slot, Leaf):
        return slot.value
    if isinstance(slot, list | tuple):
        return tuple(_read(item) for item in slot)  # type: ignore[return-value]
    if isinstance(slot, dict):
        return MappingProxyType({key: _read(item) for key, item in slot.items()})  # type: ignore[return-value]
    return slot  # type: ignore[return-value]


def all_leaves(module: Module) -> Iterator[tuple[str, Leaf]]:
    """Every leaf under every name: own parameters and buffers first, then those of the children (PyTorch's order)."""
    for path, owner in module.named_modules():
        for kind in (Parameter, Buffer):
            for name, slot in owner._slots.items():
                yield from _items(f"{path}.{name}" if path else name, slot, kind)  # type: ignore[misc]


def canonical_names(module: Module) -> dict[str, str]:
    """The first name of the array behind every name: tied arrays share it."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(leaf.value), name) for name, leaf in all_leaves(module)}


def named_leaves(module: Module) -> dict[str, Leaf]:
    """Each array once, under its first name. A tied array is frozen only if it is frozen everywhere."""
    names = canonical_names(module)
    return {name: leaf for name, leaf in all_leaves(module) if names[name] == name}


def leaves(module: Module) -> dict[str, Array]:
    """The arrays of a module by name, each once: what `functional_call` takes."""
    return {name: leaf.value for name, leaf in named_leaves(module).items()}
