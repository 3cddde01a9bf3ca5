"""Sums that run in step keep every bit of the loops that lowering writes."""

import random
from collections.abc import Callable

import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.ir import Alloc, Kernel, walk
from graphc_llvm import recipes, streams
from tests.backends.test_contraction_strides import kernels_of
from tests.backends.test_contractions import check


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "NEAR", 0.0)
    monkeypatch.setattr(streams, "FEWEST_BLOCKS", 1)
    monkeypatch.setattr(streams, "FEWEST_TERMS", 2)
    monkeypatch.setattr(recipes, "SMALL_NS", 0.0)


SUMS: dict[str, Callable[..., object]] = {
    "sum": lambda x, axis: gnp.sum(x, axis=axis),
    "of products": lambda x, axis: gnp.sum(x * x[:1], axis=axis),
    "argmax": lambda x, axis: gnp.argmax(x, axis=axis),
    "max": lambda x, axis: gnp.max(x, axis=axis),
    "mean and spread": lambda x, axis: gnp.std(x, axis=axis),
    "scaled": lambda x, axis: x * gnp.sum(x * 2, axis=axis, keepdims=True),
    "both": lambda x, axis: (gnp.sum(x, axis=axis), gnp.min(x, axis=axis), gnp.argmin(x, axis=axis)),
}
READ_ONCE = ("sum", "of products", "max")  # and short enough for several rows in step
EXTENTS = (1, 15, 16, 17, 40, 129, 1023, 1025)
WIDTHS = (257, 300, 640, 1100)
LONG = (5000, 2048, 4097)


def in_step(kernel: Kernel) -> bool:
    """Whether its schedule has scratch that lowering did not write so: several sums at once."""
    shapes = {s.buffer.shape for s in walk(kernel.body) if isinstance(s, Alloc)}
    found = {s.buffer.shape for s in walk(recipes.schedule(kernel).kernel.body) if isinstance(s, Alloc)}
    return bool(found - shapes)


@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("name", SUMS)
def test_columns_and_rows(name: str, dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    rng = random.Random(f"{name} {dtype} {cpu}")
    for axis in (0, 1):
        long = (rng.choice(LONG), 260) if axis == 0 else (rng.choice((9, 17)), rng.choice(LONG))
        kernels: list[Kernel] = []
        for shape in (long, (rng.choice(EXTENTS), rng.choice(WIDTHS))):
            kernels += kernels_of(lambda x, axis=axis: SUMS[name](x, axis), gc.spec(shape, dtype))
        assert any(map(in_step, kernels)) or (axis == 1 and name not in READ_ONCE)
        check(*kernels)


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2), (1,)])
def test_several_axes(axes: tuple[int, ...]) -> None:
    kernels: list[Kernel] = []
    for shape in ((9, 40, 300), (17, 15, 260), (3, 1025, 257), (40, 3, 1100)):
        kernels += kernels_of(lambda x, y: gnp.sum(x * y, axis=axes), gc.spec(shape), gc.spec(shape[-1:]))
    assert any(map(in_step, kernels)) or axes == (0, 2)  # where an element lies is no sum of counters there
    check(*kernels)


def test_what_is_small_keeps_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = kernels_of(lambda x: gnp.sum(x, axis=0), gc.spec((512, 512)))
    assert any(map(in_step, kernels))
    monkeypatch.setattr(streams, "NEAR", 1e9)
    assert not any(map(in_step, kernels))
