"""Layers with parameters or structure: PyTorch's names, defaults, initial distributions and layouts."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import numpy as np

import graphc.numpy as gnp
from graphc.api import ArgumentError, Array, at, with_line
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.module import Module, Parameter


def positive(layer: str, **sizes: object) -> None:
    """Raise `ArgumentError` unless every size is a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ArgumentError(with_line(f"{layer}: {name}={size!r:.60} must be a positive integer"))


def number(layer: str, low: float, high: float = math.inf, **values: object) -> None:
    """Raise `ArgumentError` unless every value is a number in [low, high]."""
    for name, value in values.items():
        if not isinstance(value, int | float | np.integer | np.floating) or not low <= value <= high:
            limits = f"in [{low}, {high}]" if high < math.inf else f"of at least {low}"
            raise ArgumentError(with_line(f"{layer}: {name}={value!r:.60} must be a number {limits}"))


class Sequential(Module):
    """Modules (or plain functions of one array) one after another, named "0", "1", ... or by an OrderedDict.

    >>> Sequential(Linear(4, 2), Identity())[0]
    Linear(in_features=4, out_features=2, bias=True)
    """

    def __init__(self, *layers: Module | Callable[[Array], Array] | OrderedDict[str, Module]) -> None:
        named: dict[str, Module | Callable[[Array], Array]] = {}
        for index, layer in enumerate(layers):
            named.update(layer if isinstance(layer, dict) else {str(index): layer})
        for name, item in named.items():
            if isinstance(item, type) and issubclass(item, Module):
                raise ArgumentError(f"Sequential: {name} is the class {item.__name__}; write {item.__name__}()")
            if not callable(item):
                raise ArgumentError(f"Sequential: {name} is a {type(item).__name__}, not a module")
        self.layers = named

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, layer in self.layers.items():
            if isinstance(layer, Module):
                yield name, layer

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module | Callable[[Array], Array]]:
        return iter(self.layers.values())

    def __getitem__(self, index: int | slice) -> Module | Callable[[Array], Array]:
        items = list(self.layers.values())[index]
        return Sequential(*items) if isinstance(items, list) else items

    def forward(self, x: Array) -> Array:
        for layer in self.layers.values():
            with at(getattr(layer, "_source", self._source)):  # plain functions have none
                x = layer(x)
        return x


class Linear(Module):
    """x @ weight.T + bias. Weight [out, in] and bias [out] start uniform within 1 / sqrt(in), as in PyTorch."""

    weight: Array
    bias: Array | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: str = "float32",
        key: Array | None = None,
    ) -> None:
        positive("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        weight_key, bias_key = init.split_key(key)
        shape = (out_features, in_features)
        self.weight = Parameter(init.kaiming_uniform(shape, a=math.sqrt(5), key=weight_key, dtype=dtype))  # type: ignore[assignment]
        self.bias = None
        if bias:
            bound = 1 / math.sqrt(in_features)
            self.bias = Parameter(init.uniform((out_features,), -bound, bound, key=bias_key, dtype=dtype))  # type: ignore[assignment]

    def forward(self, x: Array) -> Array:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={has_bias}"


class LayerNorm(Module):
    """Normalise over the last dims, then scale and shift: (C,) for tokens, (C, H, W) for images."""

    weight: Array | None
    bias: Array | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: str = "float32",
    ) -> None:
        shape = tuple(normalized_shape) if isinstance(normalized_shape, Iterable) else (normalized_shape,)
        number("LayerNorm", 0, eps=eps)
        for extent in shape:
            positive("LayerNorm", normalized_shape=extent)
        self.normalized_shape, self.eps = shape, eps
        self.weight = self.bias = None
        if elementwise_affine:
            self.weight = Parameter(init.ones(shape, dtype))  # type: ignore[assignment]
        if elementwise_affine and bias:
            self.bias = Parameter(init.zeros(shape, dtype))  # type: ignore[assignment]

    def forward(self, x: Array) -> Array:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class Dropout(Module):
    """In training, zero each element with probability `drop` and scale the others up; otherwise the identity.

    PyTorch calls the probability `p`.
    """

    def __init__(self, drop: float = 0.5) -> None:
        number("Dropout", 0, 1, drop=drop)
        self.drop = drop

    def forward(self, x: Array) -> Array:
        if not self.training or self.drop == 0.0:
            return x
        return F.dropout(x, self.drop, self.random_key())

    def extra_repr(self) -> str:
        return f"drop={self.drop}"


class Flatten(Module):
    """Join the dims from `start_dim` to `end_dim`, both inclusive."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        dims: dict[str, object] = {"start_dim": start_dim, "end_dim": end_dim}
        for name, dim in dims.items():
            if not isinstance(dim, int) or isinstance(dim, bool):
                raise ArgumentError(with_line(f"Flatten: {name}={dim!r:.60} must be an integer"))
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Array) -> Array:
        shape = tuple(x.shape)
        start, end = self.start_dim % max(len(shape), 1), self.end_dim % max(len(shape), 1)
        if start > end:
            raise ArgumentError(
                with_line(f"Flatten: dim {self.start_dim} comes after dim {self.end_dim} of {list(shape)}")
            )
        joined = math.prod(shape[start : end + 1])
        return gnp.reshape(x, (*shape[:start], joined, *shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """Its input."""

    def forward(self, x: Array) -> Array:
        return x
