"""The training problems, without any system: sizes, optimiser, one batch of data, initial parameters.

Every system starts from these very arrays, so their losses can be compared, and are. NumPy is all this needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Problem:
    """A network of linear layers with ReLU between them, softmax cross-entropy, one batch that stays in memory.

    sgd: rate 0.01, momentum 0.9. adam: rate 0.001, betas 0.9 and 0.999, eps 1e-8.
    """

    name: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: Literal["sgd", "adam"]

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight [out, in] and bias [out] of each layer, uniform within 1 / sqrt(in)."""
        rng = np.random.default_rng(0)
        result = []
        for inputs, outputs in zip(self.sizes, self.sizes[1:]):
            bound = inputs**-0.5
            weight = rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
            result.append((weight, rng.uniform(-bound, bound, outputs).astype(np.float32)))
        return result

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [batch, in] and classes [batch]."""
        rng = np.random.default_rng(1)
        inputs = rng.standard_normal((self.batch, self.sizes[0]), dtype=np.float32)
        return inputs, rng.integers(0, self.sizes[-1], self.batch)


PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        Problem("mlp_tiny", (64, 128, 10), 32, "sgd"),
        Problem("mlp_mnist", (784, 512, 512, 10), 128, "adam"),
    )
}
COMPARED_STEPS = 3  # how many losses from the start every system reports
