"""A network with one hidden layer learns scikit-learn's 1,797 handwritten digits of 8 x 8 pixels.

Three runs that differ in their seed; their mean accuracy on 360 digits that were held out, the same ones each time, is
0.97 to 0.98.
"""

from __future__ import annotations

import numpy as np
from _cli import Options, Run, parse, report, train_run
from sklearn.datasets import load_digits

from graphc import data, nn, optim, train

BATCH = 32
STEPS = 44 * 60  # 60 epochs
QUICK = 44 * 10


def model() -> nn.Module:
    """64 pixels, 256 hidden units of which 30% are dropped while learning, 10 classes."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10))


def main(options: Options) -> None:
    """Train, evaluate, report."""
    x, y = load_digits(return_X_y=True)
    (x_train, y_train), (x_test, y_test) = data.split(x.astype(np.float32) / 16, y, test=360, seed=0, stratify=True)
    training = data.arrays(x_train, y_train)
    steps = options.steps_or(STEPS, QUICK)

    def run(seed: int) -> Run:
        nn.init.seed(seed)
        return train_run(
            lambda: train.compile(
                model(),
                loss="cross_entropy",
                optimizer=optim.sgd(optim.linear(0.05, 0.0, steps), momentum=0.9, weight_decay=1e-4),
                data=training,
                batch_size=BATCH,
                metrics=["accuracy"],
                seed=seed,
                backend=options.backend,
                threads=options.threads,
            ),
            steps,
        )

    network = model()
    options.say(f"{network}\n{sum(p.value.size for p in network.parameters()):,} parameters")
    runs = [run(options.seed + number) for number in range(1 if options.quick else 3)]
    scores = [each.job.evaluate(x_test, y_test)["accuracy"] for each in runs]
    options.say(f"{len(y_train)} digits to learn from, {len(y_test)} to test on")
    options.say(f"test accuracy of each seed: {', '.join(f'{score:.4f}' for score in scores)}")
    report(options, runs, {"test_accuracy": float(np.mean(scores)), "loss": runs[0].history["loss"][-1]})


if __name__ == "__main__":
    main(parse("digits_mlp", __doc__.splitlines()[0]))
