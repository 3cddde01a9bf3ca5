"""`train_step --backend gpu` without a card: what it says, and what it would measure with workers that pretend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import machine, measure, report, train_step
from graphc_cupy import cupy_device

PRETEND = "tests.benchmarks.pretend"


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(machine, "card", lambda: {"card": "a card", "driver": 13000})
    monkeypatch.setattr(train_step, "OURS", measure.System("graphc", PRETEND, "graphc"))
    return monkeypatch


def main(monkeypatch: pytest.MonkeyPatch, *args: str) -> int | str | None:
    """How the program ends."""
    given = ["--backend", "gpu", "--workload", "mlp_tiny", "--peers", "jax", "--quick", *args]
    monkeypatch.setattr(sys, "argv", ["train_step", *given])
    with pytest.raises(SystemExit) as ended:
        train_step.main()
    return ended.value.code


def test_it_measures_everybody_on_the_card(pretended: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretended.setitem(train_step.PEERS, "jax", measure.System("jax", PRETEND, "peer"))
    out = tmp_path / "card.jsonl"
    assert not main(pretended, "--out", str(out))
    ours, peer = report.read(out)
    assert [each["system"] for each in (ours, peer)] == ["graphc", "jax"]
    assert ours["backend"] == "gpu" and ours["busy"] == 0 and ours["flops"] and ours["roofline_fraction"] is None
    for each in (ours, peer):
        found = each["machine"]
        assert isinstance(found, dict)
        assert (found["card"], found["driver"]) == ("a card", 13000)
        assert "numpy" in found["versions"]


def test_other_losses_fail(pretended: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretended.setitem(train_step.PEERS, "jax", measure.System("jax", PRETEND, "wrong"))
    assert main(pretended, "--out", str(tmp_path / "card.jsonl"))
    assert "mlp_tiny: jax has losses" in capsys.readouterr().err


@pytest.mark.skipif(cupy_device.count() > 0, reason="there is a card")
def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the gpu backend cannot run here: " in str(main(monkeypatch))
