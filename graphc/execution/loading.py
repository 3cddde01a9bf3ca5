"""`gc.load`: programs in files of other tools, read by the frontend that is installed for their extension."""

import os
from collections.abc import Mapping
from typing import Protocol, cast

import numpy as np

from graphc.core.errors import ArgumentError, UnsupportedError
from graphc.runtime.discovery import find_loader
from graphc.tracing import Array
from graphc.tracing.context import with_line


class Loaded(Protocol):
    """What a frontend makes of a file: a function of arrays, with parameters by name."""

    parameters: dict[str, np.ndarray]

    def __call__(self, *inputs: object, **named: object) -> object:
        """The output for these inputs, or a tuple of the outputs."""
        ...

    def apply(self, parameters: Mapping[str, Array], *inputs: Array, **named: Array) -> object:
        """The same as a function of the parameters too, to be traced, differentiated and jitted."""
        ...


def load(path: str | os.PathLike[str], **options: object) -> Loaded:
    """The program in a file of another tool, by the frontend for its extension; options are the frontend's.

    `.onnx` (with the extra `graphc[onnx]`; options `backend`,
    `threads` and `sanitize`): an ONNX model. Call it with arrays, by
    position or name; `parameters` are its weights by name, and `apply(parameters, *inputs)` is the function to
    differentiate. Raises `UnsupportedError` listing the extensions that are known.

    >>> import graphc as gc
    >>> gc.load("model.unknown")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    graphc.core.errors.UnsupportedError: load: no frontend loads files that end in '.unknown'; installed: ...
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(with_line(f"load: path is a str or a path, got {type(path).__name__} {path!r:.60}"))
    name = os.fspath(path)
    try:
        loader = find_loader(os.path.splitext(name)[1].removeprefix(".").lower())
    except UnsupportedError as error:
        raise UnsupportedError(f"load: {error}") from error
    return cast(Loaded, loader(name, **options))
