"""Backpropagation on an example small enough to do by hand, checked exactly.

One input, two hidden ReLU units, one output, squared error:

    h1 = relu(w11 x)    h2 = relu(w12 x)    z = w21 h1 + w22 h2    l = 1/2 (z - 1)^2

With x = 1, w11 = 2, w12 = -1, w21 = 1, w22 = 3 the second unit is off. By hand: h1 = 2, h2 = 0, z = 2, l = 1/2, and

    dl/dz = z - 1 = 1,  dl/dw21 = dl/dz h1 = 2,  dl/dw22 = dl/dz h2 = 0,
    dl/dw11 = dl/dz w21 x = 1,  dl/dw12 = 0 because relu'(-1) = 0.

Prints the graph, the graph of its gradient, and the numbers.
"""

from __future__ import annotations

import numpy as np
from _cli import Meter, Options, parse, report

import graphc as gc
from graphc import nn

WEIGHTS = {"w11": 2.0, "w12": -1.0, "w21": 1.0, "w22": 3.0}
BY_HAND = {"z": 2.0, "loss": 0.5, "dl/dw11": 1.0, "dl/dw12": 0.0, "dl/dw21": 2.0, "dl/dw22": 0.0}


def loss(w, x):
    h1 = nn.functional.relu(w["w11"] * x)
    h2 = nn.functional.relu(w["w12"] * x)
    z = w["w21"] * h1 + w["w22"] * h2
    return 0.5 * (z - 1.0) ** 2, z


def main(options: Options) -> None:
    """Trace, differentiate, run, compare."""
    meter = Meter(options)
    w = {name: np.float64(value) for name, value in WEIGHTS.items()}
    x = np.float64(1.0)
    derivative = gc.value_and_grad(loss, has_aux=True)
    options.say(f"The graph of the loss:\n\n{gc.trace(loss, w, x)}")
    options.say(f"The graph of its gradient:\n\n{gc.trace(derivative, w, x)}")
    (value, z), slopes = meter.call("hand", derivative, w, x)
    found = {"z": z, "loss": value, **{f"dl/d{name}": slope for name, slope in slopes.items()}}
    for name, expected in BY_HAND.items():
        options.say(f"{name:8} = {float(found[name]):4}   by hand {expected:4}")
    report(options, [meter.measured], {name: float(number) for name, number in found.items()})


if __name__ == "__main__":
    main(parse("hand_example", __doc__.splitlines()[0]))
