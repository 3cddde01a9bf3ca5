"""RNN, GRU and LSTM: one or two directions, sequences of different lengths, peepholes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc.nn import functional as F
from graphc_onnx.ops.common import cast as converted
from graphc_onnx.ops.common import dtype_of, only
from graphc_onnx.ops.control import repeat
from graphc_onnx.table import Data, Row

Activation = Callable[[Array], Array]
State = tuple[Array, ...]
Floats = tuple[float, ...]
Step = Callable[[State, Array], State]

# name -> (function of x, alpha and beta, their defaults)
_ACTIVATIONS: dict[str, tuple[Callable[[Array, float, float], Array], float, float]] = {
    "relu": (lambda x, a, b: gnp.maximum(x, 0.0), 0.0, 0.0),
    "tanh": (lambda x, a, b: gnp.tanh(x), 0.0, 0.0),
    "sigmoid": (lambda x, a, b: gnp.sigmoid(x), 0.0, 0.0),
    "affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: gnp.where(gnp.less(x, 0), a * x, x), 0.01, 0.0),
    "thresholdedrelu": (lambda x, a, b: gnp.where(gnp.greater(x, a), x, gnp.zeros_like(x)), 1.0, 0.0),
    "scaledtanh": (lambda x, a, b: a * gnp.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": (lambda x, a, b: gnp.clip(a * x + b, 0.0, 1.0), 0.2, 0.5),
    "elu": (lambda x, a, b: gnp.where(gnp.less(x, 0), a * gnp.expm1(x), x), 1.0, 0.0),
    "softsign": (lambda x, a, b: x / (1.0 + gnp.abs(x)), 0.0, 0.0),
    "softplus": (lambda x, a, b: F.softplus(x), 0.0, 0.0),
}


@dataclass(frozen=True)
class Direction:
    """The weights of one direction."""

    inputs: Array  # [gates * hidden, in]
    recurrent: Array  # [gates * hidden, hidden]
    bias: Array | None  # [2 * gates * hidden]: of the inputs, of the recurrent part
    peepholes: Array | None  # [3 * hidden]
    activations: Sequence[Activation]
    hidden: int

    def recurrent_bias(self, gates: slice) -> Array | float:
        """Of those gates."""
        if self.bias is None:
            return 0.0
        total = self.bias.shape[0] // 2
        return self.bias[total + gates.start * self.hidden : total + gates.stop * self.hidden]

    def recurrent_of(self, gates: slice, state: Array) -> Array:
        """The product of the state with the weights of those gates, without bias."""
        weights = self.recurrent[gates.start * self.hidden : gates.stop * self.hidden]
        return gnp.matmul(state, gnp.transpose(weights))


def _parts(x: Array, count: int) -> list[Array]:
    width = x.shape[-1] // count
    return [x[..., part * width : (part + 1) * width] for part in range(count)]


def _rnn_step(weights: Direction) -> Step:
    (activation,) = weights.activations
    gates = slice(0, 1)

    def step(state: State, x: Array) -> State:
        return (activation(x + weights.recurrent_of(gates, state[0]) + weights.recurrent_bias(gates)),)

    return step


def _gru_step(weights: Direction, linear_before_reset: bool) -> Step:
    gate, candidate = weights.activations
    both, last = slice(0, 2), slice(2, 3)

    def step(state: State, x: Array) -> State:
        (hidden,) = state
        width = 2 * weights.hidden
        update, reset = _parts(
            gate(x[..., :width] + weights.recurrent_of(both, hidden) + weights.recurrent_bias(both)), 2
        )
        bias = weights.recurrent_bias(last)
        if linear_before_reset:
            recurrent = reset * (weights.recurrent_of(last, hidden) + bias)
        else:
            recurrent = weights.recurrent_of(last, reset * hidden) + bias
        new = candidate(x[..., width:] + recurrent)
        return ((1.0 - update) * new + update * hidden,)

    return step


def _lstm_step(weights: Direction, input_forget: bool) -> Step:
    gate, candidate, output = weights.activations
    every = slice(0, 4)
    peep = [None] * 3 if weights.peepholes is None else _parts(weights.peepholes, 3)

    def seen(x: Array, peephole: Array | None, cell: Array) -> Array:
        return x if peephole is None else x + peephole * cell

    def step(state: State, x: Array) -> State:
        hidden, cell = state
        i, o, f, c = _parts(x + weights.recurrent_of(every, hidden) + weights.recurrent_bias(every), 4)
        enter = gate(seen(i, peep[0], cell))
        keep = 1.0 - enter if input_forget else gate(seen(f, peep[2], cell))
        new = keep * cell + enter * candidate(c)
        return gate(seen(o, peep[1], new)) * output(new), new

    return step


# ------------------------------------------------------------------------------------------------------------ running


def _turned(x: Array, lengths: Array | None) -> Array:
    """Back to front along the first dim, each sequence within its length."""
    if lengths is None:
        return gnp.flip(x, axis=0)
    time = gnp.indices_along(x.shape, 0, "int64")
    count = gnp.reshape(lengths, (1, -1) + (1,) * (len(x.shape) - 2))
    return gnp.take_along_axis(x, gnp.where(gnp.less(time, count), count - 1 - time, time), axis=0)


def _run(step: Step, state: State, inputs: Array, lengths: Array | None) -> tuple[Array, State]:
    """All hidden states [time, batch, hidden], and the last state; a sequence that has ended keeps its state."""

    def once(carried: list[Data], row: list[Data]) -> tuple[list[Data], list[Data]]:
        before = cast(State, tuple(carried))
        x, time = cast(tuple[Array, Array], tuple(row))
        new = step(before, x)
        if lengths is None:
            return list(new), [new[0]]
        going = gnp.expand_dims(gnp.greater(lengths, time), 1)
        kept = [gnp.where(going, now, old) for now, old in zip(new, before, strict=True)]
        return list(kept), [gnp.where(going, new[0], gnp.zeros_like(new[0]))]

    count = inputs.shape[0]
    last, (outputs,) = repeat(once, list(state), [inputs, np.arange(count)], count)
    return outputs, cast(State, tuple(last))


@dataclass(frozen=True)
class Options:
    """The attributes that the three ops share."""

    direction: str
    layout: int
    clip: float | None
    activations: tuple[str, ...] | None
    alphas: Floats | None
    betas: Floats | None


def _layer(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None,
    lengths: Array | None,
    initial: Sequence[Array | None],
    peepholes: Array | None,
    options: Options,
    default: tuple[str, ...],
    make: Callable[[Direction], Step],
) -> tuple[Array, ...]:
    """Y [time, directions, batch, hidden] and the last states [directions, batch, hidden]; batch first in layout 1."""
    only("direction", options.direction, "forward", "reverse", "bidirectional")
    count = w.shape[0]
    if (count == 2) != (options.direction == "bidirectional"):
        raise ArgumentError(f"direction {options.direction} with weights of {count} directions")
    inputs = gnp.swapaxes(x, 0, 1) if options.layout else x
    lengths = None if lengths is None else converted(lengths, np.int64)
    batch, hidden = inputs.shape[1], r.shape[2]
    names = options.activations or default * count
    choose = _chosen(names, options, len(default))
    outputs: list[Array] = []
    finals: list[State] = []
    for place in range(count):
        weights = Direction(
            w[place],
            r[place],
            None if b is None else b[place],
            None if peepholes is None else peepholes[place],
            choose[place * len(default) : (place + 1) * len(default)],
            hidden,
        )
        projected = gnp.tensordot(inputs, weights.inputs, axes=(-1, 1))
        if weights.bias is not None:
            projected = projected + weights.bias[: weights.bias.shape[0] // 2]
        backwards = options.direction == "reverse" or place == 1
        ordered = _turned(projected, lengths) if backwards else projected
        state = tuple(_first(start, place, options, (batch, hidden), dtype_of(x)) for start in initial)
        result, last = _run(make(weights), state, ordered, lengths)
        outputs.append(_turned(result, lengths) if backwards else result)
        finals.append(last)
    y = gnp.stack(outputs, axis=1)
    lasts = [gnp.stack([last[part] for last in finals]) for part in range(len(initial))]
    if options.layout:
        return gnp.transpose(y, (2, 0, 1, 3)), *(gnp.swapaxes(last, 0, 1) for last in lasts)
    return y, *lasts


def _first(
    start: Array | None, place: int, options: Options, shape: tuple[int, int], dtype: np.dtype[np.generic]
) -> Array:
    if start is None:
        return gnp.zeros(shape, dtype)
    return start[:, place] if options.layout else start[place]


def _chosen(names: Sequence[str], options: Options, each: int) -> list[Activation]:
    alphas, betas = list(options.alphas or ()), list(options.betas or ())
    found: list[Activation] = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise ArgumentError(f"activation {name!r} is none of {', '.join(_ACTIVATIONS)}")
        function, alpha, beta = _ACTIVATIONS[name.lower()]
        takes_alpha, takes_beta = alpha != 0.0, beta != 0.0 or name.lower() == "affine"
        alpha = alphas.pop(0) if takes_alpha and alphas else alpha
        beta = betas.pop(0) if takes_beta and betas else beta
        found.append(_clipped(function, alpha, beta, options.clip))
    if not found or len(found) % each:
        raise ArgumentError(f"{len(found)} activations, needs {each} for each direction")
    return found


def _clipped(
    function: Callable[[Array, float, float], Array], alpha: float, beta: float, clip: float | None
) -> Activation:
    """The input of an activation lies within [-clip, clip]."""
    return lambda x: function(x if clip is None else gnp.clip(x, -clip, clip), alpha, beta)


def _rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> tuple[Array, ...]:
    options = Options(direction, layout, clip, activations, activation_alpha, activation_beta)
    return _layer(x, w, r, b, sequence_lens, [initial_h], None, options, ("Tanh",), _rnn_step)


def _gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Array, ...]:
    options = Options(direction, layout, clip, activations, activation_alpha, activation_beta)
    make = lambda weights: _gru_step(weights, bool(linear_before_reset))
    return _layer(x, w, r, b, sequence_lens, [initial_h], None, options, ("Sigmoid", "Tanh"), make)


def _lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> tuple[Array, ...]:
    options = Options(direction, layout, clip, activations, activation_alpha, activation_beta)
    make = lambda weights: _lstm_step(weights, bool(input_forget))
    names = ("Sigmoid", "Tanh", "Tanh")
    return _layer(x, w, r, b, sequence_lens, [initial_h, initial_c], p, options, names, make)


ROWS = [
    Row("RNN", 7, _rnn),
    Row("GRU", 7, _gru),
    Row("LSTM", 7, _lstm),
]
