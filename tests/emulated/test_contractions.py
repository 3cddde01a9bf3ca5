"""Products in tiles: whatever the shape, transposition and what is fused with them, bits are the interpreter's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc.numpy as gnp
from graphc.kernel.ir import For, Kernel, walk
from graphc.kernel.lower import lower_graph
from graphc.passes.partition import partition
from graphc.tracing import trace
from graphc_cupy.recipes import schedule
from tests.emulated.kernels import Cases, needs_compiler, needs_sanitizer
from tests.emulated.sanitized import under_sanitizer

Function = Callable[..., object]


def kernel_of(function: Function, *arrays: np.ndarray) -> tuple[Kernel, list[np.ndarray]]:
    """The kernel of a function that is one kernel, with its inputs."""
    program = lower_graph(partition(trace(function, arrays).graph), name="main")
    (call,) = program.calls
    given = dict(zip(program.inputs, arrays, strict=True))
    inputs = [
        np.ascontiguousarray(given[number]).reshape(param.buffer.shape)
        for param, number in zip(call.kernel.params, call.args, strict=True)
        if param.mode == "in"
    ]
    return call.kernel, inputs


def array(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.dtype(dtype))


def bfloat(*shape: int) -> np.ndarray:
    import ml_dtypes

    return array(*shape).astype(ml_dtypes.bfloat16)


def product(x, y):  # type: ignore[no-untyped-def]
    return x @ y


def layer(x, w, b):  # type: ignore[no-untyped-def]
    return gnp.maximum((x * 2.0) @ w.T + b, 0.0)


CASES: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    **{
        f"{m}x{n}x{k}": (product, (array(m, k), array(k, n)))
        for m, n, k in [(1, 1, 1), (1, 10, 33), (37, 1, 20), (16, 16, 16), (33, 17, 31), (70, 65, 40), (3, 130, 5)]
    },
    "transposed": (lambda x, y: x.T @ y, (array(40, 33), array(40, 20))),
    "both transposed": (lambda x, y: x.T @ y.T, (array(40, 33), array(20, 40))),
    "batched": (product, (array(3, 20, 18), array(3, 18, 19))),
    "layer": (layer, (array(20, 30), array(25, 30), array(25))),
    "float64": (product, (array(20, 33, dtype="float64"), array(33, 18, dtype="float64"))),
    "bfloat16": (product, (bfloat(20, 33), bfloat(33, 18))),
    "bfloat16, even": (product, (bfloat(20, 34), bfloat(34, 18))),
    "integers": (product, (np.arange(12, dtype=np.int32).reshape(3, 4), np.arange(8, dtype=np.int32).reshape(4, 2))),
    "long": (product, (array(5, 9000), array(9000, 6))),
    "long, bfloat16": (product, (bfloat(5, 8194), bfloat(8194, 6))),
    "no terms": (product, (array(3, 0), array(0, 4))),
    "squares": (lambda x: x @ x.T, (array(20, 18),)),
}


def cases() -> Cases:
    found = Cases()
    for function, arrays in CASES.values():
        found.add(*kernel_of(function, *arrays))
    return found


@pytest.fixture(params=[264, 1], ids=["small tiles", "large tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many blocks are enough: with one, every thread has as many elements as it may have."""
    monkeypatch.setattr("graphc_cupy.contraction.ENOUGH_BLOCKS", request.param)
    return int(request.param)


@needs_compiler
def test_products_have_the_interpreters_bits(tiles: int) -> None:
    cases().check()


@pytest.mark.parametrize("name", ["33x17x31", "37x1x20", "transposed", "batched", "layer", "bfloat16", "long"])
def test_products_are_tiled(name: str, tiles: int) -> None:
    function, arrays = CASES[name]
    scheduled = schedule(kernel_of(function, *arrays)[0]).kernel
    shared = [s for s in walk(scheduled.body) if getattr(getattr(s, "buffer", None), "space", "") == "shared"]
    assert len({s.buffer.name for s in shared}) >= 2  # type: ignore[attr-defined, union-attr]
    in_registers = [s for s in walk(scheduled.body) if isinstance(s, For) and s.kind == "unroll"]
    is_narrow = name in ("37x1x20", "long")  # no more elements than threads along either side
    assert bool(in_registers) == (tiles == 1 and not is_narrow)


@needs_sanitizer
@pytest.mark.slow
def test_products_stay_in_their_buffers() -> None:
    done = under_sanitizer("-m", "tests.emulated.sanitized", "products", "0")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "kernels" in done.stdout
