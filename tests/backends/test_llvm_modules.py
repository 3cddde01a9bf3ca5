"""What is compiled: equal phases once, in any number of kernels, entries and programs."""

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
import graphc.numpy as gnp
from graphc_llvm import codegen


def layers(x: gnp.Array, weights: list[gnp.Array]) -> gnp.Array:
    for weight in weights:
        x = gnp.tanh(x @ weight)
    return x


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[codegen.Module]:
    """The modules that went through LLVM."""
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path))
    codegen.runtime()
    seen: list[codegen.Module] = []
    optimise = codegen.optimise

    def spy(module, target):
        seen.append(module)
        return optimise(module, target)

    monkeypatch.setattr(codegen, "optimise", spy)
    return seen


def test_equal_kernels_are_compiled_once(compiled: list[codegen.Module]) -> None:
    x, weights = np.ones((4, 16), np.float32), [np.eye(16, dtype=np.float32)] * 12
    gc.compile(layers, x, weights[:2])
    first = [module for module in compiled if not module.plain]
    compiled.clear()
    gc.compile(layers, x, weights)
    assert len(first) < 4  # not one for each of two layers
    assert [module.plain for module in compiled] == [True]  # twelve layers need no new phase, only their driver
