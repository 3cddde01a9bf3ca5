"""Derivatives of every primitive, first and second order in float64, against PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import numpy as np
import pytest

from tests.peers.derivatives import Task, by_jax, by_torch, ours
from tests.peers.exceptions import LEFT_OUT, MISSING
from tests.peers.library import peer
from tests.samples import Sample, all_pass
from tests.transform.test_autodiff_rows import OPS, cases


def tasks(op: str, library: str) -> list[Task]:
    return [Task.of(sample) for sample in cases(op) if (library, sample.id) not in LEFT_OUT]


def close(sample: Sample, mine: Mapping[str, list[np.ndarray]], theirs: Mapping[str, list[np.ndarray]]) -> None:
    for name, wanted in theirs.items():
        assert len(mine[name]) == len(wanted), name
        for position, (got, want) in enumerate(zip(mine[name], wanted, strict=True)):
            scale = float(np.max(np.abs(want), initial=1.0))
            told = f"{sample.id}: {name}, number {position}"
            np.testing.assert_allclose(got, np.asarray(want), rtol=1e-9, atol=1e-10 * scale, err_msg=told)


@pytest.mark.parametrize("op", OPS)
def test_against_torch(op: str) -> None:
    if op in MISSING["torch"]:
        return
    library, torch = peer("torch"), pytest.importorskip("torch")
    known = {task.sample.id: task for task in tasks(op, "torch")}

    def check(sample: Sample) -> None:
        task = known[sample.id]
        close(sample, ours(task), by_torch(task, library.rows, torch, library.into, library.back))

    all_pass(check, [task.sample for task in known.values()])


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_against_jax(op: str) -> None:
    jax = pytest.importorskip("jax")
    if op in MISSING["jax"]:
        return
    module = import_module("tests.peers.jax_rows")
    chosen = tasks(op, "jax")
    rows = {**module.ROWS, "reduce_window": module.reduce_window_by_gather}
    found = module.jit(lambda: [by_jax(task, rows, jax) for task in chosen])()
    theirs = {task.sample.id: (task, made) for task, made in zip(chosen, found, strict=True)}

    def check(sample: Sample) -> None:
        task, made = theirs[sample.id]
        close(sample, ours(task), made)

    all_pass(check, [task.sample for task in chosen])
