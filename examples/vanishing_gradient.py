"""Why deep plain networks were hard to train: the gradient along a chain of 50 layers of one unit each.

- plain chain z_i = s(w_i z_{i-1} + b_i) with small weights, w, b ~ N(0, 0.1^2): each layer multiplies the gradient by
  s'(u) w, about 0.25 * 0.1, so that at the bottom nothing is left of it. In float64 it is still there, in float32 it
  runs through the denormal numbers to zero;
- exploding chain, w_i = 8 at the point where s' = 1/4: each layer doubles the gradient;
- saturated chain, w, b ~ N(0, 20^2): s' = s(u) s(-u) is tiny, but not zero; written as s (1 - s) it would be 0 from
  abs(u) = 17 on in float32;
- residual chain z_i = z_{i-1} + v_i s(w_i z_{i-1} + c_i) + b_i: the sum carries the gradient past the layer, its size
  stays of order 1.

`--out DIR` plots the gradient norm per layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from _cli import Meter, Options, parse, report

import graphc as gc
from graphc import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH = 50
Layers = list[dict[str, np.ndarray]]


def plain(layers, z):
    for layer in layers:
        z = nn.functional.sigmoid(layer["w"] * z + layer["b"])
    return z


def residual(layers, z):
    for layer in layers:
        z = z + layer["v"] * nn.functional.sigmoid(layer["w"] * z + layer["c"]) + layer["b"]
    return z


def draw(rng: np.random.Generator, names: str, std: float, dtype: str) -> Layers:
    return [{name: np.asarray(rng.normal(0, std), dtype) for name in names} for _ in range(DEPTH)]


def gradient_norms(meter: Meter, name: str, chain, layers: Layers, start: float = 0.5) -> np.ndarray:
    """Norm of the gradient of the last z by the parameters of each layer, from the first layer to the last."""
    z = np.asarray(start, layers[0]["w"].dtype)
    slopes = meter.call(name, gc.grad(chain), layers, z)
    return np.array([np.sqrt(sum(np.float64(slope) ** 2 for slope in layer.values())) for layer in slopes])


def per_layer(norms: np.ndarray) -> float:
    """The factor by which the norm changes from a layer to the one below it, the geometric mean."""
    return float(np.exp(np.mean(np.diff(np.log(norms[::-1])))))


def saturated_layers(layers: Layers, start: float) -> int:
    """How many layers have s (1 - s) == 0 although s' > 0."""
    z, count = np.float32(start), 0
    for layer in layers:
        u = layer["w"] * z + layer["b"]
        z = np.float32(1 / (1 + np.exp(-np.float64(u))))
        count += z * (np.float32(1) - z) == 0
    return count


def draw_norms(figure: Figure, curves: dict[str, np.ndarray]) -> None:
    axes = figure.add_subplot()
    for name, norms in curves.items():
        axes.semilogy(range(1, DEPTH + 1), np.where(norms > 0, norms, np.nan), label=name)
    axes.set(xlabel="layer", ylabel="gradient norm", title=f"gradient norm per layer of {DEPTH}")
    axes.legend()


def main(options: Options) -> None:
    """Differentiate each chain once and compare."""
    meter = Meter(options)
    rng = np.random.default_rng(options.seed)
    small = draw(rng, "wb", 0.1, "float64")
    chains = {
        "plain": (plain, small),
        "plain, float32": (plain, [{k: v.astype(np.float32) for k, v in layer.items()} for layer in small]),
        "exploding": (plain, [{"w": np.asarray(8.0), "b": np.asarray(-4.0)}] * DEPTH),  # s(8 z - 4) = z at z = 1/2
        "saturated, float32": (plain, draw(rng, "wb", 20.0, "float32")),
        "residual": (residual, draw(rng, "vwcb", 0.1, "float64")),
    }
    curves = {name: gradient_norms(meter, name, chain, layers) for name, (chain, layers) in chains.items()}
    for name, norms in curves.items():
        options.say(f"{name:20} first layer {norms[0]:9.2e}   last layer {norms[-1]:9.2e}")
    shallow = curves["plain, float32"]
    metrics = {
        "plain_per_layer": per_layer(curves["plain"]),
        "plain_smallest": float(curves["plain"].min()),
        "float32_layers_left": float(np.count_nonzero(shallow)),
        "float32_denormal_layers": float(np.sum((shallow > 0) & (shallow < np.finfo(np.float32).tiny))),
        "exploding_per_layer": per_layer(curves["exploding"]),
        "saturated_last_layer": float(curves["saturated, float32"][-1]),
        "saturated_layers": float(saturated_layers(chains["saturated, float32"][1], 0.5)),
        "residual_largest_over_smallest": float(curves["residual"].max() / curves["residual"].min()),
    }
    report(options, [meter.measured], metrics, lambda figure: draw_norms(figure, curves))


if __name__ == "__main__":
    main(parse("vanishing_gradient", __doc__.splitlines()[0]))
