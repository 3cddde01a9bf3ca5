"""What the partition decides follows from the graph alone, not from where its nodes lie in memory."""

import random

import numpy as np

import graphc as gc
from graphc import data, nn, optim, train
from graphc.passes.partition import partition


def test_the_fused_graph_of_a_training_step_is_one() -> None:
    x = np.zeros((512, 20), np.float32)
    job = train.compile(
        nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)),
        loss="cross_entropy",
        optimizer=optim.adamw(1e-2),
        data=data.arrays(x, np.zeros(512, np.int32)),
        batch_size=64,
        metrics=["accuracy"],
    )
    text = str(job.program.compilation.optimized["train"])
    rng, between, found = random.Random(0), [], set()
    for _ in range(20):
        between.append([object() for _ in range(rng.randrange(1000))])  # other addresses, other orders of sets
        del between[rng.randrange(len(between))]
        found.add(str(partition(gc.parse(text))))
    assert len(found) == 1
