"""A small convolutional network learns scikit-learn's 1,797 handwritten digits of 8 x 8 pixels.

Two convolutions, each with a max pool behind it; the accuracy is that on 360 digits that were held out.
"""

from __future__ import annotations

import numpy as np
from _cli import Options, parse, report, train_run
from sklearn.datasets import load_digits

from graphc import data, nn, optim, train

BATCH = 32
STEPS = 44 * 20  # 20 epochs
QUICK = 44 * 8


def model() -> nn.Module:
    """One channel of 8 x 8 pixels, 16 of 4 x 4, 32 of 2 x 2, 10 classes."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 2 * 2, 10)),
    )


def main(options: Options) -> None:
    """Train, evaluate, report."""
    x, y = load_digits(return_X_y=True)
    (x_train, y_train), (x_test, y_test) = data.split(x.astype(np.float32) / 16, y, test=360, seed=0, stratify=True)
    x_train, x_test = x_train.reshape(-1, 1, 8, 8), x_test.reshape(-1, 1, 8, 8)
    steps = options.steps_or(STEPS, QUICK)
    nn.init.seed(options.seed)
    network = model()
    options.say(f"{network}\n{sum(p.value.size for p in network.parameters()):,} parameters")
    run = train_run(
        lambda: train.compile(
            network,
            loss="cross_entropy",
            optimizer=optim.adam(optim.linear(3e-3, 0.0, steps)),
            data=data.arrays(x_train, y_train),
            batch_size=BATCH,
            metrics=["accuracy"],
            seed=options.seed,
            backend=options.backend,
            threads=options.threads,
        ),
        steps,
    )
    score = run.job.evaluate(x_test, y_test)["accuracy"]
    options.say(f"{len(y_train)} digits to learn from, {len(y_test)} to test on")
    report(options, [run], {"test_accuracy": score, "loss": run.history["loss"][-1]})


if __name__ == "__main__":
    main(parse("digits_cnn", __doc__.splitlines()[0]))
