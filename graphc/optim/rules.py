"""Update rules: each a small frozen dataclass with `init(params) -> state` and `update(grads, state, params, step)`.

Comes in: one array of parameters and one of gradients (training passes whole slabs), the state that `init` made, and
the number of updates made before, an int64 scalar. Goes out: the new parameters and the new state.

Every rule is elementwise, so an update is one pass over memory. Scalars that depend on the step are computed once, in
float64. Formulas and defaults are those of PyTorch but where a docstring says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array
from graphc.optim.schedules import Rate, check, check_rate, rate_at

State = dict[str, Array]


@runtime_checkable
class Optimizer(Protocol):
    """What training needs of an update rule."""

    name: ClassVar[str]

    def init(self, params: Array) -> State:
        """Fresh state for these parameters."""
        ...

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        """New parameters and new state."""
        ...


def _scalar(value: Array | float, like: Array) -> Array | float:
    """A float64 scalar in the dtype of the parameters; Python numbers take it by themselves."""
    return value if type(value) is float else gnp.astype(value, like.dtype)  # NumPy's float64 is a float too


def _fraction(owner: str, **values: float) -> None:
    check(owner, **values)
    for name, value in values.items():
        if value >= 1:
            raise ArgumentError(f"{owner}: {name}={value!r} must be below 1")


def _decayed(grads: Array, params: Array, weight_decay: float) -> Array:
    """Coupled weight decay: the gradient of weight_decay / 2 * sum(params^2) added."""
    return grads + params * weight_decay if weight_decay else grads


@dataclass(frozen=True, slots=True)
class SGD:
    """Gradient descent with momentum.

    v = momentum * v + (1 - dampening) * g, or with `ema` v = momentum * v + (1 - momentum) * g; then
    params -= lr * v (with `nesterov`: lr * (g + momentum * v)). As in PyTorch, v is g itself at the first update,
    whatever the dampening; with `ema`, which PyTorch lacks, v starts from 0.
    """

    name: ClassVar[str] = "sgd"
    lr: Rate
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    weight_decay: float = 0.0
    ema: bool = False

    def __post_init__(self) -> None:
        check_rate("sgd", self.lr)
        check("sgd", momentum=self.momentum, dampening=self.dampening, weight_decay=self.weight_decay)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0 or self.ema):
            raise ArgumentError("sgd: nesterov=True needs momentum > 0 and no dampening and no ema")
        if self.ema and (self.dampening != 0 or not 0 < self.momentum < 1):
            raise ArgumentError("sgd: ema=True needs 0 < momentum < 1 and no dampening")

    def init(self, params: Array) -> State:
        return {"velocity": gnp.zeros_like(params)} if self.momentum else {}

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        lr = _scalar(rate_at(self.lr, step), params)
        grads = _decayed(grads, params, self.weight_decay)
        if not self.momentum:
            return params - grads * lr, {}
        velocity = state["velocity"] * self.momentum + self._weighted(grads, step)
        direction = grads + velocity * self.momentum if self.nesterov else velocity
        return params - direction * lr, {"velocity": velocity}

    def _weighted(self, grads: Array, step: Array) -> Array:
        if self.ema:
            return grads * (1.0 - self.momentum)
        if self.dampening == 0:
            return grads
        share = gnp.where(step == 0, gnp.ones_like(step), gnp.zeros_like(step)).astype(grads.dtype)
        return grads * (share * self.dampening + (1.0 - self.dampening))


@dataclass(frozen=True, slots=True)
class AdaGrad:
    """s += g^2; params -= lr * g / (sqrt(s) + eps) (Duchi et al. 2011). Weight decay is coupled."""

    name: ClassVar[str] = "adagrad"
    lr: Rate
    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate("adagrad", self.lr)
        check("adagrad", eps=self.eps, weight_decay=self.weight_decay)

    def init(self, params: Array) -> State:
        return {"sum": gnp.zeros_like(params)}

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        lr = _scalar(rate_at(self.lr, step), params)
        grads = _decayed(grads, params, self.weight_decay)
        total = state["sum"] + grads * grads
        return params - grads * lr / (gnp.sqrt(total) + self.eps), {"sum": total}


@dataclass(frozen=True, slots=True)
class RMSProp:
    """s = rho * s + (1 - rho) * g^2; params -= lr * g / (sqrt(s) + eps). Weight decay is coupled.

    PyTorch calls rho `alpha`.
    """

    name: ClassVar[str] = "rmsprop"
    lr: Rate
    rho: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate("rmsprop", self.lr)
        _fraction("rmsprop", rho=self.rho)
        check("rmsprop", eps=self.eps, weight_decay=self.weight_decay)

    def init(self, params: Array) -> State:
        return {"square": gnp.zeros_like(params)}

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        lr = _scalar(rate_at(self.lr, step), params)
        grads = _decayed(grads, params, self.weight_decay)
        square = state["square"] * self.rho + grads * grads * (1.0 - self.rho)
        return params - grads * lr / (gnp.sqrt(square) + self.eps), {"square": square}


@dataclass(frozen=True, slots=True)
class Adam:
    """Adaptive moments (Kingma and Ba 2015), bias-corrected, with coupled weight decay.

    m = b1 * m + (1 - b1) * g and v = b2 * v + (1 - b2) * g^2 are kept raw; with t counted from 1,
    params -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
    """

    name: ClassVar[str] = "adam"
    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.name, self.lr)
        given: object = self.betas
        if not isinstance(given, tuple) or len(given) != 2:
            raise ArgumentError(f"{self.name}: betas={given!r} must be two numbers")
        _fraction(self.name, beta1=self.betas[0], beta2=self.betas[1])
        check(self.name, eps=self.eps, weight_decay=self.weight_decay)

    def init(self, params: Array) -> State:
        return {"m": gnp.zeros_like(params), "v": gnp.zeros_like(params)}

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        return self._adam(_decayed(grads, params, self.weight_decay), state, params, step)

    def _adam(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        beta1, beta2 = self.betas
        m = state["m"] * beta1 + grads * (1.0 - beta1)
        v = state["v"] * beta2 + grads * grads * (1.0 - beta2)
        # lr * (m / c1) / (sqrt(v / c2) + eps) with a fraction taken out that is the same for all elements: a root and a
        # quotient are left for each
        root = gnp.sqrt(_correction(beta2, step))
        size = rate_at(self.lr, step) * root / _correction(beta1, step)
        denominator = gnp.sqrt(v) + _scalar(root * self.eps, params)
        return params - m * _scalar(size, params) / denominator, {"m": m, "v": v}


def _correction(beta: float, step: Array) -> Array:
    """1 - beta^(step + 1), without the cancellation of writing it so."""
    t = step.astype("float64") + 1.0
    return -gnp.expm1(t * math.log(beta)) if beta > 0 else t * 0.0 + 1.0


@dataclass(frozen=True, slots=True)
class AdamW(Adam):
    """Adam, then params -= lr * weight_decay * params: decay apart from the moments (Loshchilov and Hutter 2019).

    lr is the scheduled one. The decay is applied to the parameters after the Adam step; PyTorch applies it before,
    which differs by lr * weight_decay times the step.
    """

    name: ClassVar[str] = "adamw"
    weight_decay: float = 0.01

    def update(self, grads: Array, state: State, params: Array, step: Array) -> tuple[Array, State]:
        stepped, state = self._adam(grads, state, params, step)
        if not self.weight_decay:
            return stepped, state
        return stepped - stepped * _scalar(rate_at(self.lr, step) * self.weight_decay, params), state


def sgd(
    lr: Rate,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    ema: bool = False,
) -> SGD:
    """Gradient descent, with momentum (v = rho v + g, or the average form with `ema`) and Nesterov's variant.

    Formulas: `SGD`. Raises `ArgumentError` for values out of range.

    >>> from graphc import optim
    >>> optim.sgd(0.1, momentum=0.9).momentum
    0.9
    """
    return SGD(lr, momentum, nesterov, dampening, weight_decay, ema)


def adagrad(lr: Rate = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0) -> AdaGrad:
    """AdaGrad.

    Formulas: `AdaGrad`. Raises `ArgumentError` for values out of range.

    >>> from graphc import optim
    >>> optim.adagrad().eps
    1e-10
    """
    return AdaGrad(lr, eps, weight_decay)


def rmsprop(lr: Rate = 1e-2, rho: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0) -> RMSProp:
    """RMSProp.

    Formulas: `RMSProp`. Raises `ArgumentError` for values out of range.

    >>> from graphc import optim
    >>> optim.rmsprop(1e-3).rho
    0.99
    """
    return RMSProp(lr, rho, eps, weight_decay)


def _pair(betas: object) -> tuple[float, float]:
    """Lists are taken too, as they come from a file of settings; what is no pair is an error of the rule."""
    return tuple(betas) if isinstance(betas, list) else betas  # type: ignore[return-value]


def adam(
    lr: Rate = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
) -> Adam:
    """Adam, with coupled weight decay.

    Formulas: `Adam`. Raises `ArgumentError` for values out of range.

    >>> from graphc import optim
    >>> optim.adam(1e-4).betas
    (0.9, 0.999)
    """
    return Adam(lr, _pair(betas), eps, weight_decay)


def adamw(
    lr: Rate = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2
) -> AdamW:
    """Adam with decoupled weight decay.

    Formulas: `AdamW`. Raises `ArgumentError` for values out of range.

    >>> from graphc import optim
    >>> optim.adamw(optim.cosine(1e-3, 1000)).weight_decay
    0.01
    """
    return AdamW(lr, _pair(betas), eps, weight_decay)
