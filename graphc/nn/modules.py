"""Activations and losses as modules, for `Sequential` and for code that follows PyTorch."""

from __future__ import annotations

from graphc.api import ArgumentError, Array
from graphc.nn import functional as F
from graphc.nn.module import Buffer, Module


class ReLU(Module):
    """`nn.functional.relu`."""

    def forward(self, x: Array) -> Array:
        return F.relu(x)


class LeakyReLU(Module):
    """`nn.functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """`nn.functional.gelu`: exact ("none") or by tanh ("tanh")."""

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ArgumentError(f"GELU: approximate={approximate!r}; use 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """`nn.functional.silu`: x * sigmoid(alpha * x)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        return F.silu(x, self.alpha)


class Sigmoid(Module):
    """`nn.functional.sigmoid`."""

    def forward(self, x: Array) -> Array:
        return F.sigmoid(x)


class Tanh(Module):
    """`nn.functional.tanh`."""

    def forward(self, x: Array) -> Array:
        return F.tanh(x)


class Softplus(Module):
    """`nn.functional.softplus`."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = beta

    def forward(self, x: Array) -> Array:
        return F.softplus(x, self.beta)


class Softmax(Module):
    """`nn.functional.softmax` along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """`nn.functional.log_softmax` along `dim`."""

    def forward(self, x: Array) -> Array:
        return F.log_softmax(x, self.dim)


class _Loss(Module):
    """A loss with nothing to set but its reduction."""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """`nn.functional.mse_loss`."""

    def forward(self, output: Array, target: Array) -> Array:
        return F.mse_loss(output, target, reduction=self.reduction)


class L1Loss(_Loss):
    """`nn.functional.l1_loss`."""

    def forward(self, output: Array, target: Array) -> Array:
        return F.l1_loss(output, target, reduction=self.reduction)


class BCELoss(_Loss):
    """`nn.functional.binary_cross_entropy`, of probabilities."""

    def forward(self, output: Array, target: Array) -> Array:
        return F.binary_cross_entropy(output, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """`nn.functional.binary_cross_entropy_with_logits`."""

    def forward(self, output: Array, target: Array) -> Array:
        return F.binary_cross_entropy_with_logits(output, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """`nn.functional.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, output: Array, target: Array) -> Array:
        return F.huber_loss(output, target, delta=self.delta, reduction=self.reduction)


class KLDivLoss(_Loss):
    """`nn.functional.kl_div`."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, output: Array, target: Array) -> Array:
        return F.kl_div(output, target, log_target=self.log_target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """`nn.functional.cross_entropy`. The class weights are a buffer."""

    weight: Array | None

    def __init__(
        self,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else Buffer(weight)  # type: ignore[assignment]
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, output: Array, target: Array) -> Array:
        return F.cross_entropy(
            output,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """`nn.functional.nll_loss`. The class weights are a buffer."""

    weight: Array | None

    def __init__(self, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else Buffer(weight)  # type: ignore[assignment]
        self.ignore_index = ignore_index

    def forward(self, output: Array, target: Array) -> Array:
        return F.nll_loss(output, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)
