"""Modules as pure functions of their arrays, and as pytrees: the functional view that a static graph needs.

Guaranteed:
- `functional_call` never changes the module: it works on a copy, and buffers assigned during the call come back as a
  result.
- A module is a pytree whose leaves are its arrays, each once, under the first name it is found by.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import graphc.api as gc
from graphc.api import ArgumentError, Array
from graphc.nn.module import Call, Leaf, Module, all_leaves, canonical_names, leaves


def bind(module: Module, values: Mapping[str, Array], *, training: bool, key: Array | None = None) -> Module:
    """A copy of the module that holds `values` (names as in `leaves`; those not given keep their arrays).

    Everything that is not a module or a leaf is shared with the original.
    """
    names = canonical_names(module)
    unknown = [name for name in values if name not in names]
    if unknown:
        raise ArgumentError(f"no such parameter or buffer: {', '.join(unknown)}; there are {', '.join(names)}")
    twin = _copy(module, Call(training, key, is_bound=True))
    for name, leaf in all_leaves(twin):
        leaf.value = values.get(names[name], leaf.value)
    return twin


def _copy(root: Module, call: Call) -> Module:
    copies: dict[int, object] = {}
    paths: dict[int, str] = {}
    for path, module in root.named_modules():
        paths.setdefault(id(module), path)

    def twin_of(value: object) -> object:
        if id(value) in copies:
            return copies[id(value)]
        if isinstance(value, Leaf):
            copies[id(value)] = value.copy()
        elif isinstance(value, Module):
            twin = object.__new__(type(value))
            copies[id(value)] = twin
            for name, item in value.__dict__.items():
                twin.__dict__[name] = item if name in ("_call", "_path", "_source") else _map(item, twin_of)
            twin.__dict__.update(_call=call, _path=paths[id(value)])
        else:
            return value
        return copies[id(value)]

    twin = twin_of(root)
    assert isinstance(twin, Module)
    return twin


def _map(value: object, fn: Callable[[object], object]) -> object:
    """`fn` on what is inside nested lists, tuples and dicts."""
    if isinstance(value, list):
        return [_map(item, fn) for item in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(_map(item, fn) for item in value)
    if isinstance(value, dict):
        twin = copy.copy(value)
        twin.update({key: _map(item, fn) for key, item in value.items()})
        return twin
    return fn(value)


def buffers_after(bound: Module, module: Module) -> dict[str, Array]:
    """The values that the buffers of `module` have in `bound`, a copy that has been called."""
    after = dict(all_leaves(bound))
    return {name: after[name].value for name, _ in module.named_buffers()}


def last_output(module: Module) -> object:
    """What the last call of a bound module returned; None when it has not been called."""
    return module._call.output


def functional_call(
    module: Module,
    values: Mapping[str, Array],
    *args: object,
    training: bool = False,
    key: Array | None = None,
    **kwargs: object,
) -> tuple[Array, dict[str, Array]]:
    """Call a module as a pure function of its arrays: `(output, buffers after the call)`. The module stays as it is.

    `values` maps names to arrays, as `leaves(module)` does; arrays that are not named keep their values. `key` feeds
    the random layers: each module draws from `fold_in(key, its path)`.

    >>> import numpy as np
    >>> from graphc import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> output, _ = nn.functional_call(model, {"weight": np.ones((1, 2), np.float32)}, np.ones((4, 2), np.float32))
    >>> output.tolist()
    [[2.0], [2.0], [2.0], [2.0]]
    """
    bound = bind(module, values, training=training, key=key)
    output = bound(*args, **kwargs)
    return output, buffers_after(bound, module)


class _Template:
    """The static part of a module as a pytree: everything but its arrays. Equal for modules of the same structure."""

    __slots__ = ("module", "signature")

    def __init__(self, module: Module) -> None:
        self.module = module
        self.signature = tuple(
            (path, type(part), tuple(_static(name, value) for name, value in sorted(part.__dict__.items())))
            for path, part in module.named_modules()
        ) + tuple(canonical_names(module).items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Template) and self.signature == other.signature

    def __hash__(self) -> int:
        return hash(self.signature)


def _static(name: str, value: object) -> tuple[str, object]:
    if name in ("_slots", "_call", "_path", "_source") or isinstance(value, Module):
        return name, None
    if isinstance(value, list | tuple):
        return name, tuple(_static("", item) for item in value)
    if isinstance(value, dict):
        return name, tuple(_static(str(key), item) for key, item in value.items())
    if isinstance(value, np.ndarray):
        return name, (value.shape, value.dtype.str, value.tobytes())
    try:
        hash(value)
    except TypeError:
        return name, id(value)
    return name, value


def _unflatten(static: object, children: Sequence[object]) -> Module:
    assert isinstance(static, _Template)
    model = static.module
    twin = _copy(model, model._call)
    names = canonical_names(model)
    values = dict(zip(dict.fromkeys(names.values()), children, strict=True))
    for name, leaf in all_leaves(twin):
        leaf.value = values[names[name]]  # type: ignore[assignment]
    return twin


gc.pytree.register(Module, lambda module: (list(leaves(module).items()), _Template(module)), _unflatten)
