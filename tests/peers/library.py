"""The other libraries by name, with their arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.peers.exceptions import RAISES
from tests.peers.rows import Rows
from tests.samples import Sample

Results = dict[str, tuple[np.ndarray, ...] | None]


@dataclass(frozen=True)
class Library:
    """`rows` by primitive; arrays into it and back; all samples of an op at once."""

    rows: Rows
    into: Callable[[np.ndarray], Any]
    back: Callable[[Any], np.ndarray]
    evaluate: Callable[[Sequence[Sample]], Results]


@cache
def peer(name: str) -> Library:
    """Skips the test where the library is not installed."""
    if name != "numpy":
        pytest.importorskip(name)
    return {"numpy": _numpy, "jax": _jax, "torch": _torch}[name]()


def _eager(name: str, rows: Rows, into: Callable[[np.ndarray], Any], back: Callable[[Any], np.ndarray]) -> Library:
    def one(sample: Sample) -> tuple[np.ndarray, ...] | None:
        try:
            results = rows[sample.op](sample.attrs, *map(into, sample.inputs))
        except NotImplementedError as error:
            assert "not implemented for" in str(error), error
            return None
        except Exception:
            if sample.id not in RAISES[name]:
                raise
            return None
        assert sample.id not in RAISES[name], f"{name} has an answer for {sample.id} now"
        return tuple(back(y) for y in results)

    return Library(rows, into, back, lambda samples: {sample.id: one(sample) for sample in samples})


def _numpy() -> Library:
    return _eager("numpy", import_module("tests.peers.numpy_rows").ROWS, lambda x: x, np.asarray)


def _torch() -> Library:
    module = import_module("tests.peers.torch_rows")
    return _eager("torch", module.ROWS, module.to_torch, module.to_numpy)


def _jax() -> Library:
    """All samples in one program: XLA takes its time over each."""
    module = import_module("tests.peers.jax_rows")

    def evaluate(samples: Sequence[Sample]) -> Results:
        def program(*inputs: Sequence[Any]) -> list[tuple[Any, ...]]:
            return [
                tuple(module.ROWS[sample.op](sample.attrs, *xs)) for sample, xs in zip(samples, inputs, strict=True)
            ]

        found = module.jit(program)(*(sample.inputs for sample in samples))
        return {sample.id: tuple(map(np.asarray, results)) for sample, results in zip(samples, found, strict=True)}

    return Library(module.ROWS, module.jnp.asarray, np.asarray, evaluate)
