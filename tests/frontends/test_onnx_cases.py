"""Some of the cases that ONNX ships, with its own runner; `make onnx-report` and the slow tests run all of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from graphc.core.errors import UnsupportedError
from graphc_onnx import backend
from tests.frontends.onnx_cases import all_cases, verdicts
from tests.frontends.onnx_skips import SKIPS

EVERY = 20  # of the cases in the order of their names, so that each family comes along
NETWORKS = {f"test_{path.stem.removeprefix('light_')}" for path in Path(onnx.__file__).parent.glob("**/light_*.onnx")}


def test_some_cases(tmp_path: Path) -> None:
    cases = all_cases(str(tmp_path))
    assert len(NETWORKS & set(cases)) == 9
    assert len(cases) >= 1884
    for skip in SKIPS:
        assert any(re.fullmatch(skip.pattern, name) for name in cases), f"no case is {skip.pattern}"
    names = sorted(set(cases) - NETWORKS)[::EVERY]
    wrong = [f"{found.name}: {found.reason}" for found in verdicts(names, cases) if found.outcome == "failed"]
    assert not wrong, "\n".join(wrong)


def test_one_node() -> None:
    node = helper.make_node("Add", ["x", "y"], ["z"])
    x = np.arange(3, dtype=np.float32)
    (found,) = backend.run_node(node, [x, x])
    np.testing.assert_array_equal(found, 2 * x)
    with pytest.raises(UnsupportedError, match="device 'CUDA:1'; only CPU"):
        backend.prepare(onnx.ModelProto(), "CUDA:1")
