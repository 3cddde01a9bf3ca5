"""Calls on arguments where they lie: arrays on a GPU go to a program of that GPU as they are.

The rule: when one of the arguments lies on the GPU, so do all results, the call is only queued, and nothing is copied
but what has to be: arguments of the host, and arrays whose elements do not lie in the order of C. Large copies are
reported once. When all arguments are the host's, so are the results, and the call returns when they are there.
"""

import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np

from graphc.core import pytree
from graphc.core.errors import ArgumentError, CopyWarning, DTypeError, ShapeError
from graphc.execution.arguments import LARGE_COPY, as_array, check_all, frames_inside, type_of
from graphc.graph.ir import TensorType
from graphc.runtime.device_arrays import DeviceArray, lies_on_gpu
from graphc.runtime.protocol import Executable, ResidentCalls
from graphc.tracing import Spec

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


def specs_of_resident(tree: pytree.Tree, names: str = "argument") -> pytree.Tree:
    """The same pytree with the types of arrays on a GPU in their places, for tracing."""
    leaves, treedef = pytree.flatten(tree)
    if not any(map(lies_on_gpu, leaves)):
        return tree
    types = [type_of(leaf, names) if lies_on_gpu(leaf) else None for leaf in leaves]
    specs = [leaf if type is None else Spec(type.shape, type.dtype) for leaf, type in zip(leaves, types)]
    return pytree.unflatten(treedef, specs)


def _argument(executable: ResidentCalls, leaf: object, type: TensorType, name: str, said: set[str]) -> Argument:
    if not lies_on_gpu(leaf):
        array = as_array(leaf, type, name, said)
        _report(array.nbytes, name, "it lies in the memory of the host and other arguments on the GPU", said)
        return array
    view = executable.view(leaf, name)
    found = f"{view.dtype}[{','.join(map(str, view.shape))}]"
    if view.dtype != type.dtype.numpy:
        raise DTypeError(f"argument {name}: expected {type}, got {found} on the GPU; cast it first")
    if view.shape != type.shape:
        raise ShapeError(f"argument {name}: expected {type}, got {found} on the GPU")
    if not view.is_contiguous:
        _report(view.nbytes, name, f"of its strides {view.strides}", said)
    return view


def _report(nbytes: int, name: str, why: str, said: set[str]) -> None:
    if nbytes < LARGE_COPY or name in said:
        return
    said.add(name)
    warnings.warn(
        f"argument {name}: {nbytes:,} bytes are copied at each call because {why}", CopyWarning, frames_inside()
    )
