"""Products of operands that lie in memory in any way, in every dtype: schedules have the bits of the loops, in all of
which lowering writes one element after the other.

Strides come from programs, as a user writes them: permuted and broadcast batches, every second element, reversed dims.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc.kernel.ir import DotPair, Fma, Kernel, walk
from graphc.kernel.lower import lower_graph
from graphc.kernel.schedule.traverse import expressions
from graphc.passes.partition import partition
from tests.backends.test_contractions import check

EXTENTS = (1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 64, 67)
BATCHES = (1, 2, 3)
DTYPES = ("float32", "float64", "bfloat16")


@dataclass(frozen=True, slots=True)
class Operand:
    """How an array becomes an operand: its dims are stored in the order `stored`."""

    dims: str
    stored: str
    shape: tuple[int, ...]
    views: tuple[slice, ...]
    seen: tuple[int, ...]  # after broadcasting
    dtype: str

    def of(self, x: gnp.Array) -> gnp.Array:
        return gnp.transpose(gnp.broadcast_to(x[self.views], self.seen), [self.stored.index(dim) for dim in self.dims])


def operand(rng: random.Random, dims: str, extents: Mapping[str, int], dtype: str) -> Operand:
    """An operand at random: about half of its dims lie as they are."""
    stored = "".join(rng.sample(dims, len(dims)))
    shape: list[int] = []
    views: list[slice] = []
    for dim in stored:
        extent, way = extents[dim], rng.choice(("plain", "plain", "plain", "reversed", "strided", "broadcast"))
        if way == "broadcast" and dim in "bc":
            shape.append(1)
            views.append(slice(None))
        else:
            shape.append(2 * extent if way == "strided" else extent)
            views.append({"reversed": slice(None, None, -1), "strided": slice(1, None, 2)}.get(way, slice(None)))
    return Operand(dims, stored, tuple(shape), tuple(views), tuple(extents[dim] for dim in stored), dtype)


def kernels_of(fn: Callable[..., object], *specs: object) -> list[Kernel]:
    """The kernels that lowering writes for a program."""
    return [call.kernel for call in lower_graph(partition(gc.trace(fn, *specs)), name="product").calls]


def multiplies(kernel: Kernel) -> bool:
    return any(isinstance(e, Fma | DotPair) for s in walk(kernel.body) for e in expressions(s))


def random_product(rng: random.Random, dtype: str) -> list[Kernel]:
    """A product with up to two batch dims and two summed dims, between what is computed before and after it."""
    batch, rows, columns, summed = "bc"[: rng.randrange(3)], "i", "j", "kl"[: rng.choice((1, 1, 2))]
    extents = {dim: rng.choice(BATCHES if dim in "bc" else EXTENTS[:8] if dim == "l" else EXTENTS) for dim in "bcijkl"}
    left = operand(rng, batch + rows + summed, extents, dtype)
    right = operand(rng, batch + summed + columns, extents, dtype)
    before, after = rng.choice(("", "cast", "mask", "scale")), rng.choice(("", "bias", "relu", "cast", "residual"))
    inputs = {"cast": "float32" if dtype != "float32" else "bfloat16"}
    out = "".join(rng.sample(batch + rows + columns, len(batch) + 2))
    result_shape = tuple(extents[dim] for dim in out)

    def product(x, y, bias):
        a, b = left.of(x), right.of(y)
        match before:
            case "cast":
                a = a.astype(dtype)
            case "mask":
                a = gnp.where(a > 0, a, 0.1 * a)
            case "scale":
                b = b * b[..., :1]
        z = gnp.einsum(f"{left.dims},{right.dims}->{out}", a, b)
        match after:
            case "bias":
                return z + bias[:1]
            case "relu":
                return gnp.maximum(z, 0)
            case "cast":
                return z.astype("float32"), z * 2
            case "residual":
                return z - gnp.broadcast_to(bias[0], result_shape)
        return z

    return kernels_of(
        product,
        gc.spec(left.shape, inputs.get(before, dtype)),
        gc.spec(right.shape, dtype),
        gc.spec((2,), dtype),
    )


@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(2))
def test_random_strides(seed: int, dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CPU", cpu)
    rng = random.Random(f"{seed} {dtype}")
    kernels = [kernel for _ in range(6) for kernel in random_product(rng, dtype)]
    assert sum(map(multiplies, kernels)) == 6
    check(*kernels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cpu", ["", "x86-64-v3"])
def test_huge_extents(dtype: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of many parts, the last one shorter; very many rows or columns; the operands as they lie and transposed."""
    monkeypatch.setenv("GRAPHC_CPU", cpu)

    def product(how: str) -> Callable[..., object]:
        def form(x: gnp.Array, y: gnp.Array) -> gnp.Array:
            return gnp.maximum((x.T if how[0] == "t" else x) @ (y.T if how[1] == "t" else y), 0)

        return form

    kernels: list[Kernel] = []
    shapes = ((3, 70_001, 5), (1, 70_000, 17), (18, 12_289, 1), (60_013, 3, 2), (2, 5, 60_011), (40_009, 1, 1))
    for number, (m, k, n) in enumerate(shapes):
        how = ("nt", "tn", "tt", "nn")[number % 4]
        x, y = (m, k) if how[0] == "n" else (k, m), (k, n) if how[1] == "n" else (n, k)
        kernels += kernels_of(product(how), gc.spec(x, dtype), gc.spec(y, dtype))
    check(*kernels)


@pytest.mark.parametrize("batch", [1, 5, 1009])
def test_batches_of_small_products(batch: int) -> None:
    """Many batches, also one operand for all of them, in front and in the middle."""
    kernels: list[Kernel] = []
    for dtype in DTYPES:
        x, y, shared = (gc.spec(shape, dtype) for shape in ((batch, 4, 7), (batch, 7, 3), (7, 3)))
        kernels += kernels_of(lambda x, y: x @ y, x, y)
        kernels += kernels_of(lambda x, y: x @ y, x, shared)
        middle = gc.spec((4, batch, 7), dtype)
        kernels += kernels_of(lambda x, y: gnp.einsum("ibk,bkj->ibj", x, y) + 1, middle, y)
    check(*kernels)
