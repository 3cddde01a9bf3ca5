"""Operands packed by kernels of their own: once for all products that read them alike, never stale, in no more memory.

The shapes are such that the cpu backend packs for several chunks; a test that finds no pack fails.
"""

import re
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc import scheduling
from graphc.kernel.program import LoopProgram, Scheduled
from graphc.plan.build import arena_needs
from graphc.plan.memory import pack
from graphc.plan.packs import share_packs
from graphc_llvm import recipes

pytestmark = pytest.mark.cpu
RNG = np.random.default_rng(5)
X, Y = (RNG.standard_normal((2048, 256)).astype(np.float32) for _ in range(2))
W, V = (RNG.standard_normal((64, 256)).astype(np.float32) for _ in range(2))
Fn = Callable[..., object]


def seen(patch: pytest.MonkeyPatch) -> list[tuple[LoopProgram, LoopProgram]]:
    """Gets entries before and after packs are shared."""
    found: list[tuple[LoopProgram, LoopProgram]] = []

    def share(program: LoopProgram, packed: frozenset[int]) -> LoopProgram:
        found.append((program, share_packs(program, packed)))
        return found[-1][1]

    patch.setattr(scheduling, "share_packs", share)
    return found


def packs(program: LoopProgram) -> int:
    return sum(call.kernel.name.startswith("pack") for call in program.calls)


def compiled(fn: Fn, *args: np.ndarray, patch: pytest.MonkeyPatch) -> tuple[LoopProgram, LoopProgram]:
    """Checks the bits against the loops as they are written; the program before and after sharing."""
    patch.setenv("GRAPHC_CACHE", "off")
    found = seen(patch)
    got = gc.compile(fn, *args, verify="passes", threads=2)(*args)
    with patch.context() as loops:
        loops.setattr(recipes, "schedule", Scheduled)
        wanted = gc.compile(fn, *args)(*args)
    for x, y in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(x, y)
    before, after = found[0]
    return before, after


def peak(program: LoopProgram) -> int:
    return pack(arena_needs(program)).peak


def test_one_weight_of_two_products_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = compiled(lambda x, y, w: (x @ w.T, y @ w.T), X, Y, W, patch=monkeypatch)
    assert (packs(before), packs(after)) == (2, 1)
    assert peak(after) <= peak(before)


def test_other_weights_and_other_orientations_are_packed_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = compiled(lambda x, y, w, v: (x @ w.T, y @ v.T), X, Y, W, V, patch=monkeypatch)
    assert (packs(before), packs(after)) == (2, 2)


def test_one_operand_of_several_projections_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, *weights = (RNG.standard_normal(shape).astype(np.float32) for shape in ((128, 784), (512, 784), (512, 784)))
    before, after = compiled(lambda x, a, b: (x @ a.T, x @ b.T), x, *weights, patch=monkeypatch)
    assert packs(before) == 2 * packs(after) > 0


def test_an_operand_made_of_several_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed is the whole expression, and the tensors it is made from are the arguments of the pack."""

    def masked(x, y, w, v):
        return x @ gnp.where(v > 0, w, 0).T, y @ gnp.where(w > 0, v, 0).T

    before, after = compiled(masked, X, Y, W, V, patch=monkeypatch)
    assert packs(before) == packs(after) == 2
    assert all(len(call.args) == 3 for call in after.calls if call.kernel.name.startswith("pack"))


def test_only_the_pack_reads_what_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, after = compiled(lambda x, w: (x @ w.T, w), X, W, patch=monkeypatch)
    made, product = after.calls
    weight = made.args[0]
    assert packs(after) == 1 and weight not in product.args and len(product.args) == len(product.kernel.params) == 3


def test_pairs_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(x, y, w):
        x, y, w = (z.astype(gnp.bfloat16) for z in (x, y, w))
        return (x @ w.T).astype(gnp.float32), (y @ w.T).astype(gnp.float32)

    arrays = (RNG.standard_normal((rows, 512)).astype(np.float32) for rows in (2048, 2048, 96))
    before, after = compiled(product, *arrays, patch=monkeypatch)
    assert (packs(before), packs(after)) == (2, 1)


def changed(x, y, w):
    """The weight is another one for the second product, and takes the place of the first."""
    first = x @ w.T
    w = w - 0.5 * gnp.tanh(first[:64, :1])
    return first, y @ w.T, w


def test_a_weight_that_changes_is_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = compiled(changed, X, Y, W, patch=monkeypatch)
    assert (packs(before), packs(after)) == (2, 2)


def test_state_is_packed_in_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")

    def step(state, batch, step):
        first, second, w = changed(*batch, state["w"])
        return {"w": w}, first.sum() + second.sum()

    def totals() -> list[float]:
        program = gc.program({"w": W}, {"step": step}, inputs={"step": (X, Y)})
        return [float(program.call("step", (X, Y))) for _ in range(3)]

    got = totals()
    monkeypatch.setattr(recipes, "schedule", Scheduled)
    assert got == totals() and len(set(got)) == 3


def test_reports_know_packs() -> None:
    exe = gc.compile(lambda x, w: x @ w.T, X, W, threads=2)
    rows = {row.kernel: row for row in exe.cost.kernels}
    assert rows["pack"].flops == 0 and rows["pack"].bytes == 2 * W.nbytes
    assert rows["dot"].bytes == X.nbytes + W.nbytes + 4 * 2048 * 64
    # panels and their width follow from the processor
    found = re.search(r"packed f32\[(\d+),256,(\d+)\]", str(exe.memory))
    assert found is not None and int(found[1]) * int(found[2]) == len(W)
    assert "kernel pack" in exe.text("loop")
