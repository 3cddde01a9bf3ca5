"""Updates of a slab of gradients are taken apart where that saves bytes, and only there."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, train
from graphc.graph.interpreter import interpret
from graphc.graph.parser import parse
from graphc.graph.verify import verify
from graphc.passes.partition import explain, partition
from graphc.passes.partition.order import peak_bytes
from graphc.passes.partition.places import Places
from graphc.passes.partition.updates import split_updates
from tests.kernel.lower.execute import compile_and_run
from tests.random_graphs import same_bits

DOT = "{lhs_contract=(0,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}"
STEP = f"""
graph f(%0: f32[6360], %1: f32[40,50], %2: f32[40,120], %3: f32[]) donates(0 <- 0) {{
  %4: f32[6000] = slice(%0) {{start=(0,), stop=(6000,), step=(1,)}}
  %5: f32[50,120] = reshape(%4) {{shape=(50, 120)}}
  %6: f32[40,120] = dot_general(%1, %5) {{lhs_contract=(1,), rhs_contract=(0,), lhs_batch=(), rhs_batch=()}}
  %7: f32[40,120] = mul(%6, %2)
  %8: f32[50,120] = dot_general(%1, %7) {DOT}
  %9: f32[120] = reduce_sum(%7) {{axes=(0,)}}
  %10: f32[240] = concatenate(%9, %9) {{axis=0}}
  %11: f32[40,50] = dot_general(%7, %5) {{lhs_contract=(1,), rhs_contract=(1,), lhs_batch=(), rhs_batch=()}}
  %12: f32[6000] = reshape(%8) {{shape=(6000,)}}
  %13: f32[360] = concatenate(%9, %10) {{axis=0}}
  %14: f32[6360] = concatenate(%12, %13) {{axis=0}}
  %15: f32[6360] = broadcast(%3) {{shape=(6360,), dims=()}}
  %16: f32[6360] = mul(%14, %15)
  %17: f32[6360] = sub(%0, %16)
  return %17, %11
}}
"""


def arguments() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(v.shape).astype(np.float32) for v in parse(STEP).inputs]


def test_same_values_same_bits() -> None:
    graph = parse(STEP)
    split = split_updates(graph)
    verify(split)
    assert split is not graph
    assert same_bits(interpret(split, arguments()), interpret(graph, arguments()))
    assert same_bits(compile_and_run(graph, arguments()), compile_and_run(graph, arguments(), fuse=False))


def test_a_second_run_changes_nothing() -> None:
    split = split_updates(parse(STEP))
    assert split_updates(split) is split


def test_the_old_weights_are_read_before_they_are_replaced() -> None:
    fused = partition(parse(STEP))
    costs = Places(fused)
    position = {node: i for i, node in enumerate(fused.nodes)}
    before = costs.readers_before()
    assert before, "the product with the weights reads what the gradient's kernel overwrites"
    assert all(position[reader] < position[writer] for writer, readers in before.items() for reader in readers)
    assert peak_bytes(fused) < 2 * 40 * 120 * 4, "no gradient and no second copy of the weights"


@pytest.mark.parametrize(
    "use",
    [
        "%18: f32[] = reduce_sum(%14) {axes=(0,)}\n  return %17, %18",
        "return %17, %14",
        "%18: f32[9] = slice(%17) {start=(0,), stop=(9,), step=(1,)}\n  %19: f32[9] = exp(%18)\n  return %17, %19",
    ],
)
def test_what_needs_the_whole_keeps_it_whole(use: str) -> None:
    graph = parse(STEP.replace("return %17, %11", use))
    assert split_updates(graph) is graph


def test_parts_without_a_kernel_of_their_own_stay_together() -> None:
    graph = parse(STEP.replace("%8: f32[50,120] = dot_general(%1, %7)", "%8: f32[50,120] = dot_general(%1, %2)"))
    split = split_updates(graph)
    slabs = [node for node in split.nodes if node.op.name == "concatenate"]
    assert [len(node.operands) for node in slabs][-1] == 2, "the weight, and one for the two others"


def job(**options: object) -> train.Job:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 96)).astype(np.float32)
    y = rng.integers(0, 10, 256).astype(np.int32)
    model = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))
    return train.compile(
        model,
        loss="cross_entropy",
        data=gc.data.arrays(x, y),
        batch_size=64,
        seed=3,
        optimizer=optim.adam(1e-3),
        **options,
    )


def test_gradients_of_a_training_step_are_not_in_the_plan() -> None:
    text = job().text("plan")
    head = text[text.index("entry train") : text.index("entry evaluate")]
    assert int(head.split("arena ")[1].split()[0]) < 2 * 64 * 96 * 4 * 2
    assert "state.optimizer.float32.m) -> " not in head


def test_clipping_needs_all_gradients_first() -> None:
    steps = job(clip=1.0)
    plain = job()
    assert steps.memory.arena_bytes > plain.memory.arena_bytes


def test_what_was_decided_can_be_read() -> None:
    text = explain(parse(STEP))
    assert text == explain(parse(STEP))
    (update,) = (line for line in text.splitlines() if line.startswith("update"))
    assert "parts: 1 fused, 0 alone, 1 rest" in update
