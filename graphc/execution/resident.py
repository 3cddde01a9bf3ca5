"""Calls on arguments where they lie: arrays on a GPU go to a program of that GPU as they are.

The rule: when one of the arguments lies on the GPU, so do all results, the call is only queued, and nothing is copied
but what has to be: arguments of the host, and arrays whose elements do not lie in the order of C. Large copies are
reported once. When all arguments are the host's, so are the results, and the call returns when they are there.
"""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from graphc.core import pytree
from graphc.core.errors import ArgumentError, DTypeError, ShapeError
from graphc.execution.arguments import Arguments, as_array, check_all, report_copy, type_of, type_text
from graphc.graph.ir import TensorType
from graphc.runtime.device_arrays import DeviceArray, lies_on_gpu
from graphc.runtime.protocol import Executable, ResidentCalls
from graphc.tracing import Spec
from graphc.tracing.function import argument_names, parameter_names

Argument = np.ndarray | DeviceArray


def call(executable: Executable, entry: str, arguments: Sequence[Argument], step: int = 0) -> Sequence[object]:
    """Run one entry once."""
    if any(isinstance(argument, DeviceArray) for argument in arguments):
        return cast(ResidentCalls, executable).call_resident(entry, arguments, step)
    return executable.call(entry, cast("Sequence[np.ndarray]", arguments), step)


def check_arguments(
    executable: Executable, leaves: Sequence[object], types: Sequence[TensorType], names: Sequence[str], said: set[str]
) -> Sequence[Argument]:
    """`check_all` for a program that may take arrays on a GPU; `said`: the names whose large copies were reported."""
    if not any(map(lies_on_gpu, leaves)) or not isinstance(executable, ResidentCalls) or len(leaves) != len(types):
        return check_all(leaves, types, names, said)
    return [_argument(executable, leaf, type, name, said) for leaf, type, name in zip(leaves, types, names)]


def of_the_host(arguments: Sequence[Argument]) -> list[np.ndarray]:
    """The arguments of a profile. Raises `ArgumentError` when one lies on a GPU."""
    if any(isinstance(argument, DeviceArray) for argument in arguments):
        raise ArgumentError("profile: pass arrays of the host; those of a profile are copied to the GPU once")
    return list(cast("Sequence[np.ndarray]", arguments))


def with_specs(fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> Arguments:
    """The arguments with the types of arrays on a GPU in their places, for tracing."""
    leaves, tree = pytree.flatten((args, kwargs))
    if not any(map(lies_on_gpu, leaves)):
        return args, kwargs
    names = argument_names(parameter_names(fn), tree)
    specs = [_spec(leaf, name) if lies_on_gpu(leaf) else leaf for leaf, name in zip(leaves, names, strict=True)]
    return cast(Arguments, pytree.unflatten(tree, specs))


def _spec(leaf: object, name: str) -> Spec:
    type = type_of(leaf, name)
    return Spec(type.shape, type.dtype)


def _argument(executable: ResidentCalls, leaf: object, type: TensorType, name: str, said: set[str]) -> Argument:
    if not lies_on_gpu(leaf):
        array = as_array(leaf, type, name, said)
        report_copy(array.nbytes, name, "it lies in the memory of the host and other arguments on the GPU", said)
        return array
    view = executable.view(leaf, name)
    found = type_text(view)
    if view.dtype != type.dtype.numpy:
        raise DTypeError(f"argument {name}: expected {type}, got {found} on the GPU; cast it first")
    if view.shape != type.shape:
        raise ShapeError(f"argument {name}: expected {type}, got {found} on the GPU")
    if not view.is_contiguous:
        report_copy(view.nbytes, name, f"of its strides {view.strides}", said)
    return view
